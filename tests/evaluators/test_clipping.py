"""Cuts say what holds wherever the margin is small; never what holds elsewhere, or nowhere."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest
import torch

from evaluators.branching.clip_and_verify import Clipping, UnitPlanes
from evaluators.branching.search import start
from evaluators.branching.state import Search, State
from evaluators.branching.tuning import Tuning
from evaluators.numerics.deadline import Deadline
from evaluators.propagation.relaxation import Lines
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball, Box
from evaluators.unrolled.ascent import Rates
from evaluators.unrolled.domains import Cut, Domains
from evaluators.unrolled.proof import InputPlanes
from evaluators.unrolled.unit_lines import UnitBounds, UnitLines
from tests.fixtures.effort import first_alone, only
from tests.fixtures.exact import Vector, fractions
from tests.fixtures.tiny import FAMILIES
from tests.fixtures.unrolled import PIECEWISE, TELLING, about, around, dot, node_values

NAMES = [name for name in PIECEWISE if name not in ("dead", "linear")]
REGIONS: dict[str, Ball | Box] = {
    "linf": Ball(Norm.LINF, Fraction(1, 2)),
    "linf wide": Ball(Norm.LINF, Fraction(3, 2), -9.0, 9.0),
    "l2": Ball(Norm.L2, Fraction(3, 4), -9.0, 9.0),
    "l1": Ball(Norm.L1, Fraction(1), -9.0, 9.0),
    "box": Box(torch.tensor([[-0.5, 0.25]]).double(), torch.tensor([[0.75, 0.5]]).double()),
}
TARGETS = (1e-9, 1e-3, 0.1, 2.0)


def asked(name: str, region: str, seed: int) -> State:
    """The state of a search about some label, with what clipping starts from."""
    network = (PIECEWISE | FAMILIES)[name](seed)
    x = torch.tensor([0.5, 0.375, 0.25, 0.5])[: torch.Size(network.input_shape).numel()]
    problem = about(network, REGIONS[region], x.reshape(network.input_shape), seed % 2)
    return searching(replace(problem, evidence=True))


def searching(problem: Problem) -> State:
    (state,) = start([Search(around(problem), Deadline(20.0), Tuning(root=Rates(3)))])
    return state


def grid(search: Search, steps: int) -> list[Vector]:
    """Points all over the region, its corners and its boundary too, exactly."""
    lower, upper = (fractions(end) for end in search.around.unrolled.bounds[0])
    points = []
    for shares in product(range(steps + 1), repeat=len(lower)):
        ends = zip(lower, upper, shares, strict=True)
        points.append([lo + (hi - lo) * share / steps for lo, hi, share in ends])
    region = search.around.region
    if isinstance(region, Box) or region.norm is Norm.LINF:
        return points
    center = fractions(search.around.x)
    for point in points:
        shift = [p - c for p, c in zip(point, center, strict=True)]
        length = sum((abs(d) for d in shift), Fraction(0))
        if region.norm is Norm.L2:  # not above the true length, by less than 2^-40
            square = sum((d * d for d in shift), Fraction(0))
            length = Fraction(float(square) ** 0.5) * (1 + Fraction(1, 2**40))
        scale = min(Fraction(1), region.radius / length) if length else Fraction(1)
        point[:] = [c + scale * d for c, d in zip(center, shift, strict=True)]
    return points


def truth(search: Search, label: int, points: list[Vector]) -> list[tuple[Vector, Vector, Vector]]:
    """Every point, the units' pre-activations there, and the margins of all goals."""
    network, found = search.around.unrolled.network, []
    for x in points:
        values = node_values(network, x)
        units: Vector = []
        for layer in search.around.unrolled.layers:
            parent = values[network.nodes[layer.position].parents[0]]
            units += [parent[entry] for entry in layer.entries.tolist()]
        logits = values[-1]
        margins = [logits[label] - v for other, v in enumerate(logits) if other != label]
        found.append((x, units, margins))
    return found


