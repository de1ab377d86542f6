"""A search for the multipliers of `quadratic.py`: an interior point method for its relaxation.

With v̂ = (1, v), every constraint is <A_j, v̂v̂ᵀ> <= 0 or = 0. The relaxation puts any positive
semidefinite X with X_00 = 1 in place of v̂v̂ᵀ; its dual is to maximise t so that Z = C + Σ m_j A_j
is positive semidefinite, where A of t is -E_00. Steps are those of Helmberg, Rendl, Vanderbei and
Wolkowicz (1996), Kojima, Shindoh and Hara (1997) and Monteiro (1997), with Mehrotra's predictor and
corrector. All A_j are sums of products of two forms, so that the equations' entries,

    <a aᵀ X b bᵀ Z⁻¹> = (aᵀXb)·(aᵀZ⁻¹b),

are products of the entries of two matrices: FXFᵀ and FZ⁻¹Fᵀ, F the forms. What comes of it is a
choice; `quadratic.least` proves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.numerics.deadline import Deadline
from evaluators.numerics.memory import fitting
from evaluators.unrolled.quadratic import (
    Forms,
    Goal,
    ProductMultipliers,
    hessian,
    in_ball,
    least,
)
from evaluators.unrolled.relus import as_relus
from evaluators.unrolled.unrolled_problem import UnrolledProblem

STEPS = 40
"""Most steps; a proof takes about ten, and twenty reach the best bound."""

FIRST, GAP = 0.1, 0.05
"""The first multipliers of squares, and the first gap of each constraint, in units of the goal: on
a convolutional network of digits three times as much or as little take twice as many steps."""

SMALL = 1e-4
"""The first multipliers of pairs of two units: hundreds of them together must not outweigh."""

PART = 0.1
"""A goal's scale as a share of the largest value that its terms could sum up to. Margins of digits
take 8.3 steps with 0.1 on average, 9.5 with 0.3, and 9.9 with 0.03."""

WARM = 4e-3
"""Gap from which other goals of the same example start: they take 5 steps instead of 8; from 1e-3,
near the first one's optimum, or from 8e-3 they take 5.5."""

SMALLEST_GAP = 1e-4
"""Gap of all constraints, in units of the goal, at which a bound is as good as it gets."""

MOST_ENTRIES, MATRICES = 2**22, 12
"""Largest number of entries of the equations' matrix, whose steps take less than a second, and how
many matrices of that size a step needs."""

SHORTER, INSIDE = 0.88, 0.95
"""What is tried next where a step is too long, and the share of the longest that is taken."""


class Grams(NamedTuple):
    """What forms are in a matrix X: f·X·f' of all pairs.

    Attributes:
        plain: `[forms, forms]`.
        edge: with the constant 1, `[forms]`.
        corner: of the constant.
        shifted, own: the same of forms less the middle of their range.
    """

    plain: Tensor
    edge: Tensor
    corner: Tensor
    shifted: Tensor
    own: Tensor


class Iterate(NamedTuple):
    """ProductMultipliers, Z, X, and the constraints' slacks; or a direction of them."""

    m: Tensor
    z: Tensor
    x: Tensor
    w: Tensor


BoundSearch = Callable[[Forms, Goal, Deadline, Iterate | None, int], tuple[float, Iterate | None]]
"""What `lower_bound` does."""


