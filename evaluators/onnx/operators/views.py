"""The same entries in another shape or order, and constants that are made of nothing but shapes."""

from math import prod

import numpy as np

from evaluators.network.affine import Reshape
from evaluators.numerics.arrays import Array, Shape
from evaluators.onnx.operators.builder import Builder, Operator, OperatorError, axes_of
from evaluators.onnx.operators.declaration import (
    ANY,
    VALUE,
    Attribute,
    Declaration,
    Parameter,
    exactly,
    integers,
)


def reshape(builder: Builder, operator: Operator) -> int:
    """Reshape, Flatten, Squeeze and Unsqueeze of a value with a batch dimension."""
    source, shape = builder.source(operator)
    target = resolve_shape(builder, operator, (1, *shape))
    if target[:1] != (1,):
        raise OperatorError(
            f"it turns shape {shape} into {list(target)}, losing the batch dimension"
        )
    position = builder.affine(Reshape(shape, target[1:], None), source, operator.name)
    if source in builder.hidden:
        builder.hidden[position] = builder.hidden[source].reshape(target[1:])
    return position


def resolve_shape(builder: Builder, operator: Operator, shape: Shape) -> Shape:
    """Work out a whole shape after Reshape, Flatten, Squeeze or Unsqueeze, at batch size 1."""
    full = _RESOLVE[operator.kind](builder, operator, list(shape))
    if min(full, default=1) < 1 or prod(full) != prod(shape):
        raise OperatorError(f"it turns shape {shape} into {full}, losing dimensions")
    return tuple(full)


def _flattened(_: Builder, operator: Operator, full: list[int]) -> list[int]:
    axis, rank = int(operator.attributes["axis"]), len(full)
    if not -rank <= axis <= rank:
        raise OperatorError(f"its axis {axis} is not one of {rank} dimensions")
    axis = axis + rank if axis < 0 else axis
    return [prod(full[:axis]), prod(full[axis:])]


