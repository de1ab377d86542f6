"""Rows of groups of neurons, found where a linear program needs them, and bounds that use them.

Each round solves the program, takes the units whose outputs are farthest from their functions,
times their coefficients, and asks for the hulls of pairs and triples of them in the same layer. A
row that the program's point violates joins the program, for all later questions too.

The bound that counts follows from weak duality: with any gamma >= 0, and rows p·a + q·z <= r that
hold everywhere in the region, the least value of

    c·(x, a) + sum over the rows of gamma·(p·a + q·z - r)

over the region and the triangles is below that of c·(x, a). Its coefficients are further ones of
outputs, and multipliers of pre-activations, in the walk back of `unrolled/proof.py`.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from evaluators.linear_programs.hulls import leaky, right_side, separate, shape_of, vertices
from evaluators.linear_programs.triangle import Float64Array, Solution, TriangleProgram
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.rounding import UNDERFLOW, gamma
from evaluators.unrolled.ascent import Rates, ascend
from evaluators.unrolled.proof import allowed, least, planes, prove, stored
from evaluators.unrolled.system import System
from evaluators.unrolled.unrolled_network import Layer, Rows
from evaluators.unrolled.unrolled_problem import UnrolledProblem

APART = 1e-6
"""Distance of a unit's output from its function up to which no row is looked for."""

ENOUGH = 0.01
"""Share of a bound's size that a round has to gain for another one to follow."""

UNITS = 14
"""Units of a layer that a round's groups are made of."""

FEWEST = 4
"""Units that groups are made of where the program is wrong about fewer."""

MOST = 600
"""Rows that a program may have in all."""

TRIES = 4
"""Sets of groups that are asked for rows before a bound is left as it is."""

STEPS = 10
"""Of the ascents for the octahedra."""

UnitGroup = tuple[int, ...]


