"""What `certboard certify` can be asked, in sections, and the question that follows from it."""

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

from leaderboard.common.errors import InputError, Problems, problems_of, unknown_name
from leaderboard.common.places import check_writable
from leaderboard.common.strict_toml import shown
from leaderboard.datasets.catalogue import find_dataset
from leaderboard.datasets.split import Split
from leaderboard.evaluation.evidence import check_place
from leaderboard.evaluation.own_file import layout_of, own_file
from leaderboard.evaluation.workers import check_workers
from leaderboard.settings.question import Question
from leaderboard.settings.setting import NormName, parse_radius
from leaderboard.submissions.identity import ModelParts
from leaderboard.submissions.noises import RULES

MOST_SAMPLES = 10**9
LEAST_CHANCE = 1e-100
"""Far below what means anything; of much less special functions lose their digits."""
DEFAULT_NOISE = "gaussian"


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """The ONNX files of a model: one network, or the parts of a smoothed model's base.

    `channels_last` and `input_shape` say how the classifiers want their pixels.
    """

    model: Path
    members: Sequence[Path] = ()
    rule: str | None = None
    denoiser: Path | None = None
    channels_last: bool = False
    input_shape: str | None = None

    def plain(self, dataset: str) -> "ModelFiles":
        """Return the same classifiers in files as the board takes them.

        Raises:
            InputError: one cannot be made into such a file.
        """
        layout = layout_of(self.channels_last, self.input_shape)
        model, *members = (
            own_file(path, dataset, layout) if path.is_file() else path
            for path in (self.model, *self.members)
        )
        return replace(self, model=model, members=members)

    def parts(self) -> ModelParts:
        """Return the files with their hashes.

        Raises:
            InputError: files are missing.
        """
        rule = self.rule or RULES[0]
        return ModelParts.of_files(
            self.model, members=self.members, denoiser=self.denoiser, rule=rule
        )


@dataclass(frozen=True, kw_only=True)
class ExampleSelection:
    """Which test examples: the first few, or those whose indices are typed or in `@file`."""

    examples: int | None = None
    indices: str | None = None


OPTION_OF = {
    "n": "--samples",
    "failure_probability": "--failure-probability",
    "procedure": "--procedure",
    "sides": "--sides",
}
"""How the command line calls an evaluator's options."""


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How a smoothed model is smoothed and sampled; None stands for the default."""

    sigma: str | None = None
    samples: int | None = None
    failure_probability: float | None = None
    noise: str | None = None
    procedure: str | None = None
    sides: int | None = None

    @property
    def typed(self) -> dict[str, Any]:
        """What was given besides σ, by the name of its option."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return {f"--{name.replace('_', '-')}": given[name] for name in given if name != "sigma"}

    @property
    def options(self) -> dict[str, Any]:
        """The evaluator's options that were given, as the evaluator calls them."""
        return {name: self.typed[key] for name, key in OPTION_OF.items() if key in self.typed}


@dataclass(frozen=True, kw_only=True)
class CertifyOptions:
    """What the command line asks for, as it was typed.

    `max_radius` asks for the largest radius of each example, up to `radius`; `output` and
    `evidence` are the files to write.
    """

    files: ModelFiles
    dataset: str
    norm: str
    radius: str
    evaluator: str | None = None
    seconds: float = 60.0
    selection: ExampleSelection = field(default_factory=ExampleSelection)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    max_radius: bool = False
    device: str = "cpu"
    workers: str = "1"
    output: Path | None = None
    evidence: Path | None = None

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self.files.model.name} · {self.norm} {self.radius}"

    @property
    def only_smoothed(self) -> dict[str, object]:
        """What was typed that only a smoothed model has, by the name of its option."""
        files = {
            "--member": self.files.members or None,
            "--rule": self.files.rule,
            "--denoiser": self.files.denoiser,
        }
        given = {name: value for name, value in files.items() if value is not None}
        return {**self.sampling.typed, **given}


def question_of(typed: CertifyOptions) -> Question:
    """Return the question that was typed.

    Raises:
        InputError: with every value that is not allowed.
    """
    problems = Problems(_problems(typed))
    radius, sigma, parts = Fraction(1), None, ModelParts(())
    with problems.gathered():
        radius = parse_radius(typed.radius, "--radius")
    with problems.gathered():
        scale = typed.sampling.sigma
        sigma = None if scale is None else parse_radius(scale, "--sigma")
    of_files = Problems()
    with of_files.gathered():
        plain = typed.files if problems else typed.files.plain(typed.dataset)
        parts = plain.parts()
    Problems([*of_files, *problems]).refuse()
    return Question(
        dataset=typed.dataset,
        norm=typed.norm,
        radius=radius,
        seconds=typed.seconds,
        evaluator=typed.evaluator,
        options=tuple(typed.sampling.options.items()),
        distribution=(typed.sampling.noise or DEFAULT_NOISE) if sigma is not None else None,
        sigma=sigma,
        model=parts.main,
        model_sha256=parts.sha256,
        device=typed.device,
        evidence=typed.evidence and _parts_folder(typed.evidence),
        parts=parts.several,
        rule=parts.rule,
    )


