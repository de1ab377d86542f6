"""Conditions at the edge of what a network reaches: y > 1 for y = |x| on [-1, 1].

Nothing is above 1 there, but methods that charge for rounding have no margin left to say so. Here a
box is cut into halves until intervals without a charge (`exact_intervals.py`) close all parts.

Guarantee: if `closes` says True, no input of the case's box has an output that meets a disjunct,
in real arithmetic or in any float32 run of the file. Conditions are compared in exact fractions.

Trusted: as for the intervals.

Cost: up to `MOST_BOXES` interval passes; none where the intervals are not exact.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import ceil, inf, log2, prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evaluators.network.constraint import Constraint
from evaluators.network.network import Network
from evaluators.network.specification import Case, ExactBox
from evaluators.numerics.deadline import Deadline
from evaluators.onnx.runtime import products
from evaluators.properties.boxes import Doubles
from evaluators.properties.exact_intervals import intervals

MOST_BOXES = 20_000
MOST_PRODUCTS = 10**9
"""Of all boxes together."""
MOST_WIDE = 12
"""Inputs that are no points; with more, boxes are not cut."""
MOST_ENTRIES = 2**22
"""Of all nodes, of the boxes that are bounded together."""
FEW_BITS = 10
"""Of ends that are moved outward."""
FAR = 1e30
"""How far from closed a box counts of which nothing is known, when a cut is chosen."""
TOUCHED = 1e-9
"""How far from closed a box counts of which a condition is met at its end alone."""


def closes(network: Network, case: Case, deadline: Deadline) -> bool:
    """Prove that no input of a case's box meets a disjunct; False if it is not proved.

    Args:
        network: as it was imported from a file.
        case: a box and its disjuncts.
        deadline: when to give up.
    """
    search = _EdgeSearch(network, case, deadline)
    return any(not deadline.passed and search.closes(*ends) for ends in _enclosures(case.box))


def _enclosures(box: ExactBox) -> Iterator[tuple[Doubles, Doubles]]:
    """Yield boxes that hold one: itself, if it is one of float64, and one whose ends have few bits.

    Few are enough where the edge lies elsewhere.
    """
    few = list[tuple[float, float]]()
    exact = True
    for lower, upper in zip(box.lower, box.upper, strict=True):
        largest = max(abs(lower), abs(upper), Fraction(1, 2**60))
        unit = Fraction(2) ** (ceil(log2(largest)) - FEW_BITS)
        few.append((float(lower // unit * unit), float(-(-upper // unit) * unit)))
        exact = exact and all(Fraction(float(end)) == end for end in (lower, upper))
    if exact:
        yield np.array([float(end) for end in box.lower]), np.array([float(x) for x in box.upper])
    below, above = (np.array(ends) for ends in zip(*few, strict=True))
    if not exact or any(below != box.lower) or any(above != box.upper):
        yield below, above


class _EdgeSearch:
    """A case while its box is cut into halves, until none is left that may meet a disjunct."""

    def __init__(self, network: Network, case: Case, deadline: Deadline) -> None:
        self.network, self.case, self.deadline = network, case, deadline
        self.left = min(MOST_BOXES, MOST_PRODUCTS // max(1, products(network)))
        self.entries = sum(prod(node.shape) for node in network.nodes)

    def closes(self, lower: Doubles, upper: Doubles) -> bool:
        """Tell whether all parts of a box are closed in time."""
        wide = np.flatnonzero(upper > lower)
        score = self.scores(lower[None], upper[None])
        boxes = [(lower, upper)] if score[0] < 0 else []
        if len(wide) > MOST_WIDE:
            return not boxes
        at_once = max(1, MOST_ENTRIES // (2 * len(wide) * self.entries)) if boxes else 0
        while boxes:
            batch = [np.stack(ends) for ends in zip(*boxes[-at_once:], strict=True)]
            del boxes[-at_once:]
            self.left -= 2 * len(batch[0]) * len(wide)
            if self.left < 0 or self.deadline.passed:
                return False
            below, above = self.halves(batch[0], batch[1], wide)
            score = self.scores(below, above).reshape(-1, len(wide), 2)
            best = np.maximum(score, -FAR).sum(2).argmax(1)
            for row, cut in enumerate(best):
                if (score[row, cut] == -inf).all():  # nor will parts of them be exact
                    return False
                for side in np.flatnonzero(score[row, cut] < 0):
                    at = (row * len(wide) + cut) * 2 + side
                    boxes.append((below[at], above[at]))
        return True

    def halves(self, lower: Doubles, upper: Doubles, wide: NDArray[Any]) -> tuple[Doubles, Doubles]:
        """Cut each box across each wide input, at zero or in its middle.

        Returns:
            Ends `[boxes · wide · 2, inputs]`.
        """
        below, above = (
            np.tile(ends[:, None, None], (1, len(wide), 2, 1)) for ends in (lower, upper)
        )
        least, most = lower[:, wide], upper[:, wide]
        cuts = np.where((least < 0) & (most > 0), 0.0, (least + most) / 2)
        for place, entry in enumerate(wide):
            above[:, place, 0, entry] = below[:, place, 1, entry] = cuts[:, place]
        return below.reshape(-1, lower.shape[1]), above.reshape(-1, lower.shape[1])

    def scores(self, lower: Doubles, upper: Doubles) -> Doubles:
        """Zero for boxes that are closed, else roughly how far they are from that, below zero.

        Minus infinity where no interval is known.
        """
        shape = (-1, *self.network.input_shape)
        ends = (torch.from_numpy(side).reshape(shape) for side in (lower, upper))
        outputs = [side.numpy() for side in intervals(self.network, *ends)]
        worst = np.zeros(len(lower))
        for disjunct in self.case.disjuncts:
            best = np.full(len(lower), -inf)
            for row in disjunct:
                best = np.maximum(best, _rated(row, *outputs))
            worst = np.minimum(worst, best)
        return worst


def _rated(row: Constraint, lower: Doubles, upper: Doubles) -> Doubles:
    """Zero where outputs in these intervals cannot meet a condition, else a number below zero."""
    least, closed = np.full(len(lower), float(row.constant)), np.zeros(len(lower), dtype=bool)
    factors = {output: factor for output, factor in row.coefficients.items() if factor}
    for output, factor in factors.items():
        least = least + float(factor) * (lower if factor > 0 else upper)[:, output]
    # Decided exactly, where it is near; what is far below zero is what it seems.
    for box in np.flatnonzero(least > -1e-6 * (1 + abs(float(row.constant)))):
        ends = ((f, (lower if f > 0 else upper)[box, o]) for o, f in factors.items())
        exact = sum((f * Fraction(float(end)) for f, end in ends), row.constant)
        closed[box] = exact >= 0 if row.strict else exact > 0
    return np.where(closed, 0.0, np.minimum(least, -TOUCHED))
