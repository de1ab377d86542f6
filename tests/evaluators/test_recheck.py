"""What the recheck accepts and refuses: certificates by hand, each wrong in one way only."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from evaluators.network.affine import Adjoint, Convolution, Diagonal, Gather
from evaluators.network.network import MaxPool, Network
from evaluators.question.certificate import BOX, Certificate
from evaluators.recheck.checker import Recheck
from evaluators.recheck.checker import recheck as check
from tests.fixtures.certificates import Claim, least_margin, region_of, widest
from tests.fixtures.checked import checked, recheck, steps_of, weights_of
from tests.fixtures.effort import first_alone
from tests.fixtures.forgeries import FORGERIES, LEAF, THIRD, bent, certificate, loosened
from tests.fixtures.networks import Graph
from tests.fixtures.tiny import FAMILIES, centers

BOTH = pytest.mark.parametrize("exact", [False, True], ids=["float64", "exact"])
PIECEWISE = ("relu 2-3-2", "relu 2-4-4-3", "leaky 2-4-3-3", "residual", "convolutional")
NORMS = ("linf", "l2", "l1", BOX)


def exactly(network: Network, made: Certificate, **options: Any) -> Recheck:
    """The verdict of both arithmetics, where claims touch the true bounds of z."""
    return recheck(network, made, exact=True, **options)


def test_a_proof_by_hand_is_accepted_with_its_margin() -> None:
    """relu(z) - z/2 + 1/4 >= 1/4: by the line z/2 below, in one leaf."""
    found = exactly(bent(1, -0.5, 0.25), certificate([(1, [], 0.5), THIRD]))
    assert found.accepted, found.reason
    assert found.margin == 0.25
    assert (found.leaves, found.bounds, found.arithmetic) == (2, 4, "exact")


def test_a_split_with_a_multiplier_is_accepted() -> None:
    """1 - 3/2·relu(z) with chords alone is 5/8 at worst; 2·z on either side cancels splits."""
    network = bent(2, -1, 0.25)
    leaves: list[LEAF] = [(1, [(0, 1, 1.0)], 0.0), (1, [(0, -1, 1.0)], 0.0), THIRD]
    found = exactly(network, certificate(leaves))
    assert found.accepted, found.reason
    assert found.margin == 0.25
    without = [(goal, [(u, s, 0.0) for u, s, _ in path], a) for goal, path, a in leaves]
    assert not exactly(network, certificate(without)).accepted


@BOTH
@pytest.mark.parametrize("name", FORGERIES)
def test_what_is_wrong_in_one_way_is_refused_with_the_reason(name: str, exact: bool) -> None:
    network, forged, reason = FORGERIES[name]
    if exact is False:
        forged = loosened(forged)
    found = recheck(network, forged, exact=exact)
    assert not found.accepted
    assert any(part in found.reason for part in reason.split("|")), found.reason


def test_the_least_positive_margin_is_accepted_exactly() -> None:
    found = exactly(bent(1, 0, 2.0**-60), certificate([(1, [], 0.0), THIRD]))
    assert found.accepted
    assert found.margin == 2.0**-60
    # Float64 cannot tell it from a tie.
    close = loosened(certificate([(1, [], 0.0), THIRD]))
    assert not recheck(bent(1, 0, 2.0**-60), close, exact=False).accepted


def test_a_certificate_of_another_file_is_refused() -> None:
    model, made = checked(bent(1, -0.5, 0.25)), certificate([(1, [], 0.5), THIRD])
    assert check(model, replace(made, model_sha256=model.sha256)).accepted
    assert "another model" in check(model, replace(made, model_sha256="b" * 64)).reason
    assert "does not say which model" in check(model, made).reason


@pytest.mark.parametrize("norm", first_alone(NORMS))
@pytest.mark.parametrize("family", PIECEWISE)
def test_honest_certificates_are_accepted_and_their_margin_is_true(family: str, norm: str) -> None:
    for seed in range(2):
        network = FAMILIES[family](seed)
        x = centers(network, seed, 3)[2]
        label = int(network(x[None].double())[0].argmax())
        made = widest(network, Claim(x, label, norm), seed, depth=3, steps=8)
        assert made is not None
        margins = []
        for exact in (False, True):
            found = recheck(network, made, exact=exact)
            assert found.accepted, found.reason
            assert found.margin is not None
            margins.append(found.margin)
            if norm != "l2" and network.input_shape == (2,):
                assert Fraction(found.margin) <= least_margin(network, region_of(made), label)
        # Rounding is charged, and costs next to nothing.
        assert 0 < margins[0] <= margins[1] <= margins[0] + 1e-9


def test_float64_and_fractions_agree_but_for_rounding() -> None:
    network = FAMILIES["relu 2-4-4-3"](0)
    x = centers(network, 0, 3)[2]
    label = int(network(x[None].double())[0].argmax())
    made = widest(network, Claim(x, label), 0, depth=4)
    assert made is not None
    rounded, true = recheck(network, made, exact=False), recheck(network, made, exact=True)
    assert rounded.margin is not None
    assert true.margin is not None
    assert 0 <= true.margin - rounded.margin < 1e-10


def test_a_weight_that_the_importer_rounded_costs_a_margin_even_exactly() -> None:
    """A tie but for 2^-60: true weights may be one rounding away, which could break it."""
    network = bent(1, 0, 2.0**-60)
    first, dense = network.nodes[0], network.nodes[1]
    scale = Diagonal((1,), (1,), None, torch.ones(1, dtype=torch.float64), roundings=1)
    scaled = replace(dense, name="scale", operation=scale, shape=(1,))
    moved = [replace(n, parents=tuple(p + 1 for p in n.parents)) for n in network.nodes[1:]]
    longer = Network((first, scaled, *moved))
    made = certificate([(1, [], 0.0), THIRD])
    (layer,) = made.layers
    assert "does not follow" in exactly(longer, made).reason
    wide = replace(layer, lower=layer.lower - 1e-12, upper=layer.upper + 1e-12)
    # Claims with room leave the leaf: relu(z) >= 0 needs no weight and is accepted.
    assert exactly(longer, replace(made, layers=(wide,))).accepted


def test_matrices_are_read_off_any_linear_operation() -> None:
    """Against the operation itself, on random inputs."""
    weight = torch.randn(4, 2, 3, 3, dtype=torch.float64)
    pair = (2, 2), (1, 1), (1, 1)
    convolution = Convolution((2, 5, 5), (4, 3, 3), None, weight, *pair)
    gather = Gather((6,), (4,), None, torch.tensor([5, 0, -1, 0]))
    for operation in (
        convolution,
        Adjoint((4, 3, 3), (2, 5, 5), None, convolution),
        gather,
        Adjoint((4,), (6,), None, gather),
    ):
        matrix = torch.from_numpy(weights_of(operation).toarray())
        x = torch.randn(3, *operation.input_shape, dtype=torch.float64)
        torch.testing.assert_close(x.flatten(1) @ matrix.T, operation.linear(x).flatten(1))


POOLS = {
    "windows of 4": ((2, 4, 4), (2, 2), (2, 2), (0, 0), False),
    "overlapping and padded": ((1, 4, 5), (3, 3), (2, 2), (1, 1), False),
    "partial windows": ((1, 5, 4), (2, 3), (2, 2), (0, 1), True),
    "alone": ((1, 2, 2), (1, 1), (1, 1), (0, 0), False),
    "of everything": ((1, 3, 4), (3, 4), (1, 1), (0, 0), False),
}


@pytest.mark.parametrize("name", POOLS)
def test_max_pools_are_written_as_the_same_function(name: str) -> None:
    """On small integers, where sums are exact, with many ties."""
    pool = MaxPool(*POOLS[name])
    graph = Graph(pool.input_shape)
    graph.add(pool, pool.output_shape)
    graph.flatten()
    network = graph.network()
    x = torch.randint(-3, 4, (200, *pool.input_shape)).double()
    values: list[Any] = []
    for step in steps_of(network):
        parents = [values[parent] for parent in step.parents]
        if step.leak is not None:
            values.append(np.maximum(parents[0], 0))
        elif step.weights is not None:
            values.append(sum(parents) @ step.weights.toarray().T + step.bias)
        else:
            values.append(x.flatten(1).numpy())
    assert np.array_equal(values[-1], network(x).numpy())
