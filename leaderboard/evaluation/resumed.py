"""Rows that are there already: an evaluation goes on with those alone that can be its own.

A folder of results may be one that others write to, or be years old. What a bound proved cannot be
seen here (`certboard recheck` asks); but a row of another question, with another label, or that
claims what it does not carry, is not gone on with.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leaderboard.datasets.catalogue import load_split
from leaderboard.evaluation.evaluator import evaluator_of
from leaderboard.results.columns import DESCRIBED, FLOAT32, Column
from leaderboard.results.tally import stored_fraction
from leaderboard.settings.question import Question
from leaderboard.settings.setting import exact_text

Misfit = tuple[str, NDArray[np.bool_]]


def misfit(rows: pd.DataFrame, question: Question, place: tuple[str, str]) -> str:
    """Say why some rows cannot be the answer to a question; empty if they can.

    Args:
        rows: all columns of `results.store.COLUMNS`.
        question: what was asked.
        place: the submission and the setting that they are stored under.
    """
    for column in DESCRIBED:
        if problem := _form(rows[column.name], column):
            return problem
    examples = [int(one) for one in rows["example"]]
    for fault, mask in _faults(rows, question, place, examples):
        if mask.any():
            return f"example {examples[int(mask.argmax())]}: {fault}"
    return ""


def _form(values: "pd.Series[Any]", column: Column) -> str:
    """What a value of a column cannot be."""
    known = values.dropna()
    if len(known) < len(values) and not column.null:
        return f"the {column.name} is missing in some rows"
    if column.kind in ("integer", "number"):
        numbers = known.to_numpy(float)
        inside = np.isfinite(numbers) & (numbers >= column.least) & (numbers <= column.most)
        return "" if inside.all() else f"a {column.name} is out of its range"
    for text in known.unique() if column.kind in ("text", "fraction") else ():
        if len(text) > column.longest or not re.fullmatch(column.form, text):
            return f"a {column.name} is what it cannot be"
    return ""


def _faults(
    rows: pd.DataFrame, question: Question, place: tuple[str, str], examples: Sequence[int]
) -> Iterator[Misfit]:
    """Yield every fault and the rows that have it."""
    evaluator = evaluator_of(question)
    wanted = {
        "submission": place[0],
        "setting": place[1],
        "evaluator": evaluator.name(),
        "evaluator_version": evaluator.version,
    }
    for name, value in wanted.items():
        yield f"its {name} is not {value}", (rows[name] != value).to_numpy(bool)
    split = load_split(question.dataset)
    if not set(examples) <= set(split.examples):
        yield "there is no such example", ~rows["example"].isin(split.examples).to_numpy(bool)
        return
    labels = rows["label"].to_numpy(int)
    yield "its label is not the one of the data", labels != split.labels_of(examples)
    certified = (rows["status"] == "certified").to_numpy(bool)
    right = rows["prediction"].to_numpy(float, na_value=np.nan) == labels
    yield "it is certified, but its prediction is wrong", certified & ~right
    radius = rows["radius"].map(stored_fraction, na_action="ignore")
    enough = np.array([not pd.isna(one) and one >= question.radius for one in radius], bool)
    yield "it is certified, but not at the radius asked about", certified & ~enough
    if question.sigma is not None:
        yield "its seed is another", (rows["seed"] != str(question.seed)).to_numpy(bool)
        yield "its sigma is another", (rows["sigma"] != exact_text(question.sigma)).to_numpy(bool)
        return
    yield "it has a radius, but is not certified", rows["radius"].notna().to_numpy() & ~certified
    margin = rows["margin"].to_numpy(float, na_value=np.nan)
    yield "it is certified, but its margin is not positive", certified & ~(margin > 0)
    lost = (rows["deployment"].astype(object) != FLOAT32).to_numpy(bool)
    yield "it is certified, but not for every float32 run", certified & lost
