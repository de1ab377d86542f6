"""FSB: filtered smart branching (De Palma et al. 2021, arXiv 2104.06718).

Cheap scores name a few candidates for each domain, and both children of each candidate are bounded
once, without an ascent. The split with the largest sum of the children's bounds wins, a child that
is proved counting as zero; the better child counts more, since the worse one's bound rises least
and is often the parent's.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CANDIDATES = 4
"""Candidates that each score names. Domains of positions 2 and 10 as in `tuning.py`: 908 and 1,808;
two candidates 1,032 and 2,099; eight 837 and 1,753, in about the same time."""

BETTER_CHILD = 1.5
"""Weight of the better child's bound in the sum: 0.5 takes 1,000 and 1,892 domains, 1 takes 922 and
1,831, 2 takes 895 and 1,801."""

ChildBounds = Callable[[Tensor], Tensor]
"""Lower bounds `[domains, candidates, 2]` of both children of each domain, split at each of its
candidates `[domains, candidates]`."""


def fsb(scores: Sequence[Tensor], unstable: Tensor, child_bounds: ChildBounds) -> Tensor:
    """Choose the neuron that each domain splits, `[domains]`.

    Args:
        scores: how much each split promises, `[domains, units]` each.
        unstable: the neurons that can be split, `[domains, units]`, at least one of each domain.
        child_bounds: bounds the children; it is all that branching knows of bounds.
    """
    count = min(CANDIDATES, unstable.shape[1])
    # Whatever the numbers are, an unstable neuron comes first.
    ranked = [score.nan_to_num(0.0).masked_fill(~unstable, -torch.inf) for score in scores]
    candidates = torch.cat([score.topk(count, dim=1).indices for score in ranked], 1)
    bounds = child_bounds(candidates).nan_to_num(-torch.inf).clamp(max=0)
    value = bounds.amin(2) + BETTER_CHILD * bounds.amax(2)
    value = value.masked_fill(~unstable.gather(1, candidates), -torch.inf)
    return candidates.gather(1, value.argmax(1, keepdim=True))[:, 0]
