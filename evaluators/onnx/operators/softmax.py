"""Softmax, with and without masks.

It is y_i = 1 / Σ exp(x_j - x_i), whose terms never cancel. What onnxruntime computes instead, with
the largest entry subtracted, is within what is charged for these nodes.

A mask adds a number far below the others to some entries, or puts it in their place. For any
number c it is also y_i = exp(c) / Σ exp(x_j - x_i + c), whose terms are of a modest size where c is
what the mask gave to x_i. Where that is beyond what an exponential in float32 can tell from minus
infinity, the entry is left out of all sums: a guard asserts, wherever the network is bounded, that
it is as far below another (`Within`), and nothing is proved where it may not be. So which
entries these are, and c, may be guessed: from the constants that were added to the scores.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.network.affine import Diagonal, Gather, Reshape
from evaluators.network.deployment import LARGEST
from evaluators.network.guards import Within
from evaluators.network.network import Sum
from evaluators.network.smooth import Smooth
from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    flat_positions,
    require_size,
    row_axes,
)
from evaluators.onnx.operators.contractions import picked, sum_of_last
from evaluators.onnx.operators.declaration import ANY, Attribute, Declaration
from evaluators.onnx.operators.masks import SCORES

APART = 256.0
"""How far below another a score is of which nothing is left in a float32 run, where exp(-104) is
below all numbers; in real arithmetic it is less than `guards.LEFT`."""
LOWERED = -16.0
"""From here down, below the largest of its row, an added constant is a mask's."""
LEFT_OUT = -2 * APART
"""From here down its entry is left out: scores may then differ by `APART`."""
LOOKED_BACK = 12
"""Nodes before a softmax in which constants are looked for."""


class Lowered(NamedTuple):
    """What a mask adds to the entries of each row, beside the largest that it adds to one.

    Attributes:
        by: numbers from `LEFT_OUT` to `LOWERED`, zero elsewhere.
        out: the entries that are left out.
        beside: of each row, the place of an entry that nothing is added to, as flat positions.
    """

    by: Tensor
    out: Tensor
    beside: Tensor


def softmax(builder: Builder, operator: Operator) -> int:
    """Softmax and LogSoftmax over one dimension, which is brought to the end and back.

    Before opset 13 all dimensions from the axis on are one.
    """
    source, shape = builder.source(operator)
    given = int(operator.attributes["axis"])
    if operator.opset < 11 and given < 0:
        raise OperatorError(f"its axis {given} is negative, which opset 11 brought")
    (axis,) = row_axes([given], len(shape))
    name, log = operator.name, operator.kind == "LogSoftmax"
    together = operator.opset < 13
    places = flat_positions(shape)
    places = places.reshape(*shape[:axis], -1) if together else places.movedim(axis, -1)
    levels = builder.hidden.get(source)
    kept = None if levels is None else (levels == 0).reshape(-1)[places]
    result = softmax_of_last(builder, source, places, name, log=log, kept=kept)
    back = flat_positions(tuple(places.shape))
    back = back.reshape(shape) if together else back.movedim(-1, axis)
    return picked(builder, result, back, name)


def softmax_of_last(
    builder: Builder,
    source: int,
    places: Tensor,
    name: str,
    *,
    log: bool = False,
    kept: Tensor | None = None,
) -> int:
    """Append the softmax over the last dimension of entries at these flat places.

    Of those that are not `kept`, of the places' shape, it is zero, and others are as without them;
    but what a run could not add a mask to without leaving float32 leaves nothing bounded.
    """
    size = places.shape[-1]
    require_size(places.numel() * size)
    if kept is not None and not bool(kept.any(-1).all()):
        raise OperatorError("its mask hides all entries of a softmax")
    lowered, minus = _lowered(builder, source, places, kept, log), _one() * -1
    inside = kept
    if lowered is not None and bool(lowered.out.any()):
        inside = ~lowered.out if kept is None else kept & ~lowered.out
    apart, same = _differences(builder, source, places, inside, name)
    if lowered is not None:
        apart = builder.diagonal(apart, name, lowered.by[..., :, None])
    terms = _smooth(builder, "Exp", apart, name)
    if inside is not None:
        terms = builder.diagonal(terms, name, scale=(inside[..., None, :] | same).double())
    total = sum_of_last(builder, terms, name)
    if kept is not None or size == 1:  # scores of which nothing else may be asked
        shape, every = builder.nodes[source].shape, places[..., None, :]
        most = LARGEST if kept is None else SCORES
        guard = builder.add(Within(-most, most, real=True), [source], shape, name)
        guard = picked(builder, guard, every.expand(*places.shape, size), name)
        total = builder.total([total, sum_of_last(builder, guard, name)], name)
    guards = None
    if lowered is not None and inside is not kept:
        guards = _guards(builder, source, places, lowered, name)
        rows = sum_of_last(builder, guards, name)
        wide = flat_positions(tuple(places.shape[:-1]))[..., None].expand(places.shape)
        total = builder.total([total, picked(builder, rows, wide, name)], name)
    if log:
        result = builder.diagonal(_smooth(builder, "Log", total, name), name, scale=minus)
        return result if lowered is None else builder.diagonal(result, name, lowered.by)
    result = _smooth(builder, "Reciprocal", total, name)
    if lowered is not None:
        result = builder.diagonal(result, name, scale=lowered.by.exp(), roundings=4)
    if inside is not None:
        result = builder.diagonal(result, name, scale=inside.double())
    return result if guards is None else builder.total([result, guards], name)


