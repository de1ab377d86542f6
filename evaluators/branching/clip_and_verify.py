"""Clip-and-Verify: narrower bounds of neurons in a domain, where only counterexamples matter.

A counterexample of a domain has margin <= 0, and the domain's own bound is a plane below the
margin: it lies in the half-space c·x + d <= 0. (A small positive target takes the place of 0, so
that a closed domain has a margin above it; d is then the plane's constant less the target.) Over
the part of the region in that half-space a neuron with a plane A·x + b below its pre-activation is,
for every gamma >= 0, at least

    min over x of (A + gamma·c)·x + b + gamma·d,

which is concave in gamma. Narrower bounds give tighter lines, a better plane, and so on; a domain
is closed when its margin cannot be <= 0 any more. This is clipping of domains by linear constraints
(Clip-and-Verify, Zhou et al. 2025, arXiv 2512.11087, section 3), with the output's constraint.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from evaluators.numerics.memory import fitting
from evaluators.numerics.rounding import UNDERFLOW, UNIT, down
from evaluators.question.certificate import LayerBounds
from evaluators.question.norm import Norm
from evaluators.unrolled.domains import Cut, Domains, Leaf
from evaluators.unrolled.proof import ROOM, InputPlanes, allowed, betas_of, least, planes
from evaluators.unrolled.system import System
from evaluators.unrolled.unit_lines import UnitBounds, UnitLines
from evaluators.unrolled.unrolled_network import Layer, Unrolled
from evaluators.unrolled.unrolled_problem import UnrolledProblem

LARGEST_PLANES = 2**25
"""Coefficients of the planes of all units (256 MB in float64); larger networks are not clipped."""

GUESSES, REFINED = (0.15, 0.5, 1.2, 3.0), (0.7, 1.4)
"""Gammas that are tried, in units of what makes gamma·c as large as A; then near the best. Domains
of positions 2 and 10 as in `tuning.py`: not refined 928 and 1,884; two guesses 944 and 1,909."""

PASS_COEFFICIENTS = 2**20
"""Coefficients of one pass, 8 MB in float64. Position 10 takes 3.0 s of processor time with 2**18
and 2**20, 3.4 s with 2**16 and 3.8 s with 2**22."""

SUM_ERROR = 8 * UNIT
"""Relative error of a sum of two products, and of what is taken off for it."""


@dataclass(frozen=True)
class UnitPlanes:
    """InputPlanes below z and below -z of every unit, over the whole region.

    Attributes:
        planes: first those below z, then those below -z, units in order.
        known: whether there is one, `[2, units]`.
        weight32, bias32: the same for the search.
    """

    planes: InputPlanes
    known: Tensor
    weight32: Tensor
    bias32: Tensor

    @classmethod
    def of(
        cls,
        unrolled: Unrolled,
        layers: dict[int, LayerBounds],
        everywhere: bool = False,
        largest: int = LARGEST_PLANES,
    ) -> "UnitPlanes | None":
        """Make them with the slopes that proved the units' bounds.

        Args:
            unrolled: the network around the example.
            layers: the bounds, and what proved them, by elementwise node.
            everywhere: whether units whose bounds have no proof there have planes, too: CROWN's.
            largest: number of coefficients from which on there are none.
        """
        units = unrolled.columns - unrolled.inputs
        if not units or 2 * units * unrolled.inputs > fitting(largest, 12, 1 / 8):
            return None
        weight = torch.zeros(2, units, unrolled.inputs, dtype=torch.float64)
        bias = torch.zeros(2, units, dtype=torch.float64)
        known = torch.full((2, units), everywhere)
        first = 0
        for number, layer in enumerate(unrolled.layers):
            lines, last = UnitLines.of(unrolled.layers[:number]), first + len(layer)
            for side, sign in enumerate((1.0, -1.0)):
                place, proved = _proofs(layers[layer.position], layer, sign)
                known[side, first + place] = True
                slopes = lines.start.repeat(len(layer), 1)
                slopes[place] = proved
                these = known[side, first:last].nonzero()[:, 0]
                rows = layer.rows.select(these).times(sign)
                below = planes(unrolled, rows, lines.choice(allowed(slopes[these], lines)))
                weight[side, first + these], bias[side, first + these] = below
            first = last
        flat = InputPlanes(weight.flatten(0, 1), bias.flatten())
        return cls(flat, known, flat.weight.float(), flat.bias.float())


def _proofs(claims: LayerBounds, layer: Layer, sign: float) -> tuple[Tensor, Tensor]:
    """The units of a layer whose bounds on a side have a proof, and its slopes."""
    mine = torch.from_numpy(claims.signs == sign).nonzero()[:, 0]
    entries = torch.from_numpy(claims.rows)[mine]
    place = torch.searchsorted(layer.entries, entries)
    found = place < len(layer)
    found[found.clone()] &= layer.entries[place[found]] == entries[found]
    return place[found], torch.from_numpy(claims.slopes)[mine[found]].double()


@dataclass(frozen=True)
class Clipping:
    """Makes cuts: combines planes of units with planes of margins.

    Attributes:
        around: the unrolled network, the example, its region and the specification.
        system: the network in float32.
        targets: where a margin is larger, its cuts need not hold, float64 `[rows]`.
        units: planes of the units.
        most: units of a domain whose bounds are narrowed: those that its bound loses most at.
        room: share by which bounds are widened, so that another order of sums proves them too.
    """

    around: UnrolledProblem
    system: System
    targets: Tensor
    units: UnitPlanes
    most: int
    room: float = ROOM

    def __call__(self, domains: Domains, scores: Tensor) -> Domains:
        """Return the domains with cuts made from their slopes and multipliers.

        Args:
            scores: how much each unit's bounds matter, `[domains, units]`.
        """
        lines, unrolled = self.around.lines, self.around.unrolled
        within = domains.within(lines)
        betas = betas_of(domains.betas, slice(None))
        choice = lines.choice(allowed(domains.slopes, lines), domains.signs, betas, within)
        margin = planes(unrolled, self.around.goals.select(domains.rows), choice)
        targets = self.targets[domains.rows]
        below = InputPlanes(margin.weight, down(margin.bias - targets))
        region = UnitBounds(lines.lower, lines.upper)
        before = within or UnitBounds(*(end.expand(len(domains), -1) for end in region))
        bounds, used = self._narrowed(below, scores, before)
        rows = zip(self._leaves(domains), targets.tolist(), used, *bounds, strict=True)
        # Copies: one row that stays must not hold the memory of all.
        cuts: list[Cut | None] = [
            Cut(leaf.cut, leaf, target, *parts, UnitBounds(lower.clone(), upper.clone()))
            for leaf, target, parts, lower, upper in rows
        ]
        return replace(domains, cuts=cuts)

    def _leaves(self, domains: Domains) -> list[Leaf]:
        """What cuts are made from; the cuts before them are kept for a certificate alone."""
        made, evidence = domains.leaves(), self.around.problem.evidence
        return [
            leaf._replace(slopes=leaf.slopes.clone(), cut=leaf.cut if evidence else None)
            for leaf in made
        ]

    def _narrowed(
        self, margin: InputPlanes, scores: Tensor, bounds: UnitBounds
    ) -> tuple[UnitBounds, list[tuple[Tensor, Tensor, Tensor]]]:
        """Narrower bounds `[domains, units]`, and for each domain the units, signs and gammas used.

        Args:
            margin: a plane below the margin of each domain.
            scores: how much each unit's bounds matter, `[domains, units]`.
            bounds: so far.
        """
        count = min(self.most, scores.shape[1])
        chosen = scores.topk(count, dim=1).indices
        lower, upper = bounds.lower.clone(), bounds.upper.clone()
        used: list[tuple[Tensor, Tensor, Tensor]] = []
        step = max(1, PASS_COEFFICIENTS // (count * self.system.inputs))
        for first in range(0, len(chosen), step):
            rows = slice(first, first + step)
            part = InputPlanes(margin.weight[rows], margin.bias[rows])
            sides = []
            for side, ends in enumerate((lower, upper)):
                sign = 1 - 2 * side
                index = side * scores.shape[1] + chosen[rows]
                gammas, guessed = self._gammas(part, index)
                before = ends[rows].gather(1, chosen[rows])
                better = self.units.known[side][chosen[rows]] & (guessed > sign * before)
                # Proved where it seems to be better only.
                own, place = better.nonzero(as_tuple=True)
                asked = InputPlanes(part.weight[own], part.bias[own])
                found = self._combined(asked, index[own, place, None], gammas[own, place, None])
                now = before.index_put((own, place), sign * found[:, 0])
                better = better & (sign * now > sign * before)
                now = torch.where(better, now, before)
                ends[rows] = ends[rows].scatter(1, chosen[rows], now)
                sides.append((better, gammas))
            used += _used(chosen[rows], sides)
        return UnitBounds(lower, upper), used

    def _gammas(self, margin: InputPlanes, index: Tensor) -> tuple[Tensor, Tensor]:
        """The best gamma that is tried for each unit and its bound, float32 `[domains, chosen]`."""
        weight, bias = self.units.weight32[index], self.units.bias32[index]
        own, constant = margin.weight.float()[:, None], margin.bias.float()[:, None]
        middle, reach = self.system.middle[0], self.system.reach[0]
        spread, spread_own = weight * reach, own * reach
        scale = spread.abs().sum(-1) / spread_own.abs().sum(-1).clamp(min=1e-30)
        fixed, rising = bias + weight @ middle, constant + own @ middle
        room = torch.empty_like(weight)

        def value(gamma: Tensor) -> Tensor:
            if self.system.norm is Norm.LINF:
                torch.addcmul(spread, gamma[..., None], spread_own, out=room)
                return fixed + gamma * rising - room.abs_().sum(-1)
            rows = torch.addcmul(weight, gamma[..., None], own).flatten(0, 1)
            return bias + gamma * constant + self.system.least(rows).reshape(gamma.shape)

        best = torch.full_like(scale, -torch.inf)
        gammas = torch.zeros_like(scale)
        for tried in (GUESSES, REFINED):
            center = scale if tried is GUESSES else gammas
            for factor in tried:
                gamma = center * factor
                found = value(gamma)
                gammas = torch.where(found > best, gamma, gammas)
                best = torch.maximum(best, found)
        return gammas.nan_to_num(0.0, 0.0, 0.0).clamp(min=0), best

    def _combined(self, margin: InputPlanes, index: Tensor, gammas: Tensor) -> Tensor:
        """Proved lower bounds of the planes plus gamma times the margin's, float64."""
        gamma = gammas.double()
        weight, bias = self.units.planes.weight[index], self.units.planes.bias[index]
        own, constant = margin.weight[:, None], margin.bias[:, None]
        rows = torch.addcmul(weight, gamma[..., None], own)
        # Each of these sums is rounded twice.
        unrolled = self.around.unrolled
        magnitude = unrolled.bounds[0].magnitude.flatten()
        size = weight.abs() @ magnitude + gamma * (own.abs() @ magnitude)
        size = size + bias.abs() + gamma * constant.abs()
        shift = bias + gamma * constant
        shift = shift - size * SUM_ERROR - UNDERFLOW * (1 + magnitude.sum())
        combined = InputPlanes(rows.flatten(0, 1), shift.flatten())
        found = least(unrolled, combined, self.around.x, self.around.region).reshape(gamma.shape)
        return (found - (1 + found.abs()) * self.room).nan_to_num(
            -torch.inf, -torch.inf, -torch.inf
        )


def _used(
    chosen: Tensor, sides: list[tuple[Tensor, Tensor]]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the units, signs and gammas of each domain whose bounds are better."""
    for row, units in enumerate(chosen):
        below, above = ((units[better[row]], gammas[row][better[row]]) for better, gammas in sides)
        signs = torch.tensor([1] * len(below[0]) + [-1] * len(above[0]))
        yield torch.cat((below[0], above[0])), signs, torch.cat((below[1], above[1]))
