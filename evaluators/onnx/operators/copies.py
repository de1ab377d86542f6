"""Entries repeated, regrouped, picked and added up."""

from math import prod

import numpy as np
import torch
from torch import Tensor

from evaluators.network.affine import Dense
from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    rearrange,
    require_size,
    row_axes,
)
from evaluators.onnx.operators.declaration import (
    INTEGERS,
    VALUE,
    Attribute,
    Declaration,
    Parameter,
    exactly,
    integers,
    whole,
)
from evaluators.onnx.operators.unbatched import settle


def expand(builder: Builder, operator: Operator) -> int:
    """A value repeated along dimensions of size one; the batch is none of them."""
    source, _ = builder.source(operator)
    whole = builder.whole_shape(operator.inputs[0])
    wanted = [int(size) for size in builder.constant(operator, 1, "shape")]
    if min(wanted, default=1) < 1:
        raise OperatorError(f"its shape is {wanted}, for a value of {whole[1:]}")
    full = np.broadcast_shapes(whole, tuple(wanted))
    if not builder.is_bare(operator.inputs[0]) and (len(full) > len(whole) or full[0] != 1):
        raise OperatorError("it repeats the batch")
    return _repeated(builder, operator, source, builder.positions(whole).expand(full))


def _repeated(builder: Builder, operator: Operator, source: int, positions: Tensor) -> int:
    require_size(positions.numel())
    moved = rearrange(builder.nodes[source].shape, positions.reshape(-1))
    source = builder.affine(moved, source, operator.name)
    return settle(builder, operator, source, tuple(positions.shape))


def _expanded(builder: Builder, operator: Operator) -> int:
    return prod(_wanted(builder, operator))


def _wanted(builder: Builder, operator: Operator) -> tuple[int, ...]:
    shape = [int(size) for size in builder.constant(operator, 1, "shape")]
    if min(shape, default=1) < 1:
        raise OperatorError(f"its shape is {shape}")
    return np.broadcast_shapes(builder.constants[operator.inputs[0]].shape, tuple(shape))


def _fold_expand(builder: Builder, operator: Operator) -> Array:
    wanted = _wanted(builder, operator)
    return np.broadcast_to(builder.constants[operator.inputs[0]], wanted).copy()


def tile(builder: Builder, operator: Operator) -> int:
    source, _ = builder.source(operator)
    whole = builder.whole_shape(operator.inputs[0])
    repeats = [int(count) for count in builder.constant(operator, 1, "repeats")]
    kept = builder.is_bare(operator.inputs[0]) or repeats[:1] == [1]
    if len(repeats) != len(whole) or not kept or min(repeats) < 1:
        raise OperatorError(f"its repeats are {repeats}, for a value of {whole[1:]}")
    require_size(prod(repeats) * prod(whole))
    return _repeated(builder, operator, source, builder.positions(whole).repeat(repeats))


def _repeats(builder: Builder, operator: Operator) -> list[int]:
    """How often a Tile repeats each dimension of a constant."""
    rank = builder.constants[operator.inputs[0]].ndim
    repeats = [int(count) for count in builder.constant(operator, 1, "repeats")]
    if len(repeats) != rank or min(repeats, default=1) < 1:
        raise OperatorError(f"its repeats are {repeats}, for {rank} dimensions")
    return repeats


def _fold_tile(builder: Builder, operator: Operator) -> Array:
    return np.tile(builder.constants[operator.inputs[0]], _repeats(builder, operator))


def _tiled(builder: Builder, operator: Operator) -> int:
    return builder.constants[operator.inputs[0]].size * prod(_repeats(builder, operator))


