"""The dual network of Wong and Kolter."""

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluators.deterministic.fast_lin import PARALLEL
from evaluators.evaluator import Evaluator
from evaluators.network.affine import AffineMap
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import Network
from evaluators.propagation import rounding_charge as charge
from evaluators.propagation.concretization import least_over_region
from evaluators.propagation.dense_rows import DenseRows
from evaluators.propagation.linear_bounds import linear_relaxation, margin_rows
from evaluators.propagation.relaxation import Lines
from evaluators.propagation.relaxed import Relaxed
from evaluators.propagation.verdicts import BATCH, in_batches, verdicts
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict


@dataclass(frozen=True)
class WongKolter(Evaluator):
    """The dual of the convex outer polytope (Wong and Kolter 2018, arXiv 1711.00851, theorem 1).

    A feasible point of the dual of the triangle relaxation's linear program is computed by a
    network that runs backwards (equation 8): ν = -c at the logits, ν̂ = Wᵀν through a layer, and
    ν = D·ν̂ through ReLUs, where D is 1 for active ones, 0 for inactive ones and u / (u - l) for
    the others. The dual objective there bounds the margin c·logits from below.

    Differs from the paper: leaky ReLUs are allowed, whose D is their chord's slope; bounds of
    neurons are, elementwise, the better of the dual's and interval propagation's. Networks that are
    not a chain of affine maps and (leaky) ReLUs are answered with unknown.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`).
    Trusted: IEEE float64 and PyTorch's sums of products; rounding is bounded (`rounding.py`).
    Cost: that of CROWN, from which it differs in the line below alone.
    """

    title = "Wong-Kolter dual"
    node = "duality"
    version = "2"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound all margins of the batch at once."""
        assert isinstance(problem.network, Network)
        for position, node in enumerate(problem.network.nodes[1:], start=1):
            chained = node.parents == (position - 1,)
            if not chained or not isinstance(node.operation, AffineMap | LeakyReLU):
                note = (
                    "unsupported: the method has a dual for chains of affine maps and ReLUs alone"
                )
                return [Verdict(Status.UNKNOWN, None, note=note)] * len(problem)
        return in_batches(problem, BATCH, bounded)


def bounded(problem: Problem) -> list[Verdict]:
    """The verdicts by the dual objectives of all margins."""
    relaxed = linear_relaxation(problem, PARALLEL)
    rows = margin_rows(problem.labels, relaxed.network.classes)
    return verdicts(problem, objective(relaxed, rows))


def objective(relaxed: Relaxed, rows: Tensor) -> Tensor:
    """The dual objective J(ν) of linear functions c of the logits, less what rounding may add.

    J = -Σ ν·b - Σ h·[ν̂]₊ - x·ν̂₁ - ε‖ν̂₁‖*, where h = -D·l is a chord's height (the paper's
    Σ l·[ν]₊, theorem 1); ν at the logits is -c.

    Args:
        relaxed: a chain, and bounds of its nodes.
        rows: c, `[batch, functions, classes]`.

    Returns:
        `[batch, functions]`.
    """
    nodes, nu = relaxed.network.nodes, -rows
    carrier = DenseRows(relaxed.network, torch.arange(len(rows), device=rows.device))
    total, slack = nu.new_zeros(rows.shape[:2]), nu.new_zeros(rows.shape[:2])

    def add(value: Tensor) -> None:
        nonlocal total, slack
        total = total + value
        slack = slack + charge.addition(total)

    for position in range(len(nodes) - 1, 0, -1):
        operation, terms = nodes[position].operation, carrier.terms(nu)
        norm, size = carrier.norm(nu), carrier.each(relaxed.size(position))
        error = relaxed.deviation(position)
        if error is not None:
            slack = slack + carrier.dot(nu.abs(), error, position)
        if isinstance(operation, AffineMap):
            slack = slack + charge.affine_step(norm, size, operation.fan_out, terms)
            largest = carrier.each(relaxed.largest(position - 1))
            slack = slack + charge.underflow(largest)
            if operation.bias is not None:
                bias = operation.bias.expand(operation.output_shape)
                add(-carrier.dot_shared(nu, bias, position))
            nu = carrier.adjoint(nu, operation, position)
            continue
        lines = relaxed.lines(position)
        assert isinstance(lines, Lines)
        for heights, part in (
            (lines.upper_intercept, nu.clamp(min=0)),
            (lines.lower_intercept, nu.clamp(max=0)),
        ):
            add(-carrier.dot(part, heights, position))
            height = carrier.each(heights.abs().flatten(1).amax(1))
            slack = slack + norm * height * charge.products(terms)
        nu = nu * carrier.at(lines.upper_slope, position)
        slack = slack + charge.scaling(norm, size)
    center = relaxed.center(0)
    value, lost = least_over_region(carrier, -nu, relaxed.x, relaxed.region, center)
    add(value)
    return charge.settle(total, slack + lost)
