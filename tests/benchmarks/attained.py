"""LP-ALL asked only where it may certify: what it cannot, one linear program tells.

LP-ALL minimises a margin over all points that lie in every ReLU's triangle, between ends that are
minimised alike. Ends that inputs of the region attain lie within these, and a triangle between
narrower ends within the wider one. So the least margin over the narrow triangles is no less than
LP-ALL's: where it is negative, LP-ALL certifies nothing, and its programs for the bounds of all
neurons need not be solved. That is no proof about the network, which nobody asks for here.
"""

from dataclasses import replace

import torch
from torch import Tensor

from evaluators.deterministic.lp import LP
from evaluators.linear_programs.relaxed_rows import by_start
from evaluators.linear_programs.triangle import TriangleProgram
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from evaluators.unrolled.unit_lines import UnitLines
from evaluators.unrolled.unrolled_network import Layer
from evaluators.unrolled.unrolled_problem import UnrolledProblem

NEAR = 0.05
"""Least margins above minus this are left to LP-ALL itself, also in real arithmetic: on the
networks counted, covering float32 runs costs at most 0.032 of one, and the solver errs by less."""

STEPS = 2
"""Corners of the box that are tried for each end, each by the signs of the gradient at the last."""

BEYOND = "beyond LP-ALL"
"""The note of an image about which the narrow triangles say enough."""


class LPWhereItMayCertify(LP):
    """`lp` for networks of ReLUs, without its programs for images that it cannot certify."""

    def _solve(self, problem: Problem) -> Verdict:
        deadline = problem.deadline()
        around = UnrolledProblem.of(problem, 0, deadline)
        program = TriangleProgram(around.unrolled, attained_lines(around))
        worst = int(by_start(problem, around)[0].argmin())
        found = program.minimize(around.goals.weight[worst].numpy(), deadline.left)
        if found is not None and found.value + float(around.goals.bias[worst]) < -NEAR:
            return Verdict(Status.UNKNOWN, None, note=BEYOND)
        return super()._solve(problem)


def attained_lines(around: UnrolledProblem) -> UnitLines:
    """The lines of all units between values that their pre-activations take in the region's box."""
    layers = around.unrolled.layers
    ends = [attained_ends(around, number) for number in range(len(layers))]
    return UnitLines.of(
        [
            replace(layer, lower=low, upper=high)
            for layer, (low, high) in zip(layers, ends, strict=True)
        ]
    )


def attained_ends(around: UnrolledProblem, number: int) -> tuple[Tensor, Tensor]:
    """A low and a high value that each pre-activation of a layer takes, `[units]`."""
    low, high = (bound.flatten() for bound in around.unrolled.bounds[0])
    layer, before = around.unrolled.layers[number], around.unrolled.layers[:number]
    signs = torch.cat((torch.ones(len(layer)), -torch.ones(len(layer))))[:, None]
    rows = layer.rows.weight.repeat(2, 1)
    x = (low / 2 + high / 2).expand(len(rows), -1)
    for _ in range(STEPS):
        x = torch.where(gradients(before, rows, columns(before, x)) * signs > 0, low, high)
    z = columns(before, x) @ layer.rows.weight.T + layer.rows.bias
    return z.amin(0), z.amax(0)


def columns(layers: list[Layer], x: Tensor) -> Tensor:
    """The outputs of all units at inputs, after these: `[points, inputs and units]`."""
    for layer in layers:
        x = torch.cat((x, (x @ layer.rows.weight.T + layer.rows.bias).clamp(min=0)), 1)
    return x


def gradients(layers: list[Layer], rows: Tensor, values: Tensor) -> Tensor:
    """The derivative of each row by the inputs, at its own point: `[rows, inputs]`."""
    for layer in reversed(layers):
        span = slice(layer.first, layer.first + len(layer))
        through = rows[:, span] * (values[:, span] > 0)
        rows = rows[:, : layer.first] + through @ layer.rows.weight
    return rows
