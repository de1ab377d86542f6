"""Bounds of gradients: where functions of the logits may lead, anywhere in a region.

Rows of the logits are led back through the network as their gradients are, each coefficient as a
middle and a radius: through an affine map by its adjoint, through a function by the interval that
its derivative keeps to between the bounds of its input (Weng et al. 2018, arXiv 1804.09699, section
3.4, for ReLUs). All roundings are added to the radius.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.network.affine import AffineMap, absolute_of
from evaluators.network.elementwise import Elementwise, LeakyReLU, SShaped
from evaluators.network.network import Network, Sum
from evaluators.numerics.rounding import UNDERFLOW, UNIT, gamma
from evaluators.propagation.intervals import Interval

ROUNDED = 1 + 32 * UNIT
"""Covers the roundings of a function's derivative and of a few products."""


class Enclosure(NamedTuple):
    """All numbers within `radius` of `middle`, entry by entry."""

    middle: Tensor
    radius: Tensor

    @property
    def magnitude(self) -> Tensor:
        """Largest absolute values, rounded up."""
        return (self.middle.abs() + self.radius) * ROUNDED + UNDERFLOW

    @classmethod
    def of(cls, low: Tensor, high: Tensor) -> "Enclosure":
        """All numbers from `low` to `high`."""
        middle = low / 2 + high / 2
        return cls(middle, torch.maximum(high - middle, middle - low) * ROUNDED + UNDERFLOW)

    def plus(self, other: "Enclosure") -> "Enclosure":
        """The sum of two."""
        middle = self.middle + other.middle
        radius = self.radius + other.radius + middle.abs() * UNIT
        return Enclosure(middle, radius * ROUNDED + UNDERFLOW)

    def times(self, factor: "Enclosure") -> "Enclosure":
        """The product with another that broadcasts."""
        middle = self.middle * factor.middle
        wide = self.middle.abs() * factor.radius + self.radius * factor.magnitude
        return Enclosure(middle, (wide + middle.abs() * UNIT) * ROUNDED + UNDERFLOW)


def derivative(function: Elementwise, within: Interval) -> Enclosure | None:
    """The values of a function's derivative between bounds of its input; None if unknown."""
    lower, upper = within
    if isinstance(function, LeakyReLU):
        least = torch.where(lower >= 0, 1.0, torch.full_like(lower, function.leak))
        most = torch.where(upper <= 0, torch.full_like(lower, function.leak), 1.0)
        return Enclosure.of(least, most)
    if not isinstance(function, SShaped):
        return None
    # Even, and falling away from zero.
    ends = [function.derivative(end) for end in within]
    around = function.derivative(torch.zeros_like(lower))
    most = torch.where((lower <= 0) & (upper >= 0), around, torch.maximum(*ends))
    found = Enclosure.of(torch.minimum(*ends), most)
    return found._replace(radius=found.radius + most * (64 * UNIT) + UNDERFLOW)


def gradients(
    network: Network,
    bounds: Sequence[Interval],
    rows: Tensor,
    seen: Callable[[int, Enclosure], None] | None = None,
) -> Enclosure | None:
    """Enclose the gradients of rows of the logits by the input, `[batch, rows, *shape]`.

    Args:
        network: in float64, without max-pooling.
        bounds: of all its nodes, `[batch, *shape]`.
        rows: `[batch, rows, classes]`, exact.
        seen: is shown the gradients by each elementwise node's output.

    Returns:
        None where a function's derivative is unknown.
    """
    last = len(network.nodes) - 1
    waiting = {last: Enclosure(rows, torch.zeros_like(rows))}
    for position in range(last, 0, -1):
        node, here = network.nodes[position], waiting.pop(position, None)
        if here is None:
            continue
        if isinstance(node.operation, Elementwise):
            if seen is not None:
                seen(position, here)
            slope = derivative(node.operation, bounds[node.parents[0]])
            if slope is None:
                return None
            here = here.times(Enclosure(slope.middle[:, None], slope.radius[:, None]))
        elif isinstance(node.operation, AffineMap):
            here = _back(node.operation, here)
        elif not isinstance(node.operation, Sum):
            return None
        for parent in node.parents:
            before = waiting.get(parent)
            waiting[parent] = here if before is None else before.plus(here)
    zero = rows.new_zeros(*rows.shape[:2], *network.input_shape)
    return waiting.get(0, Enclosure(zero, zero))


def _back(operation: AffineMap, here: Enclosure) -> Enclosure:
    """Gradients by an affine map's input from those by its output."""
    leading, error = here.middle.shape[:2], 2 * gamma(operation.fan_out + 8)
    middle, radius = (part.flatten(0, 1) for part in here)
    wide = (radius + middle.abs() * error) * ROUNDED + UNDERFLOW
    back = operation.adjoint(middle), absolute_of(operation).adjoint(wide) * (1 + error) + UNDERFLOW
    return Enclosure(*(part.reshape(*leading, *operation.input_shape) for part in back))
