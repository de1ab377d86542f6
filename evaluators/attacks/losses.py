"""What attacks minimise: each loss is small where the label is least likely to win."""

import torch
from torch import Tensor

AWAY_FROM_ZERO = 1e-12
"""Keeps differences of logits that divide away from zero."""


def label_margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Label's logit minus the best other, `[batch]`."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return own[:, 0] - others.amax(1)


def log_likelihoods(logits: Tensor, labels: Tensor) -> Tensor:
    """The label's log likelihood, the negative of the cross-entropy, `[batch]`."""
    return logits.log_softmax(1).gather(1, labels[:, None])[:, 0]


def logit_ratios(logits: Tensor, labels: Tensor) -> Tensor:
    """The margin in units of how far the third logit is below the first, `[batch]`.

    The negative of the difference of logits ratio (Croce and Hein 2020, equation 3): no scale or
    shift of the logits changes it. Of fewer than three classes it is the margin.
    """
    if logits.shape[1] < 3:
        return label_margins(logits, labels)
    best = logits.topk(3, dim=1).values
    return label_margins(logits, labels) / (best[:, 0] - best[:, 2] + AWAY_FROM_ZERO)


def targeted_ratios(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The same of the margin to a class chosen (ibid., equation 6), of four classes or more."""
    own, target = logits.gather(1, torch.stack((labels, targets), 1)).unbind(1)
    best = logits.topk(4, dim=1).values
    return (own - target) / (best[:, 0] - (best[:, 2] + best[:, 3]) / 2 + AWAY_FROM_ZERO)
