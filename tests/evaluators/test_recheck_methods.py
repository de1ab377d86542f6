"""The certificates that methods write: accepted by the recheck, whatever the method."""

from fractions import Fraction

import pytest
import torch

from evaluators.evaluator import catalogue
from evaluators.network import Network
from evaluators.problem import Ball, Norm, Problem
from evaluators.recheck import recheck
from evaluators.verdict import Status
from tests.fixtures.tiny import FAMILIES, centers

PIECEWISE = ("relu 2-3-2", "relu 2-4-4-3", "leaky 2-4-3-3", "residual", "convolutional", "pooled")
RADII = (Fraction(1, 50), Fraction(2, 5))
"""Where every network has a proof, and where some need splits."""
WRITERS = ("branch-and-bound",)
"""Methods whose every proof about these networks has a certificate."""

PROVERS = [name for name, kind in catalogue().items() if kind.accepts is Network and kind.certifies]


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("family", PIECEWISE)
@pytest.mark.parametrize("name", sorted({*PROVERS, *WRITERS}))
def test_every_certificate_is_accepted(name: str, family: str, norm: Norm) -> None:
    if name not in catalogue():
        pytest.skip(f"there is no evaluator '{name}'")
    network = FAMILIES[family](0)
    x = centers(network, 0, 3)[2:]
    for radius in RADII:
        labels = network(x.double()).argmax(1)
        problem = Problem(network, x, labels, Ball(norm, radius), seconds=1.0, evidence=True)
        for row, verdict in enumerate(catalogue()[name]()(problem)):
            made = verdict.certificate
            if verdict.status is not Status.CERTIFIED:
                assert made is None
                continue
            if made is None:
                assert name not in WRITERS, verdict
                continue
            assert (made.norm, made.radius) == (norm.value, radius)
            assert made.label == int(labels[row])
            assert made.x is not None
            assert torch.equal(torch.from_numpy(made.x), x[row])
            for exact in (False, None):
                found = recheck(network, made, exact=exact)
                assert found.accepted, found.reason
                assert found.margin is not None
                # Two evaluations of one proof, each with its own slack.
                assert verdict.margin is not None
                assert verdict.margin <= found.margin * (1 + 1e-6) + 1e-9
