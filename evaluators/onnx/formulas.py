"""The formulas by which a file's operators make its values, as far as numbers and sums go."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, defs, helper, numpy_helper

from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.builder import Builder

STANDARD = ("", "ai.onnx")
"""Names of the domain of ONNX's own operators."""

MOST = 16
"""Operators that one formula is made of, or further: what is behind them is taken as it is."""

Polynomial = Mapping[int, Fraction]
"""The coefficients of the powers of a value."""


class Formulas:
    """The formulas of a file's values.

    Arguments:
        known: the network.
        graph: as the file has it.

    Attributes:
        makers: the operator that makes each value.
    """

    def __init__(self, known: Builder, graph: onnx.GraphProto) -> None:
        self._known = known
        self.makers = {name: node for node in graph.node for name in node.output if name}

    def named(self, name: str) -> str:
        """The value that is passed on under this name."""
        while (node := self.makers.get(name)) is not None and node.op_type == "Identity":
            name = node.input[0]
        return name

    def constant(self, name: str) -> Array | None:
        """A value that is known without running the network."""
        return self._known.constants.get(name)

    def number(self, name: str) -> Fraction | None:
        """The number that a constant holds, in all its entries."""
        array = self.constant(name)
        if array is None or not array.size or not np.isfinite(array).all():
            return None
        first = array.reshape(-1)[0]
        return Fraction(first.item()) if bool((array == first).all()) else None

    def read(self, name: str, kind: str) -> list[str]:
        """The values that the operator of a kind reads that makes this one; none of another."""
        node = self.makers.get(self.named(name))
        if node is None or node.op_type != kind or node.domain not in STANDARD:
            return []
        return [self.named(one) for one in node.input]

    def given(self, name: str) -> Mapping[str, Any]:
        """The attributes of the operator that makes a value."""
        return attributes(self.makers[self.named(name)])

    def pairs(self, name: str, kind: str) -> Iterator[tuple[str, str]]:
        """The two values that a sum or product is made of, either way around."""
        if len(pair := self.read(name, kind)) == 2:
            yield (pair[0], pair[1])
            yield (pair[1], pair[0])

    def factors(self, name: str, ends: str) -> tuple[Fraction, list[str]]:
        """A value as a number times values, which are not taken apart further at this one."""
        share, found, left = Fraction(1), list[str](), [self.named(name)]
        for _ in range(MOST):
            if not left:
                break
            one = left.pop()
            over, pair = self.read(one, "Div"), self.read(one, "Mul")
            if one != ends and (number := self.number(one)) is not None:
                share *= number
            elif one != ends and len(pair) == 2:
                left += pair
            elif one != ends and over and (divisor := self.number(over[1])):
                share /= divisor
                left.append(over[0])
            else:
                found.append(one)
        return share, found + left

    def polynomial(self, name: str, x: str, most: int = MOST) -> Polynomial | None:
        """A value as a polynomial of another one, of a degree of at most three.

        Args:
            name: of the value.
            x: of the other one.
            most: how many operators may be between them.
        """
        name = self.named(name)
        if name == x:
            return {1: Fraction(1)}
        if (number := self.number(name)) is not None:
            return {0: number}
        if not most:
            return None
        if power := self.read(name, "Pow"):
            base, exponent = self.polynomial(power[0], x, most - 1), self.number(power[1])
            if base != {1: Fraction(1)} or exponent not in (1, 2, 3):
                return None
            return {int(exponent): Fraction(1)}
        for kind, together in (("Add", _plus), ("Mul", _times)):
            if len(pair := self.read(name, kind)) == 2:
                first, second = (self.polynomial(one, x, most // 2) for one in pair)
                return None if first is None or second is None else together(first, second)
        return None

    def averaged(self, name: str) -> str:
        """What a value is the mean of, over the last dimension, which is kept; "" of none."""
        if not (read := self.read(name, "ReduceMean")) or read[0] not in self._known.values:
            return ""
        given = self.given(name)
        axes = self.constant(read[1]) if len(read) == 2 else given.get("axes")
        rank = len(self._known.whole_shape(read[0]))
        last = axes is not None and [int(axis) % rank for axis in np.asarray(axes)] == [rank - 1]
        return read[0] if last and given.get("keepdims", 1) == 1 else ""

    def centred(self, name: str) -> str:
        """The value that one is less its mean; "" of none."""
        pair = self.read(name, "Sub")
        return pair[0] if pair and self.averaged(pair[1]) == pair[0] else ""


def _plus(first: Polynomial, second: Polynomial) -> Polynomial:
    return {at: first.get(at, Fraction()) + second.get(at, Fraction()) for at in {*first, *second}}


def _times(first: Polynomial, second: Polynomial) -> Polynomial | None:
    result: Polynomial = {}
    for at, number in first.items():
        if at + max(second) > 3:
            return None
        result = _plus(result, {at + more: number * other for more, other in second.items()})
    return result


def attributes(node: NodeProto) -> dict[str, Any]:
    """An operator's attributes by their names."""
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def same_operator(node: NodeProto, other: NodeProto, opset: int) -> bool:
    """Whether two operators are one of ONNX's own, with the same attributes or defaults of them."""
    if node.op_type != other.op_type or node.domain not in STANDARD:
        return False
    theirs, ours = attributes(node), attributes(other)
    schema = defs.get_schema(node.op_type, opset, "")
    for name in theirs.keys() - ours.keys():
        default = schema.attributes[name].default_value
        ours[name] = helper.get_attribute_value(default) if default.name else None
    return theirs.keys() == ours.keys() and all(
        np.array_equal(_plain(theirs[name]), _plain(ours[name])) for name in theirs
    )


def _plain(value: Any) -> Array:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value)
