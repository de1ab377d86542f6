"""A new elementwise function is one class: every method that can take it does, and is right."""

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

import onnx
import pytest
import torch

from evaluators.deterministic.alpha_crown import AlphaCROWN
from evaluators.deterministic.crown import CROWN
from evaluators.deterministic.ibp import IBP
from evaluators.evaluator import Evaluator
from evaluators.listing import catalogue
from evaluators.network.elementwise import (
    Activation,
    Elementwise,
    Points,
    Slopes,
    SShaped,
    elementwise_functions,
)
from evaluators.network.network import Network
from evaluators.network.smooth import Smooth
from evaluators.onnx.operators import OPERATORS
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.fixtures import effort
from tests.fixtures.effort import first_alone
from tests.fixtures.methods import LONG, quick_first
from tests.fixtures.tiny import ask, centers, chain, least_margins, points_of

SLACK = 1e-7


@dataclass(frozen=True)
class Softsign(SShaped):
    """x / (1 + |x|)."""

    @property
    def name(self) -> str:
        return "Softsign"

    def __call__(self, x: Activation) -> Activation:
        return x / (1 + x.abs())

    def derivative(self, x: Activation) -> Activation:
        return 1 / ((1 + x.abs()) * (1 + x.abs()))

    def inverse_derivative(self, slope: Activation) -> Activation:
        return torch.where(slope <= 1, 1 / slope.sqrt() - 1, torch.nan)


@dataclass(frozen=True)
class Softplus(Elementwise):
    """log(1 + exp(x)), which is convex: the chord above, below the middle's tangent."""

    @property
    def name(self) -> str:
        return "Softplus"

    @property
    def roundings(self) -> int:
        return 16

    @property
    def flushed(self) -> float:
        return 1e-300

    def __call__(self, x: Activation) -> Activation:
        return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))

    def valleys(self, slope: Activation) -> Points:
        return (torch.log(slope / (1 - slope)),)

    def peaks(self, slope: Activation) -> Points:
        return ()

    def slopes(self, lower: Activation, upper: Activation) -> Slopes:
        width = upper - lower
        middle = torch.sigmoid(lower / 2 + upper / 2)
        chord = (self(upper) - self(lower)) / width.clamp(min=1e-300)
        return Slopes(middle, torch.where(width > 0, chord, middle))

    def unstable(self, lower: Activation, upper: Activation) -> torch.Tensor:
        return upper > lower


FUNCTIONS = {
    "Softsign": Softsign(),
    "Softplus": Softplus(),
    "neither increasing nor bending one way": Smooth("Swish", (1.0,)),
    "a square": Smooth("Pow", (2.0,)),
}
METHODS = {name: e for name, e in catalogue().items() if e.accepts is Network and e.certifies}
DECLINED = ("unsupported", "bound not finite")
"""Notes of methods that have no bounds of a function, and say so of every example."""


@cache
def problems(function: Elementwise, radius: Fraction) -> list[Problem]:
    region = Ball(Norm.LINF, radius)
    networks = [chain(2, 3, 3, 2, function=function, seed=seed) for seed in range(4)]
    return [ask(net, centers(net, seed, 3), region) for seed, net in enumerate(networks)]


@cache
def least_of(function: str, radius: Fraction) -> list[list[float]]:
    """The least margin on each example's grid, of each problem."""
    found = []
    for problem in problems(FUNCTIONS[function], radius):
        assert isinstance(problem.network, Network)
        assert isinstance(problem.region, Ball)
        grids = [
            least_margins(problem.network, points_of(problem.region, x, 15), int(label))
            for x, label in zip(problem.x, problem.labels, strict=True)
        ]
        found.append([float(grid.min()) for grid in grids])
    return found


@pytest.mark.parametrize("name", quick_first(METHODS))
@pytest.mark.parametrize("function", first_alone(FUNCTIONS))
def test_every_method_that_can_take_a_new_function_bounds_it_rightly(
    function: str, name: str
) -> None:
    bounded = certified = 0
    notes = set[str]()
    few = effort.share != 1 and name in LONG
    networks = (1 if few else 2) if name in LONG else 4
    for radius in (Fraction(1, 500), Fraction(1, 50), Fraction(1, 5))[:: 2 if few else 1]:
        asked = problems(FUNCTIONS[function], radius)[:networks]
        for problem, grids in zip(asked, least_of(function, radius), strict=False):
            verdicts = METHODS[name]()(replace(problem, seconds=3.0))
            for least, verdict in zip(grids, verdicts, strict=True):
                assert not verdict.note.startswith(("failed", "refused")), verdict.note
                notes.add(verdict.note)
                if verdict.margin is not None:
                    assert verdict.margin <= least + SLACK
                    bounded += 1
                certified += verdict.status is Status.CERTIFIED
                assert least > 0 or verdict.status is not Status.CERTIFIED
    assert certified if bounded else all(note.startswith(DECLINED) for note in notes), notes


def mean_margin(method: Evaluator, function: Elementwise) -> float:
    found = [v.margin for p in problems(function, Fraction(1, 10)) for v in method(p)]
    return sum(margin for margin in found if margin is not None) / len(found)


@pytest.mark.parametrize("function", first_alone(FUNCTIONS))
def test_lines_are_worth_it_for_a_new_function(function: str) -> None:
    ibp, crown, alpha = (
        mean_margin(method, FUNCTIONS[function]) for method in (IBP(), CROWN(), AlphaCROWN())
    )
    assert ibp < crown <= alpha + SLACK


@pytest.mark.slow
def test_s_shaped_ones_lines_are_optimised_without_a_word_about_it() -> None:
    crown, alpha = (mean_margin(method, Softsign()) for method in (CROWN(), AlphaCROWN()))
    assert alpha > crown + 1e-4


def test_every_listed_function_is_imported() -> None:
    for operator in elementwise_functions():
        assert OPERATORS[operator].translate is not None
        assert OPERATORS[operator].bare
        assert onnx.defs.has(operator)
