"""A network in a region, as far as it is bounded: what the backward walk reads."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.network.affine import AffineMap
from evaluators.network.deployment import products_error, run_error
from evaluators.network.network import Network, Product, Sum
from evaluators.numerics.rounding import up
from evaluators.propagation.intervals import Interval
from evaluators.propagation.product_planes import ProductPlanes, product_planes
from evaluators.propagation.relaxation import PoolPlanes


class Side(NamedTuple):
    """A line slope·z + intercept for every entry of an elementwise node, `[batch, *shape]`.

    `height` is the largest absolute intercept of each example, `[batch]`.
    """

    slope: Tensor
    intercept: Tensor
    height: Tensor


class Replacement(NamedTuple):
    """What a walk puts in the place of an elementwise node.

    Attributes:
        sides: the lines below and above; or one line that the node's entries are equal to.
        steepest: largest absolute slope, `[batch]`; None where nothing is rounded: all slopes are
            0 or 1, all intercepts 0.
    """

    sides: tuple[Side, ...]
    steepest: Tensor | None


class Center(NamedTuple):
    """A node's interval as a middle and a radius, both `[batch, *shape]`.

    `size` is the largest of |middle| + radius, `[batch]`.
    """

    middle: Tensor
    radius: Tensor
    size: Tensor

    @classmethod
    def of(cls, interval: Interval) -> "Center":
        """A middle and a radius that cover the interval, whatever rounding does to them."""
        middle = (interval.lower + interval.upper) / 2
        radius = torch.maximum(up(interval.upper - middle), up(middle - interval.lower))
        return cls(middle, radius, (middle.abs() + radius).flatten(1).amax(1))


@dataclass
class Bounded(ABC):
    """A network around a batch of examples, and bounds of its nodes.

    Attributes:
        network: in float64.
        bounds: of each node so far, `[batch, *shape]`.
        deployed: whether they hold for the values of float32 runs, too.
    """

    network: Network
    bounds: list[Interval]
    deployed: bool = field(default=False, kw_only=True)
    _largest: dict[int, Tensor] = field(default_factory=dict, init=False)
    _sizes: dict[int, Tensor] = field(default_factory=dict, init=False)
    _errors: dict[int, Tensor | None] = field(default_factory=dict, init=False)
    _centers: dict[int, Center] = field(default_factory=dict, init=False)
    _images: dict[int, Tensor] = field(default_factory=dict, init=False)
    _planes: dict[int, ProductPlanes] = field(default_factory=dict, init=False)
    _replacements: dict[int, Replacement] = field(default_factory=dict, init=False)

    @abstractmethod
    def replace(self, position: int) -> Replacement:
        """Make what stands for an elementwise node, once its input's bounds are final."""

    def replacement(self, position: int) -> Replacement:
        """What stands for an elementwise node, made once."""
        if position not in self._replacements:
            self._replacements[position] = self.replace(position)
        return self._replacements[position]

    def pool_planes(self, position: int) -> PoolPlanes:  # noqa: ARG002
        """The planes that stand for a max-pooling node."""
        raise TypeError(f"{type(self).__name__} has no planes for max-pooling.")

    def product_planes(self, position: int) -> ProductPlanes:
        """The planes below and above a product, made once, once its factors' bounds are final."""
        if position not in self._planes:
            first, second = (self.center(p)[:2] for p in self.network.nodes[position].parents)
            self._planes[position] = product_planes(first, second)
        return self._planes[position]

    def units(self, position: int) -> Tensor | None:  # noqa: ARG002
        """Flat entries of a non-linear node that a walk keeps as variables of their own."""
        return None

    def together(
        self,
        carrier: object,  # noqa: ARG002
        rows: object,  # noqa: ARG002
        position: int,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor] | None:
        """`(value, slack)`: what rows' lines may be lowered by all in all, instead of one by one.

        None where nothing is known of a node's entries but their own bounds.
        """
        return None

    def largest(self, position: int) -> Tensor:
        """`[batch]`: largest absolute value of a node's entries, once its bounds are final."""
        if position not in self._largest:
            self._largest[position] = self.bounds[position].magnitude.flatten(1).amax(1)
        return self._largest[position]

    def center(self, position: int) -> Center:
        """A node's interval, once its bounds are final."""
        if position not in self._centers:
            self._centers[position] = Center.of(self.bounds[position])
        return self._centers[position]

    def image(self, position: int) -> Tensor:
        """`[batch, *shape]`: an affine node at the middle of its input's interval, rounded."""
        if position not in self._images:
            node = self.network.nodes[position]
            assert isinstance(node.operation, AffineMap)
            self._images[position] = node.operation(self.center(node.parents[0]).middle)
        return self._images[position]

    def run_error(self, position: int) -> Tensor | None:
        """`[batch, *shape]`: what a float32 run may do to a node's entries by itself.

        None where it is nothing, or where only real arithmetic is asked about.
        """
        if not self.deployed:
            return None
        if position not in self._errors:
            node = self.network.nodes[position]
            within = [self.bounds[parent] for parent in node.parents]
            error = run_error(node.operation, [its.magnitude for its in within], *within[:1])
            shape = (len(self.bounds[0].lower), *node.shape)
            self._errors[position] = None if error is None else error.expand(shape)
        return self._errors[position]

    def deviation(self, position: int) -> Tensor | None:
        """`[batch, *shape]`: how far entries may be from what the walk puts in their place.

        None where it is nothing; relaxations bound from one side, and add nothing to `run_error`,
        but a product's planes hold only up to the product of its factors' radii.
        """
        node, error = self.network.nodes[position], self.run_error(position)
        if not isinstance(node.operation, Product):
            return error
        first, second = (self.center(parent).radius for parent in node.parents)
        spread = up(first * second)
        return spread if error is None else up(error + spread)

    def size(self, position: int) -> Tensor:
        """`[batch]`: largest absolute value any sum at this node can pass through on the way.

        For an affine node the largest |W||z| + |b|, for others the largest |z|, z its inputs.
        """
        if position not in self._sizes:
            node = self.network.nodes[position]
            operation, value = node.operation, self.bounds[node.parents[0]].magnitude
            if isinstance(operation, AffineMap):
                value = self._reached(position, operation, value)
            elif isinstance(operation, Sum):
                value = torch.stack(
                    [self.bounds[p].magnitude.flatten(1).amax(1) for p in node.parents]
                )
                value = value.amax(0)[:, None]
            self._sizes[position] = value.flatten(1).amax(1) * (1 + 1e-6)
        return self._sizes[position]

    def _reached(self, position: int, operation: AffineMap, value: Tensor) -> Tensor:
        """|W||z| + |b|, or more, for inputs of at most `value`."""
        error = self.run_error(position)
        if error is not None and bool(torch.isfinite(error).all()):
            # It is at least that share of the same sum, and at hand already.
            return error * ((1 + 1e-9) / products_error(operation))
        value = operation.absolute(value)
        return value if operation.bias is None else value + operation.bias.abs()
