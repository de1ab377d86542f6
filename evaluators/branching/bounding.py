"""Bounds that branching asks for: of domains as they are, and of both halves of each candidate."""

from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.branching.batch import Batch
from evaluators.unrolled.unit_lines import Choice

COEFFICIENTS = 2**21
"""Coefficients of a pass over children: past the caches, larger is not faster."""


class Relaxed(NamedTuple):
    """The relaxation of each domain where it is least.

    Attributes:
        choice: the lines of every neuron.
        leak: slopes of the neurons below zero, `[units]` or `[domains, units]`.
        coefficients: the neurons' in the bound, `[domains, units]`.
        z: pre-activations at the minimiser, `[domains, units]`.
        x: the minimiser, `[domains, inputs]`.
    """

    choice: Choice
    leak: Tensor
    coefficients: Tensor
    z: Tensor
    x: Tensor


def relaxed(batch: Batch) -> Relaxed:
    """Walk back through the lines of every domain, and forward to the minimiser."""
    choice, columns, inputs = batch.choice(), batch.columns.clone(), batch.system.inputs
    _, used = batch.system.backward(columns, batch.constant, choice)
    z, values = batch.system.forward(columns, used, choice)
    leak = batch.lines.leak.to(z)
    return Relaxed(choice, leak, columns[:, inputs:], z, values[:, :inputs])


def child_bounds(
    batch: Batch, choice: Choice, candidates: Tensor, at_once: int = COEFFICIENTS
) -> Tensor:
    """Bound both children of each domain and candidate, `[domains, candidates, 2]`.

    Args:
        batch: the domains.
        choice: their lines; the children keep those of all other neurons.
        candidates: neurons to split, `[domains, candidates]`.
        at_once: coefficients of one pass.
    """
    rows, count = candidates.shape
    leak = batch.lines.leak.to(batch.columns).expand(rows, -1)
    places = batch.system.by_member(torch.arange(rows))
    step = max(1, at_once // (2 * count * batch.columns.shape[1] * len(places)))
    found = candidates.new_zeros((rows, count, 2), dtype=batch.columns.dtype)
    # Of each member as many at a time.
    for first in range(0, places.shape[1], step):
        part = places[:, first : first + step].flatten()
        parents = part.repeat_interleave(2 * count)
        units = candidates[part].flatten().repeat_interleave(2)
        children = _children(choice, parents, units, leak[parents, units])
        columns, constant = batch.columns[parents], batch.constant[parents]
        bounds, _ = batch.system.backward(columns, constant, children)
        found[part] = bounds.reshape(-1, count, 2)
    return found


def _children(choice: Choice, parents: Tensor, units: Tensor, leak: Tensor) -> Choice:
    """The parents' lines with one neuron split, at even rows z >= 0, at odd ones z <= 0."""
    rows = torch.arange(len(parents), device=parents.device)
    line = torch.where(rows % 2 == 0, 1.0, leak)
    slopes, chords, offsets = (
        part.expand_as(choice.slopes)[parents]
        for part in (choice.slopes, choice.chords, choice.offsets)
    )
    slopes[rows, units] = line
    chords[rows, units] = line
    offsets[rows, units] = 0.0
    pulls = None if choice.pulls is None else choice.pulls[parents]
    return Choice(slopes, choice.free, chords, offsets, choice.floors_of(parents), pulls)
