"""Counterexamples in few bytes: near the one that was found, one in a few equal steps.

What an attack finds is as long as its image, and no two of its pixels move alike; most of them need
not move at all. So the pixels are taken in the order of what their move does to the margin, to
first order, and the first few are moved by one and the same step each, as many as it takes. Where
none suffice, all are moved by a few steps each; where that does not either, the counterexample is
stored as it was found.

What is stored is a counterexample by the same check as what was found (`why_not_witness`), lies no
farther from the example, and no closer to a tie than it must (`_SHARE`): on another machine the
logits differ in their last digits. No verdict depends on it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluators.attacks.losses import label_margins
from evaluators.evaluator import clean_margins, why_not_witness
from evaluators.network.network import Network
from evaluators.numerics.memory import fitting
from evaluators.numerics.rounding import float_below
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from leaderboard.results.witness import SteppedPoint, in_full

_AT_ONCE = 128
"""Counterexamples whose slopes are computed together, at most."""
_FEWEST = 8
"""Pixels to begin with; then twice as many, again and again."""
_HALVINGS = 2
"""How often the number of pixels is sought between the last that failed and the first that did."""
_LEVELS = (3, 7, 127)
"""Steps that a pixel moves at most, where one is not enough."""
_COARSENESS = (1.0, 0.7, 0.5, 0.35, 0.25)
"""Steps that are tried, as shares of the one that reaches the farthest pixel; what is farther than
the levels reach is cut off."""
_SHARE = 0.01
"""Of the margin's way from the example to the counterexample that was found: so far below zero it
must be again, or as far as it was."""
_ON_THE_FACE = 1e-6
"""Relative: what lies so near to the ball's face is taken to reach it, so that steps are alike."""
_SMALLEST = float(np.finfo(np.float32).tiny)
"""A step, where a smaller one would be none; the check judges where it leads."""
_ROOM = 1e-6
"""Relative: for the roundings of a norm's sum, and of moves to float32."""


@dataclass
class _Row:
    """One counterexample that was found.

    Attributes:
        x: the example.
        shift: by how much each pixel was moved, `[pixels]`.
        order: the pixels that were moved, most useful first.
        distance: how far the counterexample lies from the example, in the norm.
        margin: what the margin must not be above.
        failed: the most pixels that were tried in vain.
        best: the shortest form that is a counterexample as far as float32 tells.
    """

    x: NDArray[np.float32]
    shift: NDArray[np.float64]
    order: NDArray[np.intp]
    norm: Norm
    distance: float
    margin: float
    failed: int = 0
    best: SteppedPoint | None = field(default=None)

    def moved(self, pixels: int) -> SteppedPoint:
        """Move the first few pixels by one step each, all by the same."""
        counts = np.zeros(self.shift.shape, np.int8)
        chosen = self.order[:pixels]
        counts[chosen] = np.sign(self.shift[chosen])
        return self._steps(counts, 1)

    def rounded(self, levels: int) -> SteppedPoint:
        """Move all pixels by as many steps as come nearest to the direction that was found."""
        farthest = np.abs(self.shift).max() / levels
        tried = [
            np.clip(np.rint(self.shift / (part * farthest)), -levels, levels)
            for part in _COARSENESS
        ]
        lengths = [max(1.0, float(np.linalg.norm(counts))) for counts in tried]
        along = [float(c @ self.shift) / length for c, length in zip(tried, lengths, strict=True)]
        return self._steps(tried[int(np.argmax(along))].astype(np.int8), levels)

    def _steps(self, counts: NDArray[np.int8], levels: int) -> SteppedPoint:
        return SteppedPoint(longest_step(self.norm, counts, self.distance), levels, counts)


def stored_witnesses(problem: Problem, found: Mapping[int, Tensor]) -> dict[int, bytes]:
    """The bytes to store of the counterexamples that were found of some rows.

    Args:
        problem: about a plain network and a ball.
        found: counterexamples that passed `why_not_witness`, by row.
    """
    if not found:
        return {}
    rows = _rows(problem, found)
    # Of one that is the example itself there is nothing to shorten.
    moved = {number: len(row.order) for number, row in rows.items() if len(row.order)}
    open_, pixels = list(moved), _FEWEST
    while open_ and pixels < 2 * max(moved.values()):
        tried = {row: min(pixels, moved[row]) for row in open_}
        open_ = _try_pixels(problem, rows, tried)
        pixels *= 2
    for levels in _LEVELS:
        open_ = _try(problem, rows, {row: rows[row].rounded(levels) for row in open_})
    for _ in range(_HALVINGS):
        _try_pixels(problem, rows, dict(_between(rows)))
    return {row: _bytes(problem, row, rows[row], found[row]) for row in rows}


