"""Which neurons' bounds matter: those whose relaxation the open margins lose most at.

A margin's bound loses at most |A| times the largest distance between a neuron's two lines, A the
neuron's coefficient. Where that is nothing, narrower bounds of the neuron are worth nothing either.
"""

import torch
from torch import Tensor

from evaluators.branching.batch import Minimum
from evaluators.branching.state import Search, State

SHARE_OF_KINKED = 0.999
"""Share of all influence that the chosen neurons have. A neuron of a piecewise linear network may
turn out stable, and is one less to split: with 0.99 the worst margin of an MNIST 9x200 is -0.66
instead of -0.01, for the same 0.26 s; of a CIFAR ResNet-2b -1.19 instead of -1.17, 1.10 s instead
of 1.24 s."""

SHARE_OF_CURVED = 0.9
"""Neurons of sigmoids never do: on a sigmoid ConvSmall the margin is 0.116 with 0.9 and with all,
in 7.4 s instead of 9.4 s."""


def influential(state: State) -> dict[int, Tensor]:
    """Choose neurons of a search that has not split anything yet.

    Returns:
        masks of flat entries of pre-activations, by position.
    """
    search = state.search
    network = search.around.unrolled.network
    scores = influence(search, search.batch(state.open, state.rounding).minimum())
    order = scores.argsort(descending=True)
    share = SHARE_OF_KINKED if search.piecewise_linear else SHARE_OF_CURVED
    few = scores[order].cumsum(0) < share * scores.sum()
    worth = torch.zeros_like(few)
    # The one that reaches the share, too.
    worth[order[: int(few.sum()) + 1]] = True
    chosen, first = dict[int, Tensor](), 0
    for layer in search.around.unrolled.layers:
        place, *others = network.nodes[layer.position].parents
        its, first = worth[first : first + len(layer)], first + len(layer)
        if others:  # both factors of a product are tightened as a whole
            continue
        none = torch.zeros(search.around.unrolled.bounds[place].lower.numel(), dtype=torch.bool)
        chosen.setdefault(place, none)[layer.entries] |= its
    return chosen


def influence(search: Search, least: Minimum) -> Tensor:
    """How much all rows together may lose at each neuron, `[units]`."""
    choice, ends = least.choice, (search.lines.lower, search.lines.upper)
    floors = 0.0 if choice.floors is None else choice.floors
    apart = [
        (choice.chords - choice.slopes) * end.to(choice.slopes) + choice.offsets - floors
        for end in ends
    ]
    return (least.coefficients.abs() * torch.maximum(*apart)).nan_to_num(0.0).sum(0)
