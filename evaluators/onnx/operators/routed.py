"""ScatterElements at places that the network computes: the gates of a few experts, zeros elsewhere.

Of a group's entries in order no two are the same, so no place comes twice: what lies at one is the
sum of what is put there, each times its mark, and of what lay there unless something is put.
"""

from math import prod

import numpy as np
import torch
from torch import Tensor

from evaluators.network.known_range import KnownRange
from evaluators.network.network import Product
from evaluators.numerics.arrays import Shape
from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    axes_of,
    flat_positions,
    require_size,
    tensor,
)
from evaluators.onnx.operators.choices import ChoiceIndex
from evaluators.onnx.operators.contractions import picked, sum_of_last
from evaluators.onnx.operators.masks import is_weight
from evaluators.onnx.operators.unbatched import settle


def scatter_elements(builder: Builder, operator: Operator, index: ChoiceIndex) -> int:
    """Entries put into a value or a constant, each where a number of its own group says."""
    data, _, updates = operator.inputs
    whole, given = (_shape(builder, name) for name in (data, updates))
    (axis,) = axes_of([int(operator.attributes["axis"])], len(whole))
    size, shape = index.groups.shape[1], index.shape
    if operator.attributes.get("reduction", "none") != "none":
        raise OperatorError("it adds where the network decides")
    if given != shape or (*shape[:axis], size, *shape[axis + 1 :]) != whole:
        raise OperatorError(f"its index of shape {shape} puts {given} into {whole}")
    if not _is_distinct(index.of.movedim(axis, -1), index.ranks):
        raise OperatorError("it puts several entries into one place")
    marks, name = index.marks(builder, operator), operator.name
    laid = flat_positions((*shape, size)).movedim(axis, -1)  # [..., n, numbers]
    require_size(laid.numel())
    marks = picked(builder, marks, laid, name)
    numbers = flat_positions(shape).movedim(axis, -1)[..., None, :].expand(laid.shape)
    put = sum_of_last(builder, _times(builder, marks, updates, numbers, name), name)
    taken = sum_of_last(builder, marks, name)
    taken = builder.add(KnownRange(0.0, 1.0), [taken], builder.nodes[taken].shape, name)
    one = torch.ones((), dtype=torch.float64)
    free = builder.diagonal(taken, name, one, -one)
    rest = _times(builder, free, data, flat_positions(whole).movedim(axis, -1), name)
    back = flat_positions(builder.nodes[put].shape).movedim(-1, axis)
    position = picked(builder, builder.total([put, rest], name), back, name)
    position = settle(builder, operator, position, whole)
    if axis == 0:
        builder.moved.add(position)
    return position


def _shape(builder: Builder, name: str) -> Shape:
    known = builder.constants.get(name)
    if known is None:
        return builder.whole_shape(name)
    if known.dtype != np.float32 or not is_weight(known, masks=False):
        raise OperatorError("it puts constants that are no numbers of float32")
    return known.shape


def _is_distinct(of: Tensor, ranks: int) -> bool:
    """Whether each line `[..., numbers]` holds different ranks of one group."""
    lines = of.reshape(-1, of.shape[-1]).sort(1).values
    same = lines // ranks == lines[:, :1] // ranks
    return bool(same.all()) and bool((lines[:, 1:] > lines[:, :-1]).all())


def _times(builder: Builder, marks: int, name: str, places: Tensor, title: str) -> int:
    """Marks times entries of a value or of a constant, at these flat places."""
    if (known := builder.constants.get(name)) is not None:
        return builder.diagonal(marks, title, scale=tensor(known).reshape(-1)[places])
    shape = tuple(places.shape)
    require_size(prod(shape))
    factor = picked(builder, builder.values[name], places, title)
    return builder.add(Product(), [marks, factor], shape, title)
