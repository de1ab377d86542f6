"""Largest and smallest entries: of branches, over dimensions, in windows of any kind, in order.

All are max-pooling of entries that are laid out in columns, a window each; the smallest is minus
the largest of the negatives. A place of a window that is padding is filled with another of its own
entries, which changes no maximum. Sorting compares neighbours in turn, once for each entry.
"""

from collections.abc import Sequence
from functools import reduce
from math import prod

import numpy as np
import torch
from torch import Tensor

from evaluators.network.affine import Gather, Reshape
from evaluators.network.network import MaxPool
from evaluators.numerics.arrays import Array, Shape
from evaluators.onnx.operators.arithmetic import (
    broadcast_size,
    common_shape,
    negative,
    row_constant,
    widened,
)
from evaluators.onnx.operators.builder import (
    MAX_WINDOWS,
    Builder,
    Operator,
    OperatorError,
    rearrange,
    require_size,
    row_axes,
)
from evaluators.onnx.operators.choices import ranked
from evaluators.onnx.operators.clamps import at_least, at_most
from evaluators.onnx.operators.declaration import (
    ANY,
    INTEGERS,
    VALUE,
    VALUES,
    Attribute,
    Declaration,
    exactly,
    integers,
    whole,
)
from evaluators.onnx.operators.parts import named_axes, reduction

MAX_SORTED = 32
"""Entries that are put in order together: as many rounds are needed."""


def largest(builder: Builder, source: int, windows: Tensor, operator: Operator) -> int:
    """Append the largest entry of each window.

    Args:
        builder: of the graph.
        source: whose entries they are.
        windows: flat positions, `[size, *shape]`; -1 for none.
        operator: that this is for.
    """
    size, shape = windows.shape[0], tuple(windows.shape[1:])
    require_size(windows.numel(), MAX_WINDOWS)
    first = windows.gather(0, (windows >= 0).long().argmax(0, keepdim=True))
    if bool((first < 0).any()):
        raise OperatorError("a window of it lies in the padding")
    columns = torch.where(windows < 0, first, windows).reshape(1, size, prod(shape))
    source = builder.affine(rearrange(builder.nodes[source].shape, columns), source, operator.name)
    if size > 1:
        pool = MaxPool(tuple(columns.shape), (size, 1), (size, 1), (0, 0))
        source = builder.add(pool, [source], pool.output_shape, operator.name)
    flat = builder.nodes[source].shape
    return builder.affine(Reshape(flat, shape, None), source, operator.name)


def joined(builder: Builder, parts: Sequence[int], operator: Operator) -> int:
    """Append the entries of nodes one after another, flat."""
    sizes = [prod(builder.nodes[part].shape) for part in parts]
    require_size(sum(sizes))
    placed, start = [], 0
    for part, size in zip(parts, sizes, strict=True):
        index = torch.full((sum(sizes),), -1)
        index[start : start + size] = torch.arange(size)
        start += size
        embed = Gather(builder.nodes[part].shape, (sum(sizes),), None, index)
        placed.append(builder.affine(embed, part, operator.name))
    return builder.total(placed, operator.name)


def extreme(builder: Builder, operator: Operator) -> int:
    """Max and Min of values and of constants."""
    shape, low = common_shape(builder, operator), operator.kind == "Min"
    branches = [builder.values[n] for n in operator.inputs if n not in builder.constants]
    branches = [widened(builder, b, shape, operator.name) for b in dict.fromkeys(branches)]
    source = branches[0]
    if len(branches) > 1:
        parts = [negative(builder, b, operator) if low else b for b in branches]
        stacked = joined(builder, parts, operator)
        windows = torch.arange(len(parts) * prod(shape)).reshape(len(parts), *shape)
        source = largest(builder, stacked, windows, operator)
        source = negative(builder, source, operator) if low else source
    for name in operator.inputs:
        if name in builder.constants:
            limit = row_constant(builder.constants[name], shape)
            source = (at_most if low else at_least)(builder, source, limit, operator.name)
    return source


def reduce_extreme(builder: Builder, operator: Operator) -> int:
    """ReduceMax and ReduceMin over named dimensions."""
    return _reduced(
        builder, operator, named_axes(builder, operator), bool(operator.attributes["keepdims"])
    )


def global_max_pool(builder: Builder, operator: Operator) -> int:
    _, shape = builder.source(operator)
    if len(shape) < 2:
        raise OperatorError(f"its input of shape {shape} has nothing but channels")
    return _reduced(builder, operator, list(range(1, len(shape))), keep=True)


