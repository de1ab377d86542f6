"""Bounds of a row by quadratic constraints on all inputs and units at once.

A ReLU with pre-activation z splits into two parts, of which one is 0: its output p = max(z, 0) and
q = p - z. With bounds l < 0 < u of z, every point of the region satisfies

    p·q = 0,   p·(p - u) <= 0,   q·(q + l) <= 0,
    ‖x - y‖² <= r²,   (x_k - low_k)·(x_k - high_k) <= 0

in which q is a linear function of the inputs and units (`unrolled_network.py`); of a box r is half
its diagonal or more. A row plus these, times multipliers that are at least 0 (of p·q: any), is a
quadratic function that is nowhere in the region above the row; its least value is a bound. The
largest such bound is that of the semidefinite relaxation of Shor (Raghunathan et al. 2018, arXiv
1811.01057, equation 4, whose linear constraints follow from these): p/u + q/-l <= 1, the chord,
follows from p·q = 0 and the two products. In balls of l2 it loses far less than lines do, for
neurons that share the ball cannot all be at their worst.

Of two units i and j, p_i·q_j >= 0, too: more than what slopes between 0 and 1 say of them,
(p_i - p_j)·(q_i - q_j) <= 0 (Fazlyab et al. 2022, arXiv 1903.01287).

What units and inputs differ by between the example and another point of the region satisfies the
same without constants, except that p·q <= 0, as slopes lie between 0 and 1: so LipSDP bounds how
far a row moves (Fazlyab et al. 2019, arXiv 1906.04893, theorem 1).

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

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.numerics.rounding import UNDERFLOW, UNIT, float_above, gamma, up
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.unrolled.unrolled_problem import UnrolledProblem

PAD = 1 + 1e-6
"""Covers the roundings of charges, which are sums of terms that are not negative."""

SURE = 1e3
"""How many times what rounding loses in q the unit of q is at least: in a unit of -l, which may be
tiny, q would seem to be uncertain, and its multipliers would cost much."""

BROKEN = 1e-5
"""What a product of two units, of values up to 1, is below 0 by where it is worth asking for."""


class ProductMultipliers(NamedTuple):
    """Of the constraints.

    Attributes:
        squares: of each form's own product, at least 0, `[forms]`.
        pairs: of products of a p and a q, `[pairs]`: of a unit's own any, of differences at least
            0; of two units' at most 0.
        ball: at least 0, a scalar.
    """

    squares: Tensor
    pairs: Tensor
    ball: Tensor


@dataclass(frozen=True, eq=False)
class Forms:
    """The inputs' moves in units of the radius r, p in units of u, and q in units of -l or more.

    The first inputs + units of them are the variables themselves.

    Attributes:
        inputs, units: how many there are.
        weight, bias: each q as a function of the variables, `[units, variables]` and `[units]`.
        low, high: what each form lies between, `[forms]`.
        lost: how far a form may be from what it stands for, `[forms]`.
        scales, middle: a variable times its scale, plus its middle, is its column, `[columns]`.
        limit: what the sum of the inputs' squares is at most.
        left, right: the units of the pairs p·q, `[pairs]`; the first are the units' own.
        differences: whether these are differences of two points, of which p·q <= 0.
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
    limit: float
    left: Tensor
    right: Tensor
    differences: bool = False

    @classmethod
    def of(cls, around: UnrolledProblem) -> "Forms | None":
        """Make those of ReLUs alone, some of them unstable; else None."""
        lines, unrolled = around.lines, around.unrolled
        units, n = len(lines.leak), unrolled.inputs
        if not units or not bool((lines.leak == 0).all()):
            return None
        x, radius = around.x.flatten(), _radius(around)
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
        limit = 1.0 if in_ball(around) else float(n)
        shifted, own = -shift / apart[:, 0], torch.arange(units)
        return cls(n, units, weight, shifted, low, high, none, scales, middle, limit, own, own)

    def between_points(self) -> "Forms":
        """What the forms of a point of the region differ by from those of the example.

        Of two units' differences nothing is known of p·q.
        """
        low = torch.cat((self.low[: self.inputs], -self.high[self.inputs :]))
        nothing = torch.zeros_like(self.bias), torch.zeros_like(self.middle)
        changed = replace(self, bias=nothing[0], low=low, lost=2 * self.lost, middle=nothing[1])
        own = self.left[: self.units]
        return replace(changed, left=own, right=own, differences=True)

    @property
    def variables(self) -> int:
        """Number of inputs and units."""
        return self.inputs + self.units

    def crossed(self, products: Tensor, most: int) -> "Forms":
        """With those pairs of two units' p and q, at most so many, that are least below 0.

        Args:
            products: what the products of all variables and 1 are, 1 first, `[1 + variables]`
                squared.
            most: how many are added at most.
        """
        out = products[1 + self.inputs :]
        values = out[:, 1:] @ self.weight.T + out[:, :1] * self.bias
        values[self.left, self.right] = torch.inf
        least, which = values.flatten().topk(min(max(most, 0), values.numel()), largest=False)
        which = which[least < -BROKEN]
        left = torch.cat((self.left, which // self.units))
        return replace(self, left=left, right=torch.cat((self.right, which % self.units)))

    @property
    def own(self) -> Tensor:
        """Which pairs are of one unit, `[pairs]`."""
        return self.left == self.right

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


def in_ball(around: Problem | UnrolledProblem) -> bool:
    """Tell whether the region lies in a ball of l2 that is smaller than its box's."""
    return isinstance(around.region, Ball) and around.region.norm is not Norm.LINF


def _radius(around: UnrolledProblem) -> float:
    """How far an input moves at most; of a box without any width, 1."""
    if isinstance(around.region, Ball):
        return float_above(around.region.radius)
    ends = (bound.flatten() - around.x.flatten() for bound in around.unrolled.bounds[0])
    return float(up(torch.cat([end.abs() for end in ends]).amax())) or 1.0


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
    cross = (chosen.pairs / 2)[:, None] * forms.weight[forms.right]
    found[n:].index_add_(0, forms.left, cross)
    found[:, n:].index_add_(1, forms.left, cross.T)
    return found


def least(forms: Forms, goal: Goal, chosen: ProductMultipliers) -> float:
    """Prove a lower bound of the goal over the region with multipliers, whoever chose them."""
    squares = chosen.squares.clamp(min=0)
    pairs = chosen.pairs.clamp(min=0) if forms.differences else chosen.pairs
    pairs = torch.where(forms.own, pairs, pairs.clamp(max=0))
    chosen = ProductMultipliers(squares, pairs, chosen.ball.clamp(min=0))
    n, every = forms.inputs, forms.variables
    second = hessian(forms, chosen)
    factor, failed = torch.linalg.cholesky_ex(second)
    if int(failed) or not all(bool(torch.isfinite(part).all()) for part in (*chosen, factor)):
        return -torch.inf
    place = _minimizer(forms, goal, chosen, factor)
    y, apart = forms.at(place), place.abs() + forms.largest
    sizes = torch.cat((place.abs(), forms.weight.abs() @ place.abs() + forms.bias.abs()))
    out, rest = n + forms.left, every + forms.right
    low, high, share = forms.low, forms.high, 8 * gamma(3 * max(len(y), len(pairs)) + 64)
    value = goal.weight @ place + goal.constant + (squares * (y - low) * (y - high)).sum()
    value = value + (pairs * y[out] * y[rest]).sum()
    value = value + chosen.ball * (place[:n].square().sum() - forms.limit)
    size = goal.weight.abs() @ place.abs() + goal.constant.abs()
    size = size + (squares * (sizes + low.abs()) * (sizes + high.abs())).sum()
    size = size + (pairs.abs() * sizes[out] * sizes[rest]).sum()
    size = size + chosen.ball * (place[:n].square().sum() + forms.limit)
    slope, steep = _slope(forms, goal, chosen, y), _steepness(forms, goal, chosen, sizes)
    wrong = (squares * forms.lost * (high - low + forms.lost)).sum()
    wrong = wrong + pairs.abs() @ (forms.lost[rest] * forms.largest[out])
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
    n = forms.inputs
    rates = chosen.squares * (2 * y - forms.low - forms.high)
    _add_pairs(rates, forms, chosen.pairs, y)
    rates[:n] += 2 * chosen.ball * y[:n]
    return goal.weight + forms.back(rates)


def _add_pairs(rates: Tensor, forms: Forms, pairs: Tensor, y: Tensor) -> None:
    """Add the derivatives of the sum of all pairs by the forms."""
    left, right = forms.inputs + forms.left, forms.variables + forms.right
    rates.index_add_(0, left, pairs * y[right]).index_add_(0, right, pairs * y[left])


def _steepness(forms: Forms, goal: Goal, chosen: ProductMultipliers, sizes: Tensor) -> Tensor:
    """The sums of the absolute terms of the gradient."""
    n, every = forms.inputs, forms.variables
    rates = chosen.squares * (2 * sizes + forms.low.abs() + forms.high.abs())
    _add_pairs(rates, forms, chosen.pairs.abs(), sizes)
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
    pairs = chosen.pairs.abs() / 2
    sums[n:].index_add_(0, forms.left, pairs * (size @ ones)[forms.right])
    sums += torch.zeros(forms.units).double().index_add_(0, forms.right, pairs) @ size
    sums += factor.abs() @ (factor.abs().T @ ones)
    return (second - factor @ factor.T).abs().sum(1).amax() + sums.amax() * share
