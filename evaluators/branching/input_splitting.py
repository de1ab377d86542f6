"""Branch and bound over the inputs, for boxes of few dimensions (ReluVal, Wang et al. 2018).

Every part is bounded afresh by CROWN, all parts of a round together, and an open one is halved
along the input to which its worst margin is most sensitive.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.memory import fitting
from evaluators.propagation.linear_bounds import linear_relaxation, margin_rows, margins
from evaluators.question.problem import Problem
from evaluators.question.region import Box

LOW_DIMENSION = 12
"""Inputs up to which they are split."""

MOST_PARTS = 2**20
"""Open parts at which the search gives up; with 12 inputs in float64 they take 200 MB."""

Falsify = Callable[[Tensor], Tensor | None]
"""Looks for a witness near points of the region `[points, *shape]`."""


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
    batch: int = 256
    lower_bounds: Tensor = field(init=False)

    def __call__(self) -> Tensor | None:
        """Search; a witness if one was found."""
        lower, upper = self.problem.region.hull(self.problem.x)
        proved = lower.new_full((self.problem.classes - 1,), torch.inf)
        self.lower_bounds = -proved
        most = fitting(MOST_PARTS, 48 * lower[0].numel(), 1 / 4)
        while len(lower):
            if self.deadline.passed or len(lower) > most:
                return None
            low, high = lower[-self.batch :], upper[-self.batch :]
            lower, upper = lower[: -self.batch], upper[: -self.batch]
            bounds = self._bound(low, high)
            open_ = ~(bounds > 0).all(1)
            proved = torch.cat((proved[None], bounds[~open_])).amin(0)
            if not bool(open_.any()):
                continue
            low, high, bounds = low[open_], high[open_], bounds[open_]
            witness = self.falsify((low + high) / 2)
            if witness is not None:
                return witness
            halves = self._halves(low, high, bounds)
            lower, upper = (torch.cat(ends) for ends in zip((lower, upper), *halves, strict=True))
        self.lower_bounds = proved
        return None

    def _bound(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Margins over each part, `[parts, others]`."""
        count = len(lower)
        parts = replace(
            self.problem,
            x=((lower + upper) / 2).to(self.problem.x.dtype),
            labels=self.problem.labels.expand(count),
            region=Box(lower, upper),
            examples=tuple(range(count)),
        )
        return margins(linear_relaxation(parts), parts.labels, to_input=True)

    def _halves(
        self, lower: Tensor, upper: Tensor, bounds: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Both halves of each part; they share their boundary exactly."""
        assert isinstance(self.problem.network, Network)
        network = self.problem.network.to(torch.float64, lower.device)
        worst = bounds.nan_to_num(-torch.inf).argmin(1)
        rows = margin_rows(self.problem.labels.expand(len(lower)), self.problem.classes)
        rows = rows[torch.arange(len(lower)), worst]
        with torch.enable_grad():
            middle = ((lower + upper) / 2).requires_grad_(True)
            (slope,) = torch.autograd.grad((network(middle) * rows).sum(), middle)
        width = upper - lower
        # A flat spot at the middle must not hide a wide input for ever.
        score = (slope.abs() * width + 1e-3 * width).flatten(1)
        score = score.masked_fill(width.flatten(1) <= 0, -1.0)
        place = score.argmax(1, keepdim=True)
        middle = ((lower + upper) / 2).flatten(1).gather(1, place)
        left = upper.flatten(1).scatter(1, place, middle).reshape(upper.shape)
        right = lower.flatten(1).scatter(1, place, middle).reshape(lower.shape)
        return (lower, left), (right, upper)
