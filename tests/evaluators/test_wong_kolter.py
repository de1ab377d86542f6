"""The dual network's objective is Fast-Lin's bound, which another derivation has."""

from dataclasses import replace

import pytest
import torch

from evaluators.deterministic.fast_lin import PARALLEL
from evaluators.deterministic.wong_kolter import WongKolter, objective
from evaluators.propagation.backward import lower_bounds
from evaluators.propagation.linear_bounds import linear_relaxation, margin_rows
from evaluators.question.verdict import Status
from tests.fixtures.effort import first_alone
from tests.fixtures.tiny import FAMILIES, REGIONS, ask, centers


@pytest.mark.parametrize("family", ["relu 2-4-4-3", "leaky 2-4-3-3", "convolutional"])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("deployed", first_alone([True, False]))
def test_the_dual_objective_is_what_fast_lin_walks_back_to(
    family: str, region: str, deployed: bool
) -> None:
    for seed in range(4):
        network = FAMILIES[family](seed)
        problem = ask(network, centers(network, seed, 4), REGIONS[region])
        relaxed = linear_relaxation(replace(problem, deployed=deployed), PARALLEL)
        rows = margin_rows(problem.labels, network.classes)
        last = len(network.nodes) - 1
        theirs = lower_bounds(relaxed, last, rows, torch.arange(len(rows)))
        ours = objective(relaxed, rows)
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_network_that_is_no_chain_is_unsupported() -> None:
    network = FAMILIES["residual"](0)
    problem = ask(network, centers(network, 0, 2), REGIONS["linf"])
    for verdict in WongKolter().solve(problem):
        assert verdict.status is Status.UNKNOWN
        assert verdict.note.startswith("unsupported")
