"""What a deployed float32 run may compute otherwise than real arithmetic, operation by operation.

A certificate about real arithmetic alone says nothing of the program that people run: where a
network absorbs its input in a large constant, all float32 logits tie, whatever the real ones are.
So every bounding method charges, at each node it passes, the `run_error` of that node: it then
bounds the values that float32 runs compute (and those of real arithmetic, whose error is zero) and
a margin that it proves holds in all of them.

Guarantee: let u = 2^-24, gamma(k) = k·u / (1 - k·u), and let the values that a run computed for a
node's parents be at most m in magnitude. Then what it computes for the node differs from the
operation in real arithmetic on those same values by at most

- gamma(k + 1 + 8)·(|W|m + |b|) for an affine map of k products to an entry, summed in any order,
  blocked or not, with or without fused multiply-add (Higham, Accuracy and Stability, 2nd ed.,
  section 3.1). The 8 cover constants that a runtime rounds itself: a normalisation folded into the
  convolution before it, a mean taken as a sum and a quotient, a quotient for a product;
- gamma(n)·Σm for a sum of n branches;
- u·m·n for a product of two branches;
- nothing for a ReLU and for max-pooling, u·leak·m for a leaky ReLU (3·u·leak·m where its leak is no
  float32 number, as it is in every file);
- `Elementwise.run_deviation` for a sigmoid and other functions, which libraries approximate; it is
  infinite where their argument is not bounded, although they are.

Products and sums that are flushed to zero are covered, and so are subnormal weights and values that
are taken for it (what a ReLU or max-pooling hands on by `TIED`, which a margin must exceed), and
constants that are multiplied first (`regrouping.py`). What could overflow is
given an infinite error: nothing is proved about it.

Not covered: bfloat16, float16 and TensorFloat-32, on which accelerators fall back unless told not
to; integer quantization; Winograd and Fourier convolutions, which are not sums of these products;
an input that is not in the region because preprocessing outside the model rounds, too.

Trusted: that the runtime's float32 operations round to nearest (to zero, subnormal ones), and that
it computes the operators of the file, but for the folding above.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from evaluators.network.affine import AffineMap
from evaluators.network.elementwise import Elementwise, LeakyReLU
from evaluators.network.network import Operation, Product, Sum

UNIT32 = 2.0**-24
"""Largest relative error of one float32 operation."""
FLUSHED = 2.0**-126
"""Largest magnitude that may be replaced by zero."""
TIED = 2 * FLUSHED
"""Margin up to which two logits may both be replaced by zero after all that is charged."""
MAX_WEIGHT = 2.0**40
"""Magnitude of the largest weight of an imported network."""
LARGEST = 2.0**83
"""Sums of magnitudes from which a float32 sum may overflow: also where a runtime multiplies first
what the file adds first, as when it folds a normalisation into what is before it."""
FOLDED = 8
"""Roundings of one constant that the runtime works out itself."""
ROOM = 1 + 1e-9
"""Covers the float64 roundings of these formulas: all terms are >= 0."""


def gamma32(terms: int) -> float:
    """Bound the relative error of a float32 sum of so many products; it may be infinite."""
    error = terms * UNIT32
    return error / (1 - error) * ROOM if error < 0.5 else math.inf


def products_error(operation: AffineMap) -> float:
    """Bound by what share of |W|m + |b| a run of an affine map may be wrong; 0 if it is exact."""
    exact = operation.fan_in == 0 and operation.bias is None
    return 0.0 if exact else gamma32(operation.fan_in + 1 + FOLDED)


def flushed_error(operation: AffineMap) -> float:
    """Bound what flushed products and sums may take from one entry of an affine map."""
    return (2 * operation.fan_in + 2 + FOLDED) * FLUSHED * operation.neighbours.high


def small_weights(operation: AffineMap) -> float:
    """Bound what weights that are taken for zero lose of one entry, of inputs of magnitude 1.

    Also those that are subnormal only times the scales behind them, by which the loss is divided.
    """
    after = operation.neighbours.after
    small = operation.least_weight < FLUSHED or after < 1
    return operation.fan_in * (4 * FLUSHED if after < 1 else FLUSHED) / after if small else 0.0


def run_error(
    operation: Operation,
    magnitudes: Sequence[Float[Tensor, "batch *_"]],
    within: tuple[Tensor, Tensor] | None = None,
) -> Float[Tensor, "batch *_"] | None:
    """Bound |computed - real| of one operation's result, on the same inputs.

    Args:
        operation: its weights in float64.
        magnitudes: float64 bounds on the values that a run computed for its parents.
        within: the first parent's values between two ends, where more is known than magnitudes.

    Returns:
        float64, of the result's shape; None where it is exact.
    """
    if isinstance(operation, AffineMap):
        return _affine(operation, magnitudes[0])
    if isinstance(operation, Sum):
        reached = sum(magnitudes[1:], magnitudes[0])
        count = len(magnitudes)
        return _finite(gamma32(count) * reached + count * FLUSHED, reached)
    if isinstance(operation, Product):
        first, second = magnitudes
        reached = first * second
        # A subnormal factor may be taken for zero.
        error = UNIT32 * reached + FLUSHED * (operation.neighbours.high + first + second)
        return _finite(error * ROOM, reached / operation.neighbours.low)
    if isinstance(operation, LeakyReLU):
        leak = operation.leak
        # Of a file it is a float32 number; else a run rounds it, too.
        once = float(np.float32(leak)) == leak
        share = (1 if once else 3) * UNIT32 * leak if leak >= FLUSHED else leak
        return share * magnitudes[0] * ROOM + FLUSHED if leak else None
    if isinstance(operation, Elementwise):
        lower, upper = within or (-magnitudes[0], magnitudes[0])
        # Of what may overflow a run may have no number, which a bounded function would hide.
        known = lower.isfinite() & upper.isfinite()
        return torch.where(known, operation.run_deviation(lower, upper), math.inf)
    return None


def _affine(operation: AffineMap, magnitude: Tensor) -> Tensor | None:
    share = products_error(operation)
    if not share:
        return None
    # What a ReLU or a product before it flushed to zero arrives times the weights.
    error = operation.absolute((magnitude * share).add_(FLUSHED))
    if operation.bias is not None:
        error = error.add_(operation.bias.abs() * share)
    error = error.add_(flushed_error(operation)).mul_(ROOM)
    reached = (error / share).div_(operation.neighbours.low)
    if small := small_weights(operation):
        error = error + batched_most(magnitude, error.dim()) * (small * ROOM)
    return _finite(error, reached)


def batched_most(magnitude: Tensor, dimensions: int) -> Tensor:
    """The largest entry of each example, `[batch, 1, ...]`."""
    return magnitude.flatten(1).amax(1).reshape(-1, *[1] * (dimensions - 1))


def _finite(error: Tensor, reached: Tensor) -> Tensor:
    """The error, infinite where a partial sum may overflow; NaN counts as that, too."""
    return torch.where(reached < LARGEST, error, math.inf)
