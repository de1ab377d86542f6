"""The sparse matrix of every affine map is the map, entry by entry and without rounding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.network import affine as module
from evaluators.network.affine import Adjoint, AffineMap, Convolution, Dense, Diagonal, Gather
from tests.evaluators.test_affine import Recipe, maps, matrix


def dense(affine: AffineMap) -> Tensor:
    return torch.from_numpy(affine.matrix.toarray())


@given(maps)
@settings(deadline=None)
def test_the_matrix_is_the_map(recipe: Recipe) -> None:
    affine = recipe()
    assert affine.matrix.dtype == "float64"
    assert torch.equal(dense(affine), matrix(affine))


@given(maps)
@settings(deadline=None)
def test_reading_a_matrix_off_gives_the_same(recipe: Recipe) -> None:
    affine = recipe()
    read = vars(AffineMap)["matrix"].func(affine)
    assert torch.equal(torch.from_numpy(read.toarray()), dense(affine))


def test_a_matrix_is_read_off_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBES", 2)
    weight = torch.arange(15, dtype=torch.float64).reshape(3, 5)
    affine = Dense((5,), (3,), None, weight)
    assert torch.equal(torch.from_numpy(vars(AffineMap)["matrix"].func(affine).toarray()), weight)


@given(st.lists(st.floats(width=64, allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
@settings(deadline=None)
def test_weights_of_any_size_are_kept_to_the_last_bit(values: list[float]) -> None:
    weight = torch.tensor(values, dtype=torch.float64)
    pair = (2, 1), (1, 0), (1, 2)
    convolution = Convolution((1, 3, 4), (1, 2, 2), None, weight.reshape(1, 1, 2, 2), *pair)
    scale = Diagonal((4,), (4,), None, weight)
    for affine in (
        Dense((2, 2), (2, 2), None, weight.reshape(2, 2)),
        convolution,
        Adjoint((1, 2, 2), (1, 3, 4), None, convolution),
        scale,
    ):
        assert torch.equal(dense(affine), matrix(affine))


def test_a_scale_of_less_dimensions_is_spread_along_the_right_ones() -> None:
    scale = torch.tensor([[2.0], [3.0]], dtype=torch.float64)
    affine = Diagonal((2, 2), (2, 2), None, scale)
    assert dense(affine).diagonal().tolist() == [2, 2, 3, 3]


def test_an_entry_may_be_picked_twice_or_not_at_all() -> None:
    affine = Gather((3,), (4,), None, torch.tensor([2, -1, 2, 0]))
    expected = [[0, 0, 1], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert dense(affine).tolist() == expected
    turned = Adjoint((4,), (3,), None, affine)
    assert dense(turned).tolist() == torch.tensor(expected).T.tolist()
