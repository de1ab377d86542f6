"""Where to split: filtered smart branching (De Palma et al. 2021, arXiv 2104.06718).

Two cheap scores name a few candidates for each domain, and both children of each candidate are
bounded once, without an ascent. The split with the largest sum of the children's bounds wins, a
child that is proved counting as zero; the better child counts more, since the worse one's bound
rises least and is often the parent's.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.branching.batch import Batch
from evaluators.unrolled.unit_lines import Choice

CANDIDATES = 4
"""Candidates that each score names."""

BETTER_CHILD = 1.5
"""Weight of the better child's bound in the sum."""

COEFFICIENTS = 2**21
"""Coefficients of a pass over children: past the caches, larger is not faster."""


def splits(batch: Batch) -> tuple[Tensor, Tensor]:
    """The unit to split in each row `[rows]`, and the relaxed minimisers `[rows, inputs]`.

    Args:
        batch: rows with a unit left to split each.
    """
    found = losses(batch)
    free = found.choice.free > 0
    count = min(CANDIDATES, batch.system.units)
    # Whatever the numbers are, a free unit comes first.
    scores = [score.nan_to_num(0.0).masked_fill(~free, -torch.inf) for score in found[1:3]]
    candidates = torch.cat([score.topk(count, dim=1).indices for score in scores], 1)
    value = _value(batch, found.choice, candidates)
    value = value.masked_fill(~free.gather(1, candidates), -torch.inf)
    best = value.argmax(1, keepdim=True)
    return candidates.gather(1, best)[:, 0], found.values[:, : batch.system.inputs]


class Losses(NamedTuple):
    """What the line above each unit costs, and where.

    Attributes:
        choice: the lines.
        gap: what they lose at the relaxed minimiser, `[rows, units]`.
        kink: what they lose at the kink (BaBSR's intercept score), `[rows, units]`.
        values: the minimiser's columns, `[rows, inputs + units]`.
    """

    choice: Choice
    gap: Tensor
    kink: Tensor
    values: Tensor


def losses(batch: Batch) -> Losses:
    """One pass back, and one forward to the relaxed minimiser."""
    choice, work = batch.choice(), batch.columns.clone()
    _, used = batch.system.backward(work, batch.constant, choice)
    z, values = batch.system.forward(work, used, choice)
    negative = (-work[:, batch.system.inputs :]).clamp(min=0)
    reached = torch.maximum(z, batch.lines.leak.to(z) * z)
    gap = negative * (z * choice.chords + choice.offsets - reached)
    return Losses(choice, gap, negative * choice.offsets, values)


def _value(batch: Batch, choice: Choice, candidates: Tensor) -> Tensor:
    """How good each candidate is, `[rows, candidates]`."""
    rows, count = candidates.shape
    leak = batch.lines.leak.to(batch.columns).expand(rows, -1)
    places = batch.system.by_member(torch.arange(rows))
    step = max(1, COEFFICIENTS // (2 * count * batch.columns.shape[1] * len(places)))
    value = candidates.new_zeros(candidates.shape, dtype=batch.columns.dtype)
    # Of each member as many at a time.
    for first in range(0, places.shape[1], step):
        place = places[:, first : first + step].flatten()
        owner = place.repeat_interleave(2 * count)
        unit = candidates[place].flatten().repeat_interleave(2)
        children = _children(choice, owner, unit, leak[owner, unit])
        bounds, _ = batch.system.backward(batch.columns[owner], batch.constant[owner], children)
        bounds = bounds.nan_to_num(-torch.inf).clamp(max=0).reshape(-1, count, 2)
        value[place] = bounds.amin(2) + BETTER_CHILD * bounds.amax(2)
    return value


def _children(choice: Choice, owner: Tensor, unit: Tensor, leak: Tensor) -> Choice:
    """The lines of rows `owner` with `unit` split, at even places z >= 0, at odd ones z <= 0."""
    rows = torch.arange(len(owner), device=owner.device)
    line = torch.where(rows % 2 == 0, 1.0, leak)
    slopes, chords, offsets = (
        part.expand_as(choice.slopes)[owner]
        for part in (choice.slopes, choice.chords, choice.offsets)
    )
    slopes[rows, unit] = line
    chords[rows, unit] = line
    offsets[rows, unit] = 0.0
    pulls = None if choice.pulls is None else choice.pulls[owner]
    return Choice(slopes, choice.free, chords, offsets, choice.floors_of(owner), pulls)
