"""PREDICT of Cohen, Rosenfeld and Kolter 2019 (arXiv 1902.02918), for any noise.

Their CERTIFY is the procedure "fixed".
"""

import torch
from jaxtyping import Float32
from torch import Tensor

from evaluators.network.ensemble import SmoothedNetwork
from evaluators.noises.distribution import Distribution
from evaluators.sampling.block import group_size
from evaluators.sampling.noise import NoiseStream
from evaluators.sampling.votes import count_votes
from evaluators.smoothing.confidence import check_trials, sign_test


def predict(
    network: SmoothedNetwork,
    distribution: Distribution,
    x: Float32[Tensor, "batch ..."],
    n: int,
    failure_probability: float,
    seed: int = 0,
) -> list[int | None]:
    """Predict the smoothed network's class of each example by PREDICT; None is abstention.

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
