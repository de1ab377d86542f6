"""A threshold under every noise, by every procedure: how often are certificates too large?

The base classifier answers 0 where the first entry is at most c. Whatever the noise, if it is
symmetric the smoothed classifier's answer at 0 changes at exactly c along that axis, so that every
larger radius is false, in any norm. In one dimension all radii here are the best that follow from
the probability, so that falsehoods come as often as bounds are wrong.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import log

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm
from torch import Tensor

from evaluators.listing import catalogue
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict
from evaluators.smoothing import fixed, input_specific, sequential
from evaluators.smoothing.evaluator import PROCEDURES, SmoothingEvaluator
from tests.evaluators.test_procedures import Remembering
from tests.fixtures.networks import linear
from tests.fixtures.smoothing import NAMES, draw, of

pytestmark = pytest.mark.slow

RUNS, N0, N, FAILURE, P = 1500, 20, 64, 0.2, 0.85

THRESHOLDS = {
    "gaussian": norm.ppf(P),
    "laplace": -log(2 * (1 - P)),
    "exponential-l2": -log(2 * (1 - P)),
    "exponential-linf": -log(2 * (1 - P)),
    "uniform": 2 * P - 1,
    "uniform-ball": 2 * P - 1,
}
"""Where one entry of noise of scale one lies below with probability `P`, in one dimension."""


def evaluator_of(name: str, **options: object) -> SmoothingEvaluator:
    kind = catalogue()[f"smoothing-{name}"]
    assert issubclass(kind, SmoothingEvaluator)
    options = {"n0": N0, "n": N, "failure_probability": FAILURE, **options}
    return replace(kind(), **options)  # type: ignore[arg-type]


def too_large(name: str) -> Fraction:
    """A radius just above the true one."""
    return Fraction(float(THRESHOLDS[name]) * 1.0001).limit_denominator(10**6)


class Thresholded:
    """Votes of many examples under independent noise, as its distribution draws it."""

    classes, block = 2, 16

    def __init__(self, name: str) -> None:
        self.above = {
            stream: draw(name, RUNS * size, 1, seed).reshape(RUNS, size) > THRESHOLDS[name]
            for stream, size, seed in (("selection", N0, 1), ("estimation", N, 2))
        }

    def __len__(self) -> int:
        return RUNS

    def count(self, stream: str, rows: Sequence[int], start: int, samples: int) -> Tensor:
        ones = self.above[stream][list(rows), start : start + samples].sum(1)
        return torch.from_numpy(np.stack((samples - ones, ones), 1))

    def moments(self, rows: Sequence[int], given: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _remembered_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bound is computed once for all runs that meet its counts."""
    for module in (fixed, input_specific, sequential):
        for bound in ("anytime_lower", "log_evidence", "clopper_pearson_lower"):
            if hasattr(module, bound):
                monkeypatch.setattr(module, bound, cache(getattr(module, bound)))


@pytest.mark.parametrize("procedure", list(PROCEDURES))
@pytest.mark.parametrize(("name", "sides"), [*((name, 1) for name in NAMES), ("laplace", 2)])
def test_certificates_are_false_no_more_often_than_allowed(
    name: str, sides: int, procedure: str
) -> None:
    evaluator, own = evaluator_of(name), of(name).own[0]
    question = Remembering(evaluator.certificate, of(name), Fraction(1), own, 1, too_large(name))
    estimates = PROCEDURES[procedure](N0, N, FAILURE, sides)(Thresholded(name), question)
    wrong = 0
    for estimate in estimates:
        assert estimate is not None
        radius = question.certified(estimate.probabilities)
        # The other class is not even the answer at the example.
        wrong += radius > (THRESHOLDS[name] if estimate.prediction == 0 else 0)
    assert wrong <= binom.ppf(1 - 1e-6, RUNS, FAILURE)
    # That this test can fail: the exact bound errs about as often as it may.
    assert wrong > RUNS * FAILURE / 4 or (procedure, sides) != ("fixed", 1)


def answers(
    evaluator: SmoothingEvaluator, name: str, entries: int, runs: int, seed: int
) -> list[Verdict]:
    """The whole evaluator, asked about a radius just too large of many equal examples."""
    threshold = float(THRESHOLDS[name])
    weight = [[sign] + [0.0] * (entries - 1) for sign in (-1.0, 1.0)]
    base = linear(weight, [threshold, -threshold])
    ball = Ball(of(name).own[0], too_large(name), low=-9.0, high=9.0)
    x, labels = torch.zeros(runs, entries), torch.zeros(runs, dtype=torch.int64)
    network = SmoothedNetwork(base, name, Fraction(1))
    return evaluator(Problem(network, x, labels, ball, 600.0, tuple(range(runs)), seed))


def falsehoods(name: str, verdicts: list[Verdict]) -> int:
    wrong = 0
    for verdict in verdicts:
        assert not verdict.note.startswith(("failed", "unsupported", "timeout"))
        false = verdict.radius is not None and verdict.radius > THRESHOLDS[name]
        assert false or verdict.status is not Status.CERTIFIED
        wrong += false or verdict.prediction == 1
    return wrong


@pytest.mark.parametrize("name", NAMES)
def test_whole_evaluators_err_no_more_often(name: str) -> None:
    runs = 60
    verdicts = answers(evaluator_of(name, noise="own"), name, 3, runs, 1)
    assert falsehoods(name, verdicts) <= binom.ppf(1 - 1e-5, runs, FAILURE)


def test_noise_that_is_shared_makes_examples_err_together_and_each_no_more_often() -> None:
    """Equal examples under one noise are all right or all wrong: hence no binomial bounds."""
    seeds, copies = 40, 2
    together = [
        falsehoods("gaussian", answers(evaluator_of("gaussian"), "gaussian", 1, copies, seed))
        for seed in range(seeds)
    ]
    assert set(together) == {0, copies}
    assert together.count(copies) <= binom.ppf(1 - 1e-5, seeds, FAILURE)
