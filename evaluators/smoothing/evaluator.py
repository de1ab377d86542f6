"""What all evaluators of smoothed networks share: noise, counts, bounds, a radius, a verdict.

An evaluator of the family is a subclass of `SmoothingEvaluator` that names a noise or a
certificate. Everything random happens here, and in the same way for all.
"""

from bisect import bisect_left
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import ClassVar

from evaluators.evaluator import Evaluator
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.noises import distributions
from evaluators.noises.distribution import Distribution, Probabilities
from evaluators.question.problem import Problem
from evaluators.question.verdict import Sampling, Status, Verdict, charged_in_all
from evaluators.sampling.block import group_size
from evaluators.sampling.probe import refusal
from evaluators.sampling.votes import NoisyVotes
from evaluators.smoothing.curtailed import Curtailed
from evaluators.smoothing.fixed import Fixed
from evaluators.smoothing.input_specific import InputSpecific
from evaluators.smoothing.procedure import Estimate, SamplingProcedure, Statistics
from evaluators.smoothing.radius import RadiusCertificate, RadiusTarget
from evaluators.smoothing.sequential import Sequential

PROCEDURES: dict[str, type[SamplingProcedure]] = {
    "fixed": Fixed,
    "curtailed": Curtailed,
    "sequential": Sequential,
    "input-specific": InputSpecific,
}
"""Ways to spend samples, by name."""

SHARING = ("shared", "own")
"""Whether the examples of a page meet the same noise, or each its own."""


