"""Parts of a value, parts put together, and sums over dimensions."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch

from evaluators.network.affine import Adjoint, Gather, Reshape
from evaluators.numerics.arrays import Array, Shape
from evaluators.onnx.operators.builder import (
    MAX_ENTRIES,
    Builder,
    Operator,
    OperatorError,
    axes_of,
    pad_positions,
    require_size,
    row_axes,
    tensor,
)
from evaluators.onnx.operators.declaration import (
    ANY,
    FLOATS,
    INTEGERS,
    NUMBER,
    VALUE,
    VALUES,
    Attribute,
    Declaration,
    Parameter,
    Translation,
    exactly,
    integers,
    weights,
    whole,
)

MAX_REDUCED = 64
"""Whole numbers that are multiplied or added to one: the sizes of a shape."""


def pad(builder: Builder, operator: Operator) -> int:
    _, shape = builder.source(operator)
    pads = builder.integers(operator, "pads", 1) or []
    value = builder.optional(operator, 2)
    if value is not None and value.size != 1:
        raise OperatorError(f"its constant value has shape {value.shape}, not one number")
    filler = operator.attributes.get("value", 0.0) if value is None else value.reshape(-1)[0]
    axes = builder.integers(operator, "", 3)
    pad_axes = axes_of(range(len(shape) + 1) if axes is None else axes, len(shape) + 1)
    half = len(pad_axes)
    pairs = [(0, 0)] * (len(shape) + 1)
    if len(pads) != 2 * half:
        raise OperatorError(f"its pads {pads} do not fit an input of shape {shape}")
    for axis, begin, end in zip(pad_axes, pads[:half], pads[half:], strict=True):
        pairs[axis] = (begin, end)
    if pairs[0] != (0, 0):
        raise OperatorError(f"its pads {pads} reach into the batch dimension")
    if (mode := operator.attributes["mode"]) != "constant":
        return builder.rearranged(operator, _continued(builder, operator, mode, pairs[1:]))
    positions = pad_positions(builder.positions(shape), pairs[1:])
    position = builder.rearranged(operator, positions)
    if not filler:
        return position
    outside = (positions < 0).to(torch.float64) * float(filler)
    return builder.diagonal(position, operator.name, outside)


def _continued(
    builder: Builder, operator: Operator, mode: str, pairs: list[tuple[int, int]]
) -> torch.Tensor:
    """Positions around a value: its edge again, its mirror image, or its other end."""
    _, shape = builder.source(operator)
    if mode == "wrap" and operator.opset < 19:
        raise OperatorError("it wraps around, which opset 19 brought")
    room = {"edge": MAX_ENTRIES, "reflect": -1, "wrap": 0}[mode]
    for size, pair in zip(shape, pairs, strict=True):
        if min(pair) < 0 or max(pair) > (room if mode == "edge" else size + room):
            raise OperatorError(f"its pads {pair} do not fit a dimension of {size}")
    require_size(prod(size + sum(pair) for size, pair in zip(shape, pairs, strict=True)))
    wide: Any = np.pad
    return torch.from_numpy(wide(builder.positions(shape).numpy(), pairs, mode=mode))


def _window(builder: Builder, operator: Operator, shape: Shape) -> tuple[slice, ...]:
    """What a Slice takes of a whole value: bounds beyond its ends are moved to them, as in Python.

    A bound of -1 is the last place, also behind a negative step; an end below -size is before the
    first, where no start can be.
    """
    rank = len(shape)
    starts = builder.integers(operator, "starts", 1) or []
    ends = builder.integers(operator, "ends", 2) or []
    axes = builder.integers(operator, "axes", 3)
    steps = builder.integers(operator, "steps", 4)
    cut = axes_of(range(len(starts)) if axes is None else axes, rank)
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(cut) == len(steps):
        raise OperatorError("its starts, ends, axes and steps are not equally many")
    window = [slice(None)] * rank
    for axis, start, end, step in zip(cut, starts, ends, steps, strict=True):
        if step == 0 or abs(step) >= 2**31:
            raise OperatorError(f"its step is {step}")
        if step < 0 and end >= 2**31 - 1:  # nothing as ONNX has it, everything to onnxruntime
            raise OperatorError(f"its end is {end} behind a step of {step}")
        window[axis] = slice(max(start, -shape[axis]), end, step)
    return tuple(window)


def strided_slice(builder: Builder, operator: Operator) -> int:
    _, shape = builder.source(operator)
    batch, *window = _window(builder, operator, (1, *shape))
    every = batch.start == 0 and batch.step == 1 and batch.stop >= 2**31 - 1  # of any number
    if batch != slice(None) and not every:
        raise OperatorError("it works on the batch dimension")
    positions = builder.positions(shape).numpy()[tuple(window)]
    return builder.rearranged(operator, torch.from_numpy(positions.copy()))


def _fold_slice(builder: Builder, operator: Operator) -> Array:
    array = builder.constants[operator.inputs[0]]
    return array[_window(builder, operator, array.shape)]


_BOUNDS = ("starts", "ends", "axes", "steps")


def _index(builder: Builder, operator: Operator, size: int) -> Array:
    """What a Gather picks; -1 is the last."""
    index = builder.constant(operator, 1, "index")
    if index.size and not -size <= index.min() <= index.max() < size:
        raise OperatorError(f"its indices leave a dimension of {size}")
    return index.astype(np.int64)


def gather(builder: Builder, operator: Operator) -> int:
    _, shape = builder.source(operator)
    (axis,) = row_axes([int(operator.attributes["axis"])], len(shape))
    index = _index(builder, operator, shape[axis])
    require_size(prod(shape) // shape[axis] * index.size)
    positions = np.take(builder.positions(shape).numpy(), index, axis=axis)
    return builder.rearranged(operator, torch.from_numpy(np.array(positions)))


def _gather_axis(builder: Builder, operator: Operator) -> tuple[Array, int]:
    array = builder.constants[operator.inputs[0]]
    return array, axes_of([int(operator.attributes["axis"])], array.ndim)[0]


def _fold_gather(builder: Builder, operator: Operator) -> Array:
    array, axis = _gather_axis(builder, operator)
    return np.asarray(np.take(array, _index(builder, operator, array.shape[axis]), axis=axis))


def _gathered_size(builder: Builder, operator: Operator) -> int:
    array, axis = _gather_axis(builder, operator)
    indices = builder.constants[operator.inputs[1]].size
    return int(array.size // max(array.shape[axis], 1) * indices)


def split(builder: Builder, operator: Operator) -> list[int]:
    _, shape = builder.source(operator)
    (axis,) = row_axes([int(operator.attributes["axis"])], len(shape))
    sizes = _sizes_of_split(builder, operator, shape[axis])
    return [
        builder.rearranged(operator, builder.positions(shape).narrow(axis, offset, size))
        for offset, size in zip(np.cumsum([0, *sizes]).tolist(), sizes, strict=False)
    ]


def _sizes_of_split(builder: Builder, operator: Operator, whole_size: int) -> list[int]:
    sizes, count = builder.integers(operator, "split", 1), len(operator.outputs)
    number = operator.attributes.get("num_outputs")
    if operator.opset >= 18 and (sizes is None) == (number is None):
        raise OperatorError("it needs either its sizes or their number")
    if number not in (None, count):
        raise OperatorError(f"it has {count} outputs, not {number}")
    if sizes is None and whole_size % count:
        raise OperatorError(f"{whole_size} do not divide into {count} equal parts")
    sizes = [whole_size // count] * count if sizes is None else sizes
    if len(sizes) != count or sum(sizes) != whole_size or min(sizes) < 1:
        raise OperatorError(f"it splits {whole_size} into {sizes}, for {count} outputs")
    if not all(operator.outputs):
        raise OperatorError("it leaves out one of its outputs")
    return sizes


def _fold_split(builder: Builder, operator: Operator) -> list[Array]:
    array = builder.constants[operator.inputs[0]]
    (axis,) = axes_of([int(operator.attributes["axis"])], array.ndim)
    sizes = _sizes_of_split(builder, operator, array.shape[axis])
    ends = np.cumsum(sizes)[:-1]
    return [np.array(part) for part in np.split(array, ends, axis=axis)]


def concat(builder: Builder, operator: Operator) -> int:
    """Concatenation is the sum of each part embedded among zeros."""
    shapes = [_row_shape(builder, name) for name in operator.inputs]
    (axis,) = row_axes([int(operator.attributes["axis"])], len(shapes[0]))
    if len({(len(shape), shape[:axis], shape[axis + 1 :]) for shape in shapes}) > 1:
        raise OperatorError(f"its inputs of shapes {shapes[:5]} do not fit together")
    total = sum(shape[axis] for shape in shapes)
    parts, offset, known = [], 0, None
    for name, shape in zip(operator.inputs, shapes, strict=True):
        pads = [(0, 0)] * len(shape)
        pads[axis] = (offset, total - offset - shape[axis])
        positions = pad_positions(builder.positions(shape), pads)
        builder.spend(positions.numel())
        embed = Gather(tuple(shape), tuple(positions.shape), None, positions.reshape(-1))
        offset += shape[axis]
        if name in builder.constants:
            value = embed.linear(tensor(builder.constants[name]))[0]
            known = value if known is None else known + value
        else:
            parts.append(builder.affine(embed, builder.values[name], operator.name))
    position = builder.total(parts, operator.name)
    return position if known is None else builder.diagonal(position, operator.name, known)


def _row_shape(builder: Builder, name: str) -> Shape:
    """The shape of a part behind its batch dimension, which a constant must have, too."""
    if name not in builder.constants:
        return builder.shape(name)
    batch, *row = builder.constants[name].shape or (0,)
    if batch != 1:
        raise OperatorError("it puts a constant without a batch dimension beside values")
    return tuple(row)


def _fold_concat(builder: Builder, operator: Operator) -> Array:
    arrays = [builder.constants[name] for name in operator.inputs]
    (axis,) = axes_of([int(operator.attributes["axis"])], arrays[0].ndim)
    return np.concatenate(arrays, axis=axis)


def triangle(builder: Builder, operator: Operator) -> int:
    _, shape = builder.source(operator)
    if len(shape) < 2:
        raise OperatorError(f"its input has shape {shape}, not of matrices")
    return builder.rearranged(
        operator, _triangle(builder, operator, builder.positions(shape) + 1) - 1
    )


def _triangle(builder: Builder, operator: Operator, matrices: torch.Tensor) -> torch.Tensor:
    """Trilu: the entries on one side of a diagonal, and zeros."""
    given = builder.optional(operator, 1)
    diagonal = 0 if given is None else int(given)
    if abs(diagonal) >= 2**31:
        raise OperatorError(f"its diagonal is {diagonal}")
    return matrices.triu(diagonal) if operator.attributes["upper"] else matrices.tril(diagonal)


def _fold_triangle(builder: Builder, operator: Operator) -> Array:
    array = builder.constants[operator.inputs[0]]
    if array.ndim < 2:
        raise OperatorError(f"its input has shape {array.shape}, not of matrices")
    return np.asarray(_triangle(builder, operator, torch.from_numpy(array.copy())))


def reduce(builder: Builder, operator: Operator) -> int:
    """ReduceSum and ReduceMean over named dimensions."""
    return _reduce(
        builder, operator, named_axes(builder, operator), bool(operator.attributes["keepdims"])
    )


def named_axes(builder: Builder, operator: Operator) -> list[int]:
    """Read the dimensions of a row that a reduction is over."""
    axes = builder.integers(operator, "axes", 1)
    if not axes:
        raise OperatorError("it names no axes, and is told to do nothing then")
    return row_axes(axes, len(builder.source(operator)[1]))


def global_average_pool(builder: Builder, operator: Operator) -> int:
    _, shape = builder.source(operator)
    if len(shape) < 2:
        raise OperatorError(f"its input of shape {shape} has nothing but channels")
    return _reduce(builder, operator, list(range(1, len(shape))), keep=True)


def _reduce(builder: Builder, operator: Operator, axes: list[int], keep: bool) -> int:
    mean, source = operator.kind != "ReduceSum", builder.source(operator)[0]
    return summed(builder, source, axes, operator.name, keep=keep, mean=mean)


def summed(
    builder: Builder, source: int, axes: list[int], name: str, *, keep: bool, mean: bool = False
) -> int:
    """A sum is the adjoint of repeating an entry; a mean scales it."""
    shape = builder.nodes[source].shape
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    repeat = Gather(kept, shape, None, builder.positions(kept).expand(shape).reshape(-1))
    position = builder.affine(Adjoint(shape, kept, None, repeat), source, name)
    if mean:
        share = torch.tensor(1.0 / prod(shape[axis] for axis in axes), dtype=torch.float64)
        position = builder.diagonal(position, name, scale=share, roundings=1)
    return position if keep else dropped(builder, position, axes, name)


def dropped(builder: Builder, source: int, axes: list[int], name: str) -> int:
    """Leave dimensions of one out."""
    kept = builder.nodes[source].shape
    left = tuple(size for axis, size in enumerate(kept) if axis not in axes)
    return builder.affine(Reshape(kept, left, None), source, name)


def reduction(
    versions: tuple[int, ...],
    since: int,
    translate: Translation | None = reduce,
    fold: Callable[..., Any] | None = None,
) -> Declaration:
    """Declare a reduction over dimensions that are an input from an opset on.

    `fold` reduces whole numbers, which are exact, over such axes.
    """

    def folded(builder: Builder, operator: Operator) -> Array:
        array = builder.constants[operator.inputs[0]]
        axes = builder.integers(operator, "axes", 1)
        if fold is None or (not axes and operator.attributes.get("noop_with_empty_axes")):
            raise OperatorError("it names no axes")
        if array.size > MAX_REDUCED or float(fold(np.abs(array.astype(np.float64)))) >= 2**31:
            raise OperatorError("it works out whole numbers that are not below 2^31")
        over = tuple(axes_of(axes, array.ndim)) if axes else None
        keep = bool(operator.attributes["keepdims"])
        return np.asarray(fold(array, axis=over, keepdims=keep), dtype=array.dtype)

    return Declaration(
        versions,
        inputs=(VALUE, integers("axes", since=since)),
        attributes={
            "axes": Attribute(ANY, until=since - 1),
            "keepdims": Attribute(exactly(0, 1), default=1),
            # What it says of axes that are none is never read: they must be named.
            "noop_with_empty_axes": Attribute(exactly(0, 1), default=0, since=since),
        },
        translate=translate,
        fold=folded if fold is not None else None,
        folds=INTEGERS,
    )


OPERATORS: dict[str, Declaration] = {
    "Pad": Declaration(
        versions=(2, 11, 13, 18, 19, 21, 23, 24, 25),
        inputs=(
            VALUE,
            integers("pads", since=11),
            weights("constant value", 0, 1, since=11),
            integers("axes", since=18, types=INTEGERS),
        ),
        attributes={
            "mode": Attribute(exactly("constant", "edge", "reflect", "wrap"), default="constant"),
            "pads": Attribute(ANY, until=10),
            "value": Attribute(NUMBER, default=0.0, until=10),
        },
        translate=pad,
    ),
    "Slice": Declaration(
        versions=(1, 10, 11, 13),
        inputs=(VALUE, *(integers(name, since=10, types=INTEGERS) for name in _BOUNDS)),
        attributes={name: Attribute(ANY, until=9) for name in _BOUNDS[:3]},
        translate=strided_slice,
        fold=_fold_slice,
    ),
    "Gather": Declaration(
        versions=(1, 11, 13),
        inputs=(VALUE, Parameter("index", INTEGERS)),
        attributes={"axis": Attribute(ANY, default=0)},
        translate=gather,
        fold=_fold_gather,
        size=_gathered_size,
    ),
    "Split": Declaration(
        versions=(2, 11, 13, 18),
        inputs=(VALUE, integers("sizes", since=13)),
        attributes={
            "axis": Attribute(ANY, default=0),
            "split": Attribute(ANY, until=12),
            "num_outputs": Attribute(whole(1), since=18),
        },
        translate=split,
        fold=_fold_split,
        outputs=2**31,
    ),
    "Concat": Declaration(
        versions=(4, 11, 13),
        inputs=(VALUES,),
        attributes={"axis": Attribute(ANY)},
        translate=concat,
        fold=_fold_concat,
    ),
    "ReduceMean": reduction((1, 11, 13, 18), since=18),
    "ReduceSum": reduction((1, 11, 13), since=13, fold=np.sum),
    # Of sizes; of values partial products could overflow in a runtime's order, not in another.
    "ReduceProd": reduction((1, 11, 13, 18), 18, None, np.prod),
    "Trilu": Declaration(
        versions=(14,),
        inputs=(VALUE, Parameter("diagonal", ("int64",), (0, 1))),
        attributes={"upper": Attribute(exactly(0, 1), default=1)},
        translate=triangle,
        fold=_fold_triangle,
        folds=(*FLOATS, *INTEGERS, "bool"),
    ),
    "GlobalAveragePool": Declaration(versions=(1, 22), translate=global_average_pool),
}
