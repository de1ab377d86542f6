"""The optimizers of the shared loop, by name, each with one learning rate that a schedule sets."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

MUON_RATE = 50.0
"""Muon's learning rate, the spectral norm of a step, is this many times Adam's beside it."""


class WeightOptimizer:
    """PyTorch's optimizers of parts of the weights, whose learning rates keep their ratios."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer], weights: Sequence[Tensor]) -> None:
        self.parts, self.weights = parts, weights
        self._rates = [part.param_groups[0]["lr"] for part in parts]

    def step(self, share: float) -> None:
        """Change the weights by their gradients, at this share of the first learning rates."""
        for part, rate in zip(self.parts, self._rates, strict=True):
            part.param_groups[0]["lr"] = rate * share
            part.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self.weights:
            weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {str(number): part.state_dict() for number, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        for number, part in enumerate(self.parts):
            part.load_state_dict(state[str(number)])


class Muon(WeightOptimizer):
    """Muon (Jordan et al. 2024) for kernels and matrices, Adam for vectors and the last weight.

    Each step of a kernel, read as a matrix with a row for each channel, is the gradients' mean with
    its singular values made nearly equal, by Newton and Schulz's iteration
    (https://kellerjordan.github.io/posts/muon/; PyTorch's implementation).
    """

    def __init__(self, weights: Sequence[Tensor], rate: float) -> None:
        *hidden, last = [one for one in weights if one.dim() > 1 and one.requires_grad]
        self.kernels = hidden
        self.matrices = [_view(kernel) for kernel in hidden]
        rest = [last, *(one for one in weights if one.dim() == 1)]
        muon = torch.optim.Muon(self.matrices, lr=MUON_RATE * rate, weight_decay=0.0, momentum=0.9)
        super().__init__((muon, torch.optim.Adam(rest, lr=rate)), weights)

    def step(self, share: float) -> None:
        """Change the weights by their gradients, at this share of the first learning rates."""
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            assert kernel.grad is not None
            matrix.grad = _rows(kernel.grad).flatten(1)
        super().step(share)


def adam(weights: Sequence[Tensor], rate: float) -> WeightOptimizer:
    """Make Adam (Kingma and Ba 2015, arXiv 1412.6980) for all weights."""
    return WeightOptimizer([torch.optim.Adam(weights, lr=rate)], weights)


OPTIMIZERS: dict[str, Callable[[Sequence[Tensor], float], WeightOptimizer]] = {
    "adam": adam,
    "muon": Muon,
}
"""By name: from the weights, in order, and Adam's learning rate."""

TITLES = {"adam": "Adam", "muon": f"Muon, at {MUON_RATE:g} times the learning rate of Adam"}
"""How each is told, by name."""


def _rows(kernel: Tensor) -> Tensor:
    """A kernel with its input channels last, in which order its memory is."""
    return kernel.movedim(1, -1)


def _view(kernel: Tensor) -> Tensor:
    """A matrix that shares a kernel's memory; an error where that cannot be."""
    return _rows(kernel.detach()).view(len(kernel), -1)