def _differences(
    builder: Builder, source: int, places: Tensor, inside: Tensor | None, name: str
) -> tuple[int, Tensor]:
    """Entries less each entry of their row, and which of them are an entry less itself.

    These are zero, whatever the entry is, and so are those of entries that are not inside.
    """
    size = places.shape[-1]
    same = torch.eye(size, dtype=torch.bool)
    nothing = same if inside is None else same | ~(inside[..., None, :] & inside[..., :, None])
    others = places[..., None, :].expand(*places.shape, size).masked_fill(nothing, -1)
    own = places[..., :, None].expand(*places.shape, size).masked_fill(nothing, -1)
    less = builder.diagonal(picked(builder, source, own, name), name, scale=_one() * -1)
    return builder.total([picked(builder, source, others, name), less], name), same


def _lowered(
    builder: Builder, source: int, places: Tensor, kept: Tensor | None, log: bool
) -> Lowered | None:
    """What constants before a softmax lower; None if that is nothing.

    Of a LogSoftmax no entry is left out: it is far below zero there.
    """
    added = _added(builder, source)
    given = added.reshape(-1)[places]
    given = given if kept is None else given.masked_fill(~kept, -torch.inf)
    beside = given.argmax(-1, keepdim=True)
    away = given - given.gather(-1, beside)
    away = away if kept is None else torch.where(kept, away, 0.0)
    out = (away <= LEFT_OUT) & (not log)
    away = torch.where((away <= LOWERED) & (away > LEFT_OUT), away, 0.0)
    if not bool(out.any() or away.any()):
        return None
    builder.lowered[source] = added
    return Lowered(away, out, places.gather(-1, beside))


def _added(builder: Builder, position: int, steps: int = LOOKED_BACK) -> Tensor:
    """The constants that were added to a value's entries, as far as one can see."""
    node = builder.nodes[position]
    operation, nothing = node.operation, torch.zeros(node.shape, dtype=torch.float64)
    if not steps:
        return nothing
    if isinstance(operation, Sum):
        return sum((_added(builder, p, steps // 2) for p in node.parents), nothing)
    if not isinstance(operation, Diagonal | Gather | Reshape):
        return nothing
    before = operation.linear(_added(builder, node.parents[0], steps - 1)[None])[0]
    before = before.reshape(node.shape)
    return before if operation.bias is None else before + operation.bias


def _guards(builder: Builder, source: int, places: Tensor, lowered: Lowered, name: str) -> int:
    """Zero at every place, if each entry that is left out is far below one of its row."""
    low = places[lowered.out]
    high = lowered.beside.expand(places.shape)[lowered.out]
    less = builder.diagonal(picked(builder, source, low, name), name, scale=_one() * -1)
    apart = builder.total([picked(builder, source, high, name), less], name)
    found = builder.add(Within(APART, math.inf), [apart], (len(low),), name)
    back = torch.full(places.shape, -1)
    back[lowered.out] = torch.arange(len(low))
    return picked(builder, found, back, name)


def _one() -> Tensor:
    return torch.ones((), dtype=torch.float64)


def _smooth(builder: Builder, kind: str, source: int, name: str) -> int:
    return builder.add(Smooth(kind), [source], builder.nodes[source].shape, name)


OPERATORS: dict[str, Declaration] = {
    **dict.fromkeys(
        ("Softmax", "LogSoftmax"),
        Declaration(
            versions=(1, 11, 13),
            attributes={
                "axis": Attribute(
                    ANY, default=-1, since=13, older=Attribute(ANY, default=1, until=12)
                )
            },
            translate=softmax,
        ),
    ),
}
