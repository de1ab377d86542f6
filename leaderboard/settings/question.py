"""What is asked about a model, and how the work is cut into shards."""

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any, Literal

LARGEST_SHARD = 100
"""Examples: what a killed run loses at most."""
LONGEST_SHARD = 600.0
"""Seconds: the same, where each example may take all of its time. (A longer one has a shard.)"""
LONGEST_OPEN = 60.0
"""Seconds: the same of examples that cheap methods leave open, so that no worker waits long for
the last one."""
_SHARD_PIXELS = 4_000_000


Role = Literal["denoiser", "member"]

Options = tuple[tuple[str, Any], ...]
"""An evaluator's options by name, those that differ from its defaults."""


@dataclass(frozen=True)
class Part:
    """One ONNX file of a base classifier that is made of several."""

    role: Role
    path: Path
    sha256: str


def combined_sha256(parts: Sequence[Part], rule: str) -> str:
    """What stands for the hash of a model that is made of several files.

    The SHA-256 of one line a file, its role and its SHA-256, in order (the denoiser first, then the
    members as they are named), and of the ensemble's rule if there are several members:

        denoiser 3b4c…
        member 9f86…
        member 60ad…
        rule mean-logits
    """
    lines = [f"{part.role} {part.sha256}" for part in parts]
    lines += [f"rule {rule}"] if rule else []
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def new_salt() -> str:
    """A salt that nobody knew before."""
    return secrets.token_hex(16)


@dataclass(frozen=True)
class Question:
    """What is asked about a model; everything that its rows depend on besides the model.

    Attributes:
        dataset: name of the dataset, whose test split is used.
        norm, radius: the region.
        seconds: time budget of an example: on the CPU of processor time (`Problem.seconds`).
        evaluator: a name of the catalogue, or None for the protocol: the cascade for a plain
            network, smoothing for a smoothed one.
        complete: whether the cascade's complete stages are asked, too.
        options: the evaluator's options that differ from its defaults.
        distribution, sigma: the noise and its scale, as an exact fraction, if the model is a
            smoothed one.
        model, model_sha256: the ONNX file, and the content that is asked about.
        parts: where the base classifier is made of several files, all of them; `model` is then
            the first member, and `model_sha256` is `combined_sha256`.
        rule: how the members of an ensemble are combined.
        salt: of the random numbers on which the imported network is compared with onnxruntime:
            drawn when a question is asked, after the model was submitted. Rows do not depend on it.
        noise_salt: of the noise of a smoothed model, as its board has drawn it once and for all
            (`board.noise_salts`); empty where none has. Rows depend on it, by the seed.
        device: as `--device`: cpu, cuda, cuda:N or several.
        evidence: the folder for the parts of a file of evidence, one a shard; None writes none.
            Verdicts do not depend on it.
        code: the digest of the code that must answer (`leaderboard.evaluation.sources`); empty for
            whatever code is there.
    """

    dataset: str
    norm: str
    radius: Fraction
    seconds: float
    evaluator: str | None
    options: Options
    distribution: str | None
    sigma: Fraction | None
    model: Path
    model_sha256: str
    device: str = "cpu"
    evidence: Path | None = None
    complete: bool = True
    parts: tuple[Part, ...] = ()
    rule: str = ""
    salt: str = field(default_factory=new_salt)
    noise_salt: str = ""
    code: str = ""

    @property
    def seed(self) -> int:
        """Of the random streams: who evaluates has no choice, nor, with a salt, who submits."""
        asked = self.model_sha256, self.dataset, self.norm, self.radius
        return seed_of(*asked, self.noise_salt)


def seed_of(
    model_sha256: str, dataset: str, norm: str, radius: Fraction, noise_salt: str = ""
) -> int:
    """The seed of an evaluation: 63 bits of the SHA-256 of all this, separated by spaces."""
    asked = f"{model_sha256} {dataset} {norm} {radius}"
    # What was measured before there were salts keeps its seed.
    asked += f" {noise_salt}" if noise_salt else ""
    key = hashlib.sha256(asked.encode()).digest()
    return int.from_bytes(key[:8], "little") >> 1


@dataclass(frozen=True)
class Open:
    """What an example has cost, and the best bound proved, when cheap methods have not decided it.

    Attributes:
        example: its index.
        seconds: spent until now.
        margin: lower bound of the margin over the region, if there is one.
    """

    example: int
    seconds: float
    margin: float | None


Stages = Literal["all", "cheap", "complete"]
"""Those of a cascade that are asked."""


@dataclass(frozen=True)
class Shard:
    """Some examples of one question.

    Attributes:
        stages: of the cascade, which are asked: cheap ones of many examples together, complete
            ones of few that those left open.
        opened: where complete stages are asked, what is known of each example.
    """

    question: Question
    examples: tuple[int, ...]
    stages: Stages = "all"
    opened: tuple[Open, ...] = ()

    @property
    def name(self) -> str:
        """Of its files."""
        name = f"{self.examples[0]:08d}-{self.examples[-1]:08d}"
        return name if self.stages == "all" else f"{name}.{self.stages}"


def shards(
    question: Question, examples: Sequence[int], shape: tuple[int, ...], longest: float
) -> Iterator[Shard]:
    """Cut examples into shards, all but the last of one size.

    It follows from the shape of an image and from the seconds that an example may take, as far as
    they are known (`longest`, else 0).
    """
    size = min(LARGEST_SHARD, _SHARD_PIXELS // prod(shape))
    if longest * size > LONGEST_SHARD:
        size = int(LONGEST_SHARD / longest)
    size = max(1, size)
    for first in range(0, len(examples), size):
        yield Shard(question, tuple(examples[first : first + size]))