def gather_nd(builder: Builder, operator: Operator) -> int:
    """The entries, or what lies behind them, at places that a constant names."""
    source, _ = builder.source(operator)
    whole = builder.whole_shape(operator.inputs[0])
    places = builder.constant(operator, 1, "indices")
    depth = places.shape[-1] if places.ndim else 0
    if not 1 <= depth <= len(whole) or not places.size:
        raise OperatorError(f"its indices have shape {places.shape}, for a value of {whole}")
    limits = np.array(whole[:depth])
    if (places < -limits).any() or (places >= limits).any():
        raise OperatorError(f"its indices leave a value of shape {whole}")
    require_size(places.size // depth * prod(whole[depth:]))
    picked = builder.positions(whole).numpy()[tuple(np.moveaxis(places, -1, 0))]
    return _repeated(builder, operator, source, torch.from_numpy(np.array(picked)))


def cumulative_sum(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator)
    (axis,) = row_axes([int(builder.constant(operator, 1, "axis"))], len(shape))
    size, name = shape[axis], operator.name
    moved = builder.positions(shape).movedim(axis, -1)
    source = builder.affine(rearrange(shape, moved), source, name)
    before = torch.ones(size, size, dtype=torch.float64).tril(-operator.attributes["exclusive"])
    weight = before.T.contiguous() if operator.attributes["reverse"] else before
    turned = tuple(moved.shape)
    source = builder.affine(Dense(turned, turned, None, weight), source, name)
    back = torch.arange(prod(turned)).reshape(turned).movedim(-1, axis)
    return builder.affine(rearrange(turned, back), source, name)


def blocks(builder: Builder, operator: Operator) -> int:
    """DepthToSpace and SpaceToDepth: channels become blocks of places, or the other way round."""
    _, shape = builder.source(operator)
    size = int(operator.attributes["blocksize"])
    if len(shape) != 3:
        raise OperatorError(f"its input has shape {shape}, not channels, rows and columns")
    channels, rows, columns = shape
    places = builder.positions(shape)
    if operator.kind == "SpaceToDepth":
        if rows % size or columns % size:
            raise OperatorError(f"{rows} by {columns} do not divide into blocks of {size}")
        places = places.reshape(channels, rows // size, size, columns // size, size)
        places = places.permute(2, 4, 0, 1, 3)
        return builder.rearranged(operator, places.reshape(-1, rows // size, columns // size))
    if channels % size**2:
        raise OperatorError(f"{channels} channels do not divide into blocks of {size}")
    if operator.attributes.get("mode", "DCR") == "DCR":
        places = places.reshape(size, size, -1, rows, columns).permute(2, 3, 0, 4, 1)
    else:
        places = places.reshape(-1, size, size, rows, columns).permute(0, 3, 1, 4, 2)
    return builder.rearranged(operator, places.reshape(-1, rows * size, columns * size))


OPERATORS: dict[str, Declaration] = {
    "Expand": Declaration(
        versions=(8, 13),
        inputs=(VALUE, integers("shape")),
        translate=expand,
        bare=True,
        fold=_fold_expand,
        size=_expanded,
    ),
    "Tile": Declaration(
        versions=(6, 13),
        inputs=(VALUE, integers("repeats")),
        translate=tile,
        bare=True,
        fold=_fold_tile,
        size=_tiled,
    ),
    "GatherND": Declaration(
        versions=(11, 12, 13),
        inputs=(VALUE, Parameter("indices", ("int64",))),
        attributes={"batch_dims": Attribute(exactly(0), default=0, since=12)},
        translate=gather_nd,
        bare=True,
    ),
    "CumSum": Declaration(
        versions=(11, 14),
        inputs=(VALUE, Parameter("axis", INTEGERS, (0,))),
        attributes={
            "exclusive": Attribute(exactly(0, 1), default=0),
            "reverse": Attribute(exactly(0, 1), default=0),
        },
        translate=cumulative_sum,
    ),
    "DepthToSpace": Declaration(
        versions=(1, 11, 13),
        attributes={
            "blocksize": Attribute(whole(1)),
            "mode": Attribute(exactly("DCR", "CRD"), default="DCR", since=11),
        },
        translate=blocks,
    ),
    "SpaceToDepth": Declaration(
        versions=(1, 13), attributes={"blocksize": Attribute(whole(1))}, translate=blocks
    ),
}