@dataclass(frozen=True)
class SmoothingEvaluator(Evaluator):
    """Randomized smoothing with any noise, certificate and procedure.

    Attributes:
        n0: samples that select the class.
        n: the most further samples that bound its probability.
        failure_probability: chance of a false certificate for one example.
        procedure: name of the way to spend samples.
        sides: 1 takes the other classes to have all that the first has not; 2 bounds them too.
        noise: "shared" by all examples of a seed, or each example's "own".
        certificate: how probabilities give a radius.
        only: name of the one distribution that this evaluator is for; None for any that the
            certificate supports.
        share: part of `failure_probability` that bounds of class probabilities may use; the rest
            is for what else a certificate estimates.
    """

    n0: int = 100
    n: int = 100_000
    failure_probability: float = 0.001
    procedure: str = "fixed"
    sides: int = 1
    noise: str = "shared"

    accepts = SmoothedNetwork
    certificate: ClassVar[RadiusCertificate]
    only: ClassVar[str | None] = None
    share: ClassVar[float] = 1.0

    def solve(self, problem: Problem) -> list[Verdict]:
        """Draw, count, bound and conclude, for groups of examples that share their noise."""
        assert isinstance(problem.network, SmoothedNetwork)
        procedure = self._procedure()
        distribution, note = self._distribution(problem)
        note = note or refusal(problem.network, problem.x)
        if distribution is None or note:
            return [Verdict(Status.UNKNOWN, None, note=note) for _ in range(len(problem))]
        size = group_size(problem.network.base, problem.x.device)
        verdicts: list[Verdict] = []
        for start in range(0, len(problem), size):
            rows = range(start, min(start + size, len(problem)))
            verdicts += self._group(problem.select(rows), procedure, distribution)
        return verdicts

    def certify(self, asked: RadiusTarget, estimate: Estimate) -> tuple[Fraction, Statistics]:
        """Compute the radius that an example's estimate proves, and say what else it came from.

        A first-order evaluator overrides this; its estimates carry `moments`.
        """
        return asked.certified(estimate.probabilities), ()

    def least_samples(self, classes: int) -> int:
        """Find the least `n` with which anything can be certified: what all samples agree on."""

        def suffices(n: int) -> bool:
            return is_decided(replace(self, n=n)._procedure().unanimous(classes))

        most = 1
        while not suffices(most):
            most *= 2
        return bisect_left(range(most), True, key=lambda n: n > 0 and suffices(n))

    def _procedure(self) -> SamplingProcedure:
        if self.procedure not in PROCEDURES:
            known = ", ".join(PROCEDURES)
            raise ValueError(f"No procedure is called '{self.procedure}', only {known}.")
        if self.noise not in SHARING:
            raise ValueError(f"Noise is {' or '.join(SHARING)}, not '{self.noise}'.")
        spent = self.failure_probability * self.share
        return PROCEDURES[self.procedure](self.n0, self.n, spent, self.sides)

    def _distribution(self, problem: Problem) -> tuple[Distribution | None, str]:
        """Find the distribution of the problem's noise, or None and why there is no certificate."""
        assert isinstance(problem.network, SmoothedNetwork)
        name, norm = problem.network.distribution, problem.region.norm
        distribution = distributions().get(name)
        if distribution is None or self.only not in (None, name):
            return None, f"unsupported: the noise is {name}"
        if not self.certificate.supports(distribution, norm):
            return None, f"unsupported: {self.certificate.name} with {name} noise in {norm}"
        return distribution, ""

    def _group(
        self, problem: Problem, procedure: SamplingProcedure, distribution: Distribution
    ) -> list[Verdict]:
        network, region = problem.network, problem.region
        assert isinstance(network, SmoothedNetwork)
        work, deadline = problem.stopwatch(), problem.deadline(len(problem))
        votes = NoisyVotes(problem, distribution, self.noise == "own", deadline)
        dimension = prod(network.input_shape)
        asked = RadiusTarget(
            self.certificate, distribution, network.scale, region.norm, dimension, region.radius
        )
        estimates = procedure(votes, asked, self.certificate.first_order)
        labels = problem.labels.tolist()
        verdicts = [
            replace(self._verdict(problem, asked, label, estimate), seconds=seconds)
            for label, estimate, seconds in zip(labels, estimates, votes.seconds, strict=True)
        ]
        return charged_in_all(verdicts, work.spent)

    def _verdict(
        self, problem: Problem, asked: RadiusTarget, label: int, estimate: Estimate | None
    ) -> Verdict:
        if estimate is None:
            return Verdict(Status.UNKNOWN, None, note="timeout")
        radius, statistics = self.certify(asked, estimate)
        sampling = Sampling(
            n0=self.n0,
            n=estimate.n,
            count=estimate.count,
            p_lower=estimate.probabilities.lower,
            sigma=asked.scale,
            seed=problem.seed,
            procedure=self.procedure,
            noise=self.noise,
            classes=problem.classes,
            p_upper=estimate.probabilities.upper if self.sides == 2 else None,
            runner_up=estimate.runner_up if self.sides == 2 else None,
            statistics=estimate.statistics + statistics,
        )
        verdict = conclude(estimate, label, radius, asked.radius)
        return replace(verdict, confidence=1 - self.failure_probability, sampling=sampling)


def conclude(estimate: Estimate, label: int, radius: Fraction, asked: Fraction) -> Verdict:
    """Conclude a verdict from bounds of the class probabilities and the radius that they give."""
    prediction, bounds = estimate.prediction, estimate.probabilities
    if not is_decided(bounds):
        return Verdict(Status.UNKNOWN, None, note=estimate.note or "abstained")
    if prediction != label:
        return Verdict(Status.UNKNOWN, prediction, note=f"predicted {prediction}")
    if radius < asked:
        note = f"radius {float(radius):.6g} is below {float(asked):.6g}"
        note = f"{note}; {estimate.note}" if estimate.note else note
        return Verdict(Status.UNKNOWN, prediction, radius, note=note)
    return Verdict(Status.CERTIFIED, prediction, radius)


def is_decided(bounds: Probabilities) -> bool:
    """Tell whether the class bounded from below is surely the likeliest."""
    return bounds.lower > 0.5 or bounds.lower > bounds.upper
