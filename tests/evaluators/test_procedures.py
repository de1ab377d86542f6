"""Procedures on simulated counts: what they spend and decide, and how often they err."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache, cached_property
from itertools import pairwise
from math import nan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm
from torch import Tensor

from evaluators.noises.distribution import Probabilities
from evaluators.noises.gaussian import GaussianNoise
from evaluators.probabilistic.smoothing_gaussian import SmoothingGaussian
from evaluators.question.norm import Norm
from evaluators.sampling.block import OvertimeError
from evaluators.smoothing import procedure as procedure_module
from evaluators.smoothing import sequential
from evaluators.smoothing.confidence import (
    clopper_pearson_lower,
    clopper_pearson_upper,
)
from evaluators.smoothing.curtailed import Curtailed
from evaluators.smoothing.evaluator import PROCEDURES, is_decided
from evaluators.smoothing.fixed import Fixed
from evaluators.smoothing.input_specific import InputSpecific
from evaluators.smoothing.procedure import (
    Estimate,
    SamplingProcedure,
    Votes,
    largest_other,
    looks,
    one_sided,
    two_sided,
)
from evaluators.smoothing.radius import RadiusTarget
from evaluators.smoothing.sequential import Sequential


class Simulated:
    """Votes drawn from known class probabilities, the same for every way to ask.

    What is missing to a sum of one is the probability that no class wins.
    """

    def __init__(
        self, rows: Iterable[Sequence[float]], n: int, seed: int = 0, block: int = 16, n0: int = 100
    ) -> None:
        generator = np.random.default_rng(seed)
        self.truth = [list(row) for row in rows]
        self.classes, self.block, self.asked = len(self.truth[0]), block, 0
        self.out_of_time_after = float("inf")
        edges = np.cumsum(self.truth, axis=1)[:, :, None]
        self.answers = {
            stream: (generator.random((len(self.truth), 1, size)) > edges).sum(1)
            for stream, size in (("selection", n0), ("estimation", n))
        }

    def __len__(self) -> int:
        return len(self.truth)

    def count(self, stream: str, rows: Sequence[int], start: int, samples: int) -> Tensor:
        self.asked += len(rows) * samples
        if self.asked > self.out_of_time_after:
            raise OvertimeError
        part = self.answers[stream][list(rows), start : start + samples]
        assert part.shape[1] == samples
        counts = [(part == c).sum(1) for c in range(self.classes)]
        return torch.from_numpy(np.stack(counts, 1))

    def moments(self, rows: Sequence[int], given: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class Remembering(RadiusTarget):
    """Thousands of runs meet the same few counts."""

    @cached_property
    def known(self) -> dict[Probabilities, Fraction]:
        return {}

    def certified(self, probabilities: Probabilities) -> Fraction:
        if probabilities not in self.known:
            self.known[probabilities] = super().certified(probabilities)
        return self.known[probabilities]


@cache
def asked(radius: str = "0.25", scale: str = "0.25") -> RadiusTarget:
    """Gaussian noise in ℓ2: a radius of one scale needs Φ(1) = 0.841 of the probability."""
    return Remembering(
        SmoothingGaussian.certificate,
        GaussianNoise(),
        Fraction(scale),
        Norm.L2,
        1,
        Fraction(radius),
    )


def certified(question: RadiusTarget, estimate: Estimate | None) -> bool:
    return estimate is not None and question.reached(estimate.probabilities)


def run(procedure: SamplingProcedure, votes: Votes, question: RadiusTarget) -> list[Estimate]:
    estimates = procedure(votes, question)
    assert all(estimate is not None for estimate in estimates)
    return [estimate for estimate in estimates if estimate is not None]


PROBABILITIES = (0.3, 0.6, 0.8, 0.83, 0.8413, 0.85, 0.86, 0.88, 0.92, 0.97, 0.999, 1.0)


@pytest.fixture(autouse=True)
def _remembered_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bound is computed once for all runs that meet its counts."""
    for module, name in (
        (sequential, "anytime_lower"),
        (sequential, "log_evidence"),
        (procedure_module, "clopper_pearson_lower"),
        (procedure_module, "clopper_pearson_upper"),
    ):
        monkeypatch.setattr(module, name, cache(getattr(module, name)))


