"""BaBSR: what the relaxation of each unstable neuron costs a bound.

BaBSR (Bunel et al. 2020, JMLR 21(42)) splits the neuron whose relaxation costs the bound most. A
neuron costs something where its coefficient is negative, since there the bound uses the line above
it. At the kink that line is above the neuron by its intercept, more than anywhere else: this is
BaBSR's intercept score. At the input where the relaxation is least it is above by the *gap*, which
is what the bound loses there.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.branching.bounding import Relaxed


class Scores(NamedTuple):
    """What the line above each neuron costs each domain's bound.

    Attributes:
        gap: at the input where the relaxation is least, `[domains, units]`.
        intercept: at the kink, `[domains, units]`.
    """

    gap: Tensor
    intercept: Tensor


def babsr(relaxed: Relaxed) -> Scores:
    """Score every neuron of every domain; a stable or split one costs nothing."""
    negative = (-relaxed.coefficients).clamp(min=0)
    lines, z = relaxed.choice, relaxed.z
    true = torch.maximum(z, relaxed.leak * z)
    gap = negative * (z * lines.chords + lines.offsets - true)
    return Scores(gap, negative * lines.offsets)