def _parts_folder(evidence: Path) -> Path:
    """Where the evidence of each shard waits for the others."""
    return evidence.with_name(f".{evidence.name}.{os.getpid()}.parts")


def _problems(typed: CertifyOptions) -> Iterator[str]:
    """What is wrong with each value by itself, apart from the exact numbers."""
    yield from problems_of(find_dataset, typed.dataset)
    if typed.norm not in get_args(NormName):
        yield f"--norm is '{typed.norm}'; it must be one of {', '.join(get_args(NormName))}."
    if not 0 < typed.seconds < math.inf:
        yield f"--seconds is {typed.seconds:g}; it must be positive and finite."
    if typed.sampling.samples is not None and not 0 < typed.sampling.samples <= MOST_SAMPLES:
        yield f"--samples is {typed.sampling.samples}; it must be from 1 to {MOST_SAMPLES:,}."
    chance = typed.sampling.failure_probability
    if chance is not None and not LEAST_CHANCE <= chance < 1:
        yield f"--failure-probability is {chance:g}; it must lie between {LEAST_CHANCE:g} and 1."
    yield from problems_of(check_workers, typed.workers)
    if typed.evidence is not None:
        yield from problems_of(check_place, typed.evidence)
        if typed.sampling.sigma is not None:
            yield "--evidence is for plain networks; a smoothed model's is in its rows: --output."
    if typed.output is not None and not typed.output.parent.is_dir():
        yield f"--output: there is no folder {typed.output.parent}."
    for place in (typed.output, typed.evidence):
        if place is not None and place.parent.is_dir():
            yield from problems_of(check_writable, place)
    if typed.output is not None and typed.output.suffix != ".parquet":
        yield f"--output is {typed.output}; its name must end in .parquet."
    yield from _sampling_problems(typed)


def _sampling_problems(typed: CertifyOptions) -> Iterator[str]:
    """What is wrong with how a smoothed model is asked about."""
    if not typed.only_smoothed:
        return
    if typed.sampling.sigma is None:
        verb = "is" if len(typed.only_smoothed) == 1 else "are"
        yield f"{' and '.join(typed.only_smoothed)} {verb} for a smoothed model: give --sigma, too."
        return
    if typed.sampling.sides not in (None, 1, 2):
        yield f"--sides is {typed.sampling.sides}; it must be 1 or 2."
    if typed.files.rule is not None and not typed.files.members:
        yield "--rule is for an ensemble: give --member, too."
    from leaderboard.evaluation.smoothing import noises, procedures, rules

    for option, value, known in (
        ("noise", typed.sampling.noise, noises()),
        ("procedure", typed.sampling.procedure, procedures()),
        ("rule", typed.files.rule, rules()),
    ):
        if value is not None and value not in known:
            yield from unknown_name(option, value, known).problems


def chosen_examples(selection: ExampleSelection, split: Split) -> list[int]:
    """Choose examples by `--examples` or `--indices`; return their official indices.

    Raises:
        InputError: both were given, or an index is not a number, not in the dataset, or of an
            example that the data here lack.
    """
    if selection.indices is None:
        if selection.examples is not None and selection.examples < 1:
            raise InputError(f"--examples is {selection.examples}; at least 1 is needed.")
        return list(split.examples[: selection.examples])
    if selection.examples is not None:
        raise InputError("Give --examples or --indices, not both.")
    text = selection.indices
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"--indices: {text[1:]} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise InputError(f"--indices: {text[1:]} is not a text file of indices.") from error
    last = split.examples[-1] if len(split) else -1
    examples = list(_numbers_in(text, last))
    if not examples:
        raise InputError("--indices names no example.")
    if absent := sorted({*examples} - {*split.examples}):
        raise InputError(f"--indices: {absent[0]} is missing; here are {split.note}.")
    for example, count in Counter(examples).items():
        if count > 1:
            raise InputError(f"--indices names {example} {count} times; once is enough.")
    return examples


def _numbers_in(text: str, last: int) -> Iterator[int]:
    """The numbers up to `last` that a text lists, by themselves or as ranges such as 10-19."""
    for word in re.sub(r"\s*-\s*", "-", text).replace(",", " ").split():
        told = re.fullmatch("([0-9]{1,9})(?:-([0-9]{1,9}))?", word)
        first, final = (int(told[1]), int(told[2] or told[1])) if told else (last + 1, 0)
        if max(first, final) > last:
            raise InputError(f"--indices: {shown(word)} is not an example; they are 0 to {last}.")
        if final < first:
            raise InputError(f"--indices: {shown(word)} ends before it begins.")
        yield from range(first, final + 1)
