"""Every affine map agrees with the explicit matrix of its own."""

from collections.abc import Callable
from functools import partial
from math import prod

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from evaluators.network.affine import (
    Adjoint,
    AffineMap,
    Convolution,
    Dense,
    Diagonal,
    Gather,
    Reshape,
    absolute_of,
)
from evaluators.numerics.arrays import Shape

sizes = st.integers(1, 3)
Recipe = Callable[[], AffineMap]
"""Makes a map; drawn instead of it, for the type checks of its making draw random numbers."""


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Small integers, zero among them, so that float64 sums are exact in any order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-3, 4, shape, generator=generator).double()


@st.composite
def dense(draw: st.DrawFn) -> Recipe:
    lead: Shape = draw(st.lists(sizes, max_size=2).map(tuple))
    inputs, outputs, seed = draw(sizes), draw(sizes), draw(st.integers(0, 99))
    weight = numbers(outputs, inputs, seed=seed)
    return partial(
        Dense, (*lead, inputs), (*lead, outputs), numbers(outputs, seed=seed + 1), weight
    )


@st.composite
def convolution(draw: st.DrawFn) -> Recipe:
    dimensions, groups = draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, 1, 2]))
    channels, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    picks = {
        name: tuple(draw(values) for _ in range(dimensions))
        for name, values in {
            "size": st.integers(1, 6),
            "kernel": sizes,
            "stride": sizes,
            "padding": st.integers(0, 2),
            "dilation": st.integers(1, 2),
        }.items()
    }
    out = tuple(
        (size + 2 * pad - d * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, pad, d in zip(*picks.values(), strict=True)
    )
    assume(min(out) >= 1)
    weight = numbers(outputs, channels // groups, *picks["kernel"], seed=draw(st.integers(0, 99)))
    rest = picks["stride"], picks["padding"], picks["dilation"], groups
    shift = draw(st.sampled_from([None, numbers(outputs, *[1] * dimensions)]))
    return partial(Convolution, (channels, *picks["size"]), (outputs, *out), shift, weight, *rest)


@st.composite
def diagonal(draw: st.DrawFn) -> Recipe:
    shape = (draw(sizes), draw(sizes))
    scale = draw(st.sampled_from([None, numbers(1)[0], numbers(shape[0], 1), numbers(*shape)]))
    return partial(Diagonal, shape, shape, draw(st.sampled_from([None, numbers(*shape)])), scale)


@st.composite
def reshape(draw: st.DrawFn) -> Recipe:
    a, b, c = draw(sizes), draw(sizes), draw(sizes)
    return partial(
        Reshape, (a, b * c), draw(st.sampled_from([(a * b * c,), (a * b, c), (c, 1, a, b)])), None
    )


@st.composite
def gather(draw: st.DrawFn) -> Recipe:
    shape = (draw(sizes), draw(sizes))
    index = draw(st.lists(st.integers(-1, prod(shape) - 1), min_size=1, max_size=8))
    return partial(Gather, shape, (len(index),), None, torch.tensor(index))


plain = st.one_of(dense(), convolution(), diagonal(), reshape(), gather())


@st.composite
def adjoint(draw: st.DrawFn) -> Recipe:
    return partial(turned, draw(plain))


def turned(recipe: Recipe) -> Adjoint:
    inner = recipe()
    return Adjoint(inner.output_shape, inner.input_shape, None, inner)


maps = st.one_of(plain, adjoint())


def units(shape: Shape) -> Tensor:
    return torch.eye(prod(shape), dtype=torch.float64).reshape(-1, *shape)


def matrix(affine: AffineMap) -> Tensor:
    """W, `[outputs, inputs]`, by applying the map to unit vectors."""
    return affine.linear(units(affine.input_shape)).flatten(1).T


def test_every_kind_of_map_is_drawn() -> None:
    """A new subclass needs a strategy here."""
    drawn = {Dense, Convolution, Diagonal, Reshape, Gather, Adjoint}
    assert set(AffineMap.__subclasses__()) == drawn


@given(maps)
@settings(deadline=None)
def test_results_have_the_shapes_promised(recipe: Recipe) -> None:
    affine = recipe()
    x, y = torch.zeros(2, *affine.input_shape), torch.zeros(2, *affine.output_shape)
    affine = affine.to(torch.float32, torch.device("cpu"))
    assert affine(x).shape == y.shape
    assert affine.absolute(x).shape == y.shape
    assert affine.adjoint(y).shape == x.shape


@given(maps)
@settings(deadline=None)
def test_the_adjoint_is_the_transposed_matrix(recipe: Recipe) -> None:
    affine = recipe()
    transposed = affine.adjoint(units(affine.output_shape)).flatten(1)
    assert torch.equal(transposed, matrix(affine))


@given(maps)
@settings(deadline=None)
def test_the_absolute_map_is_the_matrix_of_absolute_values(recipe: Recipe) -> None:
    affine = recipe()
    found = affine.absolute(units(affine.input_shape)).flatten(1).T
    assert torch.equal(found, matrix(affine).abs())
    assert torch.equal(matrix(absolute_of(affine)), matrix(affine).abs())
    assert absolute_of(affine).bias is None


@given(maps)
@settings(deadline=None)
def test_fans_count_at_least_the_products_summed(recipe: Recipe) -> None:
    affine = recipe()
    w = matrix(affine)
    rows, columns = (w != 0).sum(1).max(), (w != 0).sum(0).max()
    exact = bool(((w == 0) | (w == 1)).all())
    assert affine.fan_in >= rows or (affine.fan_in == 0 and exact and rows <= 1)
    assert affine.fan_out >= columns or (affine.fan_out == 0 and exact and columns <= 1)


@given(maps, st.integers(0, 99))
@settings(deadline=None)
def test_the_bias_is_added_once(recipe: Recipe, seed: int) -> None:
    affine = recipe()
    x = numbers(2, *affine.input_shape, seed=seed)
    expected = (x.flatten(1) @ matrix(affine).T).reshape(2, *affine.output_shape)
    if affine.bias is not None:
        expected = expected + affine.bias
    assert torch.equal(affine(x), expected)


def test_rounded_weights_count_as_another_product() -> None:
    weight = torch.full((1, 1, 3, 3), 1 / 9, dtype=torch.float64)
    pair = (1, 1), (0, 0), (1, 1)
    exact = Convolution((1, 4, 4), (1, 2, 2), None, weight, *pair)
    pool = Convolution((1, 4, 4), (1, 2, 2), None, weight, *pair, 1, True)
    assert (exact.fan_in, pool.fan_in) == (9, 10)
    assert (exact.fan_out, pool.fan_out) == (9, 10)
    assert Diagonal((1,), (1,), None, weight[0, 0, 0], 4).fan_in == 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_to_changes_weights_and_spares_indices(dtype: torch.dtype) -> None:
    index = torch.tensor([0, 2, -1])
    inner = Gather((3,), (3,), torch.ones(3).double(), index)
    moved = Adjoint((3,), (3,), torch.ones(3).double(), inner).to(dtype, torch.device("cpu"))
    assert isinstance(moved, Adjoint)
    assert isinstance(moved.inner, Gather)
    assert moved.bias is not None
    assert moved.inner.bias is not None
    assert moved.bias.dtype is moved.inner.bias.dtype is dtype
    assert moved.inner.index.dtype is torch.int64
