"""CERTIFY and PREDICT of Cohen, Rosenfeld and Kolter 2019 (arXiv 1902.02918), for any noise."""

import time
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod

import torch
from jaxtyping import Float32
from torch import Tensor

from evaluators.network import SmoothedNetwork
from evaluators.probabilistic._confidence import check_trials, clopper_pearson_lower, sign_test
from evaluators.probabilistic._distribution import Distribution
from evaluators.probabilistic._noise import NoiseStream
from evaluators.probabilistic._votes import count_votes, group_size
from evaluators.problem import Problem
from evaluators.verdict import Sampling, Status, Verdict


@dataclass(frozen=True)
class Procedure:
    """Algorithm CERTIFY: `n0` samples select the class, `n` others bound its probability.

    `failure_probability` bounds the chance of a false certificate, for each example.
    """

    n0: int
    n: int
    failure_probability: float

    def __post_init__(self) -> None:
        check_trials(0, self.n0, self.failure_probability)
        check_trials(0, self.n, self.failure_probability)

    def __call__(self, problem: Problem, distribution: Distribution) -> list[Verdict]:
        """One verdict for each example; radii are in the norm of the problem's region."""
        assert isinstance(problem.network, SmoothedNetwork)
        if problem.network.distribution != distribution.name:
            note = f"unsupported: the noise is {problem.network.distribution}"
            return [Verdict(Status.UNKNOWN, None, note=note) for _ in range(len(problem))]
        size = group_size(problem.network.base, problem.x.device)
        verdicts: list[Verdict] = []
        for start in range(0, len(problem), size):
            rows = range(start, min(start + size, len(problem)))
            verdicts += self._group(problem.select(rows), problem.network, distribution)
        return verdicts

    def _group(
        self, problem: Problem, network: SmoothedNetwork, distribution: Distribution
    ) -> list[Verdict]:
        deadline = time.perf_counter() + problem.seconds * len(problem)
        selection = self._votes(problem, network, distribution, "selection", self.n0, deadline)
        estimation = self._votes(problem, network, distribution, "estimation", self.n, deadline)
        if selection is None or estimation is None:
            return [Verdict(Status.UNKNOWN, None, note="timeout") for _ in range(len(problem))]
        top = selection.argmax(1, keepdim=True)
        counts = estimation.gather(1, top)[:, 0].tolist()
        rows = zip(top[:, 0].tolist(), counts, problem.labels.tolist(), strict=True)
        verdicts = []
        for prediction, count, label in rows:
            p_lower = clopper_pearson_lower(count, self.n, self.failure_probability)
            sampling = Sampling(self.n0, self.n, count, p_lower, network.scale, problem.seed)
            norm, dimension = problem.region.norm, prod(network.input_shape)
            radius = distribution.radius(p_lower, network.scale, norm, dimension)
            verdict = conclude(prediction, label, p_lower, radius, problem.region.radius)
            confidence = 1 - self.failure_probability
            verdicts.append(replace(verdict, confidence=confidence, sampling=sampling))
        return verdicts

    def _votes(
        self,
        problem: Problem,
        network: SmoothedNetwork,
        distribution: Distribution,
        stream: str,
        samples: int,
        deadline: float,
    ) -> Tensor | None:
        noise = NoiseStream(distribution, network.input_shape, problem.seed, stream)
        return count_votes(network, problem.x, noise, samples, deadline)


def conclude(
    prediction: int, label: int, p_lower: float, radius: Fraction, asked: Fraction
) -> Verdict:
    """What follows from a bound on the probability of the selected class."""
    if not p_lower > 0.5:
        return Verdict(Status.UNKNOWN, None, note="abstained")
    if prediction != label:
        return Verdict(Status.UNKNOWN, prediction, note=f"predicted {prediction}")
    if radius < asked:
        note = f"radius {float(radius):.6g} is below {float(asked):.6g}"
        return Verdict(Status.UNKNOWN, prediction, radius, note=note)
    return Verdict(Status.CERTIFIED, prediction, radius)


def predict(
    network: SmoothedNetwork,
    distribution: Distribution,
    x: Float32[Tensor, "batch ..."],
    n: int,
    failure_probability: float,
    seed: int = 0,
) -> list[int | None]:
    """Algorithm PREDICT: the smoothed network's class of each example, None for abstention.

    A class that is returned is the most likely one, except with `failure_probability` (for each
    example): the two most frequent among `n` samples are compared by a two-sided binomial test
    (Hung and Fithian 2019).
    """
    check_trials(0, n, failure_probability)
    noise = NoiseStream(distribution, network.input_shape, seed, "prediction")
    size = group_size(network.base, x.device)
    answers: list[int | None] = []
    for start in range(0, len(x), size):
        group = x[start : start + size]
        votes = count_votes(network, group, noise, n)
        assert votes is not None
        # Samples without a winner stand for a further class, which may be the runner-up.
        none = n - votes.sum(1, keepdim=True)
        counts, classes = torch.cat((votes, none), 1).topk(2)
        for (larger, smaller), (best, _) in zip(counts.tolist(), classes.tolist(), strict=True):
            sure = best < network.classes and sign_test(larger, smaller) <= failure_probability
            answers.append(best if sure else None)
    return answers
