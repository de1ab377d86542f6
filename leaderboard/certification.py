"""`certboard certify`: any ONNX model, any ball, without a submission and without a store."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboard.dataset import find_dataset
from leaderboard.errors import InputError
from leaderboard.evaluation import sha256_of
from leaderboard.provenance import describe
from leaderboard.results import write
from leaderboard.run import Question, fingerprint, load_split, shards
from leaderboard.setting import exact_fraction, parse_radius
from leaderboard.workers import run_shards

NORMS = ("linf", "l2", "l1")


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
    samples: int
    failure_probability: float
    device: str


def question_of(wish: Wish) -> Question:
    """The question that was typed.

    Raises:
        InputError: with every value that is not allowed.
    """
    problems: list[str] = []
    radius, sigma = Fraction(1), None
    try:
        radius = parse_radius(wish.radius, "--radius")
    except InputError as error:
        problems += error.problems
    if wish.sigma is not None:
        try:
            sigma = exact_fraction(wish.sigma)
        except ValueError as error:
            problems.append(f"--sigma is '{wish.sigma}', but {error}.")
    if wish.norm not in NORMS:
        problems.append(f"--norm is '{wish.norm}'; it must be one of {', '.join(NORMS)}.")
    if not wish.seconds > 0:
        problems.append(f"--seconds is {wish.seconds:g}; it must be positive.")
    if not 0 < wish.failure_probability < 1:
        problems.append("--failure-probability must lie between 0 and 1.")
    if wish.samples < 1:
        problems.append(f"--samples is {wish.samples}; at least 1 is needed.")
    if not wish.model.is_file():
        problems.append(f"{wish.model}: there is no such file.")
    try:
        find_dataset(wish.dataset)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(*problems)
    options = (("failure_probability", wish.failure_probability), ("n", wish.samples))
    return Question(
        dataset=wish.dataset,
        norm=wish.norm,
        radius=radius,
        seconds=wish.seconds,
        evaluator=wish.evaluator,
        options=options if sigma is not None else (),
        distribution="gaussian" if sigma is not None else None,
        sigma=sigma,
        seed_text=f"{wish.dataset} {wish.norm} {radius}",
        model=wish.model,
        model_sha256=sha256_of(wish.model),
        device=wish.device,
    )


def chosen_examples(wish: Wish, total: int) -> list[int]:
    """The examples that `--examples` or `--indices` choose.

    Raises:
        InputError: both were given, or an index is not a number or not in the dataset.
    """
    if wish.indices is None:
        if wish.examples is not None and wish.examples < 1:
            raise InputError(f"--examples is {wish.examples}; at least 1 is needed.")
        return list(range(min(total, total if wish.examples is None else wish.examples)))
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
    for word in words:
        if not (word.isascii() and word.isdecimal()) or int(word) >= total:
            raise InputError(f"--indices: '{word}' is not an example; they are 0 to {total - 1}.")
    return [int(word) for word in words]


def certify(
    question: Question,
    examples: list[int],
    workers: str,
    progress: Callable[[pd.DataFrame, bool], None],
) -> pd.DataFrame:
    """The rows of these examples, in the order asked for."""
    pixels = 1
    for size in load_split(question.dataset).shape:
        pixels *= size
    plan = list(shards(question, examples, pixels))
    order = {shard: position for position, shard in enumerate(plan)}
    found: dict[int, pd.DataFrame] = {}
    for shard, rows in run_shards(plan, workers):
        found[order[shard]] = rows
        progress(rows, False)
    return pd.concat([found[position] for position in range(len(plan))], ignore_index=True)


def summary(question: Question, rows: pd.DataFrame) -> dict[str, Any]:
    """The object that `--json` prints."""
    shown = ["example", "label", "prediction", "status", "radius", "margin", "seconds", "stage"]
    counts = rows["status"].value_counts()
    records = rows[[*shown, "note"]].astype(object)
    return {
        "model": str(question.model),
        "dataset": question.dataset,
        "norm": question.norm,
        "radius": str(question.radius),
        "evaluator": str(rows["evaluator"].iloc[0]),
        "seconds": round(float(rows["seconds"].sum()), 3),
        "counts": {s: int(counts.get(s, 0)) for s in ("certified", "falsified", "unknown")},
        "rows": records.where(records.notna(), None).to_dict("records"),
    }


def store(path: Path, question: Question, rows: pd.DataFrame, workers: str) -> None:
    """Write the rows to a Parquet file of the result store's format.

    Raises:
        InputError: the place cannot be written.
    """
    examples = rows["example"].tolist()
    setting = f"{question.dataset}-{question.norm}-{str(question.radius).replace('/', '_')}"
    digest = fingerprint(question, examples, load_split(question.dataset).sha256)
    selection = f"{len(examples)} chosen by index"
    provenance = describe(question, question.model.stem, setting, selection, digest, workers)
    write(path, rows.assign(submission=question.model.stem, setting=setting), provenance)
