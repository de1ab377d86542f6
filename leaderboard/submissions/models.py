"""The ONNX files of a submission: one network, or several that make a base classifier together.

Each is a file in the submission's folder or an address with a hash; all are data from strangers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from leaderboard.common.errors import nearest
from leaderboard.common.project import Project
from leaderboard.common.rules import RuledError
from leaderboard.common.strict_toml import Strict
from leaderboard.common.text import OnnxName, Sha256, Url
from leaderboard.datasets.catalogue import load_datasets
from leaderboard.submissions import weights
from leaderboard.submissions.folder import LARGEST_MODEL, file_problems
from leaderboard.submissions.noises import RULES

MOST_MEMBERS = 50


def _known_dataset(name: str) -> str:
    if name not in load_datasets():
        known = ", ".join(load_datasets())
        raise ValueError(f"must be one of {known}.{nearest(name, load_datasets())}")
    return name


def _known_rule(name: str) -> str:
    if name not in RULES:
        raise ValueError(f"must be one of {', '.join(RULES)}.{nearest(name, RULES)}")
    return name


class ModelFile(Strict):
    """A network: a file in the submission's folder, or an address; `size` is in bytes."""

    file: OnnxName | None = None
    url: Url | None = None
    sha256: Sha256
    size: int | None = Field(default=None, ge=1, le=LARGEST_MODEL)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.file is None) == (self.url is None):
            raise ValueError("must have one of the keys file and url")
        if self.url is not None and self.size is None:
            raise ValueError("must have a size, in bytes, beside the url")
        if self.url is not None and not self.url.startswith("https://"):
            raise RuledError("text-address", "must have a url that begins with https://")
        return self


class Model(ModelFile):
    """The network that is submitted; of an ensemble the first member."""

    dataset: Annotated[str, AfterValidator(_known_dataset)]


class EnsembleTable(Strict):
    """How the answers of an ensemble's members become one."""

    rule: Annotated[str, AfterValidator(_known_rule)]


def path_of(project: Project, slug: str, model: ModelFile) -> Path:
    """Return an ONNX file, which is downloaded into the cache if it has an address.

    Raises:
        InputError: it cannot be downloaded, or its content is not the announced one.
    """
    if model.file:
        return project.submissions / slug / model.file
    assert model.size is not None
    return weights.fetch(str(model.url), model.sha256, model.size)


def problems_of_files(folder: Path, where: str, table: Mapping[str, object]) -> list[str]:
    """List what is wrong with the files that a submission names, where it says where they are."""
    members = table.get("member")
    named = [("model", table.get("model")), ("denoiser", table.get("denoiser"))]
    if isinstance(members, list):
        named += [(f"member #{number}", one) for number, one in enumerate(members, start=1)]
    problems: list[str] = []
    for key, found in named:
        if not isinstance(found, dict):
            continue
        try:
            entry = ModelFile.model_validate({k: v for k, v in found.items() if k != "dataset"})
        except ValidationError:
            continue
        if entry.file is not None:
            path = folder / entry.file
            problems += file_problems(path, where, key, entry.sha256, entry.size)
    return problems