@dataclass(frozen=True, eq=False)
class _Program:
    """The relaxation; multipliers are squares, pairs, the ball's and t, in one vector."""

    forms: Forms
    goal: Goal
    scale: float

    @property
    def parts(self) -> tuple[slice, slice, int]:
        """Where the squares, pairs and the ball are; t is the last one."""
        count = len(self.forms.low)
        last = count + len(self.forms.left)
        return slice(0, count), slice(count, last), last

    @cached_property
    def middle(self) -> Tensor:
        """Of the forms' ranges."""
        return (self.forms.low + self.forms.high) / 2

    @cached_property
    def corners(self) -> Tensor:
        """How often each A holds -E_00."""
        reach = ((self.forms.high - self.forms.low) / 2).square()
        last = reach.new_tensor([self.forms.limit, 1.0])
        return torch.cat((reach, reach.new_zeros(len(self.signs)), last))

    @cached_property
    def signs(self) -> Tensor:
        """Of the pairs: one of two units is at least 0 where a constraint is at most 0."""
        return torch.where(self.forms.own, 1.0, -1.0).double()

    @cached_property
    def signed(self) -> Tensor:
        """Which multipliers must not be negative."""
        _, pairs, ball = self.parts
        signed = torch.ones(ball + 2, dtype=torch.bool)
        signed[pairs] = ~self.forms.own | self.forms.differences
        signed[-1] = False
        return signed

    @cached_property
    def rows(self) -> Tensor:
        """The forms that are no variables, with their constants first."""
        return torch.cat((self.forms.bias[:, None], self.forms.weight), 1)

    def multipliers(self, m: Tensor) -> ProductMultipliers:
        """The vector's parts, as they are."""
        squares, pairs, ball = self.parts
        return ProductMultipliers(m[squares], m[pairs] * self.signs, m[ball])

    def sum(self, m: Tensor) -> Tensor:
        """Σ m_j A_j."""
        forms, chosen = self.forms, self.multipliers(m)
        every, n = forms.variables, forms.inputs
        found = torch.empty(every + 1, every + 1, dtype=m.dtype)
        found[1:, 1:] = hessian(forms, chosen)
        pull = chosen.squares * (forms.at(torch.zeros(every).double()) - self.middle)
        edge = pull[:every] + pull[every:] @ forms.weight
        edge[n:].index_add_(0, forms.left, chosen.pairs * forms.bias[forms.right] / 2)
        found[0, 1:] = found[1:, 0] = edge
        shifts = self.middle.clone()
        shifts[every:] -= forms.bias
        found[0, 0] = (chosen.squares * shifts.square()).sum() - self.corners @ m
        return found

    @cached_property
    def cost(self) -> Tensor:
        """C, in units of the goal."""
        every = self.forms.variables
        found = torch.zeros(every + 1, every + 1, dtype=self.goal.weight.dtype)
        found[0, 1:] = found[1:, 0] = self.goal.weight / (2 * self.scale)
        found[0, 0] = self.goal.constant / self.scale
        return found

    def grams(self, x: Tensor) -> Grams:
        """The forms in a matrix."""
        every = self.forms.variables
        through = self.rows @ x
        plain = torch.empty(len(self.middle), len(self.middle), dtype=x.dtype)
        plain[:every, :every] = x[1:, 1:]
        plain[every:, :every] = through[:, 1:]
        plain[:every, every:] = through[:, 1:].T
        plain[every:, every:] = through @ self.rows.T
        edge, corner, middle = torch.cat((x[1:, 0], through[:, 0])), x[0, 0], self.middle
        own = edge - middle * corner
        shifted = plain.addr(middle, edge, alpha=-1).addr_(own, middle, alpha=-1)
        return Grams(plain, edge, corner, shifted, own)

    def ends(self, g: Grams) -> Tensor:
        """<A_j, X> of all constraints."""
        n, every = self.forms.inputs, self.forms.variables
        pairs = self.signs * g.plain[n + self.forms.left, every + self.forms.right]
        ball = g.plain.diagonal()[:n].sum()
        found = torch.cat((g.shifted.diagonal(), pairs, ball[None], torch.zeros_like(ball[None])))
        return found - self.corners * g.corner

    def equations(self, a: Grams, b: Grams) -> Tensor:
        """<A_i X A_j Z⁻¹> of all pairs of constraints."""
        n, every = self.forms.inputs, self.forms.variables
        squares, pairs, ball = self.parts
        p, q, x = n + self.forms.left, every + self.forms.right, slice(0, n)
        signs, across, along = self.signs / 2, (p[:, None], q), (q[:, None], p)
        found = torch.zeros(ball + 2, ball + 2, dtype=a.plain.dtype)
        torch.mul(a.shifted, b.shifted, out=found[squares, squares])
        left, right = (g.plain.addr(self.middle, g.edge, alpha=-1) for g in (a, b))
        found[squares, pairs] = (left[:, p] * right[:, q] + left[:, q] * right[:, p]) * signs
        found[pairs, squares] = found[squares, pairs].T
        crossed = a.plain[along] * b.plain[across] + a.plain[across] * b.plain[along]
        straight = a.plain[q[:, None], q] * b.plain[p[:, None], p]
        straight += a.plain[p[:, None], p] * b.plain[q[:, None], q]
        found[pairs, pairs] = (crossed + straight) * signs[:, None] * signs
        found[ball, squares] = found[squares, ball] = (left[:, x] * right[:, x]).sum(1)
        around = (a.plain[p, x] * b.plain[q, x] + a.plain[q, x] * b.plain[p, x]).sum(1) * signs
        found[ball, pairs] = found[pairs, ball] = around
        found[ball, ball] = (a.plain[x, x] * b.plain[x, x]).sum()
        both = (a.edge[p] * b.edge[q] + a.edge[q] * b.edge[p]) * signs
        here = (a.edge[x] * b.edge[x]).sum()[None]
        edge = torch.cat((a.own * b.own, both, here, torch.zeros_like(here)))
        found.addr_(edge, self.corners, alpha=-1)
        return found.addr_(self.corners, edge - self.corners * (a.corner * b.corner), alpha=-1)

    def start(self) -> Iterate | None:
        """A point with XZ a multiple of the identity; None where rounding leaves none."""
        squares, pairs, ball = self.parts
        m = torch.zeros(ball + 2, dtype=self.goal.weight.dtype)
        m[squares], m[ball] = FIRST, 10 * FIRST / self.forms.limit
        m[pairs] = torch.where(self.forms.own, FIRST * self.forms.differences, SMALL)
        m, z = self._with_corner(m, GAP)
        factor, failed = torch.linalg.cholesky_ex(z)
        if int(failed):
            return None
        x = GAP * torch.cholesky_inverse(factor)
        return Iterate(m, z, x, torch.where(self.signed, GAP / m, 0.0))

    def moved(self, point: Iterate) -> Iterate:
        """Another goal's point, with the t that has the same gap here."""
        m, z = self._with_corner(point.m, _gap(self, point))
        return point._replace(m=m, z=z)

    def _with_corner(self, m: Tensor, gap: float) -> tuple[Tensor, Tensor]:
        """The multipliers with the t for which Z⁻¹ is 1 / gap at its corner, and Z."""
        m = m.clone()
        m[-1] = 0.0
        z = self.cost + self.sum(m)
        rest = torch.linalg.solve_ex(z[1:, 1:], z[1:, 0]).result
        m[-1] = z[0, 0] - z[1:, 0] @ rest - gap
        z[0, 0] -= m[-1]
        return m, z


