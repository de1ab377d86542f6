"""Projected gradient ascent on slopes and multipliers, in float32: it only searches.

What it returns is a choice of slopes and multipliers; any choice gives a bound, and `proof.py`
computes the one that counts.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.numerics.adam import Adam
from evaluators.numerics.deadline import Deadline
from evaluators.unrolled.system import System
from evaluators.unrolled.unit_lines import UnitBounds, UnitLines

MOMENTS = 0.5, 0.9
"""Decay of Adam's moments. Ascents are short, and the usual 0.9 and 0.999 carry a slope past the
place where its gradient changes sign. With them α-CROWN's mean margin needs twenty steps on 6x100's
neurons instead of eight, and branch and bound visits up to a tenth more domains (CNN-A-Adv)."""


@dataclass(frozen=True)
class Rates:
    """Steps of the ascent, and their lengths.

    Attributes:
        steps: gradient steps; the bound is computed once more than that.
        slope, beta: first step of slopes and of multipliers.
        decay: of the steps.
        tolerance: share of the bounds' mean size; a step that gains less on average is the last.
        enough: rows above it end the ascent, once all are.
    """

    steps: int
    slope: float = 0.25
    beta: float = 0.1
    decay: float = 0.85
    tolerance: float = 0.0
    enough: float = 0.0


class Ascent(NamedTuple):
    """The best that was met for each row.

    Attributes:
        bounds: `[rows]`.
        slopes, betas: what gave them, `[rows, units]`; betas is None without splits.
    """

    bounds: Tensor
    slopes: Tensor
    betas: Tensor | None


def ascend(
    system: System,
    lines: UnitLines,
    columns: Tensor,
    constant: Tensor,
    slopes: Tensor,
    rates: Rates,
    deadline: Deadline,
    signs: Tensor | None = None,
    betas: Tensor | None = None,
    within: UnitBounds | None = None,
) -> Ascent:
    """Raise the bounds of rows; stops early when the time is up or all are positive.

    Args:
        system, lines: the network.
        columns, constant: the rows `[rows, inputs + units]` and `[rows]`, kept.
        slopes: to start from, `[rows, units]`; of curves the parameters of lines.
        rates: how far.
        deadline: when to stop.
        signs, betas: splits and multipliers to start from, `[rows, units]`, or neither.
        within: narrower bounds of the units.
    """
    # Without any split, multipliers have nothing to multiply, and take a quarter of the time.
    split = signs is not None and (within is not None or bool(signs.any()))
    choice = lines.choice(slopes, signs, betas, within) if split else lines.choice(slopes)
    leak, curved = lines.leak.nan_to_num(0.0).to(slopes), lines.curved
    slopes = torch.where(curved, slopes, choice.slopes) if lines.curves else choice.slopes
    choice = lines.follow(choice, slopes, choice.pulls)
    movable = (choice.free > 0) | curved
    least, most = torch.where(movable, leak, slopes), torch.where(movable, 1.0, slopes)
    best = Ascent(constant.new_full(constant.shape, -torch.inf), slopes, betas)
    adam, adam_beta = Adam(slopes, *MOMENTS), Adam(slopes, *MOMENTS)
    length = 1.0
    for step in range(rates.steps + 1):
        walked = system.backward(columns, constant, choice)
        before, best = best, _better(best, Ascent(walked.bounds, slopes, betas))
        if step == rates.steps or deadline.passed or _finished(before, best, rates):
            break
        z = system.forward(walked, choice)
        gradient = choice.gradient(walked.units, z)
        slopes = adam.step(gradient).mul_(rates.slope * length).add_(slopes)
        slopes = torch.clamp_(slopes, least, most)
        pulls = choice.pulls
        if split and signs is not None and betas is not None:
            move = adam_beta.step(z.mul_(signs).neg_()).mul_(rates.beta * length)
            betas = move.add_(betas).clamp_(min=0)
            pulls = betas * signs
        choice = lines.follow(choice, slopes, pulls)
        length *= rates.decay
    return best


def _finished(before: Ascent, best: Ascent, rates: Rates) -> bool:
    """Whether all rows are high enough, or the last step hardly raised them."""
    if bool((best.bounds > rates.enough).all()):
        return True
    gain = float((best.bounds - before.bounds).mean())
    return bool(rates.tolerance) and gain < rates.tolerance * float(best.bounds.abs().mean())


def _better(best: Ascent, now: Ascent) -> Ascent:
    """Row by row the better of two; NaN is never better."""
    won = now.bounds > best.bounds
    if bool(won.all()):
        return now
    betas = best.betas
    if betas is not None and now.betas is not None:
        betas = torch.where(won[:, None], now.betas, betas)
    return Ascent(
        torch.where(won, now.bounds, best.bounds),
        torch.where(won[:, None], now.slopes, best.slopes),
        betas,
    )
