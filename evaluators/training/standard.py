"""Plain training: cross-entropy on the examples as they are."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor

from evaluators.learning.recipe import Recipe
from evaluators.network.network import Network


@dataclass(frozen=True)
class Standard(Recipe):
    """Minimise the cross-entropy of the training set; nothing is done for robustness."""

    title: ClassVar[str] = "Standard training"

    def loss(
        self,
        network: Network,
        x: Float32[Tensor, "batch ..."],
        labels: Int64[Tensor, " batch"],
        progress: float,  # noqa: ARG002
        generator: torch.Generator,  # noqa: ARG002
    ) -> Float32[Tensor, ""]:
        """Compute the mean cross-entropy."""
        return F.cross_entropy(network(x), labels)
