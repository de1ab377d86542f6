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
from math import ceil, inf, isfinite, log2, prod
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
MOST_CONSTANT = Fraction(2**512)
"""Of a condition, as a multiple of its largest factor: no finite interval comes near it."""
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
        boxes = [] if score[0] >= 0 else [(lower, upper)]
        if not boxes or not 0 < len(wide) <= MOST_WIDE:
            return not boxes
        at_once = max(1, MOST_ENTRIES // (2 * len(wide) * self.entries))
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
                for side in np.flatnonzero(~(score[row, cut] >= 0)):
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
    factors = {output: factor for output, factor in row.coefficients.items() if factor}
    # As a multiple of the largest: beyond float64's range no factor is infinite, nor all zero.
    size = max(map(abs, factors.values()), default=Fraction(1))
    constant = float(sorted((-MOST_CONSTANT, row.constant / size, MOST_CONSTANT))[1])
    least, closed = np.full(len(lower), constant), np.zeros(len(lower), dtype=bool)
    for output, factor in factors.items():
        if share := float(factor / size):
            least = least + share * (lower if factor > 0 else upper)[:, output]
    # Decided exactly, where it is near; what is far below zero is what it seems.
    for box in np.flatnonzero(least > -1e-6 * (1 + abs(constant))):
        ends = {o: float((lower if f > 0 else upper)[box, o]) for o, f in factors.items()}
        if all(map(isfinite, ends.values())):
            exact = sum((f * Fraction(ends[o]) for o, f in factors.items()), row.constant)
            closed[box] = exact >= 0 if row.strict else exact > 0
    return np.where(closed, 0.0, np.fmin(least, -TOUCHED))
