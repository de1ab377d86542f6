"""What rounding may do to rows on their way back: the one place where it is charged.

A row is a linear function A·z + c of one node's entries z. Its computed coefficients and constant
differ from those that would be exact. Each difference, times the largest magnitude of what it
multiplies in the region, is added to the row's *slack*, which the final value is lowered by: a
function that is off by at most the slack everywhere in the region is lowered to one that is safe.

Let u = 2^-53, γ(k) = k·u / (1 - k·u) (`evaluators/numerics/rounding.py`), ‖A‖₁ the sum of a row's
absolute coefficients, and m the largest magnitude of the node's entries in the region. A sum of k
products in any order differs from the true one by γ(k) times the sum of absolute products.

- A product A·v of a row of n coefficients with values of at most m loses γ(n)·‖A‖₁·m. Charged is
  `products`, 2γ(n + 4), which covers another rounding or two of the result and of the values.
- An affine step A·(Wz + b) = (AW)·z + A·b sums at most `fan_out` products in each coefficient of
  AW, each of which is off by γ(fan_out) times (|A||W|) there; and |A||W||z| + |A||b| is at most
  ‖A‖₁ times the largest |W||z| + |b|. So `affine_step` covers the coefficients and the constant's
  product. A map whose `fan_out` is 0 moves coefficients without arithmetic, and loses nothing but
  in the constant. Coefficients that underflow multiply values that may be huge: `underflow`.
- Over a box of middle c and radius r, A·(Wz + b) is at least A·(Wc + b) - ‖A W diag(r)‖₁. For W of
  n columns, Wc + b is off by γ(n + 1)(|W||c| + |b|), and its product with A by γ(m) more, of m
  terms; an entry of A W diag(r) is off by γ(m + 1)|A||W|r, and the sum of all by γ(n) more. So all
  but the roundings of the difference is at most (γ(n + 1) + γ(m + 1))‖A‖₁ times the largest
  |W|(|c| + r) + |b|: `matrix_over_box`, that of `affine_step` and what may underflow.
- Scaling each coefficient by a slope rounds it once: `scaling`, with the norm after it.
- A sum of two rows rounds each coefficient once: `meeting`, with the norm of the sum.
- An addition to the constant rounds it once: `addition`.

All of these are themselves computed, as norms and sums of non-negative terms, to a relative error
of far less than the share by which `padded` inflates the slack at the end.

A walk over the layers of an unrolled network (`evaluators/unrolled/proof.py`) keeps one function
r·v + c of the true inputs and units v, with |v_j| at most M_j; for a unit, size_i is the largest
Σ_j |W_ij| M_j + |b_i|. Replacing a layer's units by lines loses at most, beside what relaxing them
lowers it by, `lost_i` times |through_i| (a unit's row is itself that inexact), 2u times
(|a_i·line_i| + |beta_i|) size_i for the products `through_i`, and γ times
(|r|·M + |c| + Σ |through_i| size_i + Σ |a_i||offset_i|) for the matrix product. |r|·M + |c| is at
most its first value plus all Σ |through_i| size_i + Σ |a_i||offset_i| before, so that one sum S of
these over all layers, times γ of the number of all terms, bounds everything: `layered`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from evaluators.numerics.rounding import UNDERFLOW, UNIT, gamma


def products(terms: int) -> float:
    """The share of ‖A‖₁ times the values' size that a product of a row with values may lose.

    Args:
        terms: number of coefficients, and of further products that are summed up with them.
    """
    return 2 * gamma(terms + 4)


def affine_step(norm: Tensor, size: Tensor, fan_out: int, terms: int) -> Tensor:
    """What an affine map's step may lose in coefficients and constant.

    Args:
        norm: of the rows before the step.
        size: the largest |W||z| + |b|.
        fan_out: products summed into one coefficient.
        terms: number of a row's coefficients before the step.
    """
    return norm * size * (2 * (gamma(fan_out + 4) + gamma(terms + 4)))


def matrix_over_box(norm: Tensor, size: Tensor, inputs: int, terms: int) -> Tensor:
    """What the least value of rows A of Wz + b, for z within r of c, may lose in all.

    Args:
        norm: of the rows.
        size: the largest |W|(|c| + r) + |b|, or more.
        inputs: columns of W.
        terms: number of a row's coefficients.
    """
    return affine_step(norm, size, inputs, terms) + UNDERFLOW * (norm + 1)


def underflow(largest: Tensor) -> Tensor:
    """What coefficients that underflow may lose, times values of at most `largest`."""
    return UNDERFLOW * largest


def scaling(norm: Tensor, size: Tensor) -> Tensor:
    """What one rounding of every coefficient may lose; `norm` bounds the rows' norm after it."""
    return (norm * (2 * UNIT) + UNDERFLOW) * size


def pooling(norm: Tensor, size: Tensor, terms: int, shared: int) -> Tensor:
    """What replacing maxima by planes may lose, in coefficients and constant.

    Args:
        norm: of the rows before the step.
        size: largest value of the windows' entries and of the planes' intercepts.
        terms: number of a row's coefficients before the step.
        shared: number of entries that each coefficient is shared among, by weights of at most 1.
    """
    return (norm * (products(terms) * shared) + UNDERFLOW) * size


def meeting(norm: Tensor, largest: Tensor) -> Tensor:
    """What the sum of two rows may lose; `norm` is the sum's, `largest` the values' size."""
    return norm * largest * (2 * UNIT)


def addition(constant: Tensor) -> Tensor:
    """What an addition may lose; `constant` is its result."""
    return constant.abs() * (2 * UNIT)


def layered(total: Tensor, terms: int, size: Tensor) -> Tensor:
    """What a walk over layers may lose, apart from what its rows had lost before.

    Args:
        total: the sum S of this module's derivation.
        terms: number of all terms, the columns and some for the single operations of each layer.
        size: the largest magnitude of any input, unit or pre-activation.
    """
    return total * (4 * gamma(terms)) + UNDERFLOW * size * terms


def padded(value: Tensor, slack: Float[Tensor, "*rows"]) -> Float[Tensor, "*rows"]:
    """The slack, inflated for the roundings of its own sum and of its use.

    1e-200 covers products of the slack's own terms that underflow.
    """
    return slack * (1 + 1e-6) + value.abs() * (4 * UNIT) + 1e-200


def settle(value: Float[Tensor, "*rows"], slack: Float[Tensor, "*rows"]) -> Float[Tensor, "*rows"]:
    """Lower values by their slack, rounded down."""
    lowered = value - padded(value, slack)
    return torch.nextafter(lowered, value.new_tensor(-torch.inf))
