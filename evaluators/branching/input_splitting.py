"""Branch and bound over the inputs, for boxes of few dimensions (ReluVal, Wang et al. 2018).

Every part is bounded by CROWN, all parts of a round together; what was proved of the nodes of a
part holds in its halves, too. An open part is clipped to where counterexamples may lie
(`input_clipping.py`), and what is left of it halved along the input whose influence on the worst
margin may be largest: its width times a bound on the gradient over the part ("smear", Wang et al.
2018, arXiv 1804.10829, section 5.2), times what it changes CROWN's plane by.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf, prod
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.branching.input_clipping import KEPT, clipped, margin_planes
from evaluators.lipschitz.gradients import gradients
from evaluators.network.elementwise import Elementwise
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.memory import fitting
from evaluators.propagation.backward import Planes
from evaluators.propagation.intervals import Interval
from evaluators.propagation.linear_bounds import (
    KnownBounds,
    linear_relaxation,
    margin_rows,
    margins,
)
from evaluators.propagation.relaxed import Relaxed
from evaluators.question.problem import Problem
from evaluators.question.region import Box

LOW_DIMENSION = 12
"""Inputs up to which they are split."""

MOST_PARTS = 2**20
"""Open parts at which the search gives up, at the latest where memory ends."""

WIDE = 4
"""Every so many rounds take the parts of the lowest margin, the others the latest ones.

