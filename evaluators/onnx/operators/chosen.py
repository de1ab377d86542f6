"""What is read of indices that the network computes (`choices.py`), and what they choose there."""

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np
import torch
from torch import Tensor

from evaluators.network.known_range import KnownRange
from evaluators.network.network import Product
from evaluators.numerics.arrays import Array, Shape
from evaluators.onnx.operators.builder import (
    Builder,
    Deferred,
    Operator,
    OperatorError,
    axes_of,
    flat_positions,
    require_size,
    tensor,
)
from evaluators.onnx.operators.choices import ChoiceIndex, Whole
from evaluators.onnx.operators.contractions import Factor, contracted, picked, sum_of_last
from evaluators.onnx.operators.routed import scatter_elements
from evaluators.onnx.operators.unbatched import settle
from evaluators.onnx.operators.views import order_of, resolve_shape


def are_read(builder: Builder, operator: Operator) -> bool:
    """Tell whether an operator reads or makes whole numbers that the network computes."""
    name = next(iter(operator.inputs), "")
    to_whole = operator.kind == "Cast" and operator.attributes["to"] in _WHOLES
    truth = to_whole and builder.values.get(name) in builder.truths
    return truth or not builder.deferred.keys().isdisjoint(operator.inputs)


def _keep_whole(builder: Builder, operator: Operator) -> list[int]:
    """Truths cast to whole numbers, which something must make float32 again."""
    name = operator.inputs[0]
    source = builder.values[name]
    builder.deferred[operator.outputs[0]] = Whole(
        of=flat_positions(builder.whole_shape(name)),
        operators=(builder.number,),
        given=(name,),
        type=_WHOLES[operator.attributes["to"]],
        make=lambda _builder, _operator: source,
    )
    return []


def read(builder: Builder, operator: Operator) -> int | list[int]:
    """Translate an operator that reads what is not made yet.

    Raises:
        OperatorError: it reads it in a way that is not known.
    """
    at = [place for place, name in enumerate(operator.inputs) if name in builder.deferred]
    if not at:
        return _keep_whole(builder, operator)
    if len(at) > 1 or at[0] not in _READ_AT.get(operator.kind, ()):
        raise OperatorError(
            "it reads whole numbers that the network computes; of an index that ArgMax, ArgMin or"
            f" TopK finds only these can: {', '.join(sorted(_READ_AT))}"
        )
    given = builder.deferred[operator.inputs[at[0]]]
    if operator.kind in _RESHAPED:
        return _reshaped(builder, operator, given)
    if not isinstance(given, ChoiceIndex):
        raise OperatorError("it reads zeros and ones that are no float32: cast them first")
    return _READ[operator.kind](builder, operator, given)


def _reshaped(builder: Builder, operator: Operator, given: Deferred) -> int | list[int]:
    """The same numbers in another shape or order, each several times, or as float32."""
    of, to = given.of, operator.attributes.get("to", 0)
    if operator.kind == "Cast" and to not in _WHOLES:
        return _float(builder, operator, given)
    if operator.kind == "Expand":
        wanted = tuple(int(size) for size in builder.constant(operator, 1, "shape"))
        if min(wanted, default=1) < 1:
            raise OperatorError(f"its shape is {wanted}")
        full = np.broadcast_shapes(given.shape, wanted)
        require_size(prod(full))
        of = of.expand(full)
    elif operator.kind == "Transpose":
        of = of.permute(order_of(operator, of.ndim))
    elif operator.kind not in ("Cast", "Identity"):
        of = of.reshape(resolve_shape(builder, operator, given.shape))
    builder.deferred[operator.outputs[0]] = replace(
        given,
        of=of,
        operators=(*given.operators, builder.number),
        type=_WHOLES.get(to, given.type),
    )
    return []


def _float(builder: Builder, operator: Operator, given: Deferred) -> int:
    if operator.attributes["to"] != 1:
        raise OperatorError("it casts to a type other than float32")
    if isinstance(given, ChoiceIndex):
        numbers = torch.arange(given.groups.shape[1]).double()
        return _taken(builder, operator, given, numbers, given.shape)
    assert isinstance(given, Whole)
    made = picked(builder, given.make(builder, operator), given.of, operator.name)
    return settle(builder, operator, made, given.shape)


def _taken(
    builder: Builder, operator: Operator, index: ChoiceIndex, table: Tensor, whole: Shape
) -> int:
    """The rows of a constant `[n, entries]` that an index names, as a value of a whole shape."""
    size = index.groups.shape[1]
    table = table[:size].reshape(size, -1)
    marks = index.marks(builder, operator)
    factors = [
        Factor(flat_positions(builder.nodes[marks].shape), "in", marks),
        Factor(table, "nd"),
    ]
    made = contracted(builder, factors, "id", operator.name)
    ends = map(float, torch.aminmax(table))
    made = builder.add(KnownRange(*ends), [made], builder.nodes[made].shape, operator.name)
    return settle(builder, operator, made, whole)


def _equal(builder: Builder, operator: Operator, index: ChoiceIndex) -> int:
    """Whether each number is that of a constant, repeated to a common shape."""
    first = operator.inputs[0] in builder.deferred
    constant = builder.constant(operator, int(first), "number")
    full = np.broadcast_shapes(index.shape, constant.shape)
    require_size(prod(full))
    size, marks = index.groups.shape[1], index.marks(builder, operator)
    number = torch.from_numpy(np.broadcast_to(constant, full).astype(np.int64))
    at = flat_positions(index.shape).expand(full) * size + number
    at = torch.where((number >= 0) & (number < size), at, -1)
    position = settle(builder, operator, picked(builder, marks, at, operator.name), full)
    builder.truths.add(position)
    return position


