"""What a training recipe is: a loss, and the folder listing that finds it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from evaluators.learning.architectures import Style
from evaluators.learning.learner import Learner

Loss = Float32[Tensor, ""]


class TrainingBatch(NamedTuple):
    """Examples to learn from, at one point of the training.

    Attributes:
        progress: how much of the training is done, from 0 to 1.
        generator: the only source of randomness.
    """

    x: Float32[Tensor, "batch ..."]
    labels: Int64[Tensor, " batch"]
    progress: float
    generator: torch.Generator


@dataclass(frozen=True)
class Recipe(ABC):
    """A way to train. One file with one subclass, whose fields are its options; named by the file.

    Attributes:
        title: its name in the literature.
        paper: where it is from, as in a description.
        node: its place in the taxonomy.
        noise: the distribution of `SmoothedNetwork` that its networks are smoothed with, in which
            case its field `sigma` is the scale; empty where they are not.
        architecture: the only one that it trains; empty where it trains any.
        for_intervals, rescaling, residual, isometric: what it asks of an architecture (`Style`).
    """

    title: ClassVar[str]
    paper: ClassVar[str]
    node: ClassVar[str]
    noise: ClassVar[str] = ""
    architecture: ClassVar[str] = ""
    for_intervals: ClassVar[bool] = False
    rescaling: ClassVar[str] = ""
    residual: ClassVar[int] = 0
    isometric: ClassVar[bool] = False

    @classmethod
    def name(cls) -> str:
        """Return the recipe's name on the command line: that of its file, with hyphens."""
        return cls.__module__.rsplit(".", 1)[-1].replace("_", "-")

    @classmethod
    def style(cls, *, normalised: bool = False, width: float = 1.0) -> Style:
        """Return the style of an architecture that it trains, with what is left to the user."""
        asked = cls.rescaling, cls.residual, cls.isometric
        return Style(cls.for_intervals, normalised, width, *asked)

    @abstractmethod
    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute what to minimise on one batch."""
