"""How far a deployed float32 run can be from real arithmetic, in whatever order it sums.

A certificate is about real arithmetic on the given weights. A run in float32 computes something
slightly different, which depends on the machine; `float32_slack` bounds the difference, for every
float32 input of a region at once, in one pass over interval bounds.

Guarantee: let u = 2^-24, gamma(k) = k·u / (1 - k·u), and let a node's real values be at most m in
magnitude, its parents' computed ones within e of the real ones. Then the computed ones are within

- |W|·e + gamma(k + 1 + 8)·(|W|·(m + e) + |b|) for an affine map of k products to an entry, in any
  order, blocked or not, with or without fused multiply-add (Higham, Accuracy and Stability, 2nd
  ed., section 3.1). The 8 cover constants that the runtime rounds itself: a normalisation folded
  into the convolution before it, a mean taken as a sum and a quotient, a quotient for a product;
- e for a ReLU (2u·leak·(m + e) more for a leaky one) and the largest e of a max-pool's window;
- the sum of all e and gamma(n)·Σ(m + e) for a sum of n branches.

A label whose proved margin is larger than its own slack and another class's together is above that
class in every such run. Products and sums that are flushed to zero are covered, and what could
overflow, or is not piecewise linear (libraries approximate exp as they like), is given an infinite
slack.

Not covered: bfloat16, float16 and TensorFloat-32, on which accelerators fall back unless told not
to; integer quantization; Winograd and Fourier convolutions, which are not sums of these products;
an input that is not in the region because preprocessing outside the model rounds, too.

Trusted: that the runtime's float32 operations round to nearest (to zero, subnormal ones), and that
it computes the operators of the file, but for the folding above.
Cost: two float64 products with |W| for each affine map.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from evaluators.affine import AffineMap
from evaluators.deterministic._intervals import Interval
from evaluators.elementwise import LeakyReLU
from evaluators.network import MaxPool, Network, Operation, Sum

UNIT32 = 2.0**-24
"""Largest relative error of one float32 operation."""
FLUSHED = 2.0**-126
"""Largest magnitude that may be replaced by zero."""
LARGEST = 3e38
"""Magnitudes from which a float32 sum may overflow."""
FOLDED = 8
"""Roundings of one constant that the runtime works out itself."""
_ROOM = 1 + 1e-9
"""Covers the float64 roundings of one step here: all terms are >= 0."""


def float32_slack(network: Network, bounds: Sequence[Interval]) -> Float[Tensor, "batch classes"]:
    """A bound on |computed - real| of each logit, over all float32 inputs of a region.

    Args:
        network: in float64.
        bounds: float64 bounds of the real values of every node over the region, in the order of
            `network.nodes`; as of `interval_bounds`, or tighter.
    """
    errors = [torch.zeros_like(bounds[0].lower)]
    for node in network.nodes[1:]:
        parents = [bounds[parent].magnitude for parent in node.parents]
        before = [errors[parent] for parent in node.parents]
        error = _error(node.operation, parents, before) * _ROOM
        errors.append(torch.where(torch.isfinite(error), error, math.inf))
    return errors[-1]


def margin_slack(
    slack: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """What a proved margin must exceed for the label to win every float32 run, too."""
    own = slack.gather(1, labels[:, None])
    others = slack.scatter(1, labels[:, None], 0.0).amax(1)
    total: Tensor = (own[:, 0] + others) * _ROOM
    return total


def _gamma(terms: int) -> float:
    error = terms * UNIT32
    return error / (1 - error) if error < 0.5 else math.inf


def _error(operation: Operation, sizes: list[Tensor], errors: list[Tensor]) -> Tensor:
    """The error of one operation's computed values, from its parents' magnitudes and errors."""
    if isinstance(operation, AffineMap):
        return _affine(operation, sizes[0], errors[0])
    if isinstance(operation, Sum):
        total = sum(errors[1:], errors[0])
        reached = sum(sizes[1:], sizes[0]) + total
        return _finite(total + _gamma(len(sizes)) * reached + len(sizes) * FLUSHED, reached)
    if isinstance(operation, LeakyReLU):
        error = errors[0] + FLUSHED
        return error + 2 * UNIT32 * operation.leak * (sizes[0] + errors[0])
    if isinstance(operation, MaxPool):
        return operation(errors[0])
    return torch.full_like(errors[0], math.inf)


def _affine(operation: AffineMap, size: Tensor, error: Tensor) -> Tensor:
    terms = operation.fan_in
    if terms == 0 and operation.bias is None:
        return operation.linear(error)
    computed = size + error + FLUSHED
    reached = operation.absolute(computed)
    if operation.bias is not None:
        reached = reached + operation.bias.abs()
    carried = operation.absolute(error + FLUSHED)
    rounded = _gamma(terms + 1 + FOLDED) * reached + (2 * terms + 2 + FOLDED) * FLUSHED
    return _finite(carried + rounded, reached)


def _finite(error: Tensor, reached: Tensor) -> Tensor:
    """The error, infinite where a partial sum may overflow."""
    return torch.where(reached * 2 < LARGEST, error, math.inf)
