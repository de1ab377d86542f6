"""What is read of an ONNX node: the declaration of each operator, at the foot of its file.

ONNX's schema only says that an input or attribute exists; a declaration says that it is understood
here, and with which values. Whatever else a node carries is refused, were it at its default: a file
must not mean one thing here and another to a runtime. The same holds of a node that is translated
and of one that is worked out between constants.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.builder import Builder, Operator, OperatorError
from evaluators.onnx.rules import ModelRule

LATEST = 2**31
"""Later than every opset."""
LARGEST = 2**31
"""Sizes, pads, steps and other whole numbers of windows are below it; axes and ends may be any."""

Translated = int | list[int] | Array
"""Positions of the nodes that compute an operator's first outputs; or its only one, a constant."""
Translation = Callable[[Builder, Operator], Translated]
Fold = Callable[[Builder, Operator], Array | list[Array]]


@dataclass(frozen=True)
class Allowed:
    """Which values of an attribute are read, as a test and in words."""

    words: str
    holds: Callable[[Any], bool]


def exactly(*values: Any) -> Allowed:
    """Allow one of these values."""
    *others, last = map(repr, values)
    words = f"{', '.join(others)} or {last}" if others else last
    return Allowed(words, lambda value: value in values)


def whole(least: int) -> Allowed:
    """Allow a whole number from `least`."""
    return Allowed(
        f"a whole number from {least} below 2^31", lambda value: least <= value < LARGEST
    )


def wholes(least: int) -> Allowed:
    """Allow a list of whole numbers from `least`."""
    return Allowed(
        f"whole numbers from {least} below 2^31",
        lambda values: all(least <= v < LARGEST for v in values),
    )


ANY = Allowed("anything of its type", lambda _: True)
ONES = Allowed("a one for each dimension", lambda values: all(value == 1 for value in values))
NUMBER = Allowed("a finite number", math.isfinite)
# A runtime multiplies by it after a product that it must neither overflow nor lose.
MODEST = Allowed("of a size from 2^-20 to 2^20", lambda value: 2**-20 <= abs(value) <= 2**20)
NOT_NEGATIVE = Allowed("a number from 0", lambda value: 0 <= value < math.inf)
ABOVE_ZERO = Allowed("a number above 0", lambda value: 0 < value < math.inf)


@dataclass(frozen=True)
class Attribute:
    """An attribute that is read.

    Attributes:
        allowed: the values that are read.
        default: what it is where a node does not give it, as in ONNX's schema; None for nothing.
        since, until: the first and the last opset that have it.
        rule: what another value breaks.
        older: what it is before, if its default was another.
    """

    allowed: Allowed
    default: Any = None
    since: int = 1
    until: int = LATEST
    rule: ModelRule = ModelRule.USE
    older: "Attribute | None" = None

    def of(self, opset: int) -> "Attribute | None":
        """Return what it is in an opset; None where there is none."""
        if self.since <= opset <= self.until:
            return self
        return self.older.of(opset) if self.older is not None else None


@dataclass(frozen=True)
class Parameter:
    """An input that is read.

    Attributes:
        name: as messages call it.
        types: NumPy's names of the types that a constant may have.
        ranks: the numbers of dimensions that a constant may have; None for any.
        since, until: the first and the last opset that have it.
        data: whether it may be computed by the network; of a node between constants it has one of
            the types that its declaration folds.
        many: whether it stands for any number of inputs.
        own: whether it has its own types, whatever the data of the node is.
    """

    name: str
    types: tuple[str, ...] = ("float32",)
    ranks: tuple[int, ...] | None = None
    since: int = 1
    until: int = LATEST
    data: bool = False
    many: bool = False
    own: bool = False


VALUE = Parameter("value", data=True)
VALUES = Parameter("value", data=True, many=True)


def weights(name: str, *ranks: int, since: int = 1) -> Parameter:
    """Declare a constant in float32 of these ranks."""
    return Parameter(name, ranks=ranks, since=since)


def integers(name: str, since: int = 1, types: tuple[str, ...] = ("int64",)) -> Parameter:
    """Declare a constant list of whole numbers."""
    return Parameter(name, types, (1,), since)


FLOATS = ("float32", "float64")
INTEGERS = ("int32", "int64")
ARITHMETIC = (*FLOATS, *INTEGERS)
"""Types in which constants are worked out: narrower ones are rounded as each runtime likes."""
EVERY_TYPE = (
    *("bool", *ARITHMETIC, "float16", "bfloat16"),
    *("int8", "int16", "uint8", "uint16", "uint32", "uint64"),
)
"""Types that can be rearranged, and cast where nothing is lost."""


