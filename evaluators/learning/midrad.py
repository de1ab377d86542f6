"""Interval bounds for losses, as middles and radii, in few passes over memory.

A layer's two products are near a processor's peak; what costs as much again is everything between
them. So bounds stay middles and radii through maps, biases are added within the convolutions, a
ReLU with its derivative is a few passes, and factors of ½ go to the weights.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from evaluators.network.affine import AffineMap, Convolution, Dense
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import Network, Operation
from evaluators.propagation.intervals import Interval, propagate


class MidRad(NamedTuple):
    """The values within `unit * radius` of `unit * middle`, of shape `[batch, *shape]` both."""

    middle: Tensor
    radius: Tensor
    unit: float = 1.0

    @classmethod
    def between(cls, interval: Interval) -> "MidRad":
        """Write an interval so."""
        lower, upper = interval
        return cls(lower + upper, upper - lower, 0.5)

    @property
    def interval(self) -> Interval:
        """The least and the largest value."""
        low, high = self.middle - self.radius, self.middle + self.radius
        ends = (low, high) if self.unit == 1 else (low * self.unit, high * self.unit)
        return Interval(*ends)


def midrad_bounds(network: Network, box: Interval) -> list[MidRad]:
    """Bound every node over a box, differentiably and without rounding: no proof.

    They are those of `interval_bounds` (Gowal et al. 2018, arXiv 1810.12715, equation 6) but for
    rounding, in the order of `network.nodes`; the box is of shape `[batch, *shape]`.
    """
    bounds = [MidRad.between(box)]
    for node in network.nodes[1:]:
        parents = [bounds[parent] for parent in node.parents]
        bounds.append(_of(node.operation, parents))
    return bounds


def _of(operation: Operation, parents: list[MidRad]) -> MidRad:
    x = parents[0]
    if isinstance(operation, LeakyReLU) and not operation.leak and x.unit == 1:
        middle, radius = _Rectified.apply(x.middle, x.radius)  # type: ignore[no-untyped-call]
        return MidRad(middle, radius, 0.5)
    if isinstance(operation, Dense | Convolution):
        return _mapped(operation, x)
    if isinstance(operation, AffineMap) and not operation.fan_in and operation.bias is None:
        return MidRad(operation.linear(x.middle), operation.linear(x.radius), x.unit)
    intervals = [parent.interval for parent in parents]
    return MidRad.between(propagate(operation, intervals, rounding=False))


def _mapped(operation: Dense | Convolution, x: MidRad) -> MidRad:
    weight, bias = operation.weight * x.unit, operation.bias
    # A bias for each row of a matrix or each channel is added within the product.
    each = (len(weight), *(1,) * (weight.dim() - 2))
    within = bias.flatten() if bias is not None and bias.shape == each else None
    if isinstance(operation, Dense):
        middle, radius = F.linear(x.middle, weight, within), F.linear(x.radius, weight.abs())
    else:
        convolve = F.conv1d if len(operation.stride) == 1 else F.conv2d
        layout = operation.stride, operation.padding, operation.dilation, operation.groups
        middle = convolve(x.middle, weight, within, *layout)
        radius = convolve(x.radius, weight.abs(), None, *layout)
    return MidRad(middle if bias is None or within is not None else middle + bias, radius)


class _Rectified(torch.autograd.Function):
    """From middle and radius before a ReLU to twice those behind it."""

    @staticmethod
    def forward(ctx: Any, middle: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        low, high = (middle - radius).relu_(), (middle + radius).relu_()
        ctx.save_for_backward(low, high)
        return low + high, high - low

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, middle: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        low, high = ctx.saved_tensors
        of_low = torch.ops.aten.threshold_backward(middle - radius, low, 0)
        of_high = torch.ops.aten.threshold_backward(middle + radius, high, 0)
        return of_low + of_high, of_high.sub_(of_low)
