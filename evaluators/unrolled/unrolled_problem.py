"""One example at a time: its network unrolled, and what is asked of it as rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import scipy  # scipy.sparse itself is imported when it is first used
import torch
from torch import Tensor

from evaluators.evaluator import one_by_one
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.propagation.intervals import Interval
from evaluators.propagation.linear_bounds import margin_rows
from evaluators.question.certificate import Certificate, LayerBounds
from evaluators.question.problem import Problem
from evaluators.question.region import Ball, Box, Region
from evaluators.question.verdict import Status, Verdict
from evaluators.unrolled.ascent import Rates
from evaluators.unrolled.domains import Leaf
from evaluators.unrolled.evidence import tables
from evaluators.unrolled.intermediate_bounds import (
    Optimizer,
    Refiner,
    Unrolling,
    UnrollingError,
)
from evaluators.unrolled.unit_lines import UnitLines
from evaluators.unrolled.unrolled_network import Rows, Unrolled

TOLERANCE = 2e-3
"""Tolerance of the ascents on intermediate bounds: most of what they gain, they gain in the first
steps. All steps take a third longer on the MNIST CNN-A-Adv; with ten times the tolerance the mean
margin of a 6x100 network falls by a third, for a tenth of the time."""


@dataclass(frozen=True)
class UnrolledProblem:
    """The unrolled network around the only example of a problem.

    Attributes:
        problem: the question.
        x: the example in float64, `[1, *shape]`.
        unrolled, lines: the network around it.
        goals: margins of the label over each other class, classes in order.
        layers: the bounds of all elementwise nodes, by position, and what proves them.
    """

    problem: Problem
    x: Tensor
    unrolled: Unrolled
    lines: UnitLines
    goals: Rows
    layers: dict[int, LayerBounds]

    @classmethod
    def of(
        cls,
        problem: Problem,
        steps: int | Rates,
        deadline: Deadline,
        optimize: Optimizer | None = None,
        known: Mapping[int, Interval] | None = None,
        chosen: Mapping[int, Tensor] | None = None,
        products: bool = False,
        refine: Refiner | None = None,
    ) -> "UnrolledProblem":
        """Unroll; intermediate bounds by an ascent of at most so many steps, or as told.

        Args:
            problem: the question about one example.
            steps: of the ascents, or all of their rates; none for CROWN's bounds alone.
            deadline: past it, the unrolling fails.
            optimize: chooses the slopes of intermediate bounds; None for the ascent.
            known: proved bounds of pre-activations, by position, no looser than CROWN's; only where
                no evidence is wanted.
            chosen: entries that an ascent is worth its time for, by position; None for all.
            products: whether the caller takes products' units only together.
            refine: as of `Unrolling`; only where no evidence is wanted.

        Raises:
            UnrollingError: it cannot be unrolled within time and memory.
        """
        assert isinstance(problem.network, Network)
        network = without_max_pools(problem.network).to(torch.float64, "cpu")
        x = problem.x.double().cpu()
        layers: dict[int, LayerBounds] = {}
        rates = Rates(steps, tolerance=TOLERANCE) if isinstance(steps, int) else steps
        unrolling = Unrolling(
            network,
            x,
            problem.region,
            rates,
            deadline,
            layers,
            complete=problem.evidence,
            deployed=problem.deployed,
            optimize=optimize,
            known={} if known is None or problem.evidence else known,
            chosen=chosen,
            products=products,
            refine=None if problem.evidence else refine,
        )
        unrolled = unrolling()
        margins = margin_rows(problem.labels.cpu(), network.classes)[0]
        goals = unrolled.express(len(network.nodes) - 1, scipy.sparse.csr_array(margins.numpy()))
        return cls(problem, x, unrolled, UnitLines.of(unrolled.layers), goals, layers)

    @property
    def region(self) -> Region:
        """What may be perturbed."""
        return self.problem.region

    def certificate(self, leaves: list[Leaf]) -> Certificate | None:
        """The evidence of a proof by these leaves.

        None where none is wanted, or where the network is not piecewise linear.
        """
        if not self.problem.evidence or not bool(self.lines.optimizable.all()):
            return None
        label, region = int(self.problem.labels[0]), self.region
        ball = isinstance(region, Ball)
        return Certificate(
            norm=region.norm.value if ball else "box",
            radius=region.radius,
            low=region.low if isinstance(region, Ball) else 0.0,
            high=region.high if isinstance(region, Ball) else 1.0,
            label=label,
            classes=self.problem.classes,
            x=self.problem.x[0].float().cpu().numpy() if ball else None,
            box_lower=region.lower[0].cpu().numpy() if isinstance(region, Box) else None,
            box_upper=region.upper[0].cpu().numpy() if isinstance(region, Box) else None,
            layers=tuple(bounds for _, bounds in sorted(self.layers.items())),
            **tables(
                leaves, [c for c in range(self.problem.classes) if c != label], len(self.lines.leak)
            ),
        )


def one_by_one_unrolled(problem: Problem, solve: Callable[[Problem], Verdict]) -> list[Verdict]:
    """Solve for one example after the other, without gradients.

    Where `solve` raises an `UnrollingError`, the answer is unknown, and its note says why.
    """

    def answered(one: Problem) -> Verdict:
        try:
            return solve(one)
        except UnrollingError as error:
            return Verdict(Status.UNKNOWN, None, note=str(error))

    with torch.no_grad():
        return one_by_one(problem, answered)
