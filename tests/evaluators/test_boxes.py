"""Boxes: exact membership, each example's own bounds, and no method proves what is false in one."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from evaluators.evaluator import why_not_witness
from evaluators.falsification.pgd import PGD
from evaluators.listing import catalogue
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.question.float_region import FloatRegion
from evaluators.question.problem import Problem
from evaluators.question.region import Box
from evaluators.question.verdict import Status
from tests.fixtures import effort
from tests.fixtures.methods import LONG, quick_first
from tests.fixtures.networks import linear
from tests.fixtures.tiny import FAMILIES, centers, least_margins

DETERMINISTIC = {name: e for name, e in catalogue().items() if e.accepts is Network}
FAST = ("relu 2-4-4-3", "sigmoid 2-3-3-2", "residual", "pooled")
SLACK = 1e-12


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def boxes(network: Network, seed: int, count: int = 4) -> Problem:
    """Boxes of all widths around points, every second one flat in its first entry."""
    generator = torch.Generator().manual_seed(seed)
    x = centers(network, seed, count)
    widths = torch.rand(x.shape, generator=generator, dtype=torch.float64)
    widths = widths * torch.logspace(-2, 0, count, dtype=torch.float64).reshape(
        -1, *[1] * (x.ndim - 1)
    )
    widths.reshape(count, -1)[::2, 0] = 0.0
    share = torch.rand(x.shape, generator=generator, dtype=torch.float64)
    region = Box(x.double() - widths * share, x.double() + widths * (1 - share))
    return Problem(network, x, network.to(torch.float32)(x).argmax(1), region, deployed=False)


def grid(region: Box, steps: int) -> Tensor:
    """Points all over one box, its corners among them."""
    lower, upper = region.lower[0].flatten(), region.upper[0].flatten()
    axes = [torch.linspace(0, 1, steps, dtype=torch.float64)] * lower.numel()
    shares = torch.cartesian_prod(*axes).reshape(-1, lower.numel())
    points = torch.minimum(lower + shares * (upper - lower), upper)
    return points.reshape(-1, *region.lower.shape[1:])


def test_membership_is_exact_at_both_ends() -> None:
    box = Box(doubles(0.1)[None], doubles(0.3)[None])
    for inside in (0.1, 0.3, 0.2):
        assert box.contains(doubles(0.0), doubles(inside))
    for outside in (math.nextafter(0.1, 0), math.nextafter(0.3, 1), math.nan, math.inf):
        assert not box.contains(doubles(0.0), doubles(outside))
    # The float32 next to 0.3 lies above it.
    assert not box.contains(doubles(0.0), torch.tensor([0.3]))


@pytest.mark.parametrize(
    ("lower", "upper", "message"),
    [
        ([[0.0]], [[math.nan]], "finite bounds"),
        ([[0.0]], [[math.inf]], "finite bounds"),
        ([[1.0]], [[0.0]], "lower <= upper"),
        ([[0.0]], [[0.0, 1.0]], "shapes|jaxtyping"),
    ],
)
def test_what_is_no_box_is_refused(
    lower: list[list[float]], upper: list[list[float]], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Box(*(torch.tensor(side, dtype=torch.float64) for side in (lower, upper)))


def test_bounds_in_float32_are_refused() -> None:
    with pytest.raises(ValueError, match="float64"):
        Box(torch.zeros(1, 1), torch.ones(1, 1))


def test_a_question_selects_its_boxes() -> None:
    problem = boxes(FAMILIES["relu 2-3-2"](0), 0)
    assert isinstance(problem.region, Box)
    part = problem.select([3, 1])
    assert isinstance(part.region, Box)
    assert torch.equal(part.region.lower, problem.region.lower[[3, 1]])
    assert torch.equal(part.region.upper, problem.region.upper[[3, 1]])
    with pytest.raises(ValueError, match="4 boxes were asked about one point"):
        problem.region.contains(problem.x[0], problem.x[0])


def test_a_question_needs_a_box_for_each_example() -> None:
    problem = boxes(FAMILIES["relu 2-3-2"](0), 0)
    with pytest.raises(ValueError, match="but boxes of shape"):
        replace(problem, region=problem.region.select([0]))


def test_a_smoothed_network_is_not_asked_about_boxes() -> None:
    """Its radius is at least 0, which is all that a box asks for."""
    problem = boxes(FAMILIES["relu 2-3-2"](0), 0)
    assert isinstance(problem.network, Network)
    smoothed = SmoothedNetwork(problem.network, "gaussian", Fraction(1, 4))
    with pytest.raises(ValueError, match="deterministic networks only"):
        replace(problem, network=smoothed)


def test_a_witness_is_looked_for_in_its_own_box() -> None:
    """Of two examples, the second one's counterexample lies outside the first one's box."""
    network = linear([[1.0], [-1.0]], [0.0, 0.0])
    region = Box(doubles(0.5, -1.0)[:, None], doubles(2.0, 1.0)[:, None])
    problem = Problem(
        network, torch.tensor([[1.0], [0.5]]), torch.tensor([0, 0]), region, deployed=False
    )
    witness = torch.tensor([-0.5])
    assert why_not_witness(problem, 0, witness) == "the witness lies outside the region"
    assert why_not_witness(problem, 1, witness) == ""
    first, second = PGD()(problem)
    assert (first.status, second.status) == (Status.UNKNOWN, Status.FALSIFIED)


def test_the_attack_stays_inside_and_moves_by_each_entrys_width() -> None:
    generator = torch.Generator().manual_seed(3)
    lower = torch.rand(50, 3, generator=generator, dtype=torch.float64)
    upper = lower + torch.tensor([1e-6, 1.0, 100.0], dtype=torch.float64)
    box = Box(lower, upper)
    region = FloatRegion(box, ((lower + upper) / 2).float())
    moved = region.project(region.middle + 200 * torch.randn(50, 3, generator=generator))
    for row, point in enumerate(moved):
        assert box.select([row]).contains(point, point)
    step = region.descent(torch.ones(50, 3))
    assert torch.allclose(step.double(), (lower - upper) / 2, rtol=1e-5)


def _networks(name: str) -> int:
    """How many a method is asked about: attacks can prove nothing, and some methods take long."""
    if not DETERMINISTIC[name].certifies:
        return 1
    return effort.fewer(3, 1) if name in LONG else 3


@pytest.mark.parametrize(
    "family", [f if f in FAST else pytest.param(f, marks=pytest.mark.slow) for f in FAMILIES]
)
@pytest.mark.parametrize("name", quick_first(DETERMINISTIC))
def test_what_is_proved_holds_all_over_the_box(name: str, family: str) -> None:
    proved, supported = 0, True
    for seed in range(_networks(name)):
        network = FAMILIES[family](seed)
        problem = boxes(network, seed)
        assert isinstance(problem.region, Box)
        for row, verdict in enumerate(DETERMINISTIC[name]()(problem)):
            assert not verdict.note.startswith(("failed", "refused")), verdict.note
            supported &= not verdict.note.startswith("unsupported")
            points = grid(problem.region.select([row]), 21 if problem.x[0].numel() == 2 else 5)
            least = float(least_margins(network, points, int(problem.labels[row])).min())
            if verdict.margin is not None:
                assert verdict.margin <= least + SLACK * max(1.0, abs(least))
            if verdict.status is Status.CERTIFIED:
                proved += 1
                assert least > 0
    assert proved or not DETERMINISTIC[name].certifies or not supported
