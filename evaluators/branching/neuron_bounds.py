"""Bounds of neurons by searches of their own, before the margins are searched.

In a deep network the bounds of the last layers are loose because those before them are, and no
split of a margin's domain narrows any of them. So α,β-CROWN refines the bounds of neurons layer by
layer with mixed-integer programs before it branches (Wang et al. 2021, arXiv 2103.06624). Here each
neuron's bound is searched like a margin: the worst part of the region is split at an unstable
neuron of an earlier layer, round after round, for all neurons of a layer and both their bounds in
common batches. What is narrower in one layer makes all after it narrower.

Soundness: the leaves of a row's tree cover the region, since a leaf is only ever replaced by its
halves z >= 0 and z <= 0. The search, in float32, chooses leaves, slopes and multipliers; every leaf
is proved by `proof.py`, and the least of their bounds holds everywhere.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluators.branching.babsr import babsr
from evaluators.branching.batch import Batch
from evaluators.network.elementwise import Elementwise
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.memory import fitting
from evaluators.question.region import Region
from evaluators.unrolled.ascent import Rates, ascend
from evaluators.unrolled.proof import prove, stored
from evaluators.unrolled.system import System
from evaluators.unrolled.unit_lines import UnitLines
from evaluators.unrolled.unrolled_network import Rows, Unrolled

CHILD = Rates(1, slope=0.2)
"""Of the ascent on both halves. More splits are worth more than more steps, and than bounds of
candidates' halves: in 4 s the least margin of position 2 of MNIST 6x100 at 0.026 rises to -24.1,
with four steps, and the best halves of up to four candidates, to -27.9."""

INTERCEPT = 0.3
"""Weight of BaBSR's intercept score, beside the gap's: with 0 to -24.9."""

LEAF_BYTES = 7
"""Memory of a unit in a leaf: its slope, multiplier and sign."""


@dataclass(frozen=True)
class NeuronSearch:
    """Searches the bounds of a layer's neurons, as long as its share of the time lasts.

    Attributes:
        deadline: of all layers.
        rounds: most splits of a row's region.
    """

    deadline: Deadline
    rounds: int

    def __call__(
        self,
        unrolled: Unrolled,
        lines: UnitLines,
        rows: Rows,
        x: Tensor,
        region: Region,
        slopes: Tensor,
    ) -> Tensor:
        """Proved lower bounds `[rows]`.

        Args:
            unrolled, lines: the layers before, and the lines of their units.
            rows: the neurons' pre-activations, or their negatives.
            x, region: the example `[1, *shape]` and its region.
            slopes: to start from, `[rows, units]`.
        """
        if not slopes.shape[1]:  # of neighbourhoods without unstable neurons
            return rows.bias.new_full((len(rows),), -torch.inf)
        functions = sum(isinstance(n.operation, Elementwise) for n in unrolled.network.nodes)
        own = self.deadline.part(1 / max(1, functions - len(unrolled.layers)))
        most = fitting(self.rounds, LEAF_BYTES * slopes.numel(), 1 / 8)
        trees = _Trees(System.of(unrolled, x, region), lines, rows, slopes, most + 1)
        while trees.count <= most and not own.passed and trees.grow(own):
            pass
        return trees.proved(unrolled, rows, x, region)


class _Trees:
    """A tree of splits for each row.

    Attributes:
        count: most leaves of a tree so far.
        made: which leaves there are, `[leaves, rows]`.
        bounds: of each leaf, float32 `[leaves, rows]`; infinite where there is none.
        slopes, betas, signs: what gives them, `[leaves, rows, units]`.
    """

    def __init__(
        self, system: System, lines: UnitLines, rows: Rows, slopes: Tensor, most: int
    ) -> None:
        self.system, self.lines, self.count = system, lines, 1
        self.columns, self.constant = rows.weight.float(), rows.bias.float()
        self.bounds = torch.full((most, len(rows)), torch.inf)
        self.made = torch.zeros(most, len(rows), dtype=torch.bool)
        self.made[0] = True
        self.slopes = torch.zeros(most, *slopes.shape, dtype=torch.float16)
        self.betas = torch.zeros(most, *slopes.shape)
        self.signs = torch.zeros(most, *slopes.shape, dtype=torch.int8)
        self.slopes[0] = slopes
        every = torch.arange(len(rows))
        first = self._batch(torch.zeros_like(every), every)
        self.bounds[0] = system.backward(first.columns, first.constant, first.choice()).bounds

    def _batch(self, leaf: Tensor, row: Tensor) -> Batch:
        """Some leaves `[n]` of rows `[n]`, for the search's arithmetic."""
        at = leaf, row
        slopes, betas = self.slopes[at].float(), self.betas[at]
        columns, constant = self.columns[row], self.constant[row]
        return Batch(
            self.system, self.lines, columns, constant, slopes, betas, self.signs[at], None
        )

    def grow(self, deadline: Deadline) -> bool:
        """Split the worst leaf of each row that is not proved to be positive; whether one was."""
        least, worst = self.bounds.min(0)
        row = (least <= 0).nonzero()[:, 0]
        if not len(row):
            return False
        leaf, batch = worst[row], self._batch(worst[row], row)
        minimum = batch.minimum()
        gap, intercept = (its.nan_to_num(0.0) for its in babsr(minimum))
        unit = (gap + INTERCEPT * intercept).argmax(1)
        splits = minimum.choice.free.gather(1, unit[:, None])[:, 0] > 0
        row, leaf, unit = row[splits], leaf[splits], unit[splits]
        if not len(row):
            return False
        both = row.repeat(2)
        halves = self._batch(leaf.repeat(2), both)
        side = torch.ones(len(both), dtype=torch.int8)
        side[len(row) :] = -1
        signs = halves.signs.index_put((torch.arange(len(both)), unit.repeat(2)), side)
        best = ascend(
            self.system,
            self.lines,
            halves.columns,
            halves.constant,
            halves.slopes,
            CHILD,
            deadline,
            signs,
            halves.betas,
        )
        assert best.betas is not None
        # The halves take the place of the leaf, and the next one.
        into = torch.cat((leaf, torch.full_like(leaf, self.count))), both
        self.made[into] = True
        self.bounds[into] = torch.maximum(best.bounds, self.bounds[leaf, row].repeat(2))
        self.slopes[into] = stored(best.slopes, self.lines)
        self.betas[into], self.signs[into] = best.betas, signs
        self.count += 1
        return True

    def proved(self, unrolled: Unrolled, rows: Rows, x: Tensor, region: Region) -> Tensor:
        """The least proved bound of each row's leaves, float64 `[rows]`."""
        least = rows.bias.new_full((len(rows),), torch.inf)
        for leaf in range(self.count):
            row = self.made[leaf].nonzero()[:, 0]
            at = leaf, row
            slopes, signs, betas = self.slopes[at], self.signs[at], self.betas[at]
            found = prove(unrolled, self.lines, rows.select(row), x, region, slopes, signs, betas)
            least[row] = torch.minimum(least[row], found.nan_to_num(-torch.inf, torch.inf))
        return least
