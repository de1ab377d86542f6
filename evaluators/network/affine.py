"""Affine maps: every linear operator of a network, reduced to three fast actions.

A bound-propagation method needs of a linear operator only x -> Wx, y -> Wᵀy and x -> |W|x, and the
number of products that each sums, which bounds its rounding error. A new linear operator is a new
subclass here (or a composition of these) and needs no change in any method.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import cached_property
from math import inf, prod
from typing import Any, NamedTuple

import numpy as np
import scipy  # scipy.sparse itself is imported when it is first used
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from evaluators.network.transposed import transposed_convolution
from evaluators.numerics.arrays import Shape
from evaluators.numerics.single import for_search

PROBES = 256
"""Unit vectors that a matrix is read off with at once."""


class NearbyConstants(NamedTuple):
    """Sizes of constants that a runtime may multiply an operation's own by (`regrouping.py`).

    Attributes:
        after: least product of those behind it, where its weights times that are no normal numbers.
        low, high: least and largest product of the numbers that its inputs were just multiplied by.
    """

    after: float = 1.0
    low: float = 1.0
    high: float = 1.0


ALONE = NearbyConstants()
"""There are none."""


@dataclass(frozen=True, eq=False)
class AffineMap(ABC):
    """A map x -> Wx + bias on tensors `[rows, *shape]`, W independent of the row.

    Attributes:
        input_shape: shape of x without the row dimension.
        output_shape: shape of Wx without the row dimension.
        bias: tensor broadcastable to `output_shape`, or None for zero.
        neighbours: constants beside it.
    """

    input_shape: Shape
    output_shape: Shape
    bias: Float[Tensor, "..."] | None
    _: KW_ONLY
    neighbours: NearbyConstants = ALONE

    def __call__(self, x: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Compute Wx + bias."""
        y = self.linear(x)
        return y if self.bias is None else y + self.bias

    @abstractmethod
    def linear(self, x: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Compute Wx, from `[rows, *input_shape]` to `[rows, *output_shape]`."""

    @abstractmethod
    def adjoint(self, y: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Compute Wᵀy, from `[rows, *output_shape]` to `[rows, *input_shape]`."""

    def absolute(self, x: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Compute |W|x, of absolute entries, `[rows, *input_shape]` to `[rows, *output_shape]`."""
        return absolute_of(self).linear(x)

    @property
    @abstractmethod
    def fan_in(self) -> int:
        """Most products summed into one entry of Wx; 0 when Wx is exact (a rearrangement).

        Weights that were themselves rounded (1/9 of an average) count as further products.
        """

    @property
    @abstractmethod
    def fan_out(self) -> int:
        """Most products summed into one entry of Wᵀy; 0 when it is exact."""

    @cached_property
    def least_weight(self) -> float:
        """Least magnitude of a weight that is not zero; infinite where there is none."""
        least = inf
        for name in ("weight", "scale", "inner"):
            value = getattr(self, name, None)
            if isinstance(value, AffineMap):
                least = min(least, value.least_weight)
            elif value is not None:
                sizes = value.abs()
                smallest = float(sizes.min())
                # Few weights are zero, and leaving those out takes longer than all else.
                if not smallest > 0:
                    smallest = float(sizes.where(sizes != 0, inf).min())
                least = min(least, smallest)
        return least

    @cached_property
    def matrix(self) -> "scipy.sparse.csr_array":
        """Return W as a sparse float64 matrix `[outputs, inputs]` of flat entries, exact.

        Read off by applying the map to unit vectors, unless a subclass knows better.
        """
        size, weights = prod(self.input_shape), self.to(torch.float64, torch.device("cpu"))
        columns = []
        for first in range(0, size, PROBES):
            units = torch.eye(size, dtype=torch.float64)[first : first + PROBES]
            images = weights.linear(units.reshape(-1, *self.input_shape))
            columns.append(scipy.sparse.csr_array(images.flatten(1).numpy()))
        return scipy.sparse.csr_array(scipy.sparse.vstack(columns).T)

    def to(self, dtype: torch.dtype, device: torch.device) -> "AffineMap":
        """Copy the map with floating-point tensors of this type, on this device."""
        return self._with(lambda value: value.to(device=device, dtype=dtype), device)

    def for_search(self, device: torch.device) -> "AffineMap":
        """Copy the map with tensors for a search (`numerics.single`), on this device."""
        return self._with(lambda value: for_search(value.to(device)), device)

    def _with(self, change: Callable[[Tensor], Tensor], device: torch.device) -> "AffineMap":
        """Copy the map with other floating-point tensors, all of them on this device."""
        changed: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, AffineMap):
                changed[field.name] = value._with(change, device)
            elif isinstance(value, Tensor):
                floating = value.is_floating_point()
                changed[field.name] = change(value) if floating else value.to(device)
        return replace(self, **changed) if changed else self


@dataclass(frozen=True, eq=False)
class Dense(AffineMap):
    """A matrix applied to the last dimension: Gemm, MatMul."""

    weight: Float[Tensor, "out in"]

    def linear(self, x: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Compute x Wᵀ."""
        return F.linear(x, self.weight)

    def adjoint(self, y: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Compute y W."""
        return y @ self.weight

    def absolute(self, x: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Compute x |Wᵀ|."""
        return F.linear(x, self.weight.abs())

    @cached_property
    def matrix(self) -> "scipy.sparse.csr_array":
        """Repeat the weight for each position that it is applied at."""
        weight = scipy.sparse.csr_array(self.weight.double().cpu().numpy())
        return scipy.sparse.csr_array(
            scipy.sparse.kron(scipy.sparse.eye_array(prod(self.input_shape[:-1])), weight)
        )

    @property
    def fan_in(self) -> int:
        """Number of columns."""
        return self.weight.shape[1]

    @property
    def fan_out(self) -> int:
        """Number of rows."""
        return self.weight.shape[0]


@dataclass(frozen=True, eq=False)
class Convolution(AffineMap):
    """A one- or two-dimensional convolution with symmetric zero padding.

    `rounded` says that the weights are themselves within one rounding of the true ones.
    """

    weight: Float[Tensor, "out in *kernel"]
    stride: Shape
    padding: Shape
    dilation: Shape
    groups: int = 1
    rounded: bool = False

    def linear(self, x: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Convolve without the bias."""
        convolve = F.conv1d if len(self.stride) == 1 else F.conv2d
        layout = self.stride, self.padding, self.dilation
        return convolve(x, self.weight, None, *layout, self.groups)

    def adjoint(self, y: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Apply the transposed convolution; it is zero where no window reaches."""
        return self.spread(y, self.padding, self.input_shape[1:])

    def spread(
        self, y: Float[Tensor, "rows *_"], padding: Shape, size: Shape
    ) -> Float[Tensor, "rows *_"]:
        """Apply the adjoint for the padding and input size of a part of this layer."""
        layout = (self.stride, padding, self.dilation)
        return transposed_convolution(y, self.weight, size, layout, self.groups)

    @cached_property
    def matrix(self) -> "scipy.sparse.csr_array":
        """Put each tap of each window at the input entry that it meets."""
        outputs, inputs, *kernel = self.weight.shape
        taps = self._taps()
        channel, place, tap = np.nonzero(np.broadcast_to(taps >= 0, (inputs, *taps.shape)))
        weight = self.weight.double().cpu().numpy().reshape(outputs, inputs, prod(kernel))
        first = np.arange(outputs) // (outputs // self.groups) * inputs
        columns = (first[:, None] + channel) * prod(self.input_shape[1:]) + taps[place, tap]
        rows = np.arange(outputs)[:, None] * len(taps) + place
        entries = (weight[:, channel, tap].ravel(), (rows.ravel(), columns.ravel()))
        return scipy.sparse.csr_array(
            entries, shape=(prod(self.output_shape), prod(self.input_shape))
        )

    def _taps(self) -> np.ndarray:
        """`[places of a plane, taps]`: flat place of the input that each tap meets, or -1."""
        pads = [(pad, pad) for pad in self.padding]
        plane = np.arange(prod(self.input_shape[1:])).reshape(self.input_shape[1:])
        plane = np.pad(plane, pads, constant_values=-1)
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.weight.shape[2:], strict=True)]
        views = np.lib.stride_tricks.sliding_window_view(plane, reach)
        steps = tuple(slice(None, None, stride) for stride in self.stride)
        inside = tuple(slice(None, None, dilation) for dilation in self.dilation)
        return views[steps + inside].reshape(prod(self.output_shape[1:]), -1)

    @property
    def fan_in(self) -> int:
        """Input channels of a group times the kernel."""
        return prod(self.weight.shape[1:]) + int(self.rounded)

    @property
    def fan_out(self) -> int:
        """Output channels of a group times the kernel."""
        return self.weight.shape[0] // self.groups * prod(self.weight.shape[2:]) + int(self.rounded)


@dataclass(frozen=True, eq=False)
class Diagonal(AffineMap):
    """Entrywise scaling, shape kept: Mul, Div, Neg, Add and Sub of constants, normalisation.

    `scale` broadcasts to the shape; None means one, so that a mere shift is exact but for its
    addition. `roundings` counts the roundings in which the scale itself was computed.
    """

    scale: Float[Tensor, "..."] | None
    roundings: int = 0

    @property
    def largest(self) -> float:
        """Largest factor, in magnitude."""
        return 1.0 if self.scale is None else float(self.scale.abs().max())

    def linear(self, x: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Compute scale · x."""
        return x if self.scale is None else x * self.scale

    def adjoint(self, y: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Compute scale · y."""
        return self.linear(y)

    @cached_property
    def matrix(self) -> "scipy.sparse.csr_array":
        """Put the scale on the diagonal."""
        scale = torch.ones(()) if self.scale is None else self.scale
        entries = scale.double().cpu().expand(self.input_shape).reshape(-1)
        return scipy.sparse.csr_array(scipy.sparse.diags_array(entries.numpy()))

    @property
    def fan_in(self) -> int:
        """One product, and the roundings of the scale."""
        return 0 if self.scale is None else 1 + self.roundings

    @property
    def fan_out(self) -> int:
        """As `fan_in`."""
        return self.fan_in


@dataclass(frozen=True, eq=False)
class Reshape(AffineMap):
    """The same entries in the same order: Reshape, Flatten, Squeeze, Unsqueeze, Identity."""

    fan_in = fan_out = 0

    def linear(self, x: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Reshape, as a view where possible."""
        return x.reshape(x.shape[0], *self.output_shape)

    def adjoint(self, y: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Reshape back."""
        return y.reshape(y.shape[0], *self.input_shape)

    @cached_property
    def matrix(self) -> "scipy.sparse.csr_array":
        """Return the identity."""
        return scipy.sparse.csr_array(scipy.sparse.eye_array(prod(self.input_shape)))


@dataclass(frozen=True, eq=False)
class Gather(AffineMap):
    """Each output entry is one input entry, or zero: Transpose, Slice, Pad, Split, upsampling.

    `index[i]` is the flat position in the input of the flat output entry i, or -1 for zero.
    """

    index: Int64[Tensor, " outputs"]
    fan_in = 0

    def linear(self, x: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Pick the entries."""
        rows = x.shape[0]
        picked = x.reshape(rows, -1).index_select(1, self.index.clamp(min=0))
        return (picked * (self.index >= 0)).reshape(rows, *self.output_shape)

    def adjoint(self, y: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Add each entry to where it came from."""
        rows = y.shape[0]
        kept = self.index >= 0
        total = y.new_zeros(rows, prod(self.input_shape))
        total.index_add_(1, self.index[kept], y.reshape(rows, -1)[:, kept])
        return total.reshape(rows, *self.input_shape)

    @cached_property
    def matrix(self) -> "scipy.sparse.csr_array":
        """Put a one where an entry is picked."""
        index = self.index.cpu().numpy()
        rows = np.flatnonzero(index >= 0)
        shape = (len(index), prod(self.input_shape))
        return scipy.sparse.csr_array((np.ones(len(rows)), (rows, index[rows])), shape=shape)

    @property
    def fan_out(self) -> int:
        """How often the most used input entry is picked; exact when that is once."""
        used = self.index[self.index >= 0]
        most = int(torch.bincount(used).max()) if used.numel() else 0
        return 0 if most <= 1 else most


@dataclass(frozen=True, eq=False)
class Adjoint(AffineMap):
    """The adjoint of another map as a map of its own: ConvTranspose, ReduceSum."""

    inner: AffineMap

    def linear(self, x: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Apply the inner map's adjoint."""
        return self.inner.adjoint(x)

    def adjoint(self, y: Float[Tensor, "rows *_"]) -> Float[Tensor, "rows *_"]:
        """Apply the inner map."""
        return self.inner.linear(y)

    @cached_property
    def matrix(self) -> "scipy.sparse.csr_array":
        """Transpose the inner map's matrix."""
        return scipy.sparse.csr_array(self.inner.matrix.T)

    @property
    def fan_in(self) -> int:
        """The inner map's `fan_out`."""
        return self.inner.fan_out

    @property
    def fan_out(self) -> int:
        """The inner map's `fan_in`."""
        return self.inner.fan_in


def absolute_of(affine: AffineMap) -> AffineMap:
    """Make the map of absolute weights without a bias."""
    changed: dict[str, Any] = {"bias": None}
    for field in fields(affine):
        value = getattr(affine, field.name)
        if field.name in ("weight", "scale") and value is not None:
            changed[field.name] = value.abs()
        elif field.name == "inner":
            changed[field.name] = absolute_of(value)
    return replace(affine, **changed)