def _reduced(builder: Builder, operator: Operator, axes: list[int], keep: bool) -> int:
    source, shape = builder.source(operator)
    others = [axis for axis in range(len(shape)) if axis not in axes]
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    wanted: Shape = kept if keep else tuple(shape[axis] for axis in others)
    places = builder.positions(shape).permute(*axes, *others).reshape(-1, *wanted)
    return _signed(builder, source, places, operator, lowest=operator.kind == "ReduceMin")


def _signed(
    builder: Builder, source: int, windows: Tensor, operator: Operator, *, lowest: bool
) -> int:
    if not lowest:
        return largest(builder, source, windows, operator)
    found = largest(builder, negative(builder, source, operator), windows, operator)
    return negative(builder, found, operator)


def top_k(builder: Builder, operator: Operator) -> int:
    """The first entries of a dimension in order, as torch.sort is exported: TopK."""
    source, shape = builder.source(operator)
    (axis,) = row_axes([int(operator.attributes["axis"])], len(shape))
    given = operator.attributes.get("k")
    count = int(builder.constant(operator, 1, "count")[0] if given is None else given)
    size = shape[axis]
    if not 1 <= count <= size <= MAX_SORTED:
        raise OperatorError(f"it sorts {count} of {size}; at most {MAX_SORTED} are sorted")
    if len(operator.outputs) > 1 and operator.outputs[1]:
        ranked(builder, operator, axis + (not builder.is_bare(operator.inputs[0])), count)
    moved = builder.positions(shape).movedim(axis, 0)
    order = tuple(moved.shape)
    source = builder.affine(rearrange(shape, moved), source, operator.name)
    for turn in range(size if size > 2 else size - 1):
        source = _compared(builder, source, turn % 2, operator)
    back = torch.arange(prod(order)).reshape(order)[:count].movedim(0, axis)
    return builder.affine(rearrange(order, back), source, operator.name)


def _compared(builder: Builder, source: int, first: int, operator: Operator) -> int:
    """One round of an odd-even sort of the first dimension."""
    shape = builder.nodes[source].shape
    places = torch.arange(prod(shape)).reshape(shape[0], -1)
    last = first + (shape[0] - first) // 2 * 2
    pairs = places[first:last].reshape(-1, 2, places.shape[1]).movedim(1, 0)
    parts = [_signed(builder, source, pairs, operator, lowest=lowest) for lowest in (False, True)]
    alone = torch.cat([places[:first], places[last:]])
    if alone.numel():
        parts.append(builder.affine(rearrange(shape, alone), source, operator.name))
    stacked, half = joined(builder, parts, operator), pairs[0].numel()
    won = torch.arange(half).reshape(-1, 1, places.shape[1])
    sides = [won, won + half] if operator.attributes.get("largest", 1) else [won + half, won]
    rest = torch.arange(2 * half, 2 * half + alone.numel()).reshape(-1, places.shape[1])
    ordered = torch.cat(sides, dim=1).reshape(-1, places.shape[1])
    placed = torch.cat([rest[:first], ordered, rest[first:]]).reshape(shape)
    return builder.affine(rearrange(builder.nodes[stacked].shape, placed), stacked, operator.name)


def _fold_extreme(builder: Builder, operator: Operator) -> Array:
    function = np.maximum if operator.kind == "Max" else np.minimum
    return np.asarray(reduce(function, [builder.constants[name] for name in operator.inputs]))


OPERATORS: dict[str, Declaration] = {
    **dict.fromkeys(
        ("Max", "Min"),
        Declaration(
            versions=(6, 8, 12, 13),
            inputs=(VALUES,),
            translate=extreme,
            fold=_fold_extreme,
            folds=INTEGERS,
            size=broadcast_size,
            bare=True,
        ),
    ),
    **dict.fromkeys(
        ("ReduceMax", "ReduceMin"),
        reduction((1, 11, 12, 13, 18, 20), 18, reduce_extreme),
    ),
    "GlobalMaxPool": Declaration(versions=(1, 22), translate=global_max_pool),
    "TopK": Declaration(
        versions=(1, 10, 11, 24),
        inputs=(VALUE, integers("count", since=10)),
        attributes={
            "k": Attribute(whole(1), until=9),
            "axis": Attribute(ANY, default=-1),
            "largest": Attribute(exactly(0, 1), default=1, since=11),
            "sorted": Attribute(exactly(1), default=1, since=11),
        },
        translate=top_k,
        outputs=2,
    ),
}
