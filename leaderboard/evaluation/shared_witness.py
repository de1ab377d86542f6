"""Counterexamples of many images in the same bytes.

What is stored of a counterexample are moves of its image's pixels (`results.witness`), and the same
moves are a counterexample of many images (Moosavi-Dezfooli et al. 2017, "Universal adversarial
perturbations", arXiv:1610.08401). A file keeps equal bytes once. So, when the rows of an evaluation
are all there:

- images that one class loses to the same other one are moved together, along the sum of their
  margins' slopes, again and again; the moves are kept where storing them once costs less than the
  counterexamples of all the images that they serve;
- of an image that none of these serves, the nearest is changed in the bytes that matter most to it,
  which costs little where they are few;
- any other image keeps what it has.

An image's new bytes are a counterexample of it by the same check as its old ones
(`why_not_witness`), no closer to a tie, and in the region. No verdict depends on it. It follows
from the rows alone, in their order: however they were computed, the same comes out.
"""

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from evaluators.evaluator import clean_margins, is_out_of_memory, predict, why_not_witness
from evaluators.network.network import Network
from evaluators.numerics.rounding import float_below
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from leaderboard.common.devices import devices_of, kind_of
from leaderboard.datasets.catalogue import find_dataset
from leaderboard.evaluation.shard import problem_of
from leaderboard.evaluation.short_witness import longest_step, margin_slopes
from leaderboard.results.witness import SteppedPoint, digits_a_byte, point_of
from leaderboard.settings.question import Question, Shard

if TYPE_CHECKING:
    import pandas as pd

_NUMBERS = 2**26
"""Pixels, of all images together, among which bytes are shared: more do not fit into memory."""
_STEPS = 10
"""Of the ascent by which images are moved together."""
_KEPT = 0.9
"""Share of the slopes' sum that is taken over into the next step."""
_BEYOND = 0.02
"""How far beyond its limit a margin is moved, as a share of its way there from the example."""
_LOST = 0.3
"""Share of that way at which an image weighs a quarter: what is far from it is given up."""
_ROUNDS = 20
"""Of moving together what is left, at most."""
_CHANGED = (4, 8, 16, 24, 32, 48, 64, 96)
"""Bytes that are changed for one image."""
_REFERENCE = 1
"""Byte that a row takes which names bytes of another one."""

Way = tuple[int, int]
"""The label, and the class that it loses to."""


class _Code(NamedTuple):
    """Moves that serve several images of some way, and perhaps of others."""

    way: Way
    counts: Tensor


