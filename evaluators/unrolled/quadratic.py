"""Bounds of a row by quadratic constraints on all inputs and units at once.

A ReLU with pre-activation z splits into two parts, of which one is 0: its output p = max(z, 0) and
q = p - z. With bounds l < 0 < u of z, every point of the region satisfies

    p·q = 0,   p·(p - u) <= 0,   q·(q + l) <= 0,
    ‖x - y‖² <= r²,   (x_k - low_k)·(x_k - high_k) <= 0

in which q is a linear function of the inputs and units (`unrolled_network.py`). A row plus these,
times multipliers that are at least 0 (of p·q: any), is a quadratic function that is nowhere in the
region above the row; its least value is a bound. The largest such bound is that of the semidefinite
relaxation of Shor (Raghunathan et al. 2018, arXiv 1811.01057, equation 4, whose linear constraints
follow from these): p/u + q/-l <= 1, the chord, follows from p·q = 0 and the two products. In balls
of l2 it loses far less than lines do, for neurons that share the ball cannot all be at their worst.

`interior_point.py` searches for multipliers; `least` proves a bound with any, in float64:

- Let v be inputs and units, in units of the radius and of u, and f(v) the quadratic function with
  Hessian 2H. For any w, and d = v - w, f(v) = f(w) + ∇f(w)·d + dᵀHd. Each |d_k| is at most the
  largest |v_k| plus |w_k|, which bounds the second term; the nearer w is to the minimiser, the less
  it loses. If H = LLᵀ + E, the third is at least -‖E‖·‖d‖², whatever L is, and ‖E‖ is at most the
  largest sum of |E|'s rows.
- Every form is a row of F times v, plus a constant. If the form that is meant differs from it by at
  most e, a product of forms with values in [low, high] differs by at most e·(high - low + e).
- Computed sums lose γ of the number of their terms times the sum of absolute values.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.numerics.rounding import UNDERFLOW, UNIT, float_above, gamma
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from evaluators.unrolled.unrolled_problem import UnrolledProblem

PAD = 1 + 1e-6
"""Covers the roundings of charges, which are sums of terms that are not negative."""

SURE = 1e3
"""How many times what rounding loses in q the unit of q is at least: in a unit of -l, which may be
tiny, q would seem to be uncertain, and its multipliers would cost much."""


class ProductMultipliers(NamedTuple):
    """Of the constraints.

    Attributes:
        squares: of each form's own product, at least 0, `[forms]`.
        pairs: of p·q, `[units]`.
        ball: at least 0, a scalar.
    """

    squares: Tensor
    pairs: Tensor
    ball: Tensor


@dataclass(frozen=True, eq=False)
class Forms:
    """The inputs' moves in units of the radius, p in units of u, and q in units of -l or more.

    The first inputs + units of them are the variables themselves.

    Attributes:
        inputs, units: how many there are.
        weight, bias: each q as a function of the variables, `[units, variables]` and `[units]`.
        low, high: what each form lies between, `[forms]`.
        lost: how far a form may be from what it stands for, `[forms]`.
        scales, middle: a variable times its scale, plus its middle, is its column, `[columns]`.
    """

    inputs: int
    units: int
    weight: Tensor
    bias: Tensor
    low: Tensor
    high: Tensor
    lost: Tensor
    scales: Tensor
    middle: Tensor

    @classmethod
    def of(cls, around: UnrolledProblem) -> "Forms | None":
        """Make those of ReLUs alone in a ball of l2, or of l1, which lies in one; else None."""
        region, lines, unrolled = around.region, around.lines, around.unrolled
        units, n = len(lines.leak), unrolled.inputs
        round_ = isinstance(region, Ball) and region.norm is not Norm.LINF
        if not round_ or not units or not bool((lines.leak == 0).all()):
            return None
        x, radius = around.x.flatten(), float_above(region.radius)
        rows, bias, lost = torch.zeros(units, n + units).double(), [], []
        for layer in unrolled.layers:
            rows[layer.first - n : layer.first - n + len(layer), : layer.first] = layer.rows.weight
            bias.append(layer.rows.bias)
            lost.append(layer.rows.lost)
        scales = torch.cat((x.new_full((n,), radius), lines.upper))
        middle = torch.cat((x, torch.zeros_like(lines.upper)))
        missing = torch.cat(lost)
        apart = torch.maximum(-lines.lower, SURE * missing)[:, None]
        shift = torch.cat(bias) + rows @ middle
        weight = -(rows * scales) / apart
        weight[:, n:].diagonal().copy_(lines.upper / apart[:, 0])
        # Both ends outward by more than a difference and a quotient lose.
        ends = [(bound.flatten() - x) / radius for bound in unrolled.bounds[0]]
        wider = [end.abs() * (8 * UNIT) + UNDERFLOW for end in ends]
        low = torch.cat((ends[0] - wider[0], x.new_zeros(2 * units)))
        high = torch.cat((ends[1] + wider[1], x.new_ones(2 * units)))
        largest = torch.maximum(low.abs(), high.abs())[: n + units]
        sizes = torch.cat(bias).abs() + rows.abs() @ middle.abs()
        wrong = (missing + sizes * (2 * gamma(n + 8))) / apart[:, 0]
        wrong = (wrong + weight.abs() @ largest * (8 * UNIT)) * PAD + UNDERFLOW * (n + units)
        exact = x.new_zeros(n + units)
        none = torch.cat((exact, wrong))
        return cls(n, units, weight, -shift / apart[:, 0], low, high, none, scales, middle)

    @property
    def variables(self) -> int:
        """Number of inputs and units."""
        return self.inputs + self.units

    @cached_property
    def largest(self) -> Tensor:
        """The largest magnitude of each variable, `[variables]`."""
        return torch.maximum(self.low.abs(), self.high.abs())[: self.variables]

    def at(self, place: Tensor) -> Tensor:
        """The values of all forms, `[forms]`, at values of the variables."""
        return torch.cat((place, self.weight @ place + self.bias))

    def back(self, rates: Tensor) -> Tensor:
        """A function's derivatives by the variables, from those by the forms."""
        return rates[: self.variables] + rates[self.variables :] @ self.weight


