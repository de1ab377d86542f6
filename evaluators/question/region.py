"""What may be perturbed around an example: a ball of a norm, or a box of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from evaluators.numerics.rounding import down, float_above, up
from evaluators.question.norm import Norm

Inputs = Float[Tensor, "batch *shape"]
OneInput = Float[Tensor, "*shape"]


@dataclass(frozen=True)
class Ball:
    """All inputs within `radius` of the example whose every entry lies in [`low`, `high`].

    The radius is exact; a float64 next to it is made only by rounding outward.
    """

    norm: Norm
    radius: Fraction
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ValueError(f"A ball's radius must be positive, not {self.radius}.")
        if not self.low < self.high:
            raise ValueError(f"A ball needs low < high, not {self.low} and {self.high}.")

    def hull(self, x: Inputs) -> tuple[Inputs, Inputs]:
        """Enclose the region around `x` in the smallest box known, float64 `(lower, upper)`."""
        center = x.double()
        radius = float_above(self.radius)
        lower = down(center - radius).clamp(self.low, self.high)
        upper = up(center + radius).clamp(self.low, self.high)
        return lower, upper

    def holds_centers(self, x: Inputs) -> Bool[Tensor, " batch"]:
        """Tell whether each example is finite and has all its entries in [`low`, `high`]."""
        return ((x >= self.low) & (x <= self.high)).flatten(1).all(1)

    def select(self, _rows: Sequence[int]) -> "Ball":
        """Select the region of some of the examples: it is the same around each."""
        return self

    def contains(self, x: OneInput, point: OneInput) -> bool:
        """Tell whether `point` lies in the region around one example `x`, in exact arithmetic."""
        if not bool(torch.isfinite(point).all()):
            return False
        if bool((point < self.low).any()) or bool((point > self.high).any()):
            return False
        if x.numel() and self._surely_inside(x.double(), point.double()):
            return True
        pairs = zip(point.flatten().tolist(), x.flatten().tolist(), strict=True)
        distances = [abs(Fraction(a) - Fraction(b)) for a, b in pairs if a != b]
        return self._within(distances)

    def smallest(
        self,
        x: OneInput,
        point: OneInput,
        radius: Callable[[int], Fraction],
        number: Callable[[Fraction], int],
    ) -> int:
        """Find the least k > 0 for which the ball of radius(k) contains `point`, exactly.

        The point is one of this ball's. `number` gives the least k whose radius is no smaller than
        another, and is where the search ends that begins with a guess.
        """

        def holds(k: int) -> bool:
            return replace(self, radius=radius(k)).contains(x, point)

        # The exact test is slow: it starts where float64 guesses.
        distance = self._distance(x.double(), point.double())
        last = number(self.radius)
        k = min(last, number(Fraction(distance))) if distance > 0 else 1
        while k > 1 and holds(k - 1):
            k -= 1
        while k < last and not holds(k):
            k += 1
        return k

    def _distance(self, x: Tensor, point: Tensor) -> float:
        order = {Norm.LINF: float("inf"), Norm.L2: 2.0, Norm.L1: 1.0}[self.norm]
        return float(torch.linalg.vector_norm((point - x).flatten(), order))

    def _surely_inside(self, x: Tensor, point: Tensor) -> bool:
        """A float64 test with room to spare, which spares most points the exact one."""
        distance = self._distance(x, point)
        return distance * (1 + 1e-9) < float(self.radius) * (1 - 1e-9)

    def _within(self, distances: Sequence[Fraction]) -> bool:
        if self.norm is Norm.LINF:
            return all(distance <= self.radius for distance in distances)
        if self.norm is Norm.L1:
            return sum(distances, Fraction(0)) <= self.radius
        return sum((d * d for d in distances), Fraction(0)) <= self.radius * self.radius


@dataclass(frozen=True, eq=False)
class Box:
    """All inputs between `lower` and `upper`, entry by entry: a box of its own for each example.

    The bounds are float64 and taken as exact. If they come from numbers that float64 cannot
    represent, the caller must round them to the side that is safe for the question. To a bounding
    method a box is its own hull; `radius` is the 0 that every proof about a box has proved.

    Attributes:
        lower, upper: float64 `[batch, *shape]`.
    """

    lower: Inputs
    upper: Inputs
    norm: ClassVar[Norm] = Norm.LINF
    radius: ClassVar[Fraction] = Fraction(0)

    def __post_init__(self) -> None:
        if self.lower.dtype is not torch.float64 or self.upper.dtype is not torch.float64:
            raise ValueError("A box's bounds must be float64.")
        if self.lower.shape != self.upper.shape:
            raise ValueError(
                f"A box's bounds have shapes {tuple(self.lower.shape)}"
                f" and {tuple(self.upper.shape)}."
            )
        finite = bool((torch.isfinite(self.lower) & torch.isfinite(self.upper)).all())
        if not finite or bool((self.lower > self.upper).any()):
            raise ValueError("A box needs finite bounds with lower <= upper in every entry.")

    def hull(self, x: Inputs) -> tuple[Inputs, Inputs]:
        """Return the box itself, float64 `(lower, upper)`, on the device of `x`."""
        return self.lower.to(x.device), self.upper.to(x.device)

    def holds_centers(self, x: Inputs) -> Bool[Tensor, " batch"]:
        """Tell whether each example lies in its box."""
        lower, upper = self.hull(x)
        center = x.double()
        return ((center >= lower) & (center <= upper)).flatten(1).all(1)

    def select(self, rows: Sequence[int]) -> "Box":
        """Select the boxes of some of the examples, in the order given."""
        index = torch.as_tensor(list(rows), dtype=torch.long, device=self.lower.device)
        return Box(self.lower[index], self.upper[index])

    def contains(self, _x: OneInput, point: OneInput) -> bool:
        """Tell whether `point` lies in the only box of a selection, exactly.

        Raises:
            ValueError: the region holds several boxes; `select` the example's own.
        """
        if len(self.lower) != 1:
            raise ValueError(f"{len(self.lower)} boxes were asked about one point.")
        lower, upper = self.hull(point[None])
        value = point[None].double()
        return bool(((value >= lower) & (value <= upper)).all())


Region = Ball | Box
"""What may be perturbed around the examples of a batch."""
