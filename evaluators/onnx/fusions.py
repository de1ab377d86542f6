"""What a runtime's own operators compute, proved of the file's operators that they stand for.

onnxruntime knows operators that stand together by their kinds and asks little of their numbers: it
takes a normalisation whatever the power is that deviations are raised to, with a floor of its own
where it cannot read the file's, and a GELU whose numbers are right up to 1e-5. Of such functions no
random numbers tell all: a floor may hide every power of the deviations that are drawn, and not
those of an image. So the formula that each stands for must be in the file, number by number
(`formulas.py`); what no formula is known of is refused.

Where it puts ONNX's operators in place of others it asks exactly what they do: those are run on
random numbers (`compare.py`), as all are.
"""

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, defs, numpy_helper

from evaluators.onnx.agreement import DifferenceError
from evaluators.onnx.formulas import Formulas, attributes, same_operator
from evaluators.onnx.operators.builder import Builder
from evaluators.onnx.rules import quoted

PLAIN = frozenset(("FusedConv", "FusedGemm", "FusedMatMul"))
"""Kinds of a runtime's own that take over what the operators before them say, number by number."""
EPSILON = 1e-5
"""Of a normalisation that names none."""


def _nearest(number: float) -> Fraction:
    return Fraction(float(np.float32(number)))


ROOTS_OF_HALF = frozenset((1 / _nearest(2**0.5), _nearest(0.5**0.5)))
"""What a GELU multiplies by within the error function: the numbers nearest to its root."""
STEEP, CUBIC = (2 / np.pi) ** 0.5, 0.044715
"""Of a GELU by tanh: the slope at zero, and the share of the cube."""
CUBES = frozenset((_nearest(STEEP) * _nearest(CUBIC), _nearest(STEEP * CUBIC)))
"""What its cube is multiplied by."""


def require_formulas(
    known: Builder, graph: onnx.GraphProto, made: onnx.GraphProto, opset: int
) -> None:
    """Refuse what a runtime made of a graph, where it is not seen to be the file's own formulas.

    Args:
        known: the network.
        graph: as the file has it.
        made: what was made of it, perhaps with more behind its outputs.
        opset: of both.

    Raises:
        DifferenceError: an operator of `made` has no known formula, or the file another one.
    """
    fusions = _Fusions(Formulas(known, graph), made, opset)
    makers = {name: node for node in made.node for name in node.output}
    seen, left = set[str](), [name for node in graph.node for name in node.output]
    while left:
        name = left.pop()
        if name in makers and name not in seen:
            seen.update(makers[name].output)
            left += makers[name].input
            fusions.require(makers[name])