def binary(probabilities: Iterable[float]) -> list[tuple[float, float]]:
    return [(p, 1 - p) for p in probabilities]


def three(p: float, other: float) -> tuple[float, float, float]:
    return (p, other, max(0.0, 1 - p - other))


def test_the_votes_here_are_votes() -> None:
    assert isinstance(Simulated(binary([0.5]), 10), Votes)


@pytest.mark.parametrize("sides", [1, 2])
def test_fixed_is_certify_with_all_its_samples(sides: int) -> None:
    votes = Simulated([three(0.9, 0.06), three(0.5, 0.3)], 1000)
    for row, estimate in enumerate(run(Fixed(100, 1000, 0.01, sides), votes, asked())):
        counts = np.bincount(votes.answers["estimation"][row], minlength=3).tolist()
        assert (estimate.n, estimate.count) == (1000, counts[0])
        assert estimate.runner_up == max(counts[1:3])
        share = 0.01 / sides
        assert estimate.probabilities.lower == clopper_pearson_lower(counts[0], 1000, share)
        if sides == 2:
            other = clopper_pearson_upper(max(counts[1:3]), 1000, 0.01 / 2 / 2)
            assert estimate.probabilities.upper == other
        else:
            assert estimate.probabilities == one_sided(estimate.probabilities.lower)


def test_two_sides_prove_more_where_the_rest_is_spread() -> None:
    votes = Simulated([(0.6, *[0.04] * 10), (0.9, 0.1, *[0.0] * 9)], 10_000)
    question = asked("0.1")
    one, two = (
        [
            question.certified(e.probabilities)
            for e in run(Fixed(100, 10_000, 0.01, s), votes, question)
        ]
        for s in (1, 2)
    )
    assert two[0] > 2 * one[0]
    assert two[1] < one[1] < two[1] * Fraction(11, 10)


@pytest.mark.parametrize("sides", [1, 2])
def test_curtailed_decides_as_fixed_in_every_run(sides: int) -> None:
    question, n = asked(), 640
    stopped_early = 0
    for seed in range(6):
        votes = Simulated([three(p, (1 - p) * 0.8) for p in PROBABILITIES], n, seed)
        pairs = zip(
            run(Fixed(100, n, 0.01, sides), votes, question),
            run(Curtailed(100, n, 0.01, sides), votes, question),
            strict=True,
        )
        for fixed, curtailed in pairs:
            assert certified(question, fixed) == certified(question, curtailed)
            assert fixed.prediction == curtailed.prediction
            assert curtailed.probabilities.lower <= fixed.probabilities.lower
            assert curtailed.probabilities.upper >= fixed.probabilities.upper
            drawn = dict(curtailed.statistics)["drawn"]
            stopped_early += drawn < n
            if drawn == n:
                assert curtailed.probabilities == fixed.probabilities
                assert curtailed.count == fixed.count
    assert stopped_early > 15


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=4), st.integers(0, 10**6), st.floats(0.05, 0.9)
)
def test_curtailed_decides_as_fixed_whatever_is_asked(
    probabilities: list[float], seed: int, radius: float
) -> None:
    question = asked(str(Fraction(radius).limit_denominator(1000)))
    votes = Simulated(binary(probabilities), 96, seed, n0=10)
    fixed = run(Fixed(10, 96, 0.05), votes, question)
    curtailed = run(Curtailed(10, 96, 0.05), votes, question)
    for one, other in zip(fixed, curtailed, strict=True):
        assert certified(question, one) == certified(question, other)


