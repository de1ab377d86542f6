"""Where to split: filtered smart branching (De Palma et al. 2021, arXiv 2104.06718).

Two cheap scores name a few candidates for each domain, and both children of each candidate are
bounded once, without an ascent. The split with the largest sum of the children's bounds wins, a
child that is proved counting as zero; the better child counts more, since the worse one's bound
rises least and is often the parent's.
"""

import torch
from torch import Tensor

from evaluators.deterministic._domains import Domains
from evaluators.deterministic._system import Choice, System, UnitLines
from evaluators.deterministic._unrolled import Rows

CANDIDATES = 4
"""Candidates that each score names."""

BETTER_CHILD = 1.5
"""Weight of the better child's bound in the sum."""

COEFFICIENTS = 2**21
"""Coefficients of a pass over children: past the caches, larger is not faster."""


def splits(
    system: System, lines: UnitLines, goals: Rows, domains: Domains
) -> tuple[Tensor, Tensor]:
    """The unit to split in each domain `[domains]`, and the relaxed minimisers `[domains, inputs]`.

    Args:
        goals: in float32.
        domains: each with a unit left to split.
    """
    columns, constant = goals.weight[domains.goals], goals.bias[domains.goals]
    choice, (gap, kink), values = losses(system, lines, goals, domains)
    free = choice.free > 0
    count = min(CANDIDATES, system.units)
    # Whatever the numbers are, a free unit comes first.
    scores = [score.nan_to_num(0.0).masked_fill(~free, -torch.inf) for score in (gap, kink)]
    candidates = torch.cat([score.topk(count, dim=1).indices for score in scores], 1)
    value = _value(system, columns, constant, choice, candidates, lines.leak.to(columns))
    value = value.masked_fill(~free.gather(1, candidates), -torch.inf)
    best = value.argmax(1, keepdim=True)
    return candidates.gather(1, best)[:, 0], values[:, : system.inputs]


def losses(
    system: System, lines: UnitLines, goals: Rows, domains: Domains
) -> tuple[Choice, tuple[Tensor, Tensor], Tensor]:
    """What the line above each unit costs, `[domains, units]`, and where.

    Returns:
        the lines; what they lose at the relaxed minimiser, and at the kink (BaBSR's intercept
        score); the minimiser's columns `[domains, inputs + units]`.
    """
    within = domains.within(lines)
    choice = lines.choice(domains.slopes.float(), domains.signs, domains.betas.float(), within)
    work = goals.weight[domains.goals]
    _, used = system.backward(work, goals.bias[domains.goals], choice)
    z, values = system.forward(work, used, choice)
    negative = (-work[:, system.inputs :]).clamp(min=0)
    gap = negative * (z * choice.chords + choice.offsets - torch.maximum(z, lines.leak.to(z) * z))
    return choice, (gap, negative * choice.offsets), values


def _value(
    system: System,
    columns: Tensor,
    constant: Tensor,
    choice: Choice,
    candidates: Tensor,
    leak: Tensor,
) -> Tensor:
    """How good each candidate is, `[domains, candidates]`."""
    rows, count = candidates.shape
    step = max(1, COEFFICIENTS // (2 * count * columns.shape[1]))
    parts = []
    for first in range(0, rows, step):
        part = slice(first, first + step)
        owner = torch.arange(first, min(first + step, rows), device=columns.device)
        owner = owner.repeat_interleave(2 * count)
        unit = candidates[part].reshape(-1).repeat_interleave(2)
        children = _children(choice, owner, unit, leak[unit])
        bounds, _ = system.backward(columns[owner], constant[owner], children)
        bounds = bounds.nan_to_num(-torch.inf).clamp(max=0).reshape(-1, count, 2)
        parts.append(bounds.amin(2) + BETTER_CHILD * bounds.amax(2))
    return torch.cat(parts)


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