def random_domains(search: Search, count: int, generator: torch.Generator) -> Domains:
    """Any goals, slopes, splits and multipliers."""
    units, leak = search.system.units, search.lines.leak
    slopes = leak + (1 - leak) * torch.rand(count, units, generator=generator).double()
    drawn = torch.rand(count, units, generator=generator)
    signs = (drawn < 0.15).to(torch.int8) - (drawn > 0.85).to(torch.int8)
    betas = torch.rand(count, units, generator=generator) * (signs != 0)
    paths = [tuple((u, int(row[u])) for u in row.nonzero()[:, 0].tolist()) for row in signs]
    goals = torch.randint(0, len(search.specification), (count,), generator=generator)
    bounds = torch.full((count,), -1.0)
    return Domains(goals, bounds, slopes.half(), betas, signs, paths, [None] * count)


def clipping_of(state: State, generator: torch.Generator) -> Clipping:
    """With random targets."""
    assert state.clipping is not None
    chosen = torch.randint(0, len(TARGETS), (len(state.roots),), generator=generator)
    return replace(state.clipping, targets=torch.tensor(TARGETS, dtype=torch.float64)[chosen])


def lies_in(units: Vector, domain: Domains, row: int) -> bool:
    return all(sign * units[unit] >= 0 for unit, sign in domain.paths[row])


# The box of the fixtures has two entries, the convolutional network's input more.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "region"),
    [
        (n, r)
        for n in [*NAMES, "convolutional"]
        for r in REGIONS
        if (n, r) != ("convolutional", "box")
    ],
)
def test_bounds_of_cuts_hold_wherever_the_margin_is_small(name: str, region: str) -> None:
    """Also those of cuts that rest on others, of their parts; on exact values of a dense grid."""
    narrower = met = 0
    for seed in range(3):
        state, generator = asked(name, region, seed), torch.Generator().manual_seed(seed)
        search = state.search
        if state.clipping is None:
            continue
        values = truth(search, seed % 2, grid(search, 3 if name == "convolutional" else 14))
        domains = random_domains(search, 6, generator)
        for _ in range(3):
            scores = torch.rand(domains.signs.shape, generator=generator)
            domains = clipping_of(state, generator)(domains, scores)
            for row, cut in enumerate(domains.cuts):
                assert cut is not None
                narrower += len(cut.units)
                met += holds(cut, domains, row, values)
            if bool(domains.free(search.lines).any(1).all()):
                free = domains.free(search.lines).float()
                domains = domains.children(torch.multinomial(free, 1, generator=generator)[:, 0])
    assert narrower > 20
    assert met


def holds(cut: Cut, domains: Domains, row: int, values: list[tuple[Vector, Vector, Vector]]) -> int:
    """At how many points a cut speaks of units, all of which must respect it."""
    met, least, one = 0, cut.target, cut
    while one.parent is not None:
        one = one.parent
        least = min(least, one.target)
    ends = [[Fraction(v) for v in end.tolist()] for end in cut.bounds]
    for _, units, margins in values:
        small = margins[int(domains.rows[row])] <= Fraction(least)
        if small and lies_in(units, domains, row):
            met += 1
            assert all(lo <= z <= hi for lo, z, hi in zip(ends[0], units, ends[1], strict=True))
    return met


@pytest.mark.parametrize("region", first_alone(["linf wide", "l2", "l1"]))
@pytest.mark.parametrize("name", only(NAMES, TELLING))
def test_planes_of_units_are_below_them_everywhere(name: str, region: str) -> None:
    tried = 0
    for seed in range(2):
        search = asked(name, region, seed).search
        found = UnitPlanes.of(search.around.unrolled, search.around.layers)
        if found is None:
            continue
        count = search.system.units
        rows = [fractions(row) for row in found.planes.weight]
        biases = fractions(found.planes.bias)
        for x, units, _ in truth(search, 0, grid(search, 8)):
            for side, unit in found.known.nonzero().tolist():
                place, sign = side * count + unit, 1 - 2 * side
                assert dot(rows[place], x) + biases[place] <= sign * units[unit]
                tried += 1
    assert tried