def _rows(problem: Problem, found: Mapping[int, Tensor]) -> dict[int, _Row]:
    """What is known of each counterexample."""
    numbers, region = list(found), problem.region
    x, labels = problem.x[numbers], problem.labels[numbers]
    points = torch.stack([found[row].to(x) for row in numbers])
    assert isinstance(problem.network, Network)
    _, found_slopes = margin_slopes(problem.network, points, labels)
    slopes = found_slopes.cpu().numpy().astype(np.float64)
    clean = clean_margins(problem.network, x, labels)
    shifts = (points.double() - x.double()).flatten(1).cpu().numpy()
    rows, radius = {}, float_below(region.radius)
    for at, margin in enumerate(clean_margins(problem.network, points, labels)):
        shift = shifts[at]
        distance = _length(region.norm, shift)
        if distance > radius * (1 - _ON_THE_FACE):
            distance = radius
        # By the slopes, then by size: of some networks all slopes are zero, or not numbers.
        use = np.nan_to_num(-slopes[at].reshape(-1) * shift)
        order = np.lexsort((-np.abs(shift), -use))
        least = max(margin, -_SHARE * (clean[at] - margin))
        center = x[at].cpu().numpy()
        order = order[shift[order] != 0]
        rows[numbers[at]] = _Row(center, shift, order, region.norm, distance, least)
    return rows


def margin_slopes(network: Network, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The float32 margin at each point, `[rows]`, and its gradient there, `[rows, pixels]`."""
    run = network.to(torch.float32, points.device)
    # For the gradient all values of a network are kept.
    count = fitting(_AT_ONCE, 12 * sum(prod(node.shape) for node in network.nodes), 1 / 8)
    margins, slopes = [], []
    for first in range(0, len(points), count):
        some = points[first : first + count].detach().requires_grad_(True)
        margin = label_margins(run(some), labels[first : first + count])
        # A network that does not look at its input has no gradient.
        known = margin.requires_grad
        slope = torch.autograd.grad(margin.sum(), some)[0] if known else torch.zeros_like(some)
        slopes.append(slope.flatten(1))
        margins.append(margin.detach())
    return torch.cat(margins), torch.cat(slopes)


def _try_pixels(problem: Problem, rows: dict[int, _Row], tried: Mapping[int, int]) -> list[int]:
    """Try to move so many pixels of each row; give those rows where that is not enough."""
    failed = _try(problem, rows, {row: rows[row].moved(pixels) for row, pixels in tried.items()})
    for row in failed:
        rows[row].failed = max(rows[row].failed, tried[row])
    return failed


def _try(problem: Problem, rows: dict[int, _Row], tried: Mapping[int, SteppedPoint]) -> list[int]:
    """Keep each form that is a counterexample, as far as float32 tells; give the other rows."""
    if not tried:
        return []
    points = [steps.point(rows[row].x) for row, steps in tried.items()]
    assert isinstance(problem.network, Network)
    margins = clean_margins(
        problem.network,
        torch.from_numpy(np.stack(points)).to(problem.x.device),
        problem.labels[list(tried)],
    )
    failed = []
    for (row, steps), margin in zip(tried.items(), margins, strict=True):
        if margin <= rows[row].margin:
            rows[row].best = steps
        else:
            failed.append(row)
    return failed


def _between(rows: Mapping[int, _Row]) -> Iterable[tuple[int, int]]:
    """Yield the rows, and the pixels to try, where fewer than it took may be enough."""
    for number, row in rows.items():
        if row.best is not None and row.best.levels == 1:
            enough = np.count_nonzero(row.best.counts)
            # The middle of a curve that doubles.
            if row.failed < (pixels := round((max(1, row.failed) * enough) ** 0.5)) < enough:
                yield number, pixels


def _bytes(problem: Problem, number: int, row: _Row, found: Tensor) -> bytes:
    """The short form, if there is one and it is a counterexample beyond doubt; else all pixels."""
    whole = in_full(found.detach().cpu().float().numpy())
    if row.best is None:
        return whole
    point = torch.from_numpy(row.best.point(row.x)).to(problem.x.device)
    packed = row.best.packed()
    if len(packed) >= len(whole) or why_not_witness(problem, number, point):
        return whole
    return packed


def longest_step(norm: Norm, counts: NDArray[np.int8], distance: float) -> float:
    """The largest step, a float32, with which such moves end no farther away in the norm."""
    length = max(1.0, _length(norm, counts.astype(np.float64)))
    room = 1.0 if norm is Norm.LINF else 1 - _ROOM
    return max(_float32_below(min(1.0, distance / length * room)), _SMALLEST)


def _length(norm: Norm, values: NDArray[np.float64]) -> float:
    """The norm of one vector."""
    order = {Norm.LINF: np.inf, Norm.L2: 2, Norm.L1: 1}[norm]
    return float(np.linalg.norm(values, order))


def _float32_below(value: float) -> float:
    """The largest float32 that is not above."""
    nearest = np.float32(value)
    below = nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(0))
    return float(below)