def test_curtailed_spares_the_samples_of_hopeless_examples() -> None:
    votes = Simulated([(0.3, 0.2), (0.5, 0.4)], 10_000)
    estimates = run(Curtailed(100, 10_000, 0.001), votes, asked())
    drawn = [dict(estimate.statistics)["drawn"] for estimate in estimates]
    assert max(drawn) < 3500
    assert all(estimate.note.startswith("abandoned after") for estimate in estimates)


def test_samples_without_a_class_are_no_votes_for_another() -> None:
    votes = Simulated([(0.9, 0.0)], 5000)
    for procedure in (Fixed, Curtailed, Sequential, InputSpecific):
        (estimate,) = run(procedure(100, 5000, 0.01, 2), votes, asked())
        assert estimate.runner_up <= 5000 - estimate.count


REPETITIONS, FAILURE = 3000, 0.1


def violations(
    procedure: SamplingProcedure, truth: Sequence[float], n: int, radius: str, repetitions: int
) -> int:
    """How often bounds of many independent examples of one kind are wrong."""
    question, wrong = asked(radius), 0
    for seed in range(6):
        votes = Simulated([truth] * (repetitions // 6), n, seed, block=80)
        for estimate in run(procedure, votes, question):
            p = truth[estimate.prediction]
            others = [q for c, q in enumerate(truth) if c != estimate.prediction]
            lower, upper = estimate.probabilities
            wrong += lower > p or (procedure.sides == 2 and upper < max(others))
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("name", list(PROCEDURES))
@pytest.mark.parametrize(
    ("truth", "radius"),
    [((0.84, 0.16), "0.25"), ((0.6, 0.3, 0.1), "0.05")],
    ids=["just not enough", "three classes"],
)
def test_bounds_are_wrong_no_more_often_than_allowed(
    name: str, sides: int, truth: tuple[float, ...], radius: str
) -> None:
    procedure = PROCEDURES[name](20, 400, FAILURE, sides)
    repetitions = REPETITIONS // sides**2
    wrong = violations(procedure, truth, 400, radius, repetitions)
    assert wrong <= binom.ppf(1 - 1e-6, repetitions, FAILURE)


def test_input_specific_sizes_follow_the_selection_samples_alone() -> None:
    question = asked()
    votes = Simulated(binary([1.0, 0.95, 0.85, 0.5]), 20_000, n0=100)
    before = run(InputSpecific(100, 20_000, 0.001), votes, question)
    votes.answers["estimation"] = votes.answers["estimation"][:, ::-1].copy()
    votes.answers["estimation"][0] = 1
    after = run(InputSpecific(100, 20_000, 0.001), votes, question)
    assert [estimate.n for estimate in before] == [estimate.n for estimate in after]
    sure, likely, near, hopeless = (estimate.n for estimate in before)
    assert sure <= likely < near == 20_000
    assert hopeless == votes.block
    assert [certified(question, estimate) for estimate in before][:2] == [True, True]


@pytest.mark.parametrize("name", ["curtailed", "sequential", "input-specific"])
def test_steps_and_companions_change_nothing(name: str) -> None:
    """Each example alone, and all in another order, stop at the same place with the same bounds."""
    question, n = asked(), 2000
    procedure = PROCEDURES[name](100, n, 0.01)
    together = Simulated(binary(PROBABILITIES), n, seed=3)
    whole = run(procedure, together, question)
    for row in range(len(together)):
        alone = Simulated(binary([PROBABILITIES[row]]), n)
        for stream in alone.answers:
            alone.answers[stream] = together.answers[stream][row : row + 1]
        (estimate,) = run(procedure, alone, question)
        assert estimate.n == whole[row].n
        assert estimate.probabilities == whole[row].probabilities
        assert estimate.statistics == whole[row].statistics


@pytest.mark.parametrize("name", list(PROCEDURES))
def test_no_time_proves_nothing(name: str) -> None:
    votes = Simulated(binary([0.9, 1.0]), 1000)
    votes.out_of_time_after = 100
    assert PROCEDURES[name](100, 1000, 0.01)(votes, asked()) == [None, None]


@pytest.mark.parametrize("name", ["curtailed", "sequential", "input-specific"])
def test_examples_that_have_stopped_keep_their_answer_when_time_runs_out(name: str) -> None:
    votes = Simulated(binary([1.0, 0.845]), 20_000)
    votes.out_of_time_after = 15_000
    question = asked("0.25")
    stopped, other = PROCEDURES[name](100, 20_000, 0.01)(votes, question)
    if name == "curtailed":
        assert stopped is None
    else:
        assert certified(question, stopped)
    assert other is None


@pytest.mark.parametrize("name", list(PROCEDURES))
def test_impossible_options_are_refused(name: str) -> None:
    kind = PROCEDURES[name]
    for n0, n, failure, sides in (
        (0, 10, 0.1, 1),
        (10, 0, 0.1, 1),
        (10, 10, 0.0, 1),
        (10, 10, 0.1, 3),
    ):
        with pytest.raises(ValueError):
            kind(n0, n, failure, sides)
    if name != "fixed":
        with pytest.raises(ValueError, match="first-order"):
            kind(10, 10, 0.1)(Simulated(binary([0.5]), 10), asked(), True)


@pytest.mark.parametrize("name", list(PROCEDURES))
@pytest.mark.parametrize("radius", ["0.6", "5"])
def test_a_radius_that_no_count_reaches_is_not_certified(name: str, radius: str) -> None:
    votes = Simulated(binary([1.0, 0.9]), 200)
    question = asked(radius)
    for estimate in run(PROCEDURES[name](100, 200, 0.001), votes, question):
        assert not certified(question, estimate)
    if name in ("curtailed", "sequential", "input-specific"):
        assert votes.asked == 2 * (100 + votes.block)


@given(st.integers(1, 10**6), st.sampled_from((16, 64, 1024)))
def test_looks_are_at_blocks_and_end_with_n(n: int, block: int) -> None:
    ends = list(looks(n, block))
    assert ends[-1] == n
    assert all(end % block == 0 for end in ends[:-1])
    assert all(a < b for a, b in pairwise(ends))
    assert len(ends) < 130


@given(st.floats(0, 1))
def test_one_sided_bounds_leave_no_gap(lower: float) -> None:
    upper = one_sided(lower).upper
    assert Fraction(upper) + Fraction(lower) >= 1
    assert upper - 2**-52 <= 1 - lower


def test_the_better_of_two_upper_bounds_is_taken() -> None:
    assert two_sided(0.75, 0.5) == Probabilities(0.75, 0.25)
    assert two_sided(0.75, 0.125) == Probabilities(0.75, 0.125)
    assert two_sided(0.0, nan).upper != 0


def test_the_largest_other_count_is_never_the_class_itself() -> None:
    counts = torch.tensor([[5, 1, 2], [5, 9, 2], [7, 7, 0]])
    assert largest_other(counts, torch.tensor([0, 0, 1])).tolist() == [2, 9, 7]


def test_the_radius_needs_what_the_normal_distribution_says() -> None:
    assert asked().needed == pytest.approx(norm.cdf(1), abs=1e-5)


@pytest.mark.parametrize("name", PROCEDURES)
@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("failure", [0.001, 0.05])
def test_the_least_number_of_samples_certifies_and_one_fewer_does_not(
    name: str, sides: int, failure: float
) -> None:
    """Where every vote is for one class."""
    asking = {"procedure": name, "sides": sides, "failure_probability": failure}
    least = SmoothingGaussian(**asking).least_samples(3)  # type: ignore[arg-type]
    for n in (least - 1, least):
        procedure = PROCEDURES[name](10, n, failure, sides)
        votes = Simulated([(1.0, 0.0, 0.0)], n, n0=10)
        noise = GaussianNoise()
        asked = RadiusTarget(
            SmoothingGaussian.certificate, noise, Fraction(1), Norm.L2, 4, Fraction(1, 10**9)
        )
        (estimate,) = procedure(votes, asked)
        assert estimate is not None
        assert is_decided(estimate.probabilities) == (n == least)
