"""Middles and radii for losses are the intervals of every network, with their derivatives."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from evaluators.learning.midrad import MidRad, midrad_bounds
from evaluators.network.affine import AffineMap
from evaluators.network.network import Network
from evaluators.propagation.intervals import Interval, interval_bounds
from tests.fixtures.networks import of_every_kind
from tests.fixtures.tiny import FAMILIES


def every_kind(_seed: int) -> Network:
    """Build one network with maps of all kinds."""
    return of_every_kind()


NETWORKS: dict[str, Callable[[int], Network]] = {**FAMILIES, "of every kind": every_kind}


def weights(network: Network) -> list[Tensor]:
    """Let the tensors of all affine maps have derivatives."""
    operations = [node.operation for node in network.nodes]
    return [
        tensor.requires_grad_()
        for operation in operations
        if isinstance(operation, AffineMap)
        for tensor in vars(operation).values()
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.is_leaf
    ]


@pytest.mark.parametrize("family", NETWORKS)
def test_they_and_their_derivatives_are_those_of_intervals(family: str) -> None:
    network = NETWORKS[family](0)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, *network.input_shape, dtype=torch.float64, generator=generator)
    parameters, radius = weights(network), 0.3
    found, known = (
        [*bounds]
        for bounds in (
            [ball.interval for ball in midrad_bounds(network, Interval(x - radius, x + radius))],
            interval_bounds(network, x - radius, x + radius, rounding=False),
        )
    )
    for one, other in zip(found, known, strict=True):
        torch.testing.assert_close(one.lower, other.lower)
        torch.testing.assert_close(one.upper, other.upper)
    if not parameters:
        return
    factors = [torch.randn_like(ball.lower) for ball in known]
    gradients = [
        torch.autograd.grad(
            torch.stack(
                [
                    ((2 * ball.lower + ball.upper) * factor).sum()
                    for ball, factor in zip(bounds, factors, strict=True)
                ]
            ).sum(),
            parameters,
            allow_unused=True,
        )
        for bounds in (found, known)
    ]
    for mine, theirs in zip(*gradients, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs)


def test_what_has_a_unit_is_the_interval_that_it_was_made_of() -> None:
    low, high = torch.tensor([-1.0, 2.0]), torch.tensor([3.0, 2.0])
    assert all(map(torch.equal, MidRad.between(Interval(low, high)).interval, (low, high)))
