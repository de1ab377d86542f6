"""Neurons that share a ball of l2: the least value that all of them can have together.

A line below each of a row's terms c_i·f(z_i), f(z) = max(z, leak·z), is lowered until it is below
the term for every z_i in [l_i, u_i]. Where z = (z_i) lies in a ball of l2 around y as well, not all
z_i can be at once where their lines touch. For slopes g and any λ >= 0, weak duality gives

    Σ c_i·f(z_i) - g_i·z_i >= Σ min over z_i of [c_i·f(z_i) - g_i·z_i + λ/2·(z_i - y_i)²] - λ/2·ρ²

for all z in the box and the ball of radius ρ, a function that is concave in λ. So the row's lines
may have the right side as their common intercept. This is theorem 1 of SDP-CROWN (Chiu et al.
2025, arXiv 2506.06665), whose proof goes through a semidefinite program, with the box kept in the
minima: without it they are -φ_i²/(2λ), with it λ = 0 is CROWN's intercept.

Each minimum is the lesser of two quadratic functions' over an interval that ends at 0: with
a = c - g on [0, u] and b = leak·c - g on [l, 0], of a·z + λ/2·(z - y)², at z = y - a/λ, clamped.

Rounding: let m_i = |y_i| + max(|l_i|, |u_i|), s >= all |g_i / c_i|, and u the unit roundoff. The
computed a is off by at most 3u·(1 + s)|c|, which z multiplies. The computed minimiser is off by at
most e = 7u·m where it is not the end itself, at which the function is at most 1.5λe² higher, less
than u·λ·m². Evaluating the function, with |z - y| <= m, loses at most 6u·((1 + s)|c|m + λm²/2). So
the sum of n terms, and λ/2·ρ², lose at most 2γ(n + 24) times (2 + s)‖c‖₁·max m + λ(Σm² + ρ²).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.numerics.rounding import UNDERFLOW, gamma
from evaluators.propagation.carrier import TensorRows
from evaluators.propagation.intervals import Interval

STEPS = 1
"""Steps towards the best λ. Each takes as long as the last evaluation: with three of them the pass
takes half as long again, for 2 % of the mean margin on a convolutional network."""

SMALLEST = 1e-250
"""Least λ, so that quotients are numbers."""


class NodeBall(NamedTuple):
    """A ball of l2 that holds a node's values, in all runs that are asked about.

    Attributes:
        middle: `[batch, *shape]`.
        radius: `[batch]`; infinite where nothing is known.
        off: how far the middle may be from the value at the example, `[batch]`.
    """

    middle: Tensor
    radius: Tensor
    off: Tensor


class Coupling(NamedTuple):
    """The ball and the box of a function's inputs.

    Attributes:
        ball: of the inputs.
        low, high: of the box, put out to zero, `[batch, *shape]`.
        largest: max m of this module's derivation, `[batch]`.
        moment: Σm² + ρ², `[batch]`.
    """

    ball: NodeBall
    low: Tensor
    high: Tensor
    largest: Tensor
    moment: Tensor

    @classmethod
    def of(cls, ball: NodeBall, box: Interval) -> "Coupling":
        """Put a ball and a box together."""
        reach = (ball.middle.abs() + box.magnitude).flatten(1)
        moment = (reach.square().sum(1) + ball.radius.square()) * (1 + 1e-6) + UNDERFLOW
        low, high = box.lower.clamp(max=0), box.upper.clamp(min=0)
        return cls(ball, low, high, reach.amax(1) * (1 + 1e-6), moment)


class Minima(NamedTuple):
    """Where the right side is taken for some λ.

    Attributes:
        value: of each row.
        apart: distance of all minimisers from the middle, of each row.
        above, below: the minimisers on either side of zero.
        rises: where the one above is the lesser.
    """

    value: Tensor
    apart: Tensor
    above: Tensor
    below: Tensor
    rises: Tensor


class Terms(NamedTuple):
    """What is minimised: a·z above zero and b·z below it, and where.

    All are `[*rows, *shape]`, or broadcast to it; `radius` is one number for each row.
    """

    a: Tensor
    b: Tensor
    middle: Tensor
    low: Tensor
    high: Tensor
    radius: Tensor

    def at(self, weight: Tensor) -> "Minima":
        """The right side for λ, `weight` for each row."""
        first = weight.dim()
        shaped = weight.reshape(*weight.shape, *[1] * (self.a.dim() - first))
        inverse, half = 1 / shaped, shaped / 2
        above = (self.middle - self.a * inverse).clamp_(min=0).minimum(self.high)
        below = (self.middle - self.b * inverse).clamp_(max=0).maximum(self.low)
        up = (above - self.middle).square_()
        down = (below - self.middle).square_()
        rising = (above * self.a).addcmul_(up, half)
        falling = (below * self.b).addcmul_(down, half)
        apart = torch.where(rising < falling, up, down).flatten(first).sum(first)
        value = torch.minimum(rising, falling).flatten(first).sum(first)
        value = value - weight * (self.radius * self.radius / 2)
        return Minima(value, apart.sqrt(), above, below, rising < falling)

    def follow(self, weight: Tensor) -> Tensor:
        """A better λ: at the best one, the minima are as far from the middle as the ball allows."""
        weight = weight.clamp(min=SMALLEST)
        return weight * (self.at(weight).apart / self.radius)

    def start(self, leading: int) -> Tensor:
        """The best λ if there were no box and y were 0."""
        pull = torch.where(self.high > 0, -self.a, 0.0)
        pull = torch.maximum(pull, torch.where(self.low < 0, self.b, 0.0)).clamp_(min=0)
        norm: Tensor = torch.linalg.vector_norm(pull.flatten(leading), dim=leading)
        return norm / self.radius


def least_together(
    carrier: TensorRows,
    rows: Tensor,
    slopes: Tensor,
    leak: float | Tensor,
    coupling: Coupling,
    position: int,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`(value, slack)`: value - slack bounds rows·f(z) - (rows · slopes)·z from below.

    Args:
        carrier: the rows' algebra.
        rows: coefficients of the function's outputs.
        slopes: of the line that each coefficient takes, as large as the rows.
        leak: of the function.
        coupling: where its inputs are.
        position: of the function's node.
        weight: λ of each row; None to search for it.
    """
    lines, ball = rows * slopes, coupling.ball
    middle, low, high = (
        carrier.at(v, position) for v in (ball.middle, coupling.low, coupling.high)
    )
    radius = carrier.each(ball.radius)
    terms = Terms(rows - lines, leak * rows - lines, middle, low, high, radius)
    if weight is None:
        weight = terms.start(carrier.leading)
        for _ in range(STEPS):
            weight = terms.follow(weight)
    weight = weight.clamp(min=SMALLEST)
    value = terms.at(weight).value
    share = 2 * gamma(carrier.terms(rows) + 24)
    steep = 2 + slopes.abs().flatten(carrier.leading).amax(carrier.leading)
    size = carrier.norm(rows) * steep * carrier.each(coupling.largest)
    return value, (size + weight * carrier.each(coupling.moment)) * share
