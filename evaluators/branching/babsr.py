"""BaBSR: what the relaxation of each unstable neuron costs a bound.

BaBSR (Bunel et al. 2020, JMLR 21(42)) splits the neuron whose relaxation costs the bound most. A
neuron costs something where its coefficient is negative, since there the bound uses the line above
it. At the kink that line is above the neuron by its intercept, more than anywhere else: this is
BaBSR's intercept score. At the input where the relaxation is least it is above by the *gap*, which
is what the bound loses there.
"""

import torch
from torch import Tensor

from evaluators.branching.batch import Minimum


def babsr(least: Minimum) -> tuple[Tensor, Tensor]:
    """Score every neuron by its gap and by its intercept, `[domains, units]` each.

    A neuron that is stable or split scores zero.
    """
    negative, lines, z = (-least.coefficients).clamp(min=0), least.choice, least.z
    gap = z * lines.chords + lines.offsets - torch.maximum(z, least.leak * z)
    return negative * gap, negative * lines.offsets
