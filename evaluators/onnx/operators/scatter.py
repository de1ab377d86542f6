"""Entries put into a value, added to it, or taken from it, at places that a constant names."""

from math import prod

import numpy as np
import torch
from torch import Tensor

from evaluators.network.affine import Adjoint, Gather
from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    axes_of,
    flat_positions,
    rearrange,
    require_size,
    tensor,
)
from evaluators.onnx.operators.declaration import (
    ANY,
    INTEGERS,
    VALUE,
    Attribute,
    Declaration,
    Parameter,
    exactly,
    integers,
    wholes,
)
from evaluators.onnx.operators.maxima import joined
from evaluators.onnx.operators.unbatched import settle


def scatter(builder: Builder, operator: Operator) -> int:
    """ScatterElements and ScatterND; of what is only put in, no place comes twice."""
    data, _, updates = operator.inputs
    index = builder.constant(operator, 1, "index")
    whole, given = (
        builder.constants[name].shape if name in builder.constants else builder.whole_shape(name)
        for name in (data, updates)
    )
    places = (_elements if operator.kind == "ScatterElements" else _slices)(operator, index, whole)
    if tuple(places.shape) != tuple(given):
        raise OperatorError(f"its updates have shape {given}, not {tuple(places.shape)}")
    flat = places.reshape(-1)
    adds = operator.attributes.get("reduction", "none") == "add"
    repeated = len(set(flat.tolist())) < len(flat)
    if repeated and (not adds or updates in builder.constants):
        # Constants that cancel here need not in a run, which adds each to the value.
        raise OperatorError("it puts several entries, or constants, into one place")
    size, name = prod(whole), operator.name
    require_size(size + len(flat))
    old = torch.arange(size)
    if not adds:
        old[flat] = -1
    parts, known = list[int](), torch.zeros(size, dtype=torch.float64)
    index_of = list[Tensor]()
    for one, at in ((data, old), (updates, flat)):
        if one in builder.constants:
            entries = tensor(builder.constants[one]).reshape(-1)
            known.index_add_(0, at[at >= 0], entries[at >= 0])
        else:
            parts.append(builder.values[one])
            index_of.append(at)
    source = joined(builder, parts, operator)
    spread = Gather((size,), builder.nodes[source].shape, None, torch.cat(index_of))
    shift = known if bool(known.any()) else None
    before = builder.nodes[source].shape
    source = builder.affine(Adjoint(before, (size,), shift, spread), source, name)
    return settle(builder, operator, source, tuple(whole))


def _elements(operator: Operator, index: Array, whole: tuple[int, ...]) -> Tensor:
    (axis,) = axes_of([int(operator.attributes["axis"])], len(whole))
    size = whole[axis]
    fits = index.ndim == len(whole) and all(
        one <= other or at == axis
        for at, (one, other) in enumerate(zip(index.shape, whole, strict=True))
    )
    if not fits or (index.size and not -size <= index.min() <= index.max() < size):
        raise OperatorError(f"its index of shape {index.shape} leaves a value of {whole}")
    grid: list[Array] = list(np.indices(index.shape))
    grid[axis] = np.where(index < 0, index + size, index)
    return torch.from_numpy(np.ravel_multi_index(tuple(grid), whole).astype(np.int64))


def _slices(_: Operator, index: Array, whole: tuple[int, ...]) -> Tensor:
    depth = index.shape[-1] if index.ndim else 0
    limits = np.array(whole[:depth])
    if not 1 <= depth <= len(whole) or (index < -limits).any() or (index >= limits).any():
        raise OperatorError(f"its index of shape {index.shape} leaves a value of {whole}")
    require_size(index.size // depth * prod(whole[depth:]))
    at = tuple(np.moveaxis(index, -1, 0))
    return torch.from_numpy(flat_positions(whole).numpy()[at].copy())


def gather_elements(builder: Builder, operator: Operator) -> int:
    """GatherElements: an entry for each of its index, from the same place but for one dimension."""
    source, _ = builder.source(operator)
    index = builder.constant(operator, 1, "index")
    places = _elements(operator, index, builder.whole_shape(operator.inputs[0]))
    require_size(places.numel())
    taken = rearrange(builder.nodes[source].shape, places.reshape(-1))
    position = builder.affine(taken, source, operator.name)
    position = settle(builder, operator, position, tuple(places.shape))
    builder.moved.add(position)  # of a larger batch it takes as many inputs as its index is for
    return position


def column_to_image(builder: Builder, operator: Operator) -> int:
    """Col2Im: columns added up where blocks of an image lay."""
    source, shape = builder.source(operator)
    image = [int(size) for size in builder.constant(operator, 1, "image shape")]
    block = [int(size) for size in builder.constant(operator, 2, "block shape")]
    given = operator.attributes
    if len(image) != 2 or len(block) != 2 or len(shape) != 2 or shape[0] % prod(block):
        raise OperatorError(f"its input of shape {shape} is not of blocks {block} of {image}")
    pads = given["pads"] or [0] * 4
    channels, steps = shape[0] // prod(block), given["strides"] or [1, 1]
    out = (channels, *image)
    require_size(prod(out) * prod(block))
    if pads[:2] != pads[2:] or min(*image, *block) < 1:
        raise OperatorError("its pads are not alike on both sides")
    places = (flat_positions(out) + 1).double()[None]
    columns = torch.nn.functional.unfold(
        places, tuple(block), tuple(given["dilations"] or [1, 1]), tuple(pads[:2]), tuple(steps)
    )[0]
    if tuple(columns.shape) != shape:
        raise OperatorError(f"its input has shape {shape}, not {tuple(columns.shape)}")
    spread = Gather(out, shape, None, columns.long().reshape(-1) - 1)
    return builder.affine(Adjoint(shape, out, None, spread), source, operator.name)


_REDUCTION = Attribute(exactly("none", "add"), default="none", since=16)

OPERATORS: dict[str, Declaration] = {
    "GatherElements": Declaration(
        versions=(11, 13),
        inputs=(VALUE, Parameter("index", INTEGERS)),
        attributes={"axis": Attribute(ANY, default=0)},
        translate=gather_elements,
        bare=True,
    ),
    "ScatterElements": Declaration(
        versions=(11, 13, 16, 18),
        inputs=(VALUE, Parameter("index", INTEGERS), VALUE),
        attributes={"axis": Attribute(ANY, default=0), "reduction": _REDUCTION},
        translate=scatter,
        bare=True,
    ),
    "ScatterND": Declaration(
        versions=(11, 13, 16, 18),
        inputs=(VALUE, Parameter("index", ("int64",)), VALUE),
        attributes={"reduction": _REDUCTION},
        translate=scatter,
        bare=True,
    ),
    "Col2Im": Declaration(
        versions=(18,),
        inputs=(VALUE, integers("image shape"), integers("block shape")),
        attributes={name: Attribute(wholes(1)) for name in ("dilations", "strides")}
        | {"pads": Attribute(wholes(0))},
        translate=column_to_image,
    ),
}
