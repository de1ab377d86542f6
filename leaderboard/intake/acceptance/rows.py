"""The rows of a result from elsewhere: each must follow from the question, the data and itself.

Columns are compared as arrays, so that ten thousand honest rows take a moment. What is wrong is
told once for each fault, with the first example that has it.
"""

import json
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leaderboard.evaluation.shard import PREDICTION
from leaderboard.intake.acceptance.known import Known
from leaderboard.recheck.rows import recheck_all
from leaderboard.recheck.splitting import CUTS, crossings
from leaderboard.results.columns import FLOAT32, REAL
from leaderboard.results.store import Results
from leaderboard.results.witness import fault_of
from leaderboard.settings.setting import exact_fraction, exact_text

Mask = NDArray[np.bool_]
Fault = tuple[str, Mask]

_SAMPLED = ("n0", "n", "count", "p_lower", "procedure", "p_upper", "runner_up", "statistics")
_OVERTIME, _SETUP = 10, 60.0
"""How many budgets an example may take, stages and overruns together, and seconds besides."""
_MOST_TOLD = 20
"""Refusals that are told of one file."""


def of_rows(found: Results, known: Known) -> Iterator[str]:
    """Yield what is wrong with the rows, a sentence each; their columns are in range already."""
    examples = found.rows["example"].tolist()
    if examples != known.examples:
        yield "its examples are not the setting's, each once and in order."
        return
    for fault, mask in _Rows(found.rows, known).faults():
        if mask.any():
            yield f"example {examples[int(mask.argmax())]}: {fault}."


def of_radii(found: Results) -> tuple[list[str], str]:
    """Derive a smoothed model's radii again from the counts; say what is wrong with them.

    The second is why they cannot be derived here; empty if they were.
    """
    told: list[str] = []
    unknown = ""
    for row, one, _ in recheck_all(found):
        if one.accepted is None:
            unknown = one.reason.rstrip(".")
        elif not one.accepted:
            told.append(f"example {row['example']}: {one.reason}")
        if len(told) == _MOST_TOLD:
            break
    return told, unknown