@dataclass
class GroupRows:
    """The rows of one example that are known so far.

    Attributes:
        around: the example.
        deadline: past it, nothing more is looked for.
        rounds: of rows for each question.
        groups: of each size, of a layer and round.
        outputs, inputs: p and q, `[rows, units]`.
        sides: r, `[rows]`.
        octahedra: proved heights of each group, `[sides]`.
        idle: how often each group had no row to add.
    """

    around: UnrolledProblem
    deadline: Deadline
    rounds: int
    groups: int
    program: TriangleProgram = field(init=False)
    outputs: Float64Array = field(init=False)
    inputs: Float64Array = field(init=False)
    sides: Float64Array = field(init=False)
    octahedra: dict[UnitGroup, Float64Array] = field(default_factory=dict)
    idle: Counter[UnitGroup] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.program = TriangleProgram(self.around.unrolled, self.around.lines)
        self.outputs = self.inputs = np.zeros((0, self.program.units))
        self.sides = np.zeros(0)

    def raise_bound(self, goal: Rows) -> float:
        """Bound one row, with more and more rows of groups until it is positive.

        Args:
            goal: over all columns.
        """
        best, weight = -np.inf, goal.weight[0].numpy()
        for turn in range(self.rounds + 1):
            solution = self.program.minimize(weight, self.deadline.left)
            if solution is None or self.deadline.passed:
                break
            bound, coefficients = self._prove(goal, solution)
            slow = turn > 0 and bound - best < ENOUGH * abs(best)
            best = bound if bound > best else best
            full = len(self.sides) >= MOST
            if best > 0 or turn == self.rounds or full or slow or solution.point is None:
                break
            if not any(self._extend(solution, coefficients) for _ in range(TRIES)):
                break
        return float(best)

    def _prove(self, goal: Rows, solution: Solution) -> tuple[float, Float64Array]:
        """The bound by a solution's duals, and the coefficients of units on the way."""
        prices = np.nan_to_num(solution.prices).clip(min=0)
        whole, pulls = self._combined(goal, prices)
        weight = whole.weight[0].numpy()
        chosen = self.program.multipliers(weight, solution.through, pulls[0].numpy())
        lines = self.around.lines
        slopes = allowed(chosen.slopes.nan_to_num(1.0)[None], lines)
        choice = lines.choice(slopes)._replace(pulls=pulls)
        around = self.around
        found = planes(around.unrolled, whole, choice)
        bound = least(around.unrolled, found, around.x, around.region)
        return float(bound.nan_to_num(-torch.inf, -torch.inf, -torch.inf)), chosen.coefficients

    def _combined(self, goal: Rows, prices: Float64Array) -> tuple[Rows, Tensor]:
        """The goal with all rows of groups, and what is pulled at the pre-activations."""
        n, lines = self.program.inputs, self.around.lines
        weight, pulls = goal.weight.clone(), torch.from_numpy(-(prices @ self.inputs))
        weight[0, n:] += torch.from_numpy(prices @ self.outputs)
        bias = goal.bias - float(prices @ self.sides)
        magnitudes = self.around.unrolled.magnitudes()
        z = torch.maximum(lines.lower.abs(), lines.upper.abs())
        parts = (
            goal.weight.abs()[0] @ magnitudes,
            torch.from_numpy(prices @ np.abs(self.outputs)) @ magnitudes[n:],
            torch.from_numpy(prices @ np.abs(self.inputs)) @ z,
            goal.bias.abs()[0] + float(prices @ np.abs(self.sides)),
        )
        size = torch.stack(parts).sum()
        lost = goal.lost + size * (4 * gamma(len(prices) + 16)) + UNDERFLOW * (1 + magnitudes.sum())
        return Rows(weight, bias, lost), pulls[None]

    def _extend(self, solution: Solution, coefficients: Float64Array) -> bool:
        """Add rows that a solution violates; tell whether there are any."""
        gaps = self.program.gaps(solution)
        scores = np.where(gaps > APART, gaps * np.abs(coefficients), 0.0)
        found = list[tuple[float, UnitGroup, Float64Array]]()
        for layer in self.around.unrolled.layers:
            groups = self._groups(layer, scores, np.abs(coefficients))
            self._bound_octahedra(layer, groups)
            for group in groups:
                if self.deadline.passed:
                    return False
                row = self._violated(layer, group, solution)
                if row is None:
                    self.idle[group] += 1
                else:
                    found.append((sum(scores[list(group)]), group, row))
        found.sort(key=lambda one: -one[0])
        found = found[: MOST - len(self.sides)]
        self._add(found)
        return bool(found)

    def _groups(
        self, layer: Layer, scores: Float64Array, coefficients: Float64Array
    ) -> list[UnitGroup]:
        """Pairs and triples of the units of a layer that matter most."""
        first = layer.first - self.program.inputs
        here = slice(first, first + len(layer))
        order = first + np.lexsort((-coefficients[here], -scores[here]))[:UNITS]
        # A unit that happens to be right may be wrong as soon as another one is not.
        known = [int(u) for place, u in enumerate(order) if scores[u] > 0 or place < FEWEST]
        if not scores[known].any():
            return []
        groups = list[UnitGroup]()
        for size in (2, 3):
            every = [tuple(sorted(group)) for group in combinations(known, size)]
            every.sort(key=lambda group: (self.idle[group], -min(scores[list(group)])))
            groups += every[: self.groups]
        return groups

    def _bound_octahedra(self, layer: Layer, groups: list[UnitGroup]) -> None:
        """Prove the heights of all groups of a layer that have none yet."""
        first, around = layer.first - self.program.inputs, self.around
        missing = [group for group in groups if group not in self.octahedra]
        if not missing:
            return
        wanted = dict[tuple[tuple[int, float], ...], int]()
        for group in missing:
            for direction in shape_of(len(group)).directions:
                wanted.setdefault(_key(group, direction), len(wanted))
        sums = np.zeros((len(wanted), len(layer)))
        for key, place in wanted.items():
            for unit, sign in key:
                sums[place, unit - first] = -sign  # a lower bound of -c·z
        # A single unit's bounds are known; its row is asked all the same, and may be better.
        low = _proved(around, layer, torch.from_numpy(sums), self.deadline)
        heights = -low.numpy()
        for group in missing:
            directions = shape_of(len(group)).directions
            own = np.array([heights[wanted[_key(group, c)]] for c in directions])
            self.octahedra[group] = np.minimum(own, self._by_units(group, directions))

    def _by_units(self, group: UnitGroup, directions: Float64Array) -> Float64Array:
        """Heights by the bounds of the units alone, rounded up."""
        units = list(group)
        ends = (self.around.lines.lower.numpy()[units], self.around.lines.upper.numpy()[units])
        each = np.where(directions > 0, ends[1], np.where(directions < 0, -ends[0], 0.0))
        sums: Float64Array = each.sum(1) + np.abs(each).sum(1) * (2 * gamma(16)) + UNDERFLOW
        return sums

    def _violated(self, layer: Layer, group: UnitGroup, solution: Solution) -> Float64Array | None:
        assert solution.point is not None
        output, z = np.split(solution.point[self.program.inputs :], 2)
        units, leak, heights = list(group), layer.function.leak, self.octahedra[group]
        if not bool(np.isfinite(heights).all()):
            return None
        points = vertices(heights, leak, len(group))
        if bool((np.abs(output[units] - leaky(z[units], leak)) <= APART).all()):
            return None
        return separate(points, np.concatenate([z[units], output[units]]))

    def _add(self, found: list[tuple[float, UnitGroup, Float64Array]]) -> None:
        """Prove rows, and put them into the program."""
        outputs, inputs = np.zeros((2, len(found), self.program.units))
        sides, leaks = np.zeros(len(found)), self.program.leak
        for place, (_, group, row) in enumerate(found):
            inputs[place, list(group)], outputs[place, list(group)] = np.split(row, 2)
            sides[place] = right_side(row, self.octahedra[group], float(leaks[group[0]]))
        good = np.isfinite(sides)
        outputs, inputs, sides = outputs[good], inputs[good], sides[good]
        self.program.add(outputs, inputs, sides)
        self.outputs = np.concatenate([self.outputs, outputs])
        self.inputs = np.concatenate([self.inputs, inputs])
        self.sides = np.concatenate([self.sides, sides])