def bounds_to_try(leak: float) -> tuple[UnitLines, UnitBounds]:
    """A unit for each pair of numbers, of whatever order and sign."""
    ends = [-3.0, -1e-9, -5e-324, 0.0, 5e-324, 1e-12, 0.7, 1e9]
    lower, upper = torch.tensor(list(product(ends, ends)), dtype=torch.float64).T
    ones = torch.ones_like(lower)
    lines = UnitLines(Lines(*[ones] * 4), leak * ones, -ones, ones)
    return lines, UnitBounds(lower[None], upper[None])


@pytest.mark.parametrize("sign", [0, 1, -1])
@pytest.mark.parametrize("leak", [0.0, 0.1, 0.5, 1.0])
def test_lines_are_on_their_side_between_narrower_bounds(leak: float, sign: int) -> None:
    """Whether these touch zero or each other; where they exclude each other, lines are finite."""
    lines, within = bounds_to_try(leak)
    slope = leak + (1 - leak) * 0.3
    slopes = torch.full_like(within.lower, slope)
    signs = torch.full(slopes.shape, sign, dtype=torch.int8)
    choice = lines.choice(slopes, signs, 0.0 * slopes, within)
    assert choice.floors is None
    parts = (choice.slopes, choice.chords, choice.offsets)
    assert all(bool(part.isfinite().all()) for part in parts)
    leaning, tried = Fraction(leak), 0
    for unit, (low, high) in enumerate(zip(*(end[0].tolist() for end in within), strict=True)):
        below, above, offset = (Fraction(part[0, unit].item()) for part in parts)
        free = sign == 0 and low < 0 < high
        assert bool(choice.free[0, unit]) == free
        for z in {Fraction(low), Fraction(0), Fraction(high), Fraction(low + high) / 2}:
            if Fraction(low) <= z <= Fraction(high) and sign * z >= 0:
                true = max(z, leaning * z)
                assert below * z <= true <= above * z + offset
                tried += 1
    assert tried > 20


def clipped(clipping: Clipping, domains: Domains) -> list[Cut]:
    scores = torch.ones(domains.signs.shape)
    return [cut for cut in clipping(domains, scores).cuts if cut is not None]


