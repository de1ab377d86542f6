"""`certboard certify`: any ONNX model, any ball, without a submission and without a store."""

import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from leaderboard.common.errors import InputError, unknown_name
from leaderboard.common.strict_toml import shown
from leaderboard.datasets.catalogue import find_dataset, load_split
from leaderboard.datasets.files import sha256_of
from leaderboard.datasets.split import Split
from leaderboard.evaluation.evidence import check_place, join
from leaderboard.evaluation.networks import network_of
from leaderboard.evaluation.provenance import describe
from leaderboard.evaluation.shard import can_certify, cut, fingerprint, make_evaluator
from leaderboard.evaluation.smoothing import noises, procedures, rules, strange_options
from leaderboard.evaluation.workers import check_workers, run_shards
from leaderboard.results.store import write
from leaderboard.settings.question import Part, Question, Shard, combined_sha256
from leaderboard.settings.setting import Norm, exact_text, parse_radius

NORMS = get_args(Norm)
MOST_SAMPLES = 10**9
DEFAULT_NOISE = "gaussian"
DEFAULT_RULE = "mean-logits"

_OPTIONS = {
    "n": "samples",
    "failure_probability": "failure_probability",
    "procedure": "procedure",
    "sides": "sides",
}
"""How the command line calls an evaluator's options."""
_OPTION_OF = {key: f"--{name.replace('_', '-')}" for key, name in _OPTIONS.items()}


@dataclass(frozen=True)
class Wish:
    """What the command line asks for, as it was typed."""

    model: Path
    dataset: str
    norm: str
    radius: str
    evaluator: str | None
    examples: int | None
    indices: str | None
    seconds: float
    sigma: str | None
    samples: int | None
    failure_probability: float | None
    device: str
    workers: str
    max_radius: bool
    output: Path | None
    evidence: Path | None = None
    noise: str | None = None
    procedure: str | None = None
    sides: int | None = None
    members: tuple[Path, ...] = ()
    rule: str | None = None
    denoiser: Path | None = None

    @property
    def sampling(self) -> dict[str, object]:
        """What was typed that only a smoothed model has, by the name of its option."""
        typed = {
            "--samples": self.samples,
            "--failure-probability": self.failure_probability,
            "--noise": self.noise,
            "--procedure": self.procedure,
            "--sides": self.sides,
            "--member": self.members or None,
            "--rule": self.rule,
            "--denoiser": self.denoiser,
        }
        return {name: value for name, value in typed.items() if value is not None}


def prepare(wish: Wish) -> tuple[Question, list[int]]:
    """The question that was typed, and the examples chosen; found out before any work is done.

    Raises:
        InputError: a value is not allowed, the model or the data cannot be used, or the rows could
            not be stored.
    """
    question = question_of(wish)
    examples = chosen_examples(wish, load_split(wish.dataset))
    certifies = can_certify(question)
    if question.sigma is not None and (strange := strange_options(question)):
        raise InputError(
            f"The evaluator '{make_evaluator(question, network_of(question)).name()}' has no"
            f" {' and no '.join(_OPTION_OF[name] for name in strange)}."
        )
    if not certifies and wish.max_radius:
        raise InputError(f"--max-radius needs a proof, but '{wish.evaluator}' only refutes.")
    return question, examples


def question_of(wish: Wish) -> Question:
    """The question that was typed.

    Raises:
        InputError: with every value that is not allowed.
    """
    problems = list(_problems(wish))
    radius, sigma = Fraction(1), None
    try:
        radius = parse_radius(wish.radius, "--radius")
    except InputError as error:
        problems += error.problems
    try:
        sigma = None if wish.sigma is None else parse_radius(wish.sigma, "--sigma")
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(*problems)
    options = {key: getattr(wish, name) for key, name in _OPTIONS.items()}
    parts = _parts(wish)
    rule = (wish.rule or DEFAULT_RULE) if wish.members else ""
    return Question(
        dataset=wish.dataset,
        norm=wish.norm,
        radius=radius,
        seconds=wish.seconds,
        evaluator=wish.evaluator,
        options=tuple((name, value) for name, value in options.items() if value is not None),
        distribution=(wish.noise or DEFAULT_NOISE) if sigma is not None else None,
        sigma=sigma,
        model=wish.model,
        model_sha256=combined_sha256(parts, rule) if parts else sha256_of(wish.model),
        device=wish.device,
        evidence=wish.evidence and _parts_folder(wish.evidence),
        parts=parts,
        rule=rule,
    )


def _parts_folder(evidence: Path) -> Path:
    """Where the evidence of each shard waits for the others."""
    return evidence.with_name(f".{evidence.name}.{os.getpid()}.parts")


def _parts(wish: Wish) -> tuple[Part, ...]:
    """The files of a base classifier that is made of several; none where it is one."""
    if not wish.members and wish.denoiser is None:
        return ()
    before = [Part("denoiser", wish.denoiser, sha256_of(wish.denoiser))] if wish.denoiser else []
    members = (wish.model, *wish.members)
    return (*before, *(Part("member", path, sha256_of(path)) for path in members))


