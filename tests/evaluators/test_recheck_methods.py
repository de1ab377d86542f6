"""The certificates that methods write: accepted by the recheck, whatever the method."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.listing import catalogue
from evaluators.network.network import Network
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.fixtures.checked import recheck
from tests.fixtures.published import question
from tests.fixtures.tiny import FAMILIES, centers

PIECEWISE = ("relu 2-3-2", "relu 2-4-4-3", "leaky 2-4-3-3", "residual", "convolutional", "pooled")
RADII = (Fraction(1, 50), Fraction(2, 5))
"""Where every network has a proof, and where some need splits."""
WRITERS = ("branch-and-bound",)
"""Methods whose every proof about these networks has a certificate."""

PROVERS = [name for name, kind in catalogue().items() if kind.accepts is Network and kind.certifies]


@pytest.mark.slow
@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("family", PIECEWISE)
@pytest.mark.parametrize("name", PROVERS)
def test_every_certificate_is_accepted(name: str, family: str, norm: Norm) -> None:
    network = FAMILIES[family](0)
    x = centers(network, 0, 3)[2:]
    for radius in RADII:
        labels = network(x.double()).argmax(1)
        problem = Problem(
            network, x, labels, Ball(norm, radius), seconds=1.0, evidence=True, deployed=False
        )
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


@pytest.mark.slow
@pytest.mark.usefixtures("shared_data")
def test_cuts_of_a_published_network_are_derived_again(shared: Path) -> None:
    problem = replace(question(shared, "mnist_cnn_a_adv", [1]), evidence=True, seconds=200.0)
    (verdict,) = catalogue()["branch-and-bound"]()(problem)
    assert verdict.status is Status.CERTIFIED, verdict.note
    made = verdict.certificate
    assert made is not None
    assert isinstance(problem.network, Network)
    assert bool((made.leaves.cut >= 0).any())
    assert bool((made.cuts.cut >= 0).any())
    found = recheck(problem.network, made)
    assert found.accepted, found.reason
    assert (found.arithmetic, found.leaves) == ("float64", len(made.leaves.goal))
    assert found.margin is not None
    assert verdict.margin is not None
    assert verdict.margin <= found.margin * (1 + 1e-6) + 1e-9
    # Without them, nothing is proved; with the half-space of another domain, it is no proof.
    alone = replace(made, leaves=replace(made.leaves, cut=np.full_like(made.leaves.cut, -1)))
    assert "is not proved positive" in recheck(problem.network, alone).reason
    far = replace(made, cuts=replace(made.cuts, target=made.cuts.target + 100.0))
    assert "is not proved positive" in recheck(problem.network, far).reason