class Goal(NamedTuple):
    """A row about the variables.

    Attributes:
        weight, constant: `[variables]` and a scalar.
        lost: how far it may be from the row that it stands for.
    """

    weight: Tensor
    constant: Tensor
    lost: Tensor

    @classmethod
    def of(cls, around: UnrolledProblem, forms: Forms, row: int) -> "Goal":
        """The row of the specification."""
        goals = around.goals.select(torch.tensor([row]))
        own = goals.weight[0]
        weight, constant = own * forms.scales, goals.bias[0] + own @ forms.middle
        size = goals.bias[0].abs() + own.abs() @ forms.middle.abs()
        lost = goals.lost[0] + size * (2 * gamma(len(own) + 8))
        lost = lost + weight.abs() @ forms.largest * (4 * UNIT)
        return cls(weight, constant, (lost * PAD + UNDERFLOW * len(own)))


def hessian(forms: Forms, chosen: ProductMultipliers) -> Tensor:
    """Half the second derivatives of the sum of all products, `[variables, variables]`."""
    n, every = forms.inputs, forms.variables
    found = forms.weight.T @ (chosen.squares[every:, None] * forms.weight)
    found.diagonal().add_(chosen.squares[:every])
    found.diagonal()[:n].add_(chosen.ball)
    cross = (chosen.pairs / 2)[:, None] * forms.weight
    found[n:] += cross
    found[:, n:] += cross.T
    return found