def room(forms: Forms) -> int:
    """Tell how many more constraints a step has room for; negative where there are too many."""
    most = isqrt(fitting(MOST_ENTRIES, 8 * MATRICES, 1 / 4))
    return most - len(forms.low) - len(forms.left) - 2


def raised(around: UnrolledProblem, margins: Tensor, deadline: Deadline) -> Tensor:
    """Prove lower bounds of the margins, `[rows]`, from those known so far.

    The lowest are raised first; one that is not positive then ends it, for its example is open.
    Nothing is raised in boxes, and where there are no forms, or too many.
    """
    kinks = as_relus(around)
    forms = Forms.of(kinks) if in_ball(around) else None
    if forms is None or room(forms) < 0:
        return margins.clone()

    def goal(row: int) -> Goal:
        return Goal.of(kinks, forms, row)

    return raised_by(forms, goal, margins, deadline)


def raised_by(
    forms: Forms,
    goal_of: Callable[[int], Goal],
    margins: Tensor,
    deadline: Deadline,
    search: BoundSearch | None = None,
) -> Tensor:
    """Prove lower bounds of the margins by forms; see `raised`.

    After one that is not positive, those that have no bound get that of the search's start.
    Bounds are looked for by `search`, or else by `lower_bound`.
    """
    found, steps = margins.clone(), STEPS
    before: Iterate | None = None
    for row in margins.argsort().tolist():
        if found[row] > 0 or (not steps and torch.isfinite(found[row])):
            continue
        bound, before = (search or lower_bound)(forms, goal_of(row), deadline, before, steps)
        found[row] = max(float(found[row]), bound)
        if not found[row] > 0:
            steps = 0
    return found


def lower_bound(
    forms: Forms,
    goal: Goal,
    deadline: Deadline,
    before: Iterate | None = None,
    steps: int = STEPS,
) -> tuple[float, Iterate | None]:
    """Prove a lower bound of a goal: the first positive one met, else the best.

    Args:
        forms, goal: the question.
        deadline: when to stop.
        before: where to start from, of another goal's search.
        steps: most steps.

    Returns:
        the bound, and where other goals' searches may start from.
    """
    size = goal.weight.abs() @ forms.largest + goal.constant.abs()
    scale = max(1e-30, PART * float(size))
    program, best = _Program(forms, goal, scale), -torch.inf
    chosen = now = program.start() if before is None else program.moved(before)
    if now is None or chosen is None:
        return best, None
    for _ in range(steps):
        after = None if deadline.passed else _step(program, now)
        if after is None:
            break
        now, rise = after
        bound, gap = float(now.m[-1] + rise), _gap(program, now)
        if before is None and gap < WARM:
            before = now
        if bound > best:
            best, chosen = bound, now
        if bound > 0 and (proved := _proved(program, now)) > 0:
            return proved, before
        if gap * len(now.m) < SMALLEST_GAP:
            break
    return _proved(program, chosen), before


