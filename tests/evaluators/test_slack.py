"""The slack of a backward pass covers what rounding loses, step by step in exact arithmetic."""

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from evaluators.network.affine import Dense
from evaluators.network.elementwise import Elementwise, LeakyReLU, Sigmoid, Tanh
from evaluators.network.network import Network
from evaluators.propagation.backward import Waiting, Walk, lower_bounds
from evaluators.propagation.dense_rows import DenseRows
from evaluators.propagation.linear_bounds import linear_relaxation, margins
from evaluators.propagation.relaxation import Lines
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from tests.evaluators.test_windows import network_of
from tests.fixtures.effort import first_alone
from tests.fixtures.networks import Graph, of_every_kind
from tests.fixtures.tiny import FAMILIES, ask, centers, chain

ROWS = 10
REGION = Ball(Norm.LINF, Fraction(1, 3))


def fractions(values: Tensor) -> list[Fraction]:
    return [Fraction(value) for value in values.flatten().tolist()]


def exact_lines(lines: Lines, row: list[Fraction]) -> tuple[list[Fraction], Fraction]:
    """A row times the lines of one example: coefficients and constant."""
    below, floor, above, ceiling = (fractions(part[0]) for part in lines)
    pairs = zip(row, below, above, strict=True)
    constants = zip(row, floor, ceiling, strict=True)
    return (
        [a * (low if a > 0 else high) for a, low, high in pairs],
        sum((a * (low if a > 0 else high) for a, low, high in constants), Fraction(0)),
    )


def exact_affine(map_: Dense, row: list[Fraction]) -> tuple[list[Fraction], Fraction]:
    """A row times a matrix: coefficients and constant."""
    assert map_.bias is not None
    columns = [fractions(column) for column in map_.weight.T]
    zero = Fraction(0)
    bias = fractions(map_.bias)
    return (
        [sum((a * w for a, w in zip(row, column, strict=True)), zero) for column in columns],
        sum((a * b for a, b in zip(row, bias, strict=True)), zero),
    )


@pytest.mark.parametrize("width", first_alone([3, 30]))
@pytest.mark.parametrize("function", [LeakyReLU(0.3), Sigmoid(), Tanh()], ids=repr)
def test_a_steps_slack_covers_its_rounding(function: Elementwise, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    checked = 0
    for seed in range(60 // width):
        network = chain(2, width, width, 3, function=function, seed=seed)
        relaxed = linear_relaxation(ask(network, centers(network, seed, 2)[:1], REGION))
        for position, node in enumerate(relaxed.network.nodes[1:], start=1):
            rows = torch.randn(1, ROWS, *node.shape, generator=generator, dtype=torch.float64)
            start = rows.new_zeros(1, ROWS)
            carrier = DenseRows(relaxed.network, torch.tensor([0]))
            walk = Walk(relaxed, carrier, start)
            walk.step(position, Waiting(rows))
            largest = Fraction(float(relaxed.largest(node.parents[0])[0]))
            for number in range(ROWS):
                row = fractions(rows[0, number])
                if isinstance(node.operation, Elementwise):
                    lines = relaxed.lines(position)
                    assert isinstance(lines, Lines)
                    exact, constant = exact_lines(lines, row)
                else:
                    assert isinstance(node.operation, Dense)
                    exact, constant = exact_affine(node.operation, row)
                found = fractions(walk.waiting[node.parents[0]].rows[0, number])
                lost = sum((abs(a - b) for a, b in zip(exact, found, strict=True)), Fraction(0))
                missed = abs(constant - Fraction(float(walk.constant[0, number])))
                assert lost * largest + missed <= Fraction(float(walk.slack[0, number]))
                checked += lost > 0
    assert checked > 50


def scaled_inside() -> Network:
    """A layer of factors between other layers."""
    graph = Graph((2, 4, 4))
    graph.convolution(3, kernel=3, padding=1)
    graph.relu()
    graph.scale()
    graph.convolution(3, kernel=3, padding=1)
    graph.relu()
    graph.scale()
    graph.flatten()
    graph.dense(2)
    return graph.network()


NETWORKS = [
    scaled_inside(),
    of_every_kind(),
    network_of([(4, 3, 2, 1, 1, 1), (2, 3, 1, 1, 1, 1)], True, 1),
    *(FAMILIES[family](0) for family in ("leaky 2-4-3-3", "tanh 2-3-3-2", "pooled", "repeated")),
]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: f"{len(network.nodes)} nodes")
def test_norms_that_are_passed_on_are_not_too_small(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    step = Walk.step

    def checked(self: Walk[Tensor], position: int, current: Waiting[Tensor]) -> None:
        if current.known is not None:
            flat = current.rows.flatten(current.known.dim())
            true = torch.linalg.vector_norm(flat, 1, dim=-1)
            seen.append(bool((current.known * (1 + 1e-9) >= true).all()))
        step(self, position, current)

    monkeypatch.setattr(Walk, "step", checked)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, *network.input_shape, generator=generator)
    problem = ask(network, x, Ball(Norm.LINF, Fraction(1, 10)))
    relaxed = linear_relaxation(problem)
    margins(relaxed, problem.labels, True)
    last = len(network.nodes) - 1
    rows = torch.randn(2, 5, network.classes, generator=generator, dtype=torch.float64)
    lower_bounds(relaxed, last, rows, torch.arange(2))
    assert seen
    assert all(seen)