def _reshaped(builder: Builder, operator: Operator, full: list[int]) -> list[int]:
    """A size of 0 is that of the same position before, one of -1 is what remains."""
    wanted = [int(size) for size in builder.constant(operator, 1, "shape")]
    if wanted.count(-1) > 1:
        raise OperatorError(f"its shape {wanted} is ambiguous")
    if min(wanted, default=0) < -1 or (operator.attributes.get("allowzero") and 0 in wanted):
        raise OperatorError(f"its shape {wanted} has sizes that are not read")
    if any(size == 0 and position >= len(full) for position, size in enumerate(wanted)):
        raise OperatorError(f"its shape {wanted} keeps a dimension that is not there")
    sizes = [full[position] if size == 0 else size for position, size in enumerate(wanted)]
    known = prod(size for size in sizes if size != -1)
    return [prod(full) // max(known, 1) if size == -1 else size for size in sizes]


def _squeezed(builder: Builder, operator: Operator, full: list[int]) -> list[int]:
    """Without axes all ones go, the batch's included."""
    axes = builder.integers(operator, "axes", 1)
    if axes == []:
        raise OperatorError("its axes are none: leave them out, or name them")
    _require_axes_of_opset(operator, axes or [])
    ones = [axis for axis, size in enumerate(full) if size == 1]
    dropped = ones if axes is None else axes_of(axes, len(full))
    return [size for axis, size in enumerate(full) if axis not in dropped]


def _unsqueezed(builder: Builder, operator: Operator, full: list[int]) -> list[int]:
    axes = builder.integers(operator, "axes", 1) or []
    if not axes:
        raise OperatorError("its axes are none")
    _require_axes_of_opset(operator, axes)
    for axis in sorted(axes_of(axes, len(full) + len(axes))):
        full.insert(axis, 1)
    return full


def _require_axes_of_opset(operator: Operator, axes: list[int]) -> None:
    """Before opset 11 onnxruntime ignores a negative axis, or takes it for another than it says."""
    if operator.opset < 11 and min(axes, default=0) < 0:
        raise OperatorError(f"its axes {axes} are negative, which opset 11 brought")


_RESOLVE = {
    "Flatten": _flattened,
    "Reshape": _reshaped,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
}


def _fold_view(builder: Builder, operator: Operator) -> Array:
    """A constant in another shape; unlike a value it may be a scalar, or empty."""
    array = builder.constants[operator.inputs[0]]
    full = _RESOLVE[operator.kind](builder, operator, list(array.shape))
    unclear = array.size == 0 and operator.kind == "Reshape"
    if unclear or min(full, default=1) < 0 or prod(full) != array.size:
        raise OperatorError(f"it turns shape {array.shape} into {full}")
    return array.reshape(full)


def order_of(operator: Operator, rank: int) -> list[int]:
    """Read the order in which a Transpose puts a whole value's dimensions."""
    order = operator.attributes["perm"]
    order = list(range(rank))[::-1] if order is None else [int(axis) for axis in order]
    if sorted(order) != list(range(rank)):
        raise OperatorError(f"its perm {order} is no order of {rank} dimensions")
    return order


def transpose(builder: Builder, operator: Operator) -> int:
    _, shape = builder.source(operator)
    order = order_of(operator, len(shape) + 1)
    if order[0] != 0:
        raise OperatorError("it moves the batch dimension")
    positions = builder.positions(shape).permute([axis - 1 for axis in order[1:]])
    return builder.rearranged(operator, positions)


def _fold_transpose(builder: Builder, operator: Operator) -> Array:
    array = builder.constants[operator.inputs[0]]
    return array.transpose(order_of(operator, array.ndim))


def shape_of(builder: Builder, operator: Operator) -> Array:
    """The shape of a value is a constant: that at batch size 1."""
    return _part(operator, builder.whole_shape(operator.inputs[0]))


def size_of(builder: Builder, operator: Operator) -> Array:
    """How many entries a value has, at batch size 1."""
    return np.array(prod(builder.whole_shape(operator.inputs[0])), dtype=np.int64)


def _part(operator: Operator, shape: Shape) -> Array:
    """Bounds beyond a shape's ends are moved to them, as Python does."""
    limits = slice(operator.attributes.get("start"), operator.attributes.get("end"))
    return np.array(shape[limits], dtype=np.int64)


def _fold_constant(_: Builder, operator: Operator) -> Array:
    given = {name: value for name, value in operator.attributes.items() if value is not None}
    if len(given) != 1:
        raise OperatorError(f"it has the values {', '.join(given) or 'of nothing'}; not one")
    name, value = next(iter(given.items()))
    kinds = {"value_float": np.float32, "value_int": np.int64}
    return np.array(value, dtype=kinds.get(name.removesuffix("s")))


def _fold_filled(builder: Builder, operator: Operator) -> Array:
    shape = [int(size) for size in builder.constant(operator, 0, "shape")]
    value = operator.attributes["value"]
    value = np.zeros(1, dtype=np.float32) if value is None else value
    if value.shape != (1,):
        raise OperatorError(f"its value has shape {value.shape}; one number is needed")
    if min(shape, default=0) < 0:
        raise OperatorError(f"its shape {shape} has negative sizes")
    return np.full(shape, value[0], dtype=value.dtype)


OPERATORS: dict[str, Declaration] = {
    "Flatten": Declaration(
        versions=(1, 9, 11, 13, 21, 23, 24, 25),
        attributes={"axis": Attribute(ANY, default=1)},
        translate=reshape,
    ),
    "Reshape": Declaration(
        versions=(5, 13, 14, 19, 21, 23, 24, 25),
        inputs=(VALUE, integers("shape")),
        attributes={"allowzero": Attribute(exactly(0, 1), default=0, since=14)},
        translate=reshape,
        fold=_fold_view,
    ),
    **{
        kind: Declaration(
            versions=(1, 11, 13, 21, 23, 24, 25),
            inputs=(VALUE, Parameter("axes", ("int64",), ranks, since=13)),
            attributes={"axes": Attribute(ANY, until=12)},
            translate=reshape,
            fold=_fold_view,
        )
        # onnxruntime takes one number for a list of one, but only there.
        for kind, ranks in (("Squeeze", (1,)), ("Unsqueeze", (0, 1)))
    },
    "Transpose": Declaration(
        versions=(1, 13, 21, 23, 24, 25),
        attributes={"perm": Attribute(ANY)},
        translate=transpose,
        fold=_fold_transpose,
    ),
    "Shape": Declaration(
        versions=(1, 13, 15, 19, 21, 23, 24, 25),
        attributes={"start": Attribute(ANY, default=0, since=15), "end": Attribute(ANY, since=15)},
        translate=shape_of,
        fold=lambda builder, operator: _part(operator, builder.constants[operator.inputs[0]].shape),
    ),
    "Size": Declaration(
        versions=(1, 13, 19, 21, 23, 24, 25),
        translate=size_of,
        fold=lambda builder, operator: np.array(
            builder.constants[operator.inputs[0]].size, dtype=np.int64
        ),
    ),
    "Constant": Declaration(
        versions=(1, 9, 11, 12, 13, 19, 21, 23, 24, 25),
        inputs=(),
        attributes={
            "value": Attribute(ANY),
            **{
                name: Attribute(ANY, since=12)
                for name in ("value_float", "value_floats", "value_int", "value_ints")
            },
        },
        fold=_fold_constant,
    ),
    "ConstantOfShape": Declaration(
        versions=(9, 20, 21, 23, 24, 25),
        inputs=(Parameter("shape", ("int64",), (1,)),),
        attributes={"value": Attribute(ANY)},
        fold=_fold_filled,
        size=lambda builder, operator: abs(
            prod(int(size) for size in builder.constants[operator.inputs[0]])
        ),
    ),
}
