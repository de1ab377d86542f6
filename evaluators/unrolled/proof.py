"""The bound that counts: float64, lowered by all that rounding may have done to it.

The walk over layers keeps one computed linear function of the true inputs and units; what rounding
may do to it is charged once, at the end (`rounding_charge.layered`, with its derivation).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.numerics.memory import fitting
from evaluators.propagation.bounded import Center
from evaluators.propagation.concretization import least_over_box, least_over_region
from evaluators.propagation.dense_rows import DenseRows
from evaluators.propagation.intervals import Interval
from evaluators.propagation.rounding_charge import layered, settle
from evaluators.question.region import Region
from evaluators.unrolled.unit_lines import Choice, UnitBounds, UnitLines
from evaluators.unrolled.unrolled_network import Rows, Unrolled

ROOM = 1e-9
"""Share by which bounds are widened, so that another order of summation can prove them too: the
charges for rounding of both programs lie far below it."""

AT_ONCE = 2**24
"""Largest number of coefficients in one pass: 128 MB, and six times that with what is made of them,
beside the network's own."""


def stored(slopes: Tensor, lines: UnitLines) -> Tensor:
    """Slopes rounded to float16, the precision of certificates, inside what is allowed.

    A proof uses these, so that its certificate is about the same numbers.
    """
    short = allowed(slopes, lines).half()
    raised = torch.nextafter(short, torch.ones_like(short))
    return torch.where(allowed(short, lines) != short.double(), raised, short)


def allowed(slopes: Tensor, lines: UnitLines) -> Tensor:
    """Slopes in float64, each moved to the nearest for which its line is below the unit.

    Of units with a kink they lie between the leak and 1, else the line through the kink is above
    the unit; of curves the parameters lie between 0 and 1.
    """
    # In float64: the float32 next to a leak may lie below it.
    return torch.maximum(slopes.double().clamp(max=1), lines.leak.nan_to_num(0.0).to(slopes.device))


def prove(
    unrolled: Unrolled,
    lines: UnitLines,
    rows: Rows,
    x: Tensor,
    region: Region,
    slopes: Tensor,
    signs: Tensor | None = None,
    betas: Tensor | None = None,
    within: UnitBounds | None = None,
) -> Tensor:
    """Lower bounds `[rows]` of rows over the region and the rows' splits, in real arithmetic.

    Args:
        unrolled: the network's layers that the rows reach over: as many as they have columns for.
        lines: of those layers' units.
        rows: about the network, with what rounding lost in them.
        x, region: float64 example `[1, *shape]` and its region.
        slopes, signs, betas: float16 or more, `[rows, units]`, slopes also `[1, units]` for all
            rows; see `UnitLines.choice`.
        within: narrower bounds of the units, valid on each row's part of the region.
    """
    count, result = max(1, fitting(AT_ONCE, 48, 1 / 8) // rows.weight.shape[1]), []
    for first in range(0, len(rows), count):
        part = slice(first, first + count)
        split = None if signs is None else signs[part]
        inside = None if within is None else UnitBounds(*(bound[part] for bound in within))
        its = slopes if len(slopes) == 1 else slopes[part]
        choice = lines.choice(allowed(its, lines), split, betas_of(betas, part), inside)
        found = planes(unrolled, rows.select(part), choice)
        result.append(least(unrolled, found, x, region))
    return torch.cat(result) if result else rows.bias


class InputPlanes(NamedTuple):
    """Linear functions of the input: weight · x + bias.

    Attributes:
        weight: float64 `[rows, inputs]`.
        bias: float64 `[rows]`.
    """

    weight: Tensor
    bias: Tensor


def least(unrolled: Unrolled, found: InputPlanes, x: Tensor, region: Region) -> Tensor:
    """Lower bounds `[rows]` of planes over the region."""
    shaped = found.weight.reshape(1, -1, *x.shape[1:])
    value, slack = least_over_region(_only(unrolled), shaped, x, region, unrolled.center(0))
    return settle(found.bias + value[0], slack[0])


def _only(unrolled: Unrolled) -> DenseRows:
    """Rows about the only example."""
    return DenseRows(unrolled.network, torch.zeros(1, dtype=torch.long))


def betas_of(betas: Tensor | None, part: slice) -> Tensor | None:
    """Some rows' multipliers in float64; negative ones, which would prove nothing, are none."""
    return None if betas is None else betas[part].double().clamp(min=0)


def prove_at_once(unrolled: Unrolled, rows: Rows) -> Tensor:
    """Lower bounds `[rows]` by the range of each unit alone: better where lines are loose."""
    ranges = [Interval(*(bound.flatten() for bound in unrolled.bounds[0]))]
    ranges += [Interval(*la.function.bounds(la.lower, la.upper)) for la in unrolled.layers]
    box = Interval(*(torch.cat(ends)[None] for ends in zip(*ranges, strict=True)))
    value, slack = least_over_box(_only(unrolled), rows.weight[None], 0, Center.of(box))
    return settle(rows.bias + value[0], slack[0] + rows.lost)


def planes(unrolled: Unrolled, rows: Rows, choice: Choice) -> InputPlanes:
    """Planes below rows over the region and their splits, as exact as they are written."""
    columns, constant = rows.weight.clone(), rows.bias
    magnitudes = unrolled.magnitudes()[: columns.shape[1]]
    total = columns.abs() @ magnitudes + constant.abs()
    lost, terms = rows.lost.clone(), 8
    n = unrolled.inputs
    layers = [layer for layer in unrolled.layers if layer.first < columns.shape[1]]
    largest = magnitudes.max()
    for layer in reversed(layers):
        first, last = layer.first, layer.first + len(layer)
        here = slice(first - n, last - n)
        a = columns[:, first:last]
        line = torch.where(a >= 0, choice.slopes[:, here], choice.chords[..., here])
        offset = choice.offsets[..., here].expand_as(a)
        if choice.floors is not None:
            offset = torch.where(a >= 0, choice.floors[..., here], offset)
        else:
            offset = torch.where(a >= 0, 0.0, offset)
        through = a * line
        reach = through.abs()
        if choice.pulls is not None:
            reach = reach + choice.pulls[:, here].abs()
            through = through - choice.pulls[:, here]
        size = layer.sizes(magnitudes)
        total = total + reach @ size + (a * offset).abs().sum(1)
        lost = lost + reach @ layer.rows.lost
        constant = constant + through @ layer.rows.bias + (a * offset).sum(1)
        columns[:, :first].addmm_(through, layer.rows.weight)
        largest = torch.maximum(largest, size.max())
        terms += len(layer) + 16
    slack = lost + layered(total, terms + n, largest)
    return InputPlanes(columns[:, :n], settle(constant, slack))
