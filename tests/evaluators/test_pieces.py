"""Pieces of a box cover it, and only boxes that need it are cut."""

import torch

from evaluators.branching.pieces import MOST_PIECES, in_pieces
from evaluators.network.network import Network
from evaluators.question.problem import Problem
from evaluators.question.region import Box
from tests.fixtures.networks import Graph
from tests.fixtures.unrolled import about

INPUTS = 16


def deep(seed: int) -> Network:
    graph = Graph((INPUTS,), seed)
    for _ in range(4):
        graph.dense(20)
        graph.relu()
    graph.dense(3)
    return graph.network()


def asked(seed: int, reach: float, inputs: int = INPUTS) -> Problem:
    """A question about a box of which one input, the third, is ten times as wide as the others."""
    generator = torch.Generator().manual_seed(seed)
    middle = torch.rand(1, inputs, generator=generator, dtype=torch.float64)
    width = torch.full((1, inputs), reach / 10, dtype=torch.float64)
    width[0, 2] = reach
    network = deep(seed)
    problem = about(network, Box(middle - width, middle + width))
    label = int(network(middle)[0].argmax())
    return about(network, Box(middle - width, middle + width), problem.x[0], label)


def test_pieces_cover_the_box_and_share_their_boundaries() -> None:
    problem = asked(1, 4.0)
    found = in_pieces(problem)
    assert len(found) == MOST_PIECES
    low, high = problem.region.hull(problem.x)
    lower, upper = found.region.hull(found.x)
    generator = torch.Generator().manual_seed(0)
    points = low + (high - low) * torch.rand(200, INPUTS, generator=generator, dtype=torch.float64)
    # Corners of pieces, too: with a gap between boundaries one of them would be in it.
    points = torch.cat((points, lower, upper, lower.nextafter(high), upper.nextafter(low)))
    inside = (points[:, None] >= lower) & (points[:, None] <= upper)
    assert bool(inside.all(2).any(1).all())
    assert abs(float((upper - lower).prod(1).sum() / (high - low).prod()) - 1) < 1e-9


def test_each_piece_has_a_float32_example_inside() -> None:
    for seed in range(5):
        found = in_pieces(asked(seed, 3.0))
        lower, upper = found.region.hull(found.x)
        assert found.x.dtype == torch.float32
        assert bool(((found.x >= lower) & (found.x <= upper)).all())
        assert len(found.labels) == len(found) == len(lower)


def test_a_narrow_box_stays_whole() -> None:
    problem = asked(1, 1e-4)
    assert in_pieces(problem) is problem


def test_a_box_without_float32_numbers_inside_stays_whole() -> None:
    problem = asked(1, 4.0)
    x = problem.x.double()
    tiny = about(deep(1), Box(x, x.nextafter(x + 1)), problem.x[0], 1 - int(problem.labels))
    assert len(in_pieces(tiny)) == 1