def share_witnesses(question: Question, rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows of an evaluation, with equal counterexamples where one serves many.

    Args:
        question: what was asked.
        rows: all its rows, in the order of its examples.

    Raises:
        InputError: the model or the data cannot be used.
    """
    examples, witnesses = rows["example"].tolist(), rows["witness"].tolist()
    given = [(at, stored) for at, stored in enumerate(witnesses) if isinstance(stored, bytes)]
    if question.sigma is not None or len(given) < 2:
        return rows
    if kind_of(question.device) == "cuda" and not torch.cuda.is_available():
        question = replace(question, device="cpu")  # the shards were computed elsewhere
    else:
        question = replace(question, device=devices_of(question.device)[0])
    several = max(1, _NUMBERS // prod(find_dataset(question.dataset).shape))
    for first in range(0, len(given), several):
        block = given[first : first + several]
        problem = problem_of(Shard(question, tuple(examples[at] for at, _ in block)))
        for row, stored in shared(problem, [stored for _, stored in block]).items():
            witnesses[block[row][0]] = stored
    return rows.assign(witness=np.array(witnesses, object))


def shared(problem: Problem, stored: Sequence[bytes]) -> dict[int, bytes]:
    """The new bytes of some rows, of which many are equal; of the others the old ones are better.

    Args:
        problem: about a plain network and a ball.
        stored: the counterexample of each row.
    """
    try:
        return _Sharing(problem, stored).found()
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            return {}
        raise


class _Sharing:
    """The counterexamples of some rows, and what is found instead of them."""

    def __init__(self, problem: Problem, stored: Sequence[bytes]) -> None:
        assert isinstance(problem.network, Network)
        assert isinstance(problem.region, Ball)
        self._problem, self._network = problem, problem.network
        self._norm, self._radius = problem.region.norm, float_below(problem.region.radius)
        x, labels = problem.x, problem.labels
        self._x = x.cpu().numpy()
        points = self._points(dict(enumerate(stored)))
        self._limits = x.new_tensor(clean_margins(self._network, points, labels))
        clean = x.new_tensor(clean_margins(self._network, x, labels))
        self._way = (clean - self._limits).clamp_min(1e-6)
        others = [-1 if one is None else one for one in predict(self._network, points)]
        self._ways: list[Way] = [*zip(labels.tolist(), others, strict=True)]
        self._costs = np.array([_cost(one) for one in stored])
        self._left = np.ones(len(stored), bool)
        self._codes = list[_Code]()
        self._found = dict[int, bytes]()

    def found(self) -> dict[int, bytes]:
        """What is better than what is stored, and passes the same check."""
        useless = set[Way]()
        for _ in range(_ROUNDS):
            groups = self._groups(useless)
            for way in groups:
                # What served others may have served some of these.
                rows = [row for row in groups[way] if self._left[row]]
                if len(rows) < 2 or not self._serve(way, rows):
                    useless.add(way)
            if not groups:
                break
        if self._norm is Norm.LINF:
            self._change()
        return self._checked()

    def _groups(self, useless: set[Way]) -> Mapping[Way, list[int]]:
        """Rows that have nothing new yet by their way, the most first."""
        groups = defaultdict[Way, list[int]](list)
        for row in np.flatnonzero(self._left).tolist():
            if self._ways[row] not in useless:
                groups[self._ways[row]].append(row)
        return dict(sorted(groups.items(), key=lambda one: (-len(one[1]), one[0])))

    def _serve(self, way: Way, rows: list[int]) -> bool:
        """Look for moves that serve many of these rows, and others; say whether they pay."""
        counts = self._together(rows)
        packed = self._packed(counts)
        alike = [row for row in np.flatnonzero(self._left).tolist() if self._near(way, row)]
        margins = self._margins(counts, alike)
        served = [
            row for row, one in zip(alike, margins <= self._limits[alike], strict=True) if one
        ]
        if self._costs[served].sum() <= _cost(packed) + _REFERENCE * len(served):
            return False
        self._codes.append(_Code(way, counts))
        self._take(dict.fromkeys(served, packed))
        return True

    def _near(self, way: Way, row: int) -> bool:
        return way[0] == self._ways[row][0] or way[1] == self._ways[row][1]

    def _take(self, found: Mapping[int, bytes]) -> None:
        self._found |= found
        self._left[list(found)] = False

    def _together(self, rows: list[int]) -> Tensor:
        """Moves of all pixels, int8, at which the most of these rows are counterexamples."""
        way, limits = self._way[rows], self._limits[rows]
        costs = torch.from_numpy(self._costs[rows]).to(way)
        counts = best = torch.zeros_like(self._problem.x[0].flatten(), dtype=torch.int8)
        along, most = torch.zeros_like(counts, dtype=way.dtype), 0.0
        for step in range(_STEPS + 1):
            margins, slopes = self._slopes(counts, rows)
            served = float(costs[margins <= limits].sum())
            if served > most:
                most, best = served, counts
            beyond = ((margins - limits) / way + _BEYOND).clamp_min(0)
            # Of beyond / (beyond + _LOST): who is served, or cannot be, has no say.
            weights = torch.where(beyond > 0, _LOST / (beyond + _LOST) ** 2, 0) / way
            uphill = (weights if step else 1 / way) @ torch.nan_to_num(slopes)
            along = _KEPT * along - uphill / uphill.abs().sum().clamp_min(1e-30)
            counts = self._ternary(along)
        return best

    def _ternary(self, along: Tensor) -> Tensor:
        """The moves by one step, int8, that go farthest along a direction in the norm."""
        sizes, order = along.abs().sort(descending=True, stable=True)
        number = torch.arange(1, len(along) + 1, device=along.device, dtype=torch.float64)
        power = {Norm.LINF: 0.0, Norm.L2: 0.5, Norm.L1: 1.0}[self._norm]
        gain = sizes.double().cumsum(0) / number**power
        chosen = order[: int(gain.argmax()) + 1]
        counts = torch.zeros_like(along, dtype=torch.int8)
        counts[chosen] = along[chosen].sign().to(torch.int8)
        return counts

    def _packed(self, counts: Tensor) -> bytes:
        numbers = counts.cpu().numpy()
        return SteppedPoint(longest_step(self._norm, numbers, self._radius), 1, numbers).packed()

    def _moved(self, counts: Tensor, rows: Sequence[int]) -> Tensor:
        """The rows' images, moved alike, or each by its own counts."""
        one = counts if counts.dim() == 1 else counts[0]
        step = longest_step(self._norm, one.cpu().numpy(), self._radius)
        x = self._problem.x[list(rows)]
        return (x + step * counts.reshape(-1, *x.shape[1:])).clamp(0, 1)

    def _margins(self, counts: Tensor, rows: list[int]) -> Tensor:
        labels = self._problem.labels[rows]
        margins = clean_margins(self._network, self._moved(counts, rows), labels)
        return self._limits.new_tensor(margins)

    def _slopes(self, counts: Tensor, rows: list[int]) -> tuple[Tensor, Tensor]:
        labels = self._problem.labels[rows]
        return margin_slopes(self._network, self._moved(counts, rows), labels)

    def _change(self) -> None:
        """Change shared moves for single rows, in as few bytes as are enough; only in boxes."""
        rows = np.flatnonzero(self._left).tolist()
        bases = self._nearest(rows)
        rows = [row for row in rows if row in bases]
        counts = {row: bases[row] for row in rows}
        for changed in _CHANGED:
            if not rows:
                return
            tried = self._altered(rows, bases, counts, changed)
            good = self._margins(tried, rows) <= self._limits[rows]
            for row, its, enough in zip(rows, tried, good.tolist(), strict=True):
                counts[row], packed = its, self._packed(its)
                if enough and _cost(packed, self._packed(bases[row])) < self._costs[row]:
                    self._take({row: packed})
            # More bytes cost more.
            rows = [row for row, enough in zip(rows, good.tolist(), strict=True) if not enough]

    def _nearest(self, rows: list[int]) -> dict[int, Tensor]:
        """The shared moves at which the margin of each row is least."""
        least, nearest = dict.fromkeys(rows, float("inf")), dict[int, Tensor]()
        for code in self._codes:
            alike = [row for row in rows if self._near(code.way, row)]
            margins = self._margins(code.counts, alike).tolist() if alike else []
            for row, margin in zip(alike, margins, strict=True):
                if margin < least[row]:
                    least[row], nearest[row] = margin, code.counts
        return nearest

    def _altered(
        self, rows: list[int], bases: dict[int, Tensor], last: dict[int, Tensor], changed: int
    ) -> Tensor:
        """The bases of some rows, changed in the bytes that matter most where each was last."""
        base, now = (torch.stack([one[row] for row in rows]) for one in (bases, last))
        _, slopes = self._slopes(now, rows)
        slopes = torch.nan_to_num(slopes)
        better = -slopes.sign().to(torch.int8)
        gain = (self._moved(base, rows) - self._moved(better, rows)).flatten(1) * slopes
        size = digits_a_byte(1)
        padded = torch.nn.functional.pad(gain, (0, -gain.shape[1] % size))
        bytewise = padded.reshape(len(rows), -1, size).sum(2)
        chosen = torch.zeros_like(bytewise, dtype=torch.bool)
        chosen.scatter_(1, bytewise.topk(min(changed, bytewise.shape[1]), 1).indices, True)
        pixels = chosen.repeat_interleave(size, 1)[:, : gain.shape[1]]
        return torch.where(pixels, better, base)

    def _points(self, stored: Mapping[int, bytes]) -> Tensor:
        """The points themselves, as a reader of the bytes has them."""
        points = np.stack([point_of(one, self._x[row]) for row, one in stored.items()])
        return torch.from_numpy(points).to(self._problem.x)

    def _checked(self) -> dict[int, bytes]:
        """Those that are counterexamples beyond doubt, and as far from a tie as what was stored."""
        if not self._found:
            return {}
        rows, points = list(self._found), self._points(self._found)
        margins = clean_margins(self._network, points, self._problem.labels[rows])
        good = self._limits.new_tensor(margins) <= self._limits[rows]
        return {
            row: self._found[row]
            for row, point, enough in zip(rows, points, good.tolist(), strict=True)
            if enough and not why_not_witness(self._problem, row, point)
        }


def _cost(packed: bytes, beside: bytes = b"") -> int:
    """About how many bytes of a file these take, where others are there already."""
    packer = zlib.compressobj(9, wbits=-15, zdict=beside)
    return len(packer.compress(packed) + packer.flush())