def _proved(program: _Program, now: Iterate) -> float:
    parts = (part * program.scale for part in program.multipliers(now.m))
    return least(program.forms, program.goal, ProductMultipliers(*parts))


def _gap(program: _Program, now: Iterate) -> float:
    """The mean of what products of X and Z, and of slacks and multipliers, are."""
    signed = program.signed
    total = (now.x * now.z).sum() + now.w[signed] @ now.m[signed]
    return float(total) / (len(now.x) + int(signed.sum()))


def _step(program: _Program, now: Iterate) -> tuple[Iterate, float] | None:
    """One step of predictor and corrector, and what t could rise by there; None where it fails."""
    factor, failed = torch.linalg.cholesky_ex(now.z)
    if int(failed):
        return None
    solver = _Solver.of(program, now, torch.cholesky_inverse(factor))
    if solver is None:
        return None
    gap = _gap(program, now)
    ahead = solver.direction(0.0, None)
    there = _moved(now, ahead, *_longest(program, now, ahead))
    center = min(max((_gap(program, there) / gap) ** 2, 0.01), 0.9)
    move = solver.direction(center * gap, ahead)
    after = _moved(now, move, *(INSIDE * length for length in _longest(program, now, move)))
    after = after._replace(z=program.cost + program.sum(after.m), x=(after.x + after.x.T) / 2)
    edge = torch.zeros(len(after.z), 1, dtype=after.z.dtype)
    edge[0] = 1
    factor, failed = torch.linalg.cholesky_ex(after.z)
    if int(failed):
        return None
    return after, float(1 / torch.cholesky_solve(edge, factor)[0, 0])


def _moved(now: Iterate, move: Iterate, of_x: float, of_z: float) -> Iterate:
    return Iterate(
        now.m + of_z * move.m,
        now.z + of_z * move.z,
        now.x + of_x * move.x,
        now.w + of_x * move.w,
    )


def _longest(program: _Program, now: Iterate, move: Iterate) -> tuple[float, float]:
    """How far X and its slacks, and Z and its multipliers, can go."""
    lengths = []
    for own, its, vector, change in (
        (now.x, move.x, now.w, move.w),
        (now.z, move.z, now.m, move.m),
    ):
        falls = program.signed & (change < 0)
        length = 1.0
        if bool(falls.any()):
            length = min(1.0, 0.98 * float((-vector[falls] / change[falls]).min()))
        while length > 1e-6 and int(torch.linalg.cholesky_ex(own + length * its).info):
            length *= SHORTER
        lengths.append(length)
    return lengths[0], lengths[1]


@dataclass(frozen=True, eq=False)
class _Solver:
    """The equations of a step, factored.

    Attributes:
        program, now: where it starts.
        inverse: of Z.
        ends: <A_j, Z⁻¹>.
        scale, factor: of the equations, scaled to a diagonal of ones.
    """

    program: _Program
    now: Iterate
    inverse: Tensor
    ends: Tensor
    scale: Tensor
    factor: Tensor

    @classmethod
    def of(cls, program: _Program, now: Iterate, inverse: Tensor) -> "_Solver | None":
        """Write the equations; None where they are singular."""
        a, b = program.grams(now.x), program.grams(inverse)
        left, signed = program.equations(a, b), program.signed
        left.diagonal()[signed] += now.w[signed] / now.m[signed]
        scale = left.diagonal().rsqrt()
        left *= scale[:, None] * scale
        for more in (1e-13, 1e-8):
            left.diagonal().add_(more)
            factor, failed = torch.linalg.cholesky_ex(left)
            if not int(failed):
                return cls(program, now, inverse, program.ends(b), scale, factor)
        return None

    def direction(self, gap: float, ahead: Iterate | None) -> Iterate:
        """Towards a gap; with the products of what a predictor changes, if there was one."""
        program, now, signed = self.program, self.now, self.program.signed
        right, more = gap * self.ends, torch.zeros_like(now.x)
        right[-1] += 1
        wanted = torch.full_like(now.m, gap)
        if ahead is not None:
            more = ahead.x @ ahead.z @ self.inverse
            more = (more + more.T) / 2
            right -= program.ends(program.grams(more))
            wanted -= ahead.w * ahead.m
        right[signed] += wanted[signed] / now.m[signed]
        m = torch.cholesky_solve((right * self.scale)[:, None], self.factor)[:, 0] * self.scale
        z = program.sum(m)
        through = now.x @ z @ self.inverse
        x = gap * self.inverse - now.x - (through + through.T) / 2 - more
        w = torch.where(signed, (wanted - now.w * m) / now.m - now.w, 0.0)
        return Iterate(m, z, x, w)