@dataclass(frozen=True)
class Declaration:
    """All that is read of one ONNX operator, and what becomes of it.

    Attributes:
        versions: the versions of its definition in ONNX that were read when this was written; None
            for a function of one value without attributes, which has no other meaning to change.
        inputs: by position.
        attributes: by name.
        translate: makes nodes of the canonical graph and returns those that compute its outputs;
            None if it is only read between constants.
        fold: works a constant out from constants; None if it is not read between them. Its result
            has at most `size` entries.
        folds: types of the data that it is worked out in.
        size: most entries of the constant that `fold` makes; None for as many as it reads.
        bare: whether `translate` is right for values without a batch dimension (`unbatched.py`).
        outputs: how many outputs are read.
        idle: how many more may be named, if nothing reads them.
        more_outputs: why more are refused, and by which rule.
    """

    versions: tuple[int, ...] | None
    inputs: tuple[Parameter, ...] = (VALUE,)
    attributes: dict[str, Attribute] = field(default_factory=dict)
    translate: Translation | None = None
    fold: Fold | None = None
    folds: tuple[str, ...] = EVERY_TYPE
    size: Callable[[Builder, Operator], int] | None = None
    bare: bool = False
    outputs: int = 1
    idle: int = 0
    more_outputs: tuple[str, ModelRule] = ("only the first is read", ModelRule.ATTRIBUTES)

    def parameter(self, position: int, opset: int) -> Parameter | None:
        """Return what is read at a position."""
        if position >= len(self.inputs) and self.inputs and self.inputs[-1].many:
            return self.inputs[-1]
        found = self.inputs[position] if position < len(self.inputs) else None
        return found if found and found.since <= opset <= found.until else None

    def known(self, opset: int) -> dict[str, Attribute]:
        """List the attributes that are read in an opset."""
        found = {name: attribute.of(opset) for name, attribute in self.attributes.items()}
        return {name: attribute for name, attribute in found.items() if attribute is not None}

    def read(self, operator: Operator, builder: Builder) -> Operator:
        """Fill in the defaults of attributes that an operator leaves out.

        Raises:
            OperatorError: it carries what is not read, or values that are not.
        """
        known = self.known(operator.opset)
        self._require_attributes(operator, known)
        more = operator.outputs[self.outputs :]
        if len(more) > self.idle or any(name in builder.needed for name in more):
            why, rule = self.more_outputs
            raise OperatorError(f"it has {len(operator.outputs)} outputs; {why}", rule)
        self._require_inputs(operator, builder)
        defaults = {name: attribute.default for name, attribute in known.items()}
        return replace(operator, attributes={**defaults, **operator.attributes})

    def _require_attributes(self, operator: Operator, known: dict[str, Attribute]) -> None:
        for name, value in operator.attributes.items():
            if name not in known:
                raise OperatorError(
                    f"its attribute {name!r} ({_shown(value)}) is not read; {_listed(known)}",
                    ModelRule.ATTRIBUTES,
                )
            allowed = known[name].allowed
            if not allowed.holds(value):
                raise OperatorError(
                    f"its attribute {name!r} is {_shown(value)}; only {allowed.words} can be read",
                    known[name].rule,
                )

    def _require_inputs(self, operator: Operator, builder: Builder) -> None:
        given = [name for name in operator.inputs if name]
        folded = all(name in builder.constants or name in builder.deferred for name in given)
        kinds: set[str] = set()
        for position, name in enumerate(operator.inputs):
            parameter = self.parameter(position, operator.opset)
            if not name:
                # Nothing may be left out of a list: onnxruntime reads beyond its memory there.
                if parameter is not None and parameter.many:
                    raise OperatorError(f"its input {position} is left out")
                continue
            if parameter is None:
                opset = operator.opset
                names = {p.name: p for p in self.inputs if p.since <= opset <= p.until}
                raise OperatorError(
                    f"its input {position} ({name[:60]!r}) is not read; {_listed(names)}",
                    ModelRule.ATTRIBUTES,
                )
            if name in builder.constants:
                one_of_all = parameter.data and not parameter.own
                types = self.folds if one_of_all and folded else parameter.types
                _require_constant(builder.constants[name], parameter, types)
                kinds |= {builder.constants[name].dtype.name} if one_of_all else set()
            elif not parameter.data and name not in builder.deferred:
                raise OperatorError(f"its {parameter.name} is not a constant")
        if len(kinds) > 1:
            raise OperatorError(f"its inputs are of the types {sorted(kinds)}", ModelRule.TYPES)


def _require_constant(array: Array, parameter: Parameter, types: tuple[str, ...]) -> None:
    if array.dtype.name not in types:
        raise OperatorError(
            f"its {parameter.name} is a constant of type {array.dtype.name}; only"
            f" {' and '.join(types)} can be read there",
            ModelRule.TYPES,
        )
    if parameter.ranks is not None and array.ndim not in parameter.ranks:
        most = " or ".join(map(str, parameter.ranks))
        raise OperatorError(
            f"its {parameter.name} has shape {array.shape}; {most} dimensions are needed"
        )


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"a tensor of shape {value.shape}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _listed(names: dict[str, Any]) -> str:
    return f"{', '.join(names)} can be" if names else "none is"