class _Rows:
    """The columns as arrays, and what is wrong with them."""

    def __init__(self, rows: pd.DataFrame, known: Known) -> None:
        self.rows, self.known = rows, known
        self.label, self.prediction = self._number("label"), self._number("prediction")
        self.right: Mask = self.prediction == self.label
        status = self._text("status")
        self.certified, self.falsified = status == "certified", status == "falsified"
        self.witness = self._text("witness")

    def _number(self, name: str) -> NDArray[np.float64]:
        """A column as floats, NaN where it is null."""
        return self.rows[name].to_numpy(float, na_value=np.nan)

    def _text(self, name: str) -> NDArray[np.object_]:
        """A column of texts, None where it is null."""
        values = self.rows[name].astype(object)
        return values.where(values.notna(), None).to_numpy(object)

    def _given(self, name: str) -> Mask:
        return self.rows[name].notna().to_numpy(bool)

    def _is_not(self, name: str, value: object) -> Mask:
        return np.asarray(self._text(name) != value, bool)

    def faults(self) -> Iterator[Fault]:
        """Yield every fault and the rows that have it."""
        yield from self._of_question()
        yield from self._of_data()
        yield from self._of_witnesses()
        yield from self._of_smoothed() if self.known.smoothed else self._of_plain()

    def _of_question(self) -> Iterator[Fault]:
        known = self.known
        yield "it is about another submission", self._is_not("submission", known.submission.slug)
        yield "it is about another setting", self._is_not("setting", known.setting.id)
        yield f"its evaluator is not {known.evaluator}", self._is_not("evaluator", known.evaluator)
        version = self._is_not("evaluator_version", known.version)
        yield f"its evaluator_version is not {known.version}, which is this code's", version
        most = _OVERTIME * known.question.seconds * len(known.stages) + _SETUP
        long = self._number("seconds") > most
        yield f"it took more than {most:g} seconds, which its budget does not allow", long
        stages = {*known.stages, *([] if known.smoothed else [PREDICTION])}
        stage = self._text("stage")
        yield f"its stage is none of {', '.join(stages)}", ~np.isin(stage, [*stages])
        proving = [name for name, proves in known.stages.items() if proves]
        yield "its stage cannot certify", self.certified & ~np.isin(stage, proving)

    def _of_data(self) -> Iterator[Fault]:
        known, classes = self.known, len(self.known.dataset.classes)
        yield "its label is no class", ~(self.label < classes)
        yield "its prediction is no class", self.prediction >= classes
        yield "it is certified, but its prediction is wrong", self.certified & ~self.right
        if known.split is not None:
            labels = labels_of(known)
            yield "its label is not the one of the data", self.label != labels

    def _of_witnesses(self) -> Iterator[Fault]:
        given = self._given("witness")
        yield "it has a witness, but is not falsified", given & ~self.falsified
        yield "it is falsified, but has no witness", ~given & self.falsified & self.right
        # Of a misread example it is the example itself, as the model says where it is run.
        yield "it is misread as it is, but has another witness", given & ~self.right
        pixels = self.known.pixels
        told = ["" if one is None else fault_of(one, pixels) for one in self.witness]
        first = next((one for one in told if one), "")
        yield f"its witness {first}", np.array([one != "" for one in told], bool)

    def _of_plain(self) -> Iterator[Fault]:
        known, margin = self.known, self._number("margin")
        asked = exact_text(known.setting.radius)
        proved = np.asarray(self._text("radius") == asked, bool)
        yield f"it is certified, but its radius is not {asked}", self.certified & ~proved
        yield "it has a radius, but is not certified", self._given("radius") & ~self.certified
        yield "its confidence is not 1", self._number("confidence") != 1
        yield "it is certified, but its margin is not positive", self.certified & ~(margin > 0)
        yield "it is falsified, but its margin is positive", self.falsified & (margin > 0)
        lost = self._is_not("deployment", FLOAT32)
        yield "it is certified, but not for every float32 run", self.certified & lost
        unknown = self._given("deployment") & ~self.certified
        other = unknown & (self.falsified | self._is_not("deployment", REAL))
        yield "its deployment is that of a certified one", other
        for name in (*_SAMPLED, "sigma", "seed"):
            yield f"it has a {name}, but the model is not smoothed", self._given(name)
        at_once = np.asarray(self._text("stage") == PREDICTION, bool)
        decided = self.certified | self.falsified
        yield "it is decided by its prediction, which is right", at_once & decided & self.right
        wrong = ~self.right & self.falsified & ~at_once
        yield "it is read wrongly, but was not decided by its prediction", wrong
        noted = self._is_not("note", "") & decided
        yield "it is decided, but has a note", noted

    def _of_smoothed(self) -> Iterator[Fault]:
        known, question = self.known, self.known.question
        assert question.sigma is not None
        yield "a smoothed model cannot be falsified", self.falsified
        for name in ("margin", "deployment"):
            yield f"it has a {name}, but the model is smoothed", self._given(name)
        sigma = exact_text(question.sigma)
        yield f"its sigma is not {sigma}", self._is_not("sigma", sigma)
        yield (
            "its seed is not that of the model, the setting and the salt drawn for it",
            self._is_not("seed", str(question.seed)),
        )
        yield from self._of_samples()
        radius = [None if one is None else exact(one) for one in self._text("radius")]
        given = self._given("radius")
        unread = given & np.array([one is None for one in radius])
        yield "its radius is no exact number in its shortest form", unread
        yield "it has a radius, but its prediction is wrong", given & ~self.right
        enough = np.array([one is not None and one >= known.setting.radius for one in radius])
        yield "it is certified, but not at the setting's radius", self.certified & ~enough
        yield "its radius is enough, but it is not certified", enough & ~self.certified
        noted = self._is_not("note", "")
        if question.distribution in CUTS:
            told = crossings(question.distribution)
            noted = np.array([told.fullmatch(one or "") is None for one in self._text("note")])
        yield "it is certified, but has a note", self.certified & noted

    def _of_samples(self) -> Iterator[Fault]:
        """Counts are the protocol's; what follows from them is derived again elsewhere."""
        options, sampled = self.known.options, self._given("n")
        for name in _SAMPLED:
            wanted = sampled & (name not in ("p_upper", "runner_up") or options.get("sides") == 2)
            yield f"its {name} is there or missing against its n", self._given(name) != wanted
        exact_noise = "n" not in options
        yield "it has samples, but nothing is sampled", sampled & exact_noise
        bare = (self.certified | self._given("radius")) & ~sampled & (not exact_noise)
        yield "it has a radius but no counts", bare
        answered = self._given("prediction") & ~sampled & (not exact_noise)
        yield "it has a prediction but no counts", answered
        confidence = self._number("confidence")
        sure = 1.0 if exact_noise else 1 - options["failure_probability"]
        yield f"its confidence is not {sure:g}", sampled & (confidence != sure)
        yield "its confidence is not 1, though nothing was sampled", ~sampled & (confidence != 1)
        if exact_noise:
            return
        yield f"its n0 is not {options['n0']:,}", sampled & (self._number("n0") != options["n0"])
        n, count = self._number("n"), self._number("count")
        yield f"its n is not in 1 to {options['n']:,}", sampled & ~((n >= 1) & (n <= options["n"]))
        yield "its count is none of n samples", sampled & ~(count <= n)
        other = self._is_not("procedure", options["procedure"])
        yield f"its procedure is not {options['procedure']}", sampled & other
        yield "its statistics are not what was computed from", self._bad_statistics()

    def _bad_statistics(self) -> Mask:
        """Texts that are not JSON objects of numbers, as they are written here."""
        told = {"classes": len(self.known.dataset.classes), "noise": self.known.options["noise"]}
        return np.array(
            [one is not None and not _is_statistics(one, told) for one in self._text("statistics")]
        )


def _is_statistics(text: str, told: dict[str, Any]) -> bool:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(values, dict) or json.dumps(values, sort_keys=True) != text:
        return False
    if any(values.get(name) != value for name, value in told.items()):
        return False
    rest = [value for name, value in values.items() if name not in told]
    return all(type(one) in (int, float) and math.isfinite(one) for one in rest)


def exact(text: str) -> Fraction | None:
    """Read the number that a text writes in its shortest form; None if it does not."""
    try:
        number = exact_fraction(text)
    except ValueError:
        return None
    return number if exact_text(number) == text else None


def labels_of(known: Known) -> NDArray[np.int64]:
    """Return the data's label of each example asked about."""
    assert known.split is not None
    return known.split.labels_of(known.examples)
