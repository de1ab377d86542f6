"""The search over parts of a box: they make up the box, and what they know holds in them."""

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from evaluators.branching.input_splitting import InputSearch, Parts, halves
from evaluators.numerics.deadline import Deadline
from evaluators.propagation.backward import Planes
from evaluators.propagation.intervals import interval_bounds
from evaluators.propagation.relaxed import Relaxed
from evaluators.question.norm import Norm
from evaluators.question.region import Ball, Box
from tests.fixtures.effort import first_alone
from tests.fixtures.unrolled import PIECEWISE, about, tied


@pytest.mark.parametrize("name", ["relu 2-4-4-3", "leaky 2-4-3-3", "residual", "windowed"])
def test_halves_of_an_input_are_a_partition(name: str) -> None:
    network = PIECEWISE[name](0)
    generator = torch.Generator().manual_seed(0)
    lower = torch.rand(20, 2, generator=generator, dtype=torch.float64)
    upper = lower + torch.rand(20, 2, generator=generator, dtype=torch.float64)
    upper[0] = lower[0]
    upper[1, 0] = lower[1, 0]
    region = Ball(Norm.LINF, Fraction(1, 4))
    problem = about(network, region, torch.tensor([0.5, 0.25]))
    search = InputSearch(problem, Deadline(), lambda _: None)
    parts = Parts(lower, upper, {})
    bounds, relaxed = search._bound(parts)
    scores = search._influence(parts, bounds, search._planes(relaxed), relaxed)
    (low, left, *_), (right, high, *_) = halves(parts, scores)
    assert torch.equal(low, lower)
    assert torch.equal(high, upper)
    differs = left != upper
    assert bool((differs.sum(1) <= 1).all())
    assert torch.equal(differs[1:], (right != lower)[1:])
    assert torch.equal(left[differs], right[differs])
    assert bool(((left >= lower) & (right <= upper)).all())
    assert not bool(differs[1, 0])
    assert bool(differs[1:].any(1).all())


@pytest.mark.parametrize("name", ["relu 2-4-4-3", "residual"])
def test_what_halves_know_holds_in_them_and_makes_no_bound_wider(name: str) -> None:
    ends = torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    problem = about(PIECEWISE[name](0), Box(ends[:1], ends[1:]))
    search = InputSearch(problem, Deadline(), lambda _: None)
    whole = Parts(ends[:1], ends[1:], {})
    known = search._pre_activations(search._bound(whole)[1])
    assert known
    generator = torch.Generator().manual_seed(0)
    for half in halves(whole._replace(known=known), torch.ones(1, 2)):
        with_known = search._bound(half)[1]
        shares = torch.rand(200, 2, generator=generator, dtype=torch.float64)
        points = half.lower + shares * (half.upper - half.lower)
        values = interval_bounds(search._network, points, points, rounding=False)
        for place in known:
            for bounds in (known[place], with_known.bounds[place]):
                assert bool((values[place].lower >= bounds.lower - 1e-12).all())
                assert bool((values[place].upper <= bounds.upper + 1e-12).all())
            width, most = (
                its.upper - its.lower for its in (with_known.bounds[place], known[place])
            )
            assert bool((width <= most).all())


@pytest.mark.parametrize("at_once", first_alone([2, 1, 256]))
def test_the_parts_of_a_box_that_are_proved_make_up_the_box(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their areas; a part is done when the margins to both other classes are proved in it."""
    ends = torch.tensor([[-1.0, 0.0], [1.0, 2.0]], dtype=torch.float64)
    problem = about(PIECEWISE["relu 2-4-4-3"](0), Box(ends[:1], ends[1:]))
    generator, done = torch.Generator().manual_seed(0), []

    whole = InputSearch._bound

    def bound(self: InputSearch, parts: Parts) -> tuple[Tensor, Relaxed]:
        area = (parts.upper - parts.lower).prod(1)
        chance = torch.rand(len(area), 2, generator=generator) < 0.9
        bounds = torch.where(chance & (area <= 1 / 8)[:, None], 0.5, -0.5).double()
        done.append(area[(bounds > 0).all(1)].sum().item())
        return bounds, whole(self, parts)[1]

    def planes(_: InputSearch, relaxed: Relaxed) -> Planes:
        least = torch.full((len(relaxed.x), 2, 1), -1.0, dtype=torch.float64)
        return Planes(torch.zeros(len(relaxed.x), 2, 1, 2, dtype=torch.float64), least)

    monkeypatch.setattr(InputSearch, "_bound", bound)
    monkeypatch.setattr(InputSearch, "_planes", planes)
    search = InputSearch(problem, Deadline(20.0), lambda _: None, at_once)
    assert search() is None
    assert search.lower_bounds.tolist() == [0.5, 0.5]
    assert sum(done) == 4.0


def test_parts_of_the_input_that_are_open_are_no_proof() -> None:
    """What a search that is cut short proved is nothing."""
    problem = about(tied(1.0), Ball(Norm.LINF, Fraction(1, 4)), torch.tensor([0.5, 0.3]))
    search = InputSearch(problem, Deadline(0.05), lambda _: None)
    assert search() is None
    assert search.lower_bounds.tolist() == [-torch.inf]
