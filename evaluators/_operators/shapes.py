"""Rearrangements of entries: views, slices, concatenation, and reductions as their adjoints."""

from math import prod

import numpy as np
import torch
from torch import Tensor

from evaluators._operators.builder import (
    Builder,
    Operator,
    OperatorProblemError,
    axis_of,
    pad_places,
    rearrange,
    require_size,
    set_output,
    tensor,
)
from evaluators.affine import Adjoint, Diagonal, Gather, Reshape, Shape
from evaluators.network import Sum


def _rearranged(builder: Builder, operator: Operator, places: Tensor) -> None:
    source, shape = builder.source(operator)
    set_output(builder, operator, builder.affine(rearrange(shape, places), source, operator.name))


def reshape(builder: Builder, operator: Operator) -> None:
    source, shape = builder.source(operator)
    target = resolve_shape(builder, operator, (1, *shape))
    if target[0] != 1:
        raise OperatorProblemError(
            f"it turns shape {shape} into {list(target)}, losing the batch dimension"
        )
    row = Reshape(shape, target[1:], None)
    set_output(builder, operator, builder.affine(row, source, operator.name))


def resolve_shape(builder: Builder, operator: Operator, shape: Shape) -> Shape:
    """A whole shape after Reshape, Flatten, Squeeze or Unsqueeze, worked out at batch size 1."""
    full = list(shape)
    if operator.kind == "Flatten":
        axis = int(operator.attributes.get("axis", 1))
        axis = axis + len(full) if axis < 0 else axis
        full = [prod(full[:axis]), prod(full[axis:])]
    elif operator.kind == "Reshape":
        wanted = [int(size) for size in builder.constant(operator, 1, "shape").reshape(-1)]
        wanted = [full[i] if size == 0 else size for i, size in enumerate(wanted)]
        if wanted.count(-1) > 1:
            raise OperatorProblemError(f"its shape {wanted} is ambiguous")
        known = prod(size for size in wanted if size != -1)
        full = [prod(shape) // max(known, 1) if size == -1 else size for size in wanted]
    else:
        axes = builder.integers(operator, "axes", 1)
        rank = len(full) + (len(axes or []) if operator.kind == "Unsqueeze" else 0)
        places = sorted(axis + rank if axis < 0 else axis for axis in axes or [])
        if operator.kind == "Unsqueeze":
            for axis in places:
                full.insert(axis, 1)
        else:
            squeezed = places or [i for i, size in enumerate(full) if size == 1 and i > 0]
            full = [size for i, size in enumerate(full) if i not in squeezed]
    if not full or min(full) < 1 or prod(full) != prod(shape):
        raise OperatorProblemError(f"it turns shape {shape} into {full}, losing dimensions")
    return tuple(full)


def transpose(builder: Builder, operator: Operator) -> None:
    _, shape = builder.source(operator)
    order = operator.attributes.get("perm", list(range(len(shape) + 1))[::-1])
    if order[0] != 0:
        raise OperatorProblemError("it moves the batch dimension")
    _rearranged(builder, operator, builder.places(shape).permute([axis - 1 for axis in order[1:]]))


def pad(builder: Builder, operator: Operator) -> None:
    _, shape = builder.source(operator)
    pads = builder.integers(operator, "pads", 1) or []
    value = builder.optional(operator, 2)
    filler = float(operator.attributes.get("value", 0.0) if value is None else value.reshape(-1)[0])
    if operator.attributes.get("mode", "constant") != "constant" or filler != 0:
        raise OperatorProblemError("only padding with zeros is supported")
    half = len(pads) // 2
    if half != len(shape) + 1 or pads[0] or pads[half]:
        raise OperatorProblemError(f"its pads {pads} do not fit an input of shape {shape}")
    pairs = [(pads[1 + axis], pads[half + 1 + axis]) for axis in range(len(shape))]
    _rearranged(builder, operator, pad_places(builder.places(shape), pairs))


def strided_slice(builder: Builder, operator: Operator) -> None:
    _, shape = builder.source(operator)
    starts = builder.integers(operator, "starts", 1) or []
    ends = builder.integers(operator, "ends", 2) or []
    axes = builder.integers(operator, "axes", 3) or list(range(len(starts)))
    steps = builder.integers(operator, "steps", 4) or [1] * len(starts)
    places = builder.places(shape).numpy()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        window: list[slice] = [slice(None)] * len(shape)
        window[axis_of(axis, len(shape))] = slice(start, end if end > -(2**31) else None, step)
        places = places[tuple(window)]
    _rearranged(builder, operator, torch.from_numpy(places.copy()))


def gather(builder: Builder, operator: Operator) -> None:
    _, shape = builder.source(operator)
    index = builder.constant(operator, 1, "index")
    axis = axis_of(int(operator.attributes.get("axis", 0)), len(shape))
    require_size(prod(shape) // shape[axis] * index.size)
    places = np.take(builder.places(shape).numpy(), index.astype(np.int64), axis=axis)
    _rearranged(builder, operator, torch.from_numpy(np.ascontiguousarray(places)))


def split(builder: Builder, operator: Operator) -> None:
    source, shape = builder.source(operator)
    axis = axis_of(int(operator.attributes.get("axis", 0)), len(shape))
    equal = [shape[axis] // len(operator.outputs)] * len(operator.outputs)
    sizes = builder.integers(operator, "split", 1) or equal
    offsets = np.cumsum([0, *sizes])
    for name, offset, size in zip(operator.outputs, offsets, sizes, strict=False):
        places = builder.places(shape).narrow(axis, int(offset), size)
        part = rearrange(shape, places.contiguous())
        builder.values[name] = builder.affine(part, source, operator.name)


def concat(builder: Builder, operator: Operator) -> None:
    """Concatenation is the sum of each part embedded among zeros."""
    shapes = [
        builder.constants[name].shape[1:] if name in builder.constants else builder.shape(name)
        for name in operator.inputs
    ]
    axis = axis_of(int(operator.attributes["axis"]), len(shapes[0]))
    total = sum(shape[axis] for shape in shapes)
    parts, offset, known = [], 0, None
    for name, shape in zip(operator.inputs, shapes, strict=True):
        pads = [(0, 0)] * len(shape)
        pads[axis] = (offset, total - offset - shape[axis])
        places = pad_places(builder.places(shape), pads)
        builder.spend(places.numel())
        embed = Gather(tuple(shape), tuple(places.shape), None, places.reshape(-1))
        offset += shape[axis]
        if name in builder.constants:
            value = embed.linear(tensor(builder.constants[name]))[0]
            known = value if known is None else known + value
        else:
            parts.append(builder.affine(embed, builder.values[name], operator.name))
    target = builder.nodes[parts[0]].shape
    position = builder.add(Sum(), parts, target, operator.name) if len(parts) > 1 else parts[0]
    if known is not None:
        shift = Diagonal(target, target, known, None)
        position = builder.affine(shift, position, operator.name)
    set_output(builder, operator, position)


def global_average_pool(builder: Builder, operator: Operator) -> None:
    _, shape = builder.source(operator)
    operator.attributes.update(axes=list(range(2, len(shape) + 1)), keepdims=1)
    reduce(builder, operator)


def reduce(builder: Builder, operator: Operator) -> None:
    """ReduceSum is the adjoint of repeating an entry; ReduceMean scales it."""
    source, shape = builder.source(operator)
    given = builder.integers(operator, "axes", 1)
    axes = sorted(axis_of(axis, len(shape)) for axis in given or range(1, len(shape) + 1))
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    repeat = Gather(kept, shape, None, builder.places(kept).expand(shape).reshape(-1))
    position = builder.affine(Adjoint(shape, kept, None, repeat), source, operator.name)
    if operator.kind != "ReduceSum":
        share = torch.tensor(1.0 / prod(shape[axis] for axis in axes), dtype=torch.float64)
        position = builder.affine(Diagonal(kept, kept, None, share, 1), position, operator.name)
    if not operator.attributes.get("keepdims", 1):
        left = tuple(size for axis, size in enumerate(shape) if axis not in axes)
        position = builder.affine(Reshape(kept, left, None), position, operator.name)
    set_output(builder, operator, position)