class _Fusions:
    """A runtime's operators, held against a file's formulas.

    Arguments:
        file: its formulas.
        made: what the runtime made of it.
        opset: of both.
    """

    def __init__(self, file: Formulas, made: onnx.GraphProto, opset: int) -> None:
        self._file, self._opset = file, opset
        self._numbers = {one.name: numpy_helper.to_array(one) for one in made.initializer}
        self._rules: dict[str, Callable[[NodeProto], bool]] = {
            "BiasGelu": self._is_biased_gelu,
            "FastGelu": self._is_gelu_by_tanh,
            "Gelu": lambda node: self._is_gelu(node.output[0], file.named(node.input[0])),
            "LayerNormalization": self._is_normalization,
            "QuickGelu": self._is_swish,
            "RMSNormalization": self._is_normalization,
            "SimplifiedLayerNormalization": self._is_normalization,
            "SkipLayerNormalization": self._is_normalization,
            "SkipSimplifiedLayerNormalization": self._is_normalization,
        }

    def require(self, node: NodeProto) -> None:
        """Refuse an operator that was made, unless the file has its formula."""
        rule = self._rules.get(node.op_type)
        usual = node.op_type in PLAIN or defs.has(node.op_type, node.domain)
        if not self._is_written(node) and not (rule(node) if rule else usual):
            raise DifferenceError(
                f"what onnxruntime makes of {quoted(node.output[0])} is its own {node.op_type}, and"
                " it is not seen that the file's operators are that, number by number; export that"
                " operator itself, or its numbers as exact as float32 has them"
            )

    def _is_written(self, node: NodeProto) -> bool:
        """Whether the file has it there, of the same constants; of which values is seen elsewhere.

        A runtime keeps one of two values that are computed alike.
        """
        other = self._file.makers.get(node.output[0])
        if other is None or not same_operator(node, other, self._opset):
            return False
        pairs = zip(other.input, node.input, strict=False)
        return len(node.input) == len(other.input) and all(
            self._is_same(its, mine)
            if mine in self._numbers or self._file.constant(its) is not None
            else bool(mine) == bool(its)
            for its, mine in pairs
        )

    def _is_same(self, name: str, made: str) -> bool:
        """Whether a constant of the file is one of what was made of it, bit for bit."""
        ours = self._file.constant(name)
        theirs = self._numbers.get(made, self._file.constant(made))
        return (
            ours is not None
            and theirs is not None
            and (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
            and ours.tobytes() == theirs.tobytes()
        )

    def _gate(self, name: str, x: str, bent: str) -> Iterator[str]:
        """The z of which a value is x/2·(1 + f(z)), f of this kind."""
        share, parts = self._file.factors(name, x)
        if share == Fraction(1, 2) and len(parts) == 2 and x in parts:
            parts.remove(x)
            for value, one in self._file.pairs(parts[0], "Add"):
                if self._file.number(one) == 1:
                    yield from self._file.read(value, bent)

    def _is_gelu(self, name: str, x: str) -> bool:
        """Whether a value is x/2·(1 + erf(x/√2)), or the file's own GELU of x."""
        file = self._file
        if own := file.read(name, "Gelu"):
            return own == [x] and file.given(name).get("approximate", b"none") == b"none"
        of = [file.factors(z, x) for z in self._gate(name, x, "Erf")]
        return any(parts == [x] and root in ROOTS_OF_HALF for root, parts in of)

    def _is_biased_gelu(self, node: NodeProto) -> bool:
        """Whether a value is the GELU of a sum with a constant."""
        file, (first, bias), name = self._file, node.input, node.output[0]
        return any(
            one == file.named(first) and self._is_same(shift, bias) and self._is_gelu(name, total)
            for total in file.read(name, "Gelu") or file.factors(name, "")[1]
            for one, shift in file.pairs(total, "Add")
        )

    def _is_gelu_by_tanh(self, node: NodeProto) -> bool:
        """Whether a value is x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))."""
        if len(node.input) != 1:
            return False
        x = self._file.named(node.input[0])
        return any(
            (found := self._file.polynomial(z, x)) is not None
            and found.get(1) == _nearest(STEEP)
            and found.get(3) in CUBES
            and not any(number for at, number in found.items() if at % 2 == 0)
            for z in self._gate(node.output[0], x, "Tanh")
        )

    def _is_swish(self, node: NodeProto) -> bool:
        """Whether a value is x·sigmoid(alpha·x)."""
        file, given = self._file, attributes(node)
        alpha, x = _nearest(given["alpha"]), file.named(node.input[0])
        return any(
            one == x and any(file.factors(z, x) == (alpha, [x]) for z in file.read(gate, "Sigmoid"))
            for one, gate in file.pairs(node.output[0], "Mul")
        )

    def _is_normalization(self, node: NodeProto) -> bool:
        """Whether a value is a normalisation of the last dimension, perhaps of a sum of two."""
        given, skips = attributes(node), node.op_type.startswith("Skip")
        if given.get("axis", -1) != -1 or given.get("stash_type", 1) != 1:
            return False
        centred = node.op_type in ("LayerNormalization", "SkipLayerNormalization")
        numbers = list(node.input[1 + skips :])
        if len(numbers) != 1 + centred or sum(map(bool, node.output)) != 1:
            return False
        names = tuple(self._file.named(name) for name in node.input[: 1 + skips])
        floor = _floor(given)
        found = self._normalized(node.output[0], numbers, floor, centred=centred)
        if not skips:
            return names[0] in found
        return any(names in list(self._file.pairs(one, "Add")) for one in found)

    def _normalized(
        self, name: str, numbers: list[str], floor: np.float32, *, centred: bool
    ) -> Iterator[str]:
        """The values that one is a normalisation of, times a scale and, if centred, plus a bias."""
        file = self._file
        if read := file.read(name, "LayerNormalization" if centred else "RMSNormalization"):
            given = file.given(name)
            same = len(read) == 1 + len(numbers) and given.get("axis", -1) == -1
            own = zip(read[1:], numbers, strict=False)
            if same and _floor(given) == floor and all(self._is_same(*pair) for pair in own):
                yield read[0]
            return
        scale, *bias = numbers
        pairs = file.pairs(name, "Add")
        scaled = [one for one, shift in pairs if self._is_same(shift, *bias)] if bias else [name]
        for one in scaled:
            for inner, factor in file.pairs(one, "Mul"):
                if self._is_same(factor, scale):
                    yield from self._over_deviation(inner, floor, centred=centred)

    def _over_deviation(self, name: str, floor: np.float32, *, centred: bool) -> Iterator[str]:
        """The x of which a value is c/√(mean of c² + floor), with c = x - mean of x, or x."""
        file = self._file
        if not (parts := file.read(name, "Div")) or not (root := file.read(parts[1], "Sqrt")):
            return
        above = file.centred(parts[0]) if centred else parts[0]
        for mean, least in file.pairs(root[0], "Add"):
            number, power = file.constant(least), file.read(file.averaged(mean), "Pow")
            known = number is not None and number.size == 1 and number.reshape(-1)[0] == floor
            if known and power and file.number(power[1]) == 2:
                below = file.centred(power[0]) if centred else power[0]
                if above and above == below:
                    yield above


def _floor(given: Mapping[str, Any]) -> np.float32:
    """The number that a normalisation adds to the variance."""
    return np.float32(given.get("epsilon", EPSILON))