def _key(group: UnitGroup, direction: Float64Array) -> tuple[tuple[int, float], ...]:
    """The units and signs of a side."""
    return tuple((u, float(c)) for u, c in zip(group, direction, strict=True) if c)


def _proved(around: UnrolledProblem, layer: Layer, sums: Tensor, deadline: Deadline) -> Tensor:
    """Lower bounds of sums of a layer's pre-activations, `[sums, units of the layer]`."""
    own = layer.rows
    sizes = layer.sizes(around.unrolled.magnitudes())
    lost = sums.abs() @ own.lost + sums.abs() @ sizes * (4 * gamma(len(layer) + 8)) + UNDERFLOW
    rows = Rows(sums @ own.weight, sums @ own.bias, lost)
    earlier = [other for other in around.unrolled.layers if other.first < layer.first]
    part = replace(around.unrolled, layers=earlier).around(rows)
    x, lines = around.x.flatten()[None, part.inputs], around.lines.select(part.units)
    slopes = lines.start.expand(len(rows), -1)
    if len(lines.leak):
        found = ascend(
            System.of(part.unrolled, x, around.region),
            lines,
            part.rows.weight.float(),
            part.rows.bias.float(),
            slopes.float(),
            Rates(STEPS, enough=float("inf")),
            deadline,
        )
        slopes = found.slopes
    return prove(part.unrolled, lines, part.rows, x, around.region, stored(slopes, lines))
