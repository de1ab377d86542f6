"""The question: is the label the answer everywhere in a region around each example?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.numerics.deadline import Clock, Deadline, processor_time, wall_time
from evaluators.question.region import Box, Region


@dataclass(frozen=True)
class Problem:
    """A batch of questions about one network.

    Attributes:
        x: float32 examples `[batch, channel, height, width]`.
        labels: the right class of each, `[batch]`.
        region: what may be perturbed, around each example.
        seconds: time budget of one example: on the CPU of processor time of the thread that asks,
            elsewhere by the wall clock (`deadline.py`).
        examples: index of each example in its dataset; keys of the random streams of methods that
            draw for each example (the attack), unused by those that share their noise.
        seed: key of the random streams of this evaluation.
        evidence: whether verdicts shall carry certificates, where the method can write them.
        devices: others of the kind that `x` is on, which may count samples along.
        deployed: whether a proof must hold for every float32 run of the network, too, as somebody
            deploys it (`deployment.py`), not in real arithmetic alone.
        until: a time of the wall clock at which all work must stop, whatever is left of budgets.
    """

    network: Network | SmoothedNetwork
    x: Float[Tensor, "batch ..."]
    labels: Int64[Tensor, " batch"]
    region: Region
    seconds: float = 60.0
    examples: tuple[int, ...] = ()
    seed: int = 0
    evidence: bool = False
    devices: tuple[torch.device, ...] = ()
    deployed: bool = True
    until: float = math.inf

    def __post_init__(self) -> None:
        batch, shape = self.x.shape[0], tuple(self.x.shape[1:])
        if shape != self.network.input_shape:
            expected = self.network.input_shape
            raise ValueError(f"Examples have shape {shape}, the network {expected}.")
        if isinstance(self.region, Box):
            if self.region.lower.shape != self.x.shape:
                raise ValueError(
                    f"Examples of shape {tuple(self.x.shape)} but boxes of shape"
                    f" {tuple(self.region.lower.shape)}."
                )
            if not isinstance(self.network, Network):
                # A smoothed radius of 0 or more would pass for a proof about the box.
                raise ValueError("Boxes are asked about deterministic networks only.")
        if self.labels.dim() != 1 or self.labels.is_floating_point():
            kind = f"{self.labels.dtype} of shape {tuple(self.labels.shape)}"
            raise ValueError(f"Labels must be one whole number for each example, not {kind}.")
        if self.labels.shape[0] != batch:
            raise ValueError(f"{batch} examples but {self.labels.shape[0]} labels.")
        if batch and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.classes:
            raise ValueError(f"Labels must lie in 0 to {self.classes - 1}.")
        if not self.examples:
            object.__setattr__(self, "examples", tuple(range(batch)))
        if len(self.examples) != batch:
            raise ValueError(f"{batch} examples but {len(self.examples)} indices.")

    def __len__(self) -> int:
        return self.x.shape[0]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.network.classes

    def deadline(self, examples: int = 1) -> Deadline:
        """Start the time budget of so many examples."""
        return Deadline(self.seconds * examples, self._clock, self.until)

    def stopwatch(self) -> Deadline:
        """Start to count the time of work on these examples."""
        return Deadline(clock=self._clock)

    @property
    def _clock(self) -> Clock:
        return processor_time if self.x.device.type == "cpu" else wall_time

    def select(self, rows: Sequence[int]) -> "Problem":
        """Ask the same question about some of the examples, in the order given."""
        index = torch.as_tensor(list(rows), dtype=torch.long, device=self.x.device)
        return replace(
            self,
            x=self.x[index],
            labels=self.labels[index],
            region=self.region.select(rows),
            examples=tuple(self.examples[row] for row in rows),
        )
