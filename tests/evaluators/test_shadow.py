"""Shadow Attack leaves the ball, and what is certified of its images is certified truly."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from evaluators.attacks.shadow import Shadow
from evaluators.deterministic.ibp import IBP
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.probabilistic.smoothing_gaussian import SmoothingGaussian
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.fixtures.networks import Graph

LINF, L2 = Ball(Norm.LINF, Fraction(1, 50)), Ball(Norm.L2, Fraction(1, 50))


def linear(*rows: list[float], bias: list[float]) -> Network:
    graph = Graph((1, 4, 4))
    graph.flatten()
    graph.dense(len(rows), torch.tensor(rows).double(), torch.tensor(bias).double())
    return graph.network()


BRIGHT = linear([1 / 16] * 16, [-1 / 16] * 16, [0.0] * 16, bias=[-0.5, 0.5, -0.3])
"""Bright or dark images; the third class is never first."""


def problem(network: Network | SmoothedNetwork = BRIGHT, region: Ball = LINF) -> Problem:
    x = torch.tensor([0.4, 0.6])[:, None, None, None].expand(2, 1, 4, 4).contiguous()
    return Problem(network, x, torch.tensor([1, 0]), region)


def test_a_plain_network_certifies_the_wrong_class_outside_the_ball() -> None:
    asked = problem()
    assert [one.status for one in IBP()(asked)] == [Status.CERTIFIED] * 2
    images, classes = Shadow(steps=60)(asked)
    assert classes.tolist() == [0, 1]
    after = IBP()(replace(asked, x=images, labels=classes))
    assert [one.status for one in after] == [Status.CERTIFIED] * 2
    pairs = list(zip(asked.x, images, strict=True))
    assert not any(LINF.contains(x, image) for x, image in pairs), "certificates were true"
    assert bool(((images >= 0) & (images <= 1)).all())


def test_a_smoothed_network_certifies_the_wrong_class() -> None:
    smoothed = SmoothedNetwork(BRIGHT, "gaussian", Fraction(1, 10))
    asked = problem(smoothed, L2)
    method = SmoothingGaussian(n0=64, n=512)
    assert [one.status for one in method(asked)] == [Status.CERTIFIED] * 2
    images, classes = Shadow(steps=60, darkness=0.0)(asked)
    after = method(replace(asked, x=images, labels=classes))
    assert [one.status for one in after] == [Status.CERTIFIED] * 2


def test_a_heavier_penalty_makes_smoother_changes() -> None:
    corner = linear([1.0] + [0.0] * 15, [-1.0] + [0.0] * 15, bias=[-0.5, 0.5])
    asked = problem(corner)
    rough, smooth = (
        Shadow(steps=100, smoothness=weight)(asked)[0] - asked.x for weight in (0.0, 300.0)
    )

    def share(change: torch.Tensor) -> float:
        return float(change.diff(dim=3).square().sum() / change.square().sum())

    assert share(smooth) < share(rough) / 2


def test_plain_networks_are_attacked_in_balls_of_linf_only() -> None:
    with pytest.raises(ValueError, match="linf only"):
        Shadow()(problem(region=L2))


def test_noise_that_is_not_added_is_refused() -> None:
    with pytest.raises(ValueError, match="splitting"):
        Shadow()(problem(SmoothedNetwork(BRIGHT, "splitting", Fraction(1, 10)), L2))