def _problems(wish: Wish) -> Iterator[str]:
    """What is wrong with each value by itself, apart from the exact numbers."""
    for path in (wish.model, *wish.members, *([wish.denoiser] if wish.denoiser else [])):
        if not path.is_file():
            yield f"{path}: there is no such file."
    try:
        find_dataset(wish.dataset)
    except InputError as error:
        yield from error.problems
    if wish.norm not in NORMS:
        yield f"--norm is '{wish.norm}'; it must be one of {', '.join(NORMS)}."
    if not 0 < wish.seconds < math.inf:
        yield f"--seconds is {wish.seconds:g}; it must be positive and finite."
    if wish.samples is not None and not 0 < wish.samples <= MOST_SAMPLES:
        yield f"--samples is {wish.samples}; it must be from 1 to {MOST_SAMPLES:,}."
    chance = wish.failure_probability
    if chance is not None and not 0 < chance < 1:
        yield f"--failure-probability is {chance:g}; it must lie between 0 and 1."
    try:
        check_workers(wish.workers)
    except InputError as error:
        yield from error.problems
    if wish.evidence is not None:
        try:
            check_place(wish.evidence)
        except InputError as error:
            yield from error.problems
        if wish.sigma is not None:
            yield "--evidence is for plain networks; a smoothed model's is in its rows: --output."
    if wish.output is not None and not wish.output.parent.is_dir():
        yield f"--output: there is no folder {wish.output.parent}."
    if wish.output is not None and wish.output.suffix != ".parquet":
        yield f"--output is {wish.output}; its name must end in .parquet."
    yield from _sampling_problems(wish)


def _sampling_problems(wish: Wish) -> Iterator[str]:
    """What is wrong with how a smoothed model is asked about."""
    if not wish.sampling:
        return
    if wish.sigma is None:
        verb = "is" if len(wish.sampling) == 1 else "are"
        yield f"{' and '.join(wish.sampling)} {verb} for a smoothed model: give --sigma, too."
        return
    if wish.sides not in (None, 1, 2):
        yield f"--sides is {wish.sides}; it must be 1 or 2."
    if wish.rule is not None and not wish.members:
        yield "--rule is for an ensemble: give --member, too."
    for option, value, known in (
        ("noise", wish.noise, noises()),
        ("procedure", wish.procedure, procedures()),
        ("rule", wish.rule, rules()),
    ):
        if value is not None and value not in known:
            yield from unknown_name(option, value, known).problems


def chosen_examples(wish: Wish, split: Split) -> list[int]:
    """The official indices of the examples that `--examples` or `--indices` choose.

    Raises:
        InputError: both were given, or an index is not a number, not in the dataset, or of an
            example that the data here lack.
    """
    if wish.indices is None:
        if wish.examples is not None and wish.examples < 1:
            raise InputError(f"--examples is {wish.examples}; at least 1 is needed.")
        return list(split.examples[: wish.examples])
    if wish.examples is not None:
        raise InputError("Give --examples or --indices, not both.")
    text = wish.indices
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--indices: {text[1:]} cannot be read as a text file.") from error
    words = text.replace(",", " ").split()
    if not words:
        raise InputError("--indices names no example.")
    last = split.examples[-1] if len(split) else -1
    for word in words:
        is_number = word.isascii() and word.isdecimal() and len(word) < 10
        if not is_number or int(word) > last:
            raise InputError(f"--indices: {shown(word)} is not an example; they are 0 to {last}.")
    examples = [int(word) for word in words]
    if absent := sorted({*examples} - {*split.examples}):
        raise InputError(f"--indices: {absent[0]} is missing; here are {split.note}.")
    for example, count in Counter(examples).items():
        if count > 1:
            raise InputError(f"--indices names {example} {count} times; once is enough.")
    return examples


def certify(
    question: Question,
    examples: list[int],
    workers: str,
    progress: Callable[[pd.DataFrame, bool], None],
    evidence: Path | None = None,
) -> pd.DataFrame:
    """The rows of these examples, in the order asked for; and the file of their evidence.

    Raises:
        InputError: it cannot be written.
    """
    plan = cut(question, examples)
    found: dict[Shard, pd.DataFrame] = {}
    try:
        with closing(run_shards(plan, workers)) as finished:
            for shard, rows in finished:
                found[shard] = rows
                progress(rows, False)
        if evidence is not None:
            join(question, [shard.examples for shard in plan], evidence)
    finally:
        if question.evidence is not None:
            shutil.rmtree(question.evidence, ignore_errors=True)
    return pd.concat([found[shard] for shard in plan], ignore_index=True)


def summary(question: Question, rows: pd.DataFrame) -> dict[str, Any]:
    """The object that `--json` prints."""
    shown = ["example", "label", "prediction", "status", "radius", "margin", "seconds", "stage"]
    counts = rows["status"].value_counts()
    records = rows[[*shown, "note"]].astype(object)
    return {
        "model": str(question.model),
        "dataset": question.dataset,
        "norm": question.norm,
        "radius": exact_text(question.radius),
        "evaluator": str(rows["evaluator"].iloc[0]),
        "seconds": round(float(rows["seconds"].sum()), 3),
        "counts": {s: int(counts.get(s, 0)) for s in ("certified", "falsified", "unknown")},
        "rows": records.where(records.notna(), None).to_dict("records"),
    }


def store(path: Path, question: Question, rows: pd.DataFrame, wish: Wish) -> None:
    """Write the rows to a Parquet file of the result store's format.

    Raises:
        InputError: the place cannot be written.
    """
    examples = rows["example"].tolist()
    setting = f"{question.dataset}-{question.norm}-{exact_text(question.radius).replace('/', '_')}"
    digest = fingerprint(question, examples, load_split(question.dataset).sha256)
    selection = f"{len(examples)} chosen by index"
    provenance = describe(question, question.model.stem, setting, selection, digest, wish.workers)
    if wish.max_radius:
        options = {**provenance.options, "max_radius": True}
        provenance = provenance.model_copy(update={"options": options, "fingerprint": ""})
    write(path, rows.assign(submission=question.model.stem, setting=setting), provenance)
