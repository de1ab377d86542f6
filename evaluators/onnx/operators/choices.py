"""Which entries are the largest: indices that the network computes, where they choose something.

An index has no bounds of its own. What it chooses has: of n entries the one before which r others
come in order is marked by a 1 among n - 1 zeros, from steps of the differences of all pairs; what
is taken is the sum of all that could be, each times its mark. Where a constant is chosen from, the
sum is known to lie between its least and its largest entry. Nothing need be continuous, as with
comparisons (`conditions.py`), and of two alike the first comes first, as in onnxruntime.

Indices are no nodes: they are made where an operator reads them, and compared together with it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluators.network.known_range import KnownRange
from evaluators.network.steps import Step
from evaluators.onnx.operators.arithmetic import negative
from evaluators.onnx.operators.builder import (
    Builder,
    Deferred,
    Operator,
    OperatorError,
    axes_of,
    flat_positions,
    require_size,
)
from evaluators.onnx.operators.contractions import picked, sum_of_last
from evaluators.onnx.operators.declaration import (
    ANY,
    INTEGERS,
    Attribute,
    Declaration,
    Parameter,
    exactly,
)


@dataclass(frozen=True, kw_only=True)
class ChoiceIndex(Deferred):
    """Whole numbers, each the place of an entry in a group.

    Attributes:
        source: the node whose entries are compared.
        groups: their flat positions, `[groups, n]`.
        ranks: how many first entries of each group are wanted: `of` counts a group's by their rank,
            and then the next group's.
        smallest: whether the smallest comes first.
    """

    source: int
    groups: Tensor
    ranks: int
    smallest: bool

    def marks(self, builder: Builder, operator: Operator) -> int:
        """Append a 1 for the entry that each number names, 0 for others, `[numbers, n]`."""
        count, size = self.groups.shape
        require_size(count * size * size)
        name, source = operator.name, self.source
        first, second = torch.triu_indices(size, size, 1)
        ahead, behind = (
            picked(builder, source, self.groups[:, at], name) for at in (first, second)
        )
        less = negative(builder, behind if self.smallest else ahead, operator)
        more = ahead if self.smallest else behind
        shape = (count, len(first))
        passes = builder.add(Step(), [builder.total([more, less], name)], shape, name)
        # Before an entry are those behind it that pass it, and those ahead that it does not pass.
        pair = torch.zeros(size, size, dtype=torch.long)
        pair[first, second] = pair[second, first] = torch.arange(len(first))
        others = pair[~torch.eye(size, dtype=torch.bool)].reshape(size, size - 1)
        laid = flat_positions(shape)[:, others.reshape(-1)].reshape(count, size, size - 1)
        is_ahead = torch.arange(size - 1) < torch.arange(size)[:, None]
        sign = torch.where(is_ahead, -1.0, 1.0).double()
        before = builder.diagonal(picked(builder, passes, laid, name), name, scale=sign)
        before = builder.diagonal(before, name, shift=is_ahead.double())
        rank = sum_of_last(builder, before, name)
        return self._marked(builder, rank, name)

    def _marked(self, builder: Builder, rank: int, name: str) -> int:
        """Marks `[numbers, n]` of ranks `[groups, n]`."""
        count, size = self.groups.shape
        wide = flat_positions((count, size))[:, None].expand(count, self.ranks, size)
        places = wide.reshape(-1, size)[self.of.reshape(-1)]
        wanted = (self.of.reshape(-1, 1) % self.ranks).double()
        shape, parts = tuple(places.shape), list[int]()
        laid = picked(builder, rank, places, name)
        for edge, sign in ((-0.5, 1.0), (0.5, -1.0)):
            reached = builder.diagonal(laid, name, shift=-(wanted + edge).expand(shape))
            step = builder.add(Step(), [reached], shape, name)
            scale = torch.tensor(sign, dtype=torch.float64)
            parts.append(step if sign > 0 else builder.diagonal(step, name, scale=scale))
        return builder.add(KnownRange(0.0, 1.0), [builder.total(parts, name)], shape, name)


@dataclass(frozen=True, kw_only=True)
class Whole(Deferred):
    """Zeros and ones of a type of whole numbers.

    Attributes:
        make: appends them as a value, flat or in any shape.
    """

    make: Callable[[Builder, Operator], int]


def arg_extreme(builder: Builder, operator: Operator) -> list[int]:
    """ArgMax and ArgMin: nothing yet but the entries that are compared."""
    whole = builder.whole_shape(operator.inputs[0])
    (axis,) = axes_of([int(operator.attributes["axis"])], len(whole))
    if axis == 0 and not builder.is_bare(operator.inputs[0]):
        raise OperatorError("it works on the batch dimension")
    groups, shape = _groups(builder, operator, axis)
    if operator.attributes["keepdims"]:
        shape.insert(axis, 1)
    _defer(builder, operator, groups, torch.arange(len(groups)).reshape(shape), 0)
    return []


def ranked(builder: Builder, operator: Operator, axis: int, count: int) -> None:
    """Keep the indices of TopK's entries, its second output, for who reads them.

    The axis is one of the whole value's.
    """
    groups, shape = _groups(builder, operator, axis)
    of = torch.arange(len(groups) * count).reshape(*shape, count).movedim(-1, axis)
    _defer(builder, operator, groups, of, 1)


def _groups(builder: Builder, operator: Operator, axis: int) -> tuple[Tensor, list[int]]:
    """Flat positions of what is compared, `[groups, n]`, and the shape of the groups."""
    whole = builder.whole_shape(operator.inputs[0])
    if whole[axis] < 2:
        raise OperatorError("it compares one entry with none")
    places = builder.positions(whole).movedim(axis, -1)
    return places.reshape(-1, whole[axis]), list(places.shape[:-1])


def _defer(builder: Builder, operator: Operator, groups: Tensor, of: Tensor, output: int) -> None:
    name = operator.inputs[0]
    ranks = of.numel() // len(groups)
    first = operator.kind == "ArgMin" or operator.attributes.get("largest", 1) == 0
    builder.deferred[operator.outputs[output]] = ChoiceIndex(
        of=of,
        operators=(builder.number,),
        given=(name,),
        source=builder.values[name],
        groups=groups,
        ranks=ranks,
        smallest=first,
    )


_EXTREME = Declaration(
    versions=(1, 11, 12, 13),
    attributes={
        "axis": Attribute(ANY, default=0),
        "keepdims": Attribute(exactly(0, 1), default=1),
        "select_last_index": Attribute(exactly(0), default=0, since=12),
    },
    translate=arg_extreme,
    bare=True,
)

OPERATORS: dict[str, Declaration] = {
    "ArgMax": _EXTREME,
    "ArgMin": _EXTREME,
    "OneHot": Declaration(
        versions=(9, 11),
        inputs=(
            Parameter("index", INTEGERS),
            Parameter("depth", ("float32", "float64", *INTEGERS)),
            Parameter("values", ("float32", *INTEGERS)),
        ),
        attributes={"axis": Attribute(ANY, default=-1)},
    ),
}