def _one_hot(builder: Builder, operator: Operator, index: ChoiceIndex) -> int | list[int]:
    """Marks, of as many entries as are asked for, as two numbers; whole ones are cast behind it."""
    depth = int(builder.constant(operator, 1, "depth").reshape(()))
    off, on = builder.constant(operator, 2, "values").tolist()
    size, rank = index.groups.shape[1], len(index.shape)
    if depth < 1:
        raise OperatorError(f"its depth is {depth}")
    require_size(depth * prod(index.shape))
    (axis,) = axes_of([int(operator.attributes["axis"])], rank + 1)
    number = torch.arange(depth)
    at = flat_positions(index.shape)[..., None] * size + number
    at = torch.where(number < size, at, -1).movedim(-1, axis)
    kind = builder.constants[operator.inputs[2]].dtype

    def make(builder: Builder, operator: Operator) -> int:
        marks = picked(builder, index.marks(builder, operator), at, operator.name)
        if (off, on) == (0, 1):
            return marks
        scale, shift = (torch.tensor(float(x), dtype=torch.float64) for x in (on - off, off))
        return builder.diagonal(
            builder.diagonal(marks, operator.name, scale=scale),
            operator.name,
            shift.expand(at.shape),
        )

    if kind != np.float32:
        if (off, on) != (0, 1):
            raise OperatorError(f"its values are the whole numbers {off} and {on}, not 0 and 1")
        builder.deferred[operator.outputs[0]] = Whole(
            of=flat_positions(tuple(at.shape)),
            operators=(*index.operators, builder.number),
            given=index.given,
            type=kind.name,
            make=make,
        )
        return []
    return settle(builder, operator, make(builder, operator), tuple(at.shape))


def _table(builder: Builder, name: str) -> Array | None:
    """What is chosen from, where it is a constant."""
    table = builder.constants.get(name)
    if table is not None and table.dtype != np.float32:
        raise OperatorError(f"it chooses from {table.dtype}, not from float32")
    return table


def _gather(builder: Builder, operator: Operator, index: ChoiceIndex) -> int:
    """Gather, and GatherND of one dimension: what lies at the place that each number names."""
    name, of = operator.inputs[0], index.of
    if operator.kind == "GatherND":
        if index.shape[-1:] != (1,):
            raise OperatorError(f"its indices have shape {index.shape}")
        index = replace(index, of=of[..., 0])
    known = _table(builder, name)
    whole = builder.whole_shape(name) if known is None else known.shape
    (axis,) = axes_of([int(operator.attributes.get("axis", 0))], len(whole))
    size = index.groups.shape[1]
    if size > whole[axis]:
        raise OperatorError(f"its index is below {size}, for {whole[axis]} entries")
    rest = (*whole[:axis], *whole[axis + 1 :])
    numbers = (prod(index.shape), *rest)
    if known is not None:
        table = tensor(known).movedim(axis, 0)
        flat = _taken(builder, operator, index, table, numbers)
    else:
        entries = flat_positions(whole).movedim(axis, 0)[:size].reshape(size, -1)
        marks = index.marks(builder, operator)
        factors = [
            Factor(flat_positions(builder.nodes[marks].shape), "in", marks),
            Factor(entries, "nd", builder.values[name]),
        ]
        flat = contracted(builder, factors, "id", operator.name)
    if axis:
        flat = picked(builder, flat, flat_positions(numbers).movedim(0, axis), operator.name)
    made = (*whole[:axis], *index.shape, *whole[axis + 1 :])
    position = settle(builder, operator, flat, made)
    if known is None or axis:
        builder.moved.add(position)
    return position


def _gather_elements(builder: Builder, operator: Operator, index: ChoiceIndex) -> int:
    """An entry for each number, from the same place but for one dimension."""
    name, shape = operator.inputs[0], index.shape
    known = _table(builder, name)
    whole = builder.whole_shape(name) if known is None else known.shape
    (axis,) = axes_of([int(operator.attributes["axis"])], len(whole))
    size = index.groups.shape[1]
    fits = len(shape) == len(whole) and all(
        at == axis or one <= other for at, (one, other) in enumerate(zip(shape, whole, strict=True))
    )
    if not fits or size > whole[axis]:
        raise OperatorError(f"its index of shape {shape} leaves a value of {whole}")
    require_size(prod(shape) * size)
    cut = flat_positions(whole)[
        tuple(slice(None if at == axis else one) for at, one in enumerate(shape))
    ]
    cut = cut.movedim(axis, -1)[..., :size]  # [*shape without the axis, n]
    wide = cut.unsqueeze(axis).expand(*shape, size).reshape(-1, size)
    marks = index.marks(builder, operator)
    if known is not None:
        entries = tensor(known).reshape(-1)[wide]
        made = builder.diagonal(marks, operator.name, scale=entries)
    else:
        taken = picked(builder, builder.values[name], wide, operator.name)
        made = builder.add(Product(), [marks, taken], tuple(wide.shape), operator.name)
    position = settle(builder, operator, sum_of_last(builder, made, operator.name), shape)
    if axis == 0:
        builder.moved.add(position)
    return position


_WHOLES = {6: "int32", 7: "int64"}
"""Types of whole numbers by ONNX's numbers."""
_RESHAPED = frozenset(
    ("Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
)
_READ: dict[str, Callable[[Builder, Operator, ChoiceIndex], int | list[int]]] = {
    "Equal": _equal,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather,
    "OneHot": _one_hot,
    "ScatterElements": scatter_elements,
}
_READ_AT = {
    **dict.fromkeys(_RESHAPED | {"OneHot"}, (0,)),
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "ScatterElements"), (1,)),
    "Equal": (0, 1),
}
"""Operators that read an index, and at which of their inputs it may stand."""