def least(forms: Forms, goal: Goal, chosen: ProductMultipliers) -> float:
    """Prove a lower bound of the goal over the region with multipliers, whoever chose them."""
    squares, pairs = chosen.squares.clamp(min=0), chosen.pairs
    chosen = ProductMultipliers(squares, pairs, chosen.ball.clamp(min=0))
    n, every = forms.inputs, forms.variables
    second = hessian(forms, chosen)
    factor, failed = torch.linalg.cholesky_ex(second)
    if int(failed) or not all(bool(torch.isfinite(part).all()) for part in (*chosen, factor)):
        return -torch.inf
    place = _minimizer(forms, goal, chosen, factor)
    y, apart = forms.at(place), place.abs() + forms.largest
    sizes = torch.cat((place.abs(), forms.weight.abs() @ place.abs() + forms.bias.abs()))
    out, rest = slice(n, every), slice(every, None)
    low, high, share = forms.low, forms.high, 8 * gamma(3 * len(y) + 64)
    value = goal.weight @ place + goal.constant + (squares * (y - low) * (y - high)).sum()
    value = value + (pairs * y[out] * y[rest]).sum()
    value = value + chosen.ball * (place[:n].square().sum() - 1)
    size = goal.weight.abs() @ place.abs() + goal.constant.abs()
    size = size + (squares * (sizes + low.abs()) * (sizes + high.abs())).sum()
    size = size + (pairs.abs() * sizes[out] * sizes[rest]).sum()
    size = size + chosen.ball * (place[:n].square().sum() + 1)
    slope, steep = _slope(forms, goal, chosen, y), _steepness(forms, goal, chosen, sizes)
    wrong = (squares * forms.lost * (high - low + forms.lost)).sum()
    wrong = wrong + pairs.abs() @ (forms.lost[rest] * high[out])
    curved = _indefinite(forms, chosen, second, factor, share) * apart.square().sum()
    charge = size * share + (slope.abs() + steep * share) @ apart + curved + wrong + goal.lost
    found = value - charge * PAD - value.abs() * (4 * UNIT) - UNDERFLOW * len(y)
    return float(torch.nextafter(found, found.new_tensor(-torch.inf)).nan_to_num(-torch.inf))


def _minimizer(forms: Forms, goal: Goal, chosen: ProductMultipliers, factor: Tensor) -> Tensor:
    """Where the quadratic function is least, as near as rounding allows."""
    at = torch.zeros_like(goal.weight)
    for _ in range(2):
        slope = _slope(forms, goal, chosen, forms.at(at))
        at = at - torch.cholesky_solve(slope[:, None], factor)[:, 0] / 2
    return at


def _slope(forms: Forms, goal: Goal, chosen: ProductMultipliers, y: Tensor) -> Tensor:
    """The quadratic function's gradient where the forms are y."""
    n, every = forms.inputs, forms.variables
    rates = chosen.squares * (2 * y - forms.low - forms.high)
    rates[n:every] += chosen.pairs * y[every:]
    rates[every:] += chosen.pairs * y[n:every]
    rates[:n] += 2 * chosen.ball * y[:n]
    return goal.weight + forms.back(rates)


def _steepness(forms: Forms, goal: Goal, chosen: ProductMultipliers, sizes: Tensor) -> Tensor:
    """The sums of the absolute terms of the gradient."""
    n, every = forms.inputs, forms.variables
    rates = chosen.squares * (2 * sizes + forms.low.abs() + forms.high.abs())
    rates[n:every] += chosen.pairs.abs() * sizes[every:]
    rates[every:] += chosen.pairs.abs() * sizes[n:every]
    rates[:n] += 2 * chosen.ball * sizes[:n]
    return goal.weight.abs() + rates[:every] + rates[every:] @ forms.weight.abs()


def _indefinite(
    forms: Forms, chosen: ProductMultipliers, second: Tensor, factor: Tensor, share: float
) -> Tensor:
    """How much less than 0 the exact H may be, times a vector's squared length."""
    n, every = forms.inputs, forms.variables
    size = forms.weight.abs()
    ones = torch.ones(every, dtype=size.dtype)
    sums = chosen.squares[:every] + size.T @ (chosen.squares[every:] * (size @ ones))
    sums[:n] += chosen.ball
    sums[n:] += chosen.pairs.abs() * (size @ ones) / 2
    sums += (chosen.pairs.abs() / 2) @ size
    sums += factor.abs() @ (factor.abs().T @ ones)
    return (second - factor @ factor.T).abs().sum(1).amax() + sums.amax() * share
