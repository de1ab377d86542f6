"""What a model is made of, and the hash that stands for it: derived here and nowhere else."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from leaderboard.common.errors import InputError
from leaderboard.common.places import no_file
from leaderboard.datasets.files import sha256_of
from leaderboard.settings.question import Part, Role, combined_sha256


@dataclass(frozen=True)
class ModelParts:
    """The ONNX files of a base classifier, the denoiser first, then the members in order.

    `rule` says how the members of an ensemble are combined; it is empty where there is one.
    """

    files: tuple[Part, ...]
    rule: str = ""

    @property
    def composed(self) -> bool:
        """Whether it is made of several files."""
        return len(self.files) > 1

    @property
    def main(self) -> Path:
        """The network, or the first member."""
        return next(part.path for part in self.files if part.role == "member")

    @property
    def sha256(self) -> str:
        """The hash that stands for the model: of its file, or `combined_sha256` of several."""
        return combined_sha256(self.files, self.rule) if self.composed else self.files[0].sha256

    @property
    def several(self) -> tuple[Part, ...]:
        """The files of a composed model; none of one that is a single network."""
        return self.files if self.composed else ()

    @classmethod
    def of_files(
        cls,
        model: Path,
        *,
        members: Sequence[Path] = (),
        denoiser: Path | None = None,
        rule: str = "",
    ) -> Self:
        """Put a model together from files that the command line names.

        Raises:
            InputError: files are missing, a sentence for each.
        """
        named: list[tuple[Role, Path]] = [("denoiser", denoiser)] if denoiser else []
        named += [("member", path) for path in (model, *members)]
        if absent := [no_file(path) for _, path in named if not path.is_file()]:
            raise InputError(*absent)
        parts = tuple(Part(role, path, sha256_of(path)) for role, path in named)
        return cls(parts, rule if members else "")
