"""What the comparison with published figures spares of LP-ALL, LP-ALL does not certify."""

from fractions import Fraction

import torch

from evaluators.deterministic.lp import LP
from evaluators.network.elementwise import LeakyReLU
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from tests.benchmarks.attained import BEYOND, LPWhereItMayCertify, attained_lines
from tests.fixtures.tiny import ask, centers, chain


def problem_of(seed: int, radius: float, examples: int = 4) -> Problem:
    network = chain(4, 12, 12, 3, function=LeakyReLU(), seed=seed)
    region = Ball(Norm.LINF, Fraction(radius))
    return ask(network, centers(network, seed, examples), region)


def test_an_image_that_one_program_rules_out_is_not_certified_by_all_of_them() -> None:
    ruled_out, certified = 0, 0
    for seed in range(5):
        for radius in (1 / 8, 1 / 4, 3 / 8, 1 / 2):
            problem = problem_of(seed, radius)
            spared, whole = LPWhereItMayCertify()(problem), LP()(problem)
            assert [one.status for one in spared] == [one.status for one in whole]
            ruled_out += sum(one.note == BEYOND for one in spared)
            certified += sum(one.status is Status.CERTIFIED for one in whole)
    assert ruled_out > 10
    assert certified > 10


def test_attained_ends_lie_within_proved_bounds_and_are_exact_in_the_first_layer() -> None:
    for seed in range(5):
        problem = problem_of(seed, 1 / 4, examples=2)
        with torch.no_grad():
            one = problem.select([0])
            around = UnrolledProblem.of(one, 0, one.deadline())
            lines = attained_lines(around)
        first = slice(0, len(around.unrolled.layers[0]))
        assert bool((lines.lower > around.lines.lower - 1e-12).all())
        assert bool((lines.upper < around.lines.upper + 1e-12).all())
        assert torch.allclose(lines.lower[first], around.lines.lower[first], atol=1e-6)
        assert torch.allclose(lines.upper[first], around.lines.upper[first], atol=1e-6)