# A negative multiplier counts as none, so that -inf is no bad one.
@pytest.mark.parametrize(
    ("where", "bad"),
    [
        (where, bad)
        for where in ("weight", "bias", "betas", "gammas", "scores")
        for bad in (torch.nan, torch.inf, -torch.inf)
        if (where, bad) != ("betas", -torch.inf)
    ],
)
def test_numbers_that_are_not_finite_narrow_nothing(
    where: str, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = asked("leaky 2-4-3-3", "linf", 3)
    search, clipping = state.search, state.clipping
    assert clipping is not None
    domains, scores = state.open, torch.ones(state.open.signs.shape)
    assert any(len(cut.units) for cut in clipped(clipping, domains))
    planes = clipping.units.planes
    if where == "weight":
        units = replace(clipping.units, planes=planes._replace(weight=planes.weight * bad))
        clipping = replace(clipping, units=units)
    elif where == "bias":
        units = replace(clipping.units, planes=planes._replace(bias=planes.bias + bad))
        clipping = replace(clipping, units=units)
    elif where == "betas":
        signs, betas = domains.signs.clone(), domains.betas.clone()
        signs[:, 0], betas[:, 0] = 1, bad
        domains = replace(domains, signs=signs, betas=betas)
    elif where == "gammas":
        many = torch.full((len(domains), domains.signs.shape[1]), bad)
        monkeypatch.setattr(
            Clipping, "_gammas", lambda *_: (many, torch.full_like(many, torch.inf))
        )
    else:
        scores = scores * bad
    for cut in clipping(domains, scores).cuts:
        assert cut is not None
        assert all(bool(end.isfinite().all()) for end in cut.bounds)
        assert bool(cut.gammas.isfinite().all())
        if where != "scores":
            assert not len(cut.units)
            assert torch.equal(cut.bounds.lower, search.lines.lower)
            assert torch.equal(cut.bounds.upper, search.lines.upper)


def test_a_unit_without_a_plane_of_its_own_is_not_narrowed() -> None:
    """The zeros in its place would say that it is nowhere negative, and nowhere positive."""
    state = asked("leaky 2-4-3-3", "linf", 3)
    search, clipping = state.search, state.clipping
    assert clipping is not None
    used = torch.cat([cut.units for cut in clipped(clipping, state.open)])
    signs = torch.cat([cut.signs for cut in clipped(clipping, state.open)])
    unit, sign = int(used[0]), int(signs[0])
    known = clipping.units.known.clone()
    known[0 if sign > 0 else 1, unit] = False
    planes = clipping.units.planes
    weight, bias = planes.weight.clone(), planes.bias.clone()
    place = unit if sign > 0 else len(search.lines.leak) + unit
    weight[place], bias[place] = 0.0, 0.0
    units = replace(
        clipping.units,
        known=known,
        planes=InputPlanes(weight, bias),
        weight32=weight.float(),
        bias32=bias.float(),
    )
    for cut in clipped(replace(clipping, units=units), state.open):
        assert not bool(((cut.units == unit) & (cut.signs == sign)).any())
        ends, before = (b[0 if sign > 0 else 1][unit] for b in (cut.bounds, region_of(search)))
        assert float(ends) == float(before)


def region_of(search: Search) -> UnitBounds:
    return UnitBounds(search.lines.lower, search.lines.upper)


def test_gammas_are_finite_and_not_negative() -> None:
    clipping = asked("leaky 2-4-3-3", "linf", 3).clipping
    assert clipping is not None
    margin = clipping.units.planes
    for factor in (0.0, 1e-300, 1e300, torch.inf, torch.nan):
        planes = margin._replace(weight=margin.weight * factor, bias=margin.bias * factor)
        index = torch.zeros(len(planes.bias), 3, dtype=torch.long)
        gammas, _ = clipping._gammas(planes, index)
        assert bool((gammas.isfinite() & (gammas >= 0)).all())


def test_networks_that_are_too_large_or_smooth_are_not_clipped() -> None:
    near = asked("relu 2-4-4-3", "linf", 0).search.around
    assert UnitPlanes.of(near.unrolled, near.layers) is not None
    assert UnitPlanes.of(near.unrolled, near.layers, largest=4) is None
    assert asked("tanh 2-3-3-2", "linf", 0).clipping is None


def test_the_rounding_of_combined_planes_is_paid_for() -> None:
    """Large coefficients cancel, and what is left is mostly rounding errors."""
    state, generator = asked("leaky 2-4-3-3", "linf", 3), torch.Generator().manual_seed(0)
    search, clipping = state.search, state.clipping
    assert clipping is not None
    lower, upper = (fractions(end) for end in search.around.unrolled.bounds[0])
    size = (2 * search.system.units, 2)
    for _ in range(20):
        weight = torch.randn(size, generator=generator, dtype=torch.float64) * 1e12
        bias = torch.randn(size[0], generator=generator, dtype=torch.float64) * 1e12
        units = replace(clipping.units, planes=InputPlanes(weight, bias))
        gammas = torch.rand(size[0], 1, generator=generator) + 0.5
        gamma = gammas[:, 0].double()
        own = InputPlanes(-weight / gamma[:, None], -bias / gamma)
        index = torch.arange(size[0])[:, None]
        found = replace(clipping, units=units, room=0.0)._combined(own, index, gammas)
        for row, bound in enumerate(fractions(found)):
            g, least = Fraction(gammas[row].item()), Fraction(bias[row].item())
            least += g * Fraction(own.bias[row].item())
            ends = zip(fractions(weight[row]), fractions(own.weight[row]), strict=True)
            rows = [w + g * p for w, p in ends]
            box = zip(rows, lower, upper, strict=True)
            assert bound <= least + sum(min(r * lo, r * hi) for r, lo, hi in box)
