"""Leaky ReLUs as ReLUs: a unit with pre-activation z and leak c is (1 - c)·max(z, 0) + c·z.

With z written out, it is a ReLU times 1 - c plus an affine function of what comes before, so that
all later rows are functions of inputs and ReLUs alone.
"""

from dataclasses import replace

import torch
from torch import Tensor

from evaluators.numerics.rounding import gamma
from evaluators.propagation.rounding_charge import padded
from evaluators.unrolled.intermediate_bounds import UnrollingError
from evaluators.unrolled.unrolled_network import Rows
from evaluators.unrolled.unrolled_problem import UnrolledProblem


def as_relus(around: UnrolledProblem) -> UnrolledProblem:
    """The same problem with units max(z, 0): its rows, goals and leaks are those of ReLUs.

    Its lines are no longer any unit's. Where a unit has no kink, the problem is returned as it is.
    """
    leak, n = around.lines.leak, around.unrolled.inputs
    if not bool(around.lines.optimizable.all()) or not bool(leak.any()):
        return around
    lower, upper = (bound.flatten().abs() for bound in around.unrolled.bounds[0])
    largest = torch.cat((torch.maximum(lower, upper), around.lines.upper))
    none = torch.zeros_like(largest)
    columns, layers = Rows(torch.diag(none + 1), none, none.clone()), []
    for layer in around.unrolled.layers:
        rows, end = _through(layer.rows, columns, largest), layer.first + len(layer)
        own, slope = slice(layer.first, end), leak[layer.first - n : end - n]
        columns.weight[own, : layer.first] = slope[:, None] * rows.weight
        columns.weight[own, own] = torch.diag(1 - slope)
        columns.bias[own] = slope * rows.bias
        size = rows.weight.abs() @ largest[: layer.first] + rows.bias.abs()
        size = slope.abs() * size + (1 - slope).abs() * largest[own]
        columns.lost[own] = padded(columns.bias[own], slope.abs() * rows.lost + size * gamma(8))
        layers.append(replace(layer, rows=rows))
    return replace(
        around,
        unrolled=replace(around.unrolled, layers=layers),
        lines=replace(around.lines, leak=torch.zeros_like(leak)),
        goals=_through(around.goals, columns, largest),
    )


def relus_only(around: UnrolledProblem) -> UnrolledProblem:
    """The same problem, where all its units are leaky or plain ReLUs.

    Raises:
        UnrollingError: they are not.
    """
    found = as_relus(around)
    if bool((found.lines.leak == 0).all()):
        return found
    raise UnrollingError(
        "unsupported: the method has quadratic constraints for (leaky) ReLU and MaxPool alone"
    )


def _through(rows: Rows, columns: Rows, largest: Tensor) -> Rows:
    """Rows about units as rows about ReLUs, which are at most `largest`."""
    count = rows.weight.shape[1]
    inner = columns.weight[:count, :count]
    sizes = inner.abs() @ largest[:count] + columns.bias[:count].abs()
    own = rows.weight.abs()
    lost = rows.lost + own @ columns.lost[:count]
    lost = lost + (own @ sizes + rows.bias.abs()) * gamma(count + 8)
    bias = rows.bias + rows.weight @ columns.bias[:count]
    return Rows(rows.weight @ inner, bias, padded(bias, lost))
