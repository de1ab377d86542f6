"""Some stored rows of a smoothed model, drawn again and compared number by number.

The noise is a function of the seed and the samples' numbers, so the same machine, or one of the
same kind, must count the same. Another kind may round the network's sums differently, and a sample
on the boundary between two classes may then change sides.
"""

import json
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from leaderboard.common.errors import InputError
from leaderboard.evaluation.shard import evaluate
from leaderboard.recheck.rows import asked_by, noise_of
from leaderboard.results.store import Provenance, Results
from leaderboard.results.tally import stored_fraction
from leaderboard.settings.question import Question, Shard
from leaderboard.submissions.identity import ModelParts

_COMPARED = (
    "label", "prediction", "status", "n0", "n", "count", "runner_up", "sigma", "seed", "radius",
)  # fmt: skip
_SAME = 1e-9
"""Relative: sums of noise, which are no counts, may be added up in another order."""
SECONDS = 3600.0
"""Of an example: nothing may be given up that was not given up before."""

_OPTIONS = ("n0", "n", "failure_probability", "procedure", "sides", "noise")


def choose(rows: pd.DataFrame, number: int, seed: int) -> list[int]:
    """The examples to draw again: as many, at random, of those that were sampled.

    Where nothing is sampled (all splits of splitting noise vote) of all.
    """
    drawn = rows[rows["n"].notna()] if rows["n"].notna().any() else rows
    sampled = sorted(int(example) for example in drawn["example"])
    return sorted(random.Random(seed).sample(sampled, min(number, len(sampled))))


def question_again(
    result: Results, parts: ModelParts, dataset: str | None, device: str
) -> Question:
    """The question that the rows answered, about the model in these files.

    Raises:
        InputError: the files are not those that were measured, or the dataset is another.
    """
    origin = result.provenance
    asked = asked_by(origin, result.path)
    if dataset not in (None, asked.dataset):
        raise InputError(f"--dataset is '{dataset}', but these rows are about '{asked.dataset}'.")
    if parts.sha256 != origin.model_sha256:
        raise InputError(
            f"{parts.files[-1].path}: its SHA-256, {parts.sha256}, is not that of the model that"
            f" was measured, {origin.model_sha256}."
        )
    options = {name: origin.options[name] for name in _OPTIONS if name in origin.options}
    return Question(
        dataset=asked.dataset,
        norm=asked.norm,
        radius=asked.radius,
        seconds=SECONDS,
        evaluator=origin.evaluator,
        options=tuple(sorted(options.items())),
        distribution=noise_of(origin),
        sigma=stored_fraction(str(result.rows["sigma"].dropna().iloc[0])),
        model=parts.main,
        model_sha256=parts.sha256,
        device=device,
        parts=parts.several,
        rule=parts.rule,
        noise_salt=origin.noise_salt,
    )


def redraw(
    question: Question, result: Results, examples: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Draw each example again; what was stored, what came, and whether they are the same."""
    stored = result.rows.set_index("example")
    for example in examples:
        again = evaluate(Shard(question, (example,))).iloc[0]
        before = stored.loc[example]
        different = [
            f"{name} {_text(before[name])}, now {_text(again[name])}"
            for name in _COMPARED
            if _text(before[name]) != _text(again[name])
        ]
        different += _other_statistics(before["statistics"], again["statistics"])
        yield {
            "example": int(example),
            "accepted": not different,
            "count": None if pd.isna(again["count"]) else int(again["count"]),
            "reason": "; ".join(different),
        }


def _other_statistics(before: Any, again: Any) -> Iterator[str]:
    """What else was stored and comes out differently; old files have less of it."""
    if pd.isna(before) or pd.isna(again):
        return
    stored, now = json.loads(before), json.loads(again)
    for name in sorted(stored.keys() & now.keys()):
        one, other = stored[name], now[name]
        if isinstance(one, float) and isinstance(other, float):
            if not math.isclose(one, other, rel_tol=_SAME):
                yield f"{name} {one}, now {other}"
        elif one != other:
            yield f"{name} {one}, now {other}"


def _text(value: Any) -> str:
    return "none" if pd.isna(value) else str(value)


def other_machine(origin: Provenance, now: Provenance) -> str:
    """How this machine differs from the one that stored the rows, as a sentence; empty if not."""
    different = [
        f"{name.replace('_', ' ')} {getattr(origin, name)}, here {getattr(now, name)}"
        for name in ("evaluator_version", "machine", "torch", "device", "threads")
        if getattr(origin, name) != getattr(now, name)
    ]
    return f"The rows were made elsewhere: {'; '.join(different)}." if different else ""