Where there is a counterexample, a search that only goes deep may stay beside a boundary for ever;
where there is none, the order costs nothing but memory. (ACAS Xu 1_5, property 2: see
PERFORMANCE.md.)
"""

Falsify = Callable[[Tensor], Tensor | None]
"""Looks for a witness near points of the region `[points, *shape]`."""


class Parts(NamedTuple):
    """Boxes that are parts of the region, `[parts, *shape]`, and what is known of their nodes."""

    lower: Tensor
    upper: Tensor
    known: KnownBounds
    worst: float = -inf
    """The lowest margin that was proved of the boxes they were halved from, all together."""

    def select(self, rows: Tensor | slice) -> "Parts":
        """Some of the parts."""
        known = {place: Interval(*(end[rows] for end in its)) for place, its in self.known.items()}
        return Parts(self.lower[rows], self.upper[rows], known, self.worst)

    def joined(self, other: "Parts") -> "Parts":
        """All parts of both, which know of the same nodes."""
        lower, upper = torch.cat((self.lower, other.lower)), torch.cat((self.upper, other.upper))
        known = {
            place: Interval(*map(torch.cat, zip(its, other.known[place], strict=True)))
            for place, its in self.known.items()
        }
        return Parts(lower, upper, known, min(self.worst, other.worst))


@dataclass
class InputSearch:
    """The search for a proof on the box of the only example of a problem.

    Attributes:
        problem: the question; its region is a box or a ball of linf.
        deadline: when to stop.
        falsify: the attack.
        batch: parts of one round.
        lower_bounds: proved bounds of every margin, float64; -inf while parts are open.
    """

    problem: Problem
    deadline: Deadline
    falsify: Falsify
    batch: int = 512
    lower_bounds: Tensor = field(init=False)

    def __call__(self) -> Tensor | None:
        """Search; a witness if one was found."""
        parts = Parts(*self.problem.region.hull(self.problem.x), {})
        proved = parts.lower.new_full((self.problem.classes - 1,), torch.inf)
        self.lower_bounds = -proved
        waiting, most = [parts], self._most()
        for turn in itertools.count():
            if not waiting:
                break
            if self.deadline.passed or sum(len(its.lower) for its in waiting) > most:
                return None
            if turn % WIDE == 0:
                widest = min(range(len(waiting)), key=lambda place: waiting[place].worst)
                waiting.append(waiting.pop(widest))
            parts = self._next(waiting)
            bounds, relaxed = self._bound(parts)
            planes = self._planes(relaxed)
            lower, upper = clipped(parts.lower, parts.upper, planes, ~(bounds > 0))
            proved = torch.minimum(proved, self._settle(parts, lower, upper, bounds))
            open_ = (lower <= upper).flatten(1).all(1)
            if not bool(open_.any()):
                continue
            witness = self.falsify((lower[open_] + upper[open_]) / 2)
            if witness is not None:
                return witness
            worst = float(bounds.nan_to_num(-inf)[open_].amin())
            left = Parts(lower, upper, self._pre_activations(relaxed), worst)
            scores = self._influence(left, bounds, planes, relaxed)
            waiting += halves(left.select(open_), scores[open_])
        self.lower_bounds = proved
        return None

    @property
    def _network(self) -> Network:
        assert isinstance(self.problem.network, Network)
        return self.problem.network

    def _most(self) -> int:
        """Open parts that fit into memory, with the ends of their inputs and of what is known."""
        nodes = self._network.nodes
        places = {0, *(p for n in nodes if isinstance(n.operation, Elementwise) for p in n.parents)}
        return fitting(MOST_PARTS, 48 * sum(prod(nodes[place].shape) for place in places), 1 / 4)

    def _next(self, waiting: list[Parts]) -> Parts:
        """Take the parts of a round, the latest ones; what is too much goes on waiting."""
        parts = waiting.pop()
        while waiting and len(parts.lower) < self.batch and _alike(parts, waiting[-1]):
            parts = waiting.pop().joined(parts)
        if len(parts.lower) > self.batch:
            waiting.append(parts.select(slice(None, -self.batch)))
            parts = parts.select(slice(-self.batch, None))
        return parts

    def _bound(self, parts: Parts) -> tuple[Tensor, Relaxed]:
        """Margins over each part, `[parts, others]`, and the bounds of all nodes behind them."""
        count = len(parts.lower)
        problem = replace(
            self.problem,
            x=((parts.lower + parts.upper) / 2).to(self.problem.x.dtype),
            labels=self.problem.labels.expand(count),
            region=Box(parts.lower, parts.upper),
            examples=tuple(range(count)),
        )
        relaxed = linear_relaxation(problem, known=parts.known)
        return margins(relaxed, problem.labels, to_input=True), relaxed

    def _planes(self, relaxed: Relaxed) -> Planes:
        """The planes below the margins over each part, `[parts, others, planes]`."""
        return margin_planes(relaxed, self.problem.labels.expand(len(relaxed.x)))

    def _settle(self, parts: Parts, lower: Tensor, upper: Tensor, bounds: Tensor) -> Tensor:
        """What is proved of all margins where nothing is left to split, `[others]`."""
        cut = ((lower != parts.lower) | (upper != parts.upper)).flatten(1).any(1)
        proved = torch.where(bounds > 0, bounds, KEPT)
        return proved.masked_fill(~cut[:, None], torch.inf).amin(0)

    def _pre_activations(self, relaxed: Relaxed) -> KnownBounds:
        """Bounds of what feeds elementwise functions, by position."""
        nodes = self._network.nodes
        return {
            place: relaxed.bounds[place]
            for node in nodes
            if isinstance(node.operation, Elementwise)
            for place in node.parents
        }

    def _influence(self, parts: Parts, bounds: Tensor, planes: Planes, relaxed: Relaxed) -> Tensor:
        """How much each input may change the worst margin within its part, `[parts, *shape]`.

        By the bound on the gradient, times how much it changes the plane that is nearest to a
        proof.
        """
        every, width = torch.arange(len(bounds)), parts.upper - parts.lower
        worst = bounds.nan_to_num(-torch.inf).argmin(1)
        best = planes.least[every, worst].nan_to_num(-torch.inf).argmax(1)
        spread = planes.slopes[every, worst, best].abs() * width
        most = self._smear(parts, worst, relaxed)
        # An input that the plane is flat along must not stay wide for ever.
        return most * (spread + most / 100)

    def _smear(self, parts: Parts, worst: Tensor, relaxed: Relaxed) -> Tensor:
        """The width of each input times a bound on the gradient of one margin by it."""
        lower, upper = parts.lower, parts.upper
        rows = margin_rows(self.problem.labels.expand(len(lower)), self.problem.classes)
        rows = rows[torch.arange(len(lower)), worst]
        slopes = gradients(relaxed.network, relaxed.bounds, rows[:, None])
        if slopes is not None:
            return slopes.magnitude[:, 0] * (upper - lower)
        with torch.enable_grad():
            middle = ((lower + upper) / 2).requires_grad_(True)
            (slope,) = torch.autograd.grad((relaxed.network(middle) * rows).sum(), middle)
        # A flat spot at the middle must not hide a wide input for ever.
        return (slope.abs() + 1e-3) * (upper - lower)


def halves(parts: Parts, scores: Tensor) -> tuple[Parts, Parts]:
    """Both halves of each part along its input of the highest score; they share their boundary."""
    lower, upper, known, worst = parts
    scores = scores.nan_to_num(torch.inf).masked_fill(upper <= lower, -1.0).flatten(1)
    place = scores.argmax(1, keepdim=True)
    middle = ((lower + upper) / 2).flatten(1).gather(1, place)
    left = upper.flatten(1).scatter(1, place, middle).reshape(upper.shape)
    right = lower.flatten(1).scatter(1, place, middle).reshape(lower.shape)
    return Parts(lower, left, known, worst), Parts(right, upper, known, worst)


def _alike(one: Parts, other: Parts) -> bool:
    """Whether two know of the same nodes."""
    return one.known.keys() == other.known.keys()
