"""Intervals of a network's outputs that no float32 run leaves, without a charge for rounding.

Every other bound is charged for the rounding of float32 runs, so that it stops short of an edge
that is reached exactly. There is nothing to charge where the numbers are few: runs round, but never
beyond what is exact.

Guarantee: where `intervals` are finite, they hold the outputs for all inputs of the box, in real
arithmetic and in any float32 run of the file: in any order of summation, with or without fused
multiply-add, with subnormal numbers flushed or not, and with constants multiplied or added first,
as runtimes do that fold them.

Proof. Each value has a quantum, a power of two: the ends of its interval are whole multiples of it;
and a magnitude: sums of |w|·m without cancellation, or what its interval says of a ReLU's or a
maximum's result, and at least one quantum. Let no magnitude exceed 2^24 quanta (`_Known.is_exact`).

1. A run's value is never outside of the interval. By induction: let those that it is computed from
   lie in theirs. Take a sum of products w·x, and in each x the end at which w·x is largest. There
   each product, and each partial sum in whatever order, is a whole multiple of the quantum and at
   most 2^24 of it: float32 holds it, and nothing is rounded. Rounding and flushing are monotone,
   and so are sums and fused products in each of their terms: step by step what the run computes is
   at most what it would compute at those ends. The least value likewise. So it is for sums of
   branches, and for products of two at one of four corners. A ReLU, a leaky one, a maximum and
   what only moves entries are monotone and exact at ends. What the importer writes of several nodes
   (a clamp, a magnitude, a slope) is one operator in the file, which picks one of its arguments or
   rounds one product, and the intervals of these nodes hold what it picks from.
2. A runtime may form other products and sums of the same constants and values (a scale into a
   matrix, a sum into a bias). Each is part of a node's own expansion into monomials: what is left
   out of a monomial is a whole multiple of its own quantum, and not zero or taken as one quantum.
   So a part has at most as many quanta as the whole, 2^24. It is exact where it is of constants
   alone, and step 1 holds for what the runtime computes then: in exact arithmetic its intervals
   are no wider, since it adds up equal terms first. Nothing is folded across a ReLU or a maximum.
   `low` and `high` keep every such part away from subnormal numbers and from overflow.
3. In real arithmetic intervals hold anyway. float64 holds all ends, and all partial sums of them,
   exactly, since they have at most 27 bits.

Trusted: as for the charges (`network/deployment.py`): no Winograd, Fourier, TensorFloat-32 or half
precision; that a runtime rounds monotonely, and rewrites a file only as in step 2. All operators of
the file are of `OPERATORS`, for which this holds; of a file with any other nothing is said, nor of
weights that have many bits together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from math import inf, isfinite

import numpy as np
import torch
from torch import Tensor

from evaluators.network.affine import Adjoint, AffineMap, Diagonal
from evaluators.network.deployment import LARGEST
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import MaxPool, Network, Node, Operation, Product, Sum
from evaluators.properties.boxes import Doubles

OPERATORS = frozenset(
    (
        "Abs", "Add", "AveragePool", "Cast", "Clip", "Concat", "Constant",
        "ConstantOfShape", "Conv", "ConvTranspose", "DepthToSpace", "Div", "Dropout", "Expand",
        "Flatten", "Gather", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LeakyRelu",
        "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu",
        "Pad", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape",
        "Shape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Sub", "Sum",
        "Tile", "Transpose", "Unsqueeze",
    )
)  # fmt: skip
"""Those whose every run is a monotone rounding of what the canonical graph says; not those that
the importer works out constants for, such as a normalisation's, where some may have cancelled."""

BITS = 24
"""Of float32's whole numbers."""
LEAST = 2.0**-100
"""Of quanta: a Gemm may multiply by its factor, of up to 2^20, behind sums that are smaller, which
must not be subnormal, either."""


