"""Products of two branches as units, whose planes' tilt is chosen for every row.

Of factors a = m + a', |a'| <= r, and b = n + b', |b'| <= s, the product is n·a + m·b - m·n + h with
h = a'·b'. With u = s·a' + r·b' and v = s·a' - r·b', for every tilt t in [-1, 1],

    t·u - r·s <= h <= t·v + r·s

(McCormick 1976, his two planes of either side mixed; at the box's corners, where a bilinear
difference is extreme, it is 0 or 2·r·s·(1 ± t)). So h is a unit with a pre-activation for either
side, and is written as two units with the same coefficient A in every row: `below`, replaced by
t·u - r·s where A >= 0 and by nothing else, and `above`, replaced by t·v + r·s where A < 0. Only
together they say something: a method that gives either a value of its own, such as a linear
program, would prove what is false. Therefore `Unrolling.products` has to be asked for.

Rounding: where the two computed coefficients differ from A by d and e, the replacement is off by at
most (|d| + |e|)·3·r·s, which is what their magnitudes of 3·r·s are charged (`proof.py`).
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from evaluators.network.elementwise import (
    Activation,
    Elementwise,
    Ends,
    LineFamily,
    Points,
    Slopes,
    Supports,
)
from evaluators.numerics.rounding import gamma, up
from evaluators.propagation.bounded import Center
from evaluators.propagation.product_planes import tilt
from evaluators.propagation.rounding_charge import padded
from evaluators.unrolled.unrolled_network import Layer, Rows


@dataclass(frozen=True, eq=False)
class ProductSide(Elementwise):
    """What stands on one side of h, of a pre-activation between -2·r·s and 2·r·s.

    Attributes:
        side: 1 below, -1 above.
        start: tilts to begin with, `[units]`.
    """

    side: Literal[1, -1]
    start: Tensor
    name = "Mul"
    roundings = 0

    def __call__(self, x: Activation) -> Activation:  # noqa: ARG002
        """Refuse: h is no function of u or of v."""
        raise TypeError("Half of a product has no values.")

    def valleys(self, slope: Activation) -> Points:
        """Refuse likewise."""
        return (self(slope),)

    def peaks(self, slope: Activation) -> Points:
        """Refuse likewise."""
        return (self(slope),)

    def slopes(self, lower: Activation, upper: Activation) -> Slopes:  # noqa: ARG002
        """Give the tilts to begin with."""
        return self._sides(self.start.to(lower), torch.zeros_like(lower))

    def family(self, lower: Activation, upper: Activation) -> LineFamily:  # noqa: ARG002
        """Give all tilts from -1 to 1."""
        zero = torch.zeros_like(lower)
        first, last = self._sides(zero - 1, zero), self._sides(zero + 1, zero)
        return LineFamily(first, last, self.start.to(lower) / 2 + 0.5)

    def unstable(self, lower: Activation, upper: Activation) -> Tensor:  # noqa: ARG002
        """Mark where both factors vary."""
        return upper > 0

    def bounds(self, lower: Activation, upper: Activation) -> tuple[Activation, Activation]:
        """Bound both h, for `below`, and 0, for `above`, with the room that rounding needs."""
        return 1.5 * lower, 1.5 * upper

    def intercepts(
        self,
        slopes: Slopes,  # noqa: ARG002
        lower: Ends,  # noqa: ARG002
        upper: Ends,
    ) -> tuple[Activation, Activation]:
        """Give -r·s below, r·s above, whatever the tilt."""
        return self._sides(-self.side * upper / 2, torch.zeros_like(upper))

    def supports(self, slopes: Slopes, lower: Ends, upper: Ends) -> Supports:
        """Give the same; the planes turn around the middle."""
        points = Slopes(*(torch.zeros_like(slope) for slope in slopes))
        return Supports(Slopes(*self.intercepts(slopes, lower, upper)), points)

    def _sides(self, own: Tensor, other: Tensor) -> Slopes:
        return Slopes(own, other) if self.side > 0 else Slopes(other, own)


def varying(first: Center, second: Center) -> Tensor:
    """At least r·s, flat `[entries]`, of the only example; zero where a factor is constant."""
    return (
        up(first.radius * second.radius).flatten()
        * ((first.radius > 0) & (second.radius > 0)).flatten()
    )


def product_layers(
    position: int,
    entries: Tensor,
    factors: tuple[Rows, Rows],
    centers: tuple[Center, Center],
    magnitudes: Tensor,
) -> tuple[Layer, Layer]:
    """The units of a product: below, then above.

    Args:
        position: of the node.
        entries: flat entries that are units.
        factors: both factors of these entries, as functions of the columns so far.
        centers: both factors' middles and radii.
        magnitudes: largest absolute values of the columns so far.
    """
    (m, r), (n, s) = ([part.flatten()[entries] for part in center[:2]] for center in centers)
    most = 2 * varying(*centers)[entries]
    first, second = _moved(factors[0], m, s, magnitudes), _moved(factors[1], n, r, magnitudes)
    layers = []
    for side in (1, -1):
        bias = first.bias + side * second.bias
        lost = padded(bias, first.lost + second.lost)
        rows = Rows(first.weight + side * second.weight, bias, lost)
        function = ProductSide(1 if side > 0 else -1, tilt(n / s, side * m / r))
        layers.append(Layer(position, function, entries, rows, -most, most))
    below, above = layers
    # No pre-activation above depends on the units below.
    none = above.rows.weight.new_zeros(len(entries), len(entries))
    wide = replace(above.rows, weight=torch.cat((above.rows.weight, none), 1))
    return below, replace(above, rows=wide)


def _moved(rows: Rows, middle: Tensor, factor: Tensor, magnitudes: Tensor) -> Rows:
    """The rows less their middles, times factors; with the rounding of a later sum of two."""
    size = rows.weight.abs() @ magnitudes + rows.bias.abs() + middle.abs()
    return Rows(
        rows.weight * factor[:, None],
        (rows.bias - middle) * factor,
        factor * (rows.lost + size * gamma(8)),
    )
