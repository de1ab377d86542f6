"""What pages show of single examples, worked out once from an evaluation's columns.

The verdict of each as one letter; how long they took; and a few that are worth a look, the hardest,
the easiest and the falsified, chosen by a measure that is named. Ties go to the example that comes
first in the test set.
"""

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from leaderboard.results.tally import CountedColumns, Texts, stored_fraction

CERTIFIED, FALSIFIED, WRONG, UNKNOWN = "c", "f", "w", "u"
MEANING = {
    CERTIFIED: "certified",
    FALSIFIED: "falsified: a perturbation changes its class",
    WRONG: "misread without any perturbation",
    UNKNOWN: "unknown",
}

MOST = 4
"""Examples of each kind."""

PARTS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of a distribution of times, which parts are told."""

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
Letters = NDArray[np.str_]
Witnesses = Callable[[Sequence[int]], Mapping[int, bytes | None]]
"""Gives, of some rows, the inputs that refute them."""


@dataclass(frozen=True)
class Shown:
    """One row, as far as a page tells it; `witness` is as it is stored (`results.witness`).

    It is None, too, where it is the example itself (`misread`).
    """

    example: int
    label: int
    prediction: int | None
    status: str
    stage: str
    margin: float | None
    radius: str | None
    seconds: float
    witness: bytes | None

    @property
    def misread(self) -> bool:
        """Whether the example itself, without any perturbation, is not read as its label."""
        return self.prediction != self.label


@dataclass(frozen=True)
class Group:
    """Some examples and the measure by which they were chosen, as the end of a heading."""

    title: str
    measure: str
    examples: tuple[Shown, ...]


@dataclass(frozen=True)
class Times:
    """Seconds spent on the examples of one status; `parts` are the quantiles `PARTS`."""

    examples: int
    parts: tuple[float, ...]
    longest: float
    together: float


@dataclass(frozen=True)
class Highlights:
    """Of one evaluation at its setting's radius.

    Attributes:
        letters: the verdict of each row, one of `MEANING`.
        examples: the index of each row in the test set.
        times: by status, as it was stored.
        groups: those that have something to show.
    """

    letters: str
    examples: Sequence[int]
    times: Mapping[str, Times]
    groups: tuple[Group, ...]


def highlight(columns: CountedColumns, witnesses: Witnesses, radius: Fraction) -> Highlights:
    """Highlights of the rows in `columns`; `witnesses` is asked once."""
    came = letters(columns, radius)
    return Highlights(
        letters="".join(came.tolist()),
        examples=_indices(columns.numbers["example"]),
        times=_times(columns),
        groups=_groups(columns, came, witnesses),
    )


def letters(columns: CountedColumns, radius: Fraction) -> Letters:
    """One letter a row, at the setting's radius; `Tally.certified` counts the same.

    A plain model's verdict was decided at that radius; a smoothed one's is decided again from the
    radius it stored.
    """
    predicted, label = columns.numbers["prediction"], columns.numbers["label"]
    falsified = _is(columns.texts["status"], "falsified")
    if _smoothed(columns):
        proved = columns.texts["radius"]
        reaching = np.array([stored_fraction(text) >= radius for text in proved.values], dtype=bool)
        certified = _picked(proved, reaching) & (predicted == label) & ~falsified
    else:
        certified = _is(columns.texts["status"], "certified")
    found = np.full(len(label), UNKNOWN)
    found[falsified] = FALSIFIED
    # Abstaining is unknown, not wrong.
    found[(predicted != label) & ~np.isnan(predicted)] = WRONG
    found[certified] = CERTIFIED
    return found


def _smoothed(columns: CountedColumns) -> bool:
    return len(columns.texts["sigma"].values) > 0


def _is(texts: Texts, wanted: str) -> NDArray[np.bool_]:
    return _picked(texts, np.array([text == wanted for text in texts.values], dtype=bool))


def _picked(texts: Texts, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Per row, whether its text is among the chosen ones; a missing one is not."""
    # The code of a missing text, −1, finds what is put last.
    found: NDArray[np.bool_] = np.append(chosen, False)[texts.codes]
    return found


def _indices(numbers: Floats) -> Sequence[int]:
    found = numbers.astype(np.int64)
    if len(found) > 1 and (step := int(found[1] - found[0])) > 0:
        regular = range(int(found[0]), int(found[-1]) + 1, step)
        if (np.diff(found) == step).all():
            return regular
    return array("q", found.tobytes())


