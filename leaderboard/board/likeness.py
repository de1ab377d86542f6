"""How alike two networks are on images that neither has seen: in answers, and in hidden units.

*Answers* are compared up to what decides nothing: one positive factor, a constant for each class,
a common part for each image. *Hidden units* are compared by what they compute, up to a factor and a
constant, whatever their place in the network: so permuted, rescaled, negated or added units, layers
split in two, folded normalisation and small changes of the weights leave most of them as they are.
What a copy adds to be active on some images only changes a few images, or a few units; so both are
shares, not distances.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating]

CLOSE = 0.1
"""Difference of the logits of one image, in units of a usual image's own."""
SAME_UNIT = 0.995
"""Correlation of two units; the best of networks trained apart have mostly less than 0.95."""
FEWEST_UNITS = 8
_DEAD = 1e-7
_CHUNK = 2048


@dataclass(frozen=True)
class Observed:
    """What a network makes of some images.

    Attributes:
        logits: `[images, classes]`.
        units: what goes into the functions of hidden units, `[units, images]`.
    """

    logits: Numbers
    units: Numbers


def same_answers(one: Observed, other: Observed) -> float:
    """Return the share of images whose logits are the same, up to what decides nothing."""
    if one.logits.shape != other.logits.shape:
        return 0.0
    scaled = [_scaled(observed.logits) for observed in (one, other)]
    if any(logits is None for logits in scaled):
        return 0.0
    first, second = scaled
    return float((np.linalg.norm(first - second, axis=1) <= CLOSE).mean())  # type: ignore[operator]


def _scaled(logits: Numbers) -> Numbers | None:
    """Less each image's mean and each class's median, in units of an image; None if constant.

    Medians, so that a few images on which a copy was changed do not move the others.
    """
    moved = logits - logits.mean(1, keepdims=True)
    moved = moved - np.median(moved, axis=0)
    usual = float(np.median(np.linalg.norm(moved, axis=1)))
    if not _DEAD * float(np.abs(logits).max(initial=0)) < usual < np.inf:
        return None
    return np.asarray(moved / usual)


def same_units(one: Observed, other: Observed) -> float:
    """Compute the larger of both shares of one network's hidden units that the other has, too."""
    first, second = directions(one.units), directions(other.units)
    if min(len(first), len(second)) < FEWEST_UNITS:
        return 0.0
    mine, theirs = np.zeros(len(first)), np.zeros(len(second))
    for start in range(0, len(first), _CHUNK):
        alike = np.abs(first[start : start + _CHUNK] @ second.T)
        mine[start : start + _CHUNK] = alike.max(1)
        theirs = np.maximum(theirs, alike.max(0))
    return float(max((mine > SAME_UNIT).mean(), (theirs > SAME_UNIT).mean()))


def directions(units: Numbers) -> NDArray[np.float32]:
    """Scale each unit that is not constant to mean 0 and length 1: `[live units, images]`."""
    moved = units - units.mean(1, keepdims=True)
    length = np.linalg.norm(moved, axis=1)
    live = length > _DEAD * np.abs(units).max(1, initial=0) * np.sqrt(units.shape[1])
    return np.asarray(moved[live] / length[live, None], dtype=np.float32)
