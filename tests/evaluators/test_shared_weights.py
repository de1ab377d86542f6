"""Weights that many places share: the same products as their sparse matrix, made when asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.recheck import shared_weights
from evaluators.recheck.graph import Graph
from evaluators.recheck.reader import read_model
from evaluators.recheck.shared_weights import SharedWeights, ascend
from tests.fixtures.onnx_models import model, node, numbers


def drawn(seed: int) -> SharedWeights:
    """Some of a matrix, with places that see no entry and weights that are zero."""
    random = np.random.default_rng(seed)
    groups, channels, places, terms = random.integers(1, 4, 4)
    width = terms + random.integers(4)
    kept = np.sort(np.argsort(random.random((groups, places, width)), -1)[..., :terms], -1)
    columns = np.where(random.random(kept.shape) < 0.3, -1, kept)
    weights = random.normal(size=(groups, channels, terms))
    return SharedWeights(columns, weights * random.integers(2, size=weights.shape), int(width))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from((1, 7, 2**21)))
def test_products_and_the_matrix_are_those_of_index_arithmetic(seed: int, at_once: int) -> None:
    made = drawn(seed)
    columns, weights = made.columns[:, None], made.weights[:, :, None]
    expected = Graph((1, 1)).matrix(columns, weights, made.width)
    matrix = made.tocsr()
    assert matrix.shape == expected.shape == made.shape
    for name in ("indptr", "indices", "data"):
        assert np.array_equal(getattr(matrix, name), getattr(expected, name))
    vectors = np.random.default_rng(seed).normal(size=(made.width, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_weights, "_AT_ONCE", at_once)
        assert np.allclose(made @ vectors, expected @ vectors, rtol=1e-12, atol=1e-12)
        absolute = abs(made) @ vectors
    assert np.allclose(absolute, abs(expected) @ vectors, rtol=1e-12, atol=1e-12)


def test_an_entry_that_a_place_names_twice_is_noticed() -> None:
    for columns in ([0, 1, 5], [-1, 0, -1, 2, -1], [4]):
        assert ascend(np.array([[columns]]))
    for columns in ([0, 0], [2, -1, 2], [3, -1, 1]):
        assert not ascend(np.array([[columns]]))


def test_a_convolution_is_read_without_its_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SharedWeights, "tocsr", lambda _: pytest.fail("it is made"))
    nodes = [
        node("Conv", "x w", "z", pads=[1, 1, 1, 1]),
        node("Flatten", "z", "flat"),
        node("Gemm", "flat v", "y"),
    ]
    constants = {"w": numbers(2, 1, 3, 3), "v": numbers(32, 3)}
    proto = model(nodes, ("batch", 1, 4, 4), constants, output=("batch", 3))
    first, last = read_model(proto.SerializeToString()).steps[1:]
    assert isinstance(first.map, SharedWeights)
    assert isinstance(last.map, SharedWeights)
    assert (first.map @ np.ones((16, 1))).shape == (32, 1)