def repeated(examples: Sequence[int]) -> int | None:
    """The first index that is there more than once; None where every one is there once."""
    if isinstance(examples, range):
        return None
    found, counts = np.unique(np.asarray(examples), return_counts=True)
    return next(iter(found[counts > 1].tolist()), None)


def _times(columns: CountedColumns) -> dict[str, Times]:
    found = {}
    for status in columns.texts["status"].values:
        some = np.sort(columns.numbers["seconds"][_is(columns.texts["status"], status)])
        if some.size:
            parts = tuple(float(some[int(part * (some.size - 1))]) for part in PARTS)
            found[status] = Times(some.size, parts, float(some[-1]), float(some.sum()))
    return found


def _groups(columns: CountedColumns, came: Letters, witnesses: Witnesses) -> tuple[Group, ...]:
    proved, unknown = np.flatnonzero(came == CERTIFIED), np.flatnonzero(came == UNKNOWN)
    name, amount = _measure(columns, proved)
    by_amount = _ascending(amount, proved)
    half = (len(by_amount) + 1) // 2
    hard, easy = _ENDS[name]
    chosen = [
        # Where few are certified, none is shown both as hard and as easy.
        ("Hardest to certify", f"certified with {hard}", by_amount[:half]),
        ("Easiest to certify", f"certified with {easy}", by_amount[half:][::-1]),
        ("Falsified", "the longest search first", _falsified(columns, came)),
        ("Left unknown", *_nearest(columns, unknown)),
    ]
    shown = [(title, measure, places[:MOST].tolist()) for title, measure, places in chosen]
    refuted = _is(columns.texts["status"], "falsified")
    inputs = witnesses([at for _, _, places in shown for at in places if refuted[at]])
    return tuple(
        Group(title, measure, tuple(_shown(columns, at, inputs.get(at)) for at in places))
        for title, measure, places in shown
        if places
    )


_ENDS = {
    "radius": ("the smallest radius", "the largest radius"),
    "margin": ("the smallest proved margin", "the largest proved margin"),
    "time": ("the most time", "the least time"),
}


def _measure(columns: CountedColumns, proved: Places) -> tuple[str, Floats]:
    """What tells a hard certificate from an easy one, ascending from hard to easy."""
    if _smoothed(columns):
        return "radius", _radii(columns)
    margin = columns.numbers["margin"]
    if np.isfinite(margin[proved]).any():
        return "margin", margin
    return "time", -columns.numbers["seconds"]


def _falsified(columns: CountedColumns, came: Letters) -> Places:
    """Those that a perturbation changed first, longest search first; then those misread as is."""
    attacked = _ascending(-columns.numbers["seconds"], np.flatnonzero(came == FALSIFIED))
    return np.concatenate([attacked, np.flatnonzero(came == WRONG)])


def _nearest(columns: CountedColumns, places: Places) -> tuple[str, Places]:
    """What is neither proved nor falsified, nearest to a proof first."""
    if _smoothed(columns):
        return "the largest radius first", _ascending(-_radii(columns), places)
    margin = columns.numbers["margin"]
    if np.isfinite(margin[places]).any():
        return "the bound nearest to a proof first", _ascending(-margin, places)
    return "in the order of the test set", places


def _radii(columns: CountedColumns) -> Floats:
    """Proved radii, 0 where nothing was proved: only for ordering."""
    proved = columns.texts["radius"]
    # Of a fraction such as 36/255, or of a decimal, which is much quicker to read as a float.
    read = (float(stored_fraction(text)) if "/" in text else float(text) for text in proved.values)
    radii = np.array([*read, 0.0])
    found: Floats = radii[proved.codes]
    return found


def _ascending(amount: Floats, places: Places) -> Places:
    """Some places by amount, unknown ones last, equal ones in their order."""
    return places[np.argsort(amount[places], kind="stable")]


def _shown(columns: CountedColumns, at: int, witness: bytes | None) -> Shown:
    numbers = {name: float(column[at]) for name, column in columns.numbers.items()}
    texts = {
        name: column.values[column.codes[at]] if column.codes[at] >= 0 else None
        for name, column in columns.texts.items()
    }
    return Shown(
        example=int(numbers["example"]),
        label=int(numbers["label"]),
        prediction=None if np.isnan(numbers["prediction"]) else int(numbers["prediction"]),
        status=texts["status"] or "",
        stage=texts["stage"] or "",
        margin=numbers["margin"] if np.isfinite(numbers["margin"]) else None,
        radius=texts["radius"],
        seconds=numbers["seconds"],
        witness=witness,
    )
