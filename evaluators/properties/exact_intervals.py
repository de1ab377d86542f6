"""Intervals of a network's outputs that no float32 run leaves, without a charge for rounding.

Every other bound is charged for the rounding of float32 runs, so that it stops short of an edge
that is reached exactly. There is nothing to charge where the numbers are few: runs round, but never
beyond what is exact.

Guarantee: if `finest_quantum` finds a quantum for a box, then for every box within it whose ends
are whole multiples of that, `intervals` hold the outputs in real arithmetic and in any float32 run
of the file: in any order of summation, with or without fused multiply-add, with subnormal numbers
flushed or not, and with constants multiplied or added first, as runtimes do that fold them.

Proof. Each value has a quantum, a power of two: the ends of its interval are whole multiples of it;
and a magnitude: the value in absolute values, sums of |w|·m without cancellation, at least one
quantum. Let no magnitude exceed 2^24 quanta (`_measure`), and let the ends of all intervals be
worked out exactly from those of the box.

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
   are no wider, since it adds up equal terms first. `low` and `high` keep every such part away from
   subnormal numbers and from overflow.
3. In real arithmetic intervals hold anyway. float64 holds all ends, and all partial sums of them,
   exactly, since they have at most 27 bits.

Trusted: as for the charges (`network/deployment.py`): no Winograd, Fourier, TensorFloat-32 or half
precision; that a runtime rounds monotonely, and rewrites a file only as in step 2. All operators of
the file are of `OPERATORS`, for which this holds; of a file with any other nothing is said, nor of
weights that have many bits together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite

import numpy as np
import torch
from torch import Tensor

from evaluators.network.affine import Adjoint, AffineMap, Diagonal
from evaluators.network.deployment import FLUSHED, LARGEST
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


@dataclass(frozen=True)
class _Measure:
    """A node's quantum and magnitudes, `[1, *shape]`.

    Attributes:
        low, high: what no product of constants and values on the way to it is below or above.
    """

    quantum: float
    low: float
    high: float
    magnitude: Tensor

    @property
    def is_exact(self) -> bool:
        """Whether float32 holds all parts of it."""
        few = float(self.magnitude.max()) <= 2.0**BITS * self.quantum
        return few and self.low > FLUSHED and self.high < LARGEST


def finest_quantum(network: Network, ends: tuple[Doubles, Doubles]) -> float | None:
    """The finest quantum of inputs of which intervals are exact; None if not even that of the ends.

    Args:
        network: as it was imported from a file.
        ends: of a box of inputs, in row-major order.
    """
    if not network.operators or not network.operators.keys() <= OPERATORS:
        return None
    most = torch.from_numpy(np.maximum(*map(np.abs, ends))).reshape(1, *network.input_shape)
    quantum = min(map(quantum_of, ends))
    quantum, found = 1.0 if quantum == inf else quantum, None
    while _is_exact(network, most, quantum):
        found, quantum = quantum, quantum / 2
    return found


def quantum_of(values: Doubles) -> float:
    """The largest power of two that all numbers are whole multiples of; infinite for zeros."""
    values = values[values != 0]
    if not values.size:
        return inf
    mantissas, exponents = np.frexp(values)
    whole = np.abs(np.ldexp(mantissas, 53)).astype(np.int64)
    lowest = (whole & -whole).astype(np.float64)
    return float(np.ldexp(lowest, exponents - 53).min())


def _is_exact(network: Network, most: Tensor, quantum: float) -> bool:
    magnitude = most.clamp(min=quantum)
    first = _Measure(quantum, min(1.0, quantum), max(1.0, float(magnitude.max())), magnitude)
    if not first.is_exact:
        return False
    found = [first]
    for node in network.nodes[1:]:
        measure = _measure(node.operation, [found[parent] for parent in node.parents])
        if measure is None or not measure.is_exact:
            return False
        found.append(measure)
    return True


def _measure(operation: Operation, of: Sequence[_Measure]) -> _Measure | None:
    """What holds of a node's value, of what holds of its parents'; None if nothing is known."""
    first = of[0]
    if isinstance(operation, AffineMap):
        return _affine(operation, first)
    if isinstance(operation, LeakyReLU):
        unit = quantum_of(np.array([operation.leak])) if operation.leak else 1.0
        return replace(first, quantum=first.quantum * unit, low=first.low * unit)
    if isinstance(operation, MaxPool):
        return replace(first, magnitude=operation(first.magnitude))
    if isinstance(operation, Sum):
        quantum, low = min(one.quantum for one in of), min(one.low for one in of)
        magnitude = torch.stack([one.magnitude for one in of]).sum(0)
        return _Measure(quantum, low, sum(one.high for one in of), magnitude)
    if isinstance(operation, Product):
        second = of[1]
        return _Measure(
            first.quantum * second.quantum,
            first.low * second.low,
            first.high * second.high,
            first.magnitude * second.magnitude,
        )
    return None


def _affine(operation: AffineMap, of: _Measure) -> _Measure | None:
    magnitude = operation.absolute(of.magnitude)
    if operation.fan_in == 0 and operation.bias is None:
        return replace(of, magnitude=magnitude.clamp(min=of.quantum))
    unit = min((quantum_of(values) for values in _constants(operation)), default=1.0)
    # Nothing is left of a value that is multiplied by zero: it may be anything.
    if not isfinite(unit) or not _is_known(operation):
        return None
    quantum, low = unit * of.quantum, of.low * min(1.0, unit)
    high = of.high * max(1.0, float(operation.absolute(torch.ones_like(of.magnitude)).max()))
    if operation.bias is not None:
        step = quantum_of(operation.bias.numpy())
        quantum, low = min(quantum, step), min(low, step)
        magnitude = magnitude + operation.bias.abs()
        high += float(operation.bias.abs().max())
    return _Measure(quantum, low, high, magnitude.clamp(min=quantum))


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


def intervals(network: Network, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Exact bounds of a network's outputs over boxes `[boxes, *shape]` of a quantum that is exact.

    Returns:
        Two tensors `[boxes, outputs]`.
    """
    found = [(lower, upper)]
    for position, node in enumerate(network.nodes[1:], start=1):
        of = [found[parent] for parent in node.parents]
        source = _magnitude_of(network, position)
        found.append(_image(node.operation, of) if source is None else _folded(*found[source]))
    return found[-1]


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


def _folded(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of a magnitude."""
    return torch.maximum(lower, -upper).clamp(min=0), torch.maximum(-lower, upper)


def _image(operation: Operation, of: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    lower, upper = of[0]
    if isinstance(operation, AffineMap):
        if operation.fan_in == 0:
            return operation(lower), operation(upper)
        middle, reach = operation((lower + upper) / 2), operation.absolute((upper - lower) / 2)
        return middle - reach, middle + reach
    if isinstance(operation, LeakyReLU | MaxPool):
        return operation(lower), operation(upper)
    if isinstance(operation, Product):
        corners = torch.stack([x * y for x in of[0] for y in of[1]])
        return corners.amin(0), corners.amax(0)
    assert isinstance(operation, Sum)
    below, above = (torch.stack(ends).sum(0) for ends in zip(*of, strict=True))
    return below, above