@dataclass(frozen=True)
class _Known:
    """What holds of a node's value in each of some boxes.

    Attributes:
        lower, upper: its interval, `[boxes, *shape]`.
        magnitude: of the same shape.
        quantum: `[boxes]`.
        low, high: what no product of constants and values on the way to it is below or above,
            `[boxes]`.
    """

    lower: Tensor
    upper: Tensor
    magnitude: Tensor
    quantum: Tensor
    low: Tensor
    high: Tensor

    @property
    def is_exact(self) -> Tensor:
        """Whether float32 holds all parts of it, `[boxes]`."""
        few = self.magnitude.flatten(1).amax(1) <= 2.0**BITS * self.quantum
        return few & (self.low >= LEAST) & (self.high < LARGEST)

    def moved(self, lower: Tensor, upper: Tensor) -> "_Known":
        """Return what holds of a value with this interval and of the same quantum."""
        return replace(self, lower=lower, upper=upper).limited()

    def limited(self) -> "_Known":
        """Return the same with the magnitude that the interval says."""
        most = torch.maximum(-self.lower, self.upper)
        return replace(self, magnitude=_at_least(most, self.quantum))


def intervals(network: Network, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Bound a network's outputs over boxes, without a charge for rounding.

    Args:
        network: as it was imported from a file.
        lower, upper: ends of the boxes, `[boxes, *shape]`, float64.

    Returns:
        Two tensors `[boxes, outputs]`; infinite for boxes for which the proof does not hold.
    """
    nothing = torch.full((len(lower), network.classes), inf, dtype=torch.float64)
    if not network.operators or not network.operators.keys() <= OPERATORS:
        return -nothing, nothing
    found = [_input(lower, upper)]
    exact = found[0].is_exact
    for position, node in enumerate(network.nodes[1:], start=1):
        source = _magnitude_of(network, position)
        if source is not None:
            known: _Known | None = _folded(found[source])
        else:
            known = _of(node.operation, [found[parent] for parent in node.parents])
        if known is None:
            return -nothing, nothing
        exact = exact & known.is_exact
        if not bool(exact.any()):
            return -nothing, nothing
        found.append(known)
    sure = exact[:, None]
    last = found[-1]
    return last.lower.where(sure, -nothing), last.upper.where(sure, nothing)


def _input(lower: Tensor, upper: Tensor) -> _Known:
    ends = torch.stack((lower.flatten(1), upper.flatten(1)), 1).numpy()
    quantum = torch.from_numpy(np.array([quantum_of(box) for box in ends]))
    quantum = torch.where(quantum == inf, 1.0, quantum)
    high = torch.maximum(-lower, upper).flatten(1).amax(1).clamp(min=1.0)
    return _Known(lower, upper, lower, quantum, quantum.clamp(max=1.0), high).limited()


def quantum_of(values: Doubles) -> float:
    """The largest power of two that all numbers are whole multiples of; infinite for zeros."""
    values = values[values != 0]
    if not values.size:
        return inf
    mantissas, exponents = np.frexp(values)
    whole = np.abs(np.ldexp(mantissas, 53)).astype(np.int64)
    lowest = (whole & -whole).astype(np.float64)
    return float(np.ldexp(lowest, exponents - 53).min())


def _of(operation: Operation, of: Sequence[_Known]) -> _Known | None:
    """What holds of a node's value, of what holds of its parents'; None if nothing is known."""
    first = of[0]
    if isinstance(operation, AffineMap):
        return _affine(operation, first)
    if isinstance(operation, MaxPool):
        return first.moved(operation(first.lower), operation(first.upper))
    if isinstance(operation, LeakyReLU):
        unit = quantum_of(np.array([operation.leak])) if operation.leak else 1.0
        finer = replace(first, quantum=first.quantum * unit, low=first.low * unit)
        return finer.moved(operation(first.lower), operation(first.upper))
    if isinstance(operation, Sum):
        lower, upper, magnitude, quantum, low, high = (
            torch.stack([getattr(one, field.name) for one in of]) for field in fields(_Known)
        )
        sums = (lower.sum(0), upper.sum(0), magnitude.sum(0))
        return _Known(*sums, quantum.amin(0), low.amin(0), high.sum(0))
    if isinstance(operation, Product):
        second = of[1]
        pairs = ((x, y) for x in (first.lower, first.upper) for y in (second.lower, second.upper))
        corners = torch.stack([x * y for x, y in pairs])
        return _Known(
            corners.amin(0),
            corners.amax(0),
            first.magnitude * second.magnitude,
            first.quantum * second.quantum,
            first.low * second.low,
            first.high * second.high,
        )
    return None


def _affine(operation: AffineMap, of: _Known) -> _Known | None:
    if operation.fan_in == 0 and operation.bias is None:
        found = replace(of, lower=operation(of.lower), upper=operation(of.upper))
        return replace(found, magnitude=_at_least(operation.absolute(of.magnitude), of.quantum))
    unit = min((quantum_of(values) for values in _constants(operation)), default=1.0)
    # Nothing is left of a value that is multiplied by zero: it may be anything.
    if not isfinite(unit) or not _is_known(operation):
        return None
    middle, reach = operation((of.lower + of.upper) / 2), (of.upper - of.lower) / 2
    reach = operation.absolute(reach)
    magnitude = operation.absolute(of.magnitude)
    quantum, low = unit * of.quantum, of.low * min(1.0, unit)
    ones = torch.ones_like(of.magnitude[:1])
    high = of.high * max(1.0, float(operation.absolute(ones).max()))
    if operation.bias is not None:
        step = quantum_of(operation.bias.numpy())
        quantum, low = quantum.clamp(max=step), low.clamp(max=step)
        magnitude = magnitude + operation.bias.abs()
        high = high + float(operation.bias.abs().max())
    magnitude = _at_least(magnitude, quantum)
    return _Known(middle - reach, middle + reach, magnitude, quantum, low, high)


def _at_least(magnitude: Tensor, quantum: Tensor) -> Tensor:
    return torch.maximum(magnitude, quantum.reshape(-1, *[1] * (magnitude.dim() - 1)))


def _constants(operation: AffineMap) -> Iterator[Doubles]:
    """The numbers that an affine map multiplies by, but for ones."""
    if isinstance(operation, Adjoint):
        yield from _constants(operation.inner)
    for name in ("weight", "scale"):
        values = getattr(operation, name, None)
        if values is not None:
            yield values.numpy()


def _is_known(operation: AffineMap) -> bool:
    """Whether the importer rounded no constant.

    It says where it may have: quotients 1/c and differences 1 - s. A quotient of few bits is that
    of a power of two. Where a difference is rounded, there is a sum with x or s·x behind it, which
    has more quanta than are allowed.
    """
    if not getattr(operation, "roundings", 0) and not getattr(operation, "rounded", False):
        return True
    return all(np.isin(np.abs(np.frexp(v)[0]), (0, 0.5)).all() for v in _constants(operation))


def _magnitude_of(network: Network, position: int) -> int | None:
    """The node whose magnitude one is, where an operator of the file says so: -x + 2·relu(x).

    A run of that operator is exact. Written by others, x might be computed twice, in two orders.
    """
    node = network.nodes[position]
    if position not in network.operators.get("Abs", ()) or len(node.parents) != 2:
        return None
    minus, twice = (network.nodes[parent] for parent in node.parents)
    bent = network.nodes[twice.parents[0]]
    known = _scales_by(minus, -1) and _scales_by(twice, 2) and bent.operation == LeakyReLU()
    return minus.parents[0] if known and bent.parents == minus.parents else None


def _scales_by(node: Node, factor: int) -> bool:
    operation = node.operation
    return (
        isinstance(operation, Diagonal)
        and operation.bias is None
        and operation.scale is not None
        and bool((operation.scale == factor).all())
    )


def _folded(of: _Known) -> _Known:
    """What holds of a magnitude."""
    lower = torch.maximum(of.lower, -of.upper).clamp(min=0)
    return of.moved(lower, torch.maximum(-of.lower, of.upper))
