"""Training on splitting noise, so that a derandomized smoothed network can certify in ℓ1."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from evaluators.learning.learner import Learner
from evaluators.learning.recipe import Loss, Recipe, TrainingBatch
from evaluators.noises.splitting import CUTS, LEVELS, noisy_rows


@dataclass(frozen=True)
class SplittingTraining(Recipe):
    """Minimise cross-entropy on one random split of each example (Levine and Feizi 2021).

    The split is one of those that `splitting-noise` counts, with the same fixed offsets (arXiv
    2103.10834), here with cuts at thirds, which prove larger radii than the paper's halfway. Most
    of what the network sees is 1/2 everywhere: it hardly learns without normalisation.

    Attributes:
        sigma: the scale λ of the noise, in units of pixels in [0, 1]; 2·255·λ is whole.
    """

    sigma: float = 4.0

    title = "Splitting noise"
    paper = "Levine and Feizi 2021, arXiv 2103.10834"
    node = "training/augmentation-based"
    noise = "splitting-thirds"

    def __post_init__(self) -> None:
        """Refuse a scale that has no whole number of steps."""
        if self.sigma <= 0 or abs(2 * LEVELS * self.sigma - self.steps) > 1e-6:
            raise ValueError(f"2·255·{self.sigma} is no whole number of steps.")

    @property
    def steps(self) -> int:
        """The number of steps of 1/255 in a period."""
        return round(2 * LEVELS * self.sigma)

    def loss(self, learner: Learner, batch: TrainingBatch) -> Loss:
        """Compute the mean cross-entropy, each image at the nearest point of the grid of pixels."""
        x, labels, _, generator = batch
        pixels = (x * LEVELS).round().long().flatten(1)
        cuts = CUTS[self.noise]
        splits = cuts * self.steps
        numbers = torch.randint(splits, (len(x),), generator=generator, device=x.device)
        noisy = noisy_rows(pixels, splits, numbers, cuts).reshape(x.shape)
        return F.cross_entropy(learner(noisy), labels)
