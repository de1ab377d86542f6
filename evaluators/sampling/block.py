"""One block of noisy copies of an example: how large it is, and which class each copy votes for."""

from math import prod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from evaluators.network.ensemble import Ensemble
from evaluators.network.network import Network
from evaluators.sampling.noise import GRAIN

_ENTRIES = {"cpu": 2**20, "cuda": 2**26}
"""Entries of a block's largest layer: it stays in a cache (CPU), or fills the device (CUDA)."""

_LOGITS = 2**22
"""Logits kept before they are counted; bounds how many examples share one drawing of noise."""


class OvertimeError(Exception):
    """The time budget is used up."""


def block_size(network: Network | Ensemble, device: torch.device) -> int:
    """Choose the copies of one example in a forward pass, a power of two, by network and device."""
    networks = network.networks if isinstance(network, Ensemble) else (network,)
    largest = max(prod(node.shape) for member in networks for node in member.nodes)
    fitting = _ENTRIES["cpu" if device.type == "cpu" else "cuda"] // largest
    return min(max(1 << max(fitting.bit_length() - 1, 0), GRAIN), 1024)


def group_size(network: Network | Ensemble, device: torch.device) -> int:
    """Choose how many examples share one drawing of noise."""
    return max(1, _LOGITS // (block_size(network, device) * network.classes))


def winners(logits: Float[Tensor, "*rows classes"]) -> Bool[Tensor, "*rows classes"]:
    """Mark the winning classes in one-hot rows; a row is all zero where no class wins.

    The base classifier answers with the class of the one largest logit; with no class at all when
    the largest is tied, or when any logit is not finite. It is a fixed function of its input.
    """
    highest, lowest = logits.amax(-1, keepdim=True), logits.amin(-1, keepdim=True)
    largest = logits == highest
    # NaN is both the highest and the lowest of its row.
    finite = highest.isfinite() & lowest.isfinite()
    return largest & (finite & (largest.sum(-1, keepdim=True) == 1))
