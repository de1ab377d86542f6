"""Pieces of a box: over its halves a network of few inputs is nearer to a linear function.

Splitting the signs of thousands of units proves little where all their lines are loose; halving the
input that matters most tightens them all at once. Nothing is proved here: what is proved of all
pieces of a box is proved of the box.
"""

from dataclasses import replace

import torch
from torch import Tensor

from evaluators.branching.input_splitting import LOW_DIMENSION
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Network
from evaluators.propagation.intervals import Interval
from evaluators.propagation.linear_bounds import margin_rows
from evaluators.propagation.zonotopes import FEW_INPUTS, Zonotopes
from evaluators.question.problem import Problem
from evaluators.question.region import Box

LOOSE = 8.0
"""A box is halved where a margin's zonotope spreads over so many times the margin at its center."""

MOST_PIECES = 8


def in_pieces(problem: Problem) -> Problem:
    """The question about the only box as one about its pieces, which share their boundaries.

    All pieces are equally small: how small is judged by the first of them. Boxes of so few inputs
    that the search splits them by itself stay whole.
    """
    lower, upper = problem.region.hull(problem.x)
    assert isinstance(problem.network, Network)
    few = LOW_DIMENSION < lower[0].numel() <= FEW_INPUTS
    if not few or not isinstance(problem.region, Box):
        return problem
    rows = margin_rows(problem.labels, problem.classes)[0].float()
    network = without_max_pools(problem.network).to(torch.float32, "cpu")
    while len(lower) < MOST_PIECES:
        entry = _loosest(network, Interval(lower[:1].float(), upper[:1].float()), rows)
        halves = None if entry is None else _halves(lower, upper, entry)
        if halves is None:
            break
        lower, upper = halves
    count = len(lower)
    if count == 1:
        return problem
    middle = (lower / 2 + upper / 2).to(problem.x.dtype)
    # A float32 number of each piece; the boundaries are such numbers.
    inside = (middle >= lower) & (middle <= upper)
    x = torch.where(inside, middle, problem.x.expand_as(middle))
    x = torch.minimum(torch.maximum(x.double(), lower), upper).to(problem.x.dtype)
    labels, examples = problem.labels.expand(count), tuple(range(count))
    return replace(problem, x=x, labels=labels, region=Box(lower, upper), examples=examples)


def _loosest(network: Network, box: Interval, rows: Tensor) -> int | None:
    """The input whose half tightens the worst margin most; None where all are tight enough."""
    with torch.no_grad():
        zonotopes = Zonotopes.of(network, box)
        logits = None if zonotopes is None else zonotopes.alone()
        if logits is None:
            return None
        generators = logits.generators @ rows.T
        spread, center = generators.abs().sum(0), (logits.center @ rows.T)[0]
        loose = spread - LOOSE * center.clamp(min=0)
        worst = int(loose.argmax())
        inputs = generators[: box.lower.numel(), worst].abs()
        return int(inputs.argmax()) if float(loose[worst]) > 0 else None


def _halves(lower: Tensor, upper: Tensor, entry: int) -> tuple[Tensor, Tensor] | None:
    """Every piece halved along one input, at a float32 number; None where none lies between."""
    low, high = lower.flatten(1)[:, entry], upper.flatten(1)[:, entry]
    middle = (low / 2 + high / 2).float().double()
    if not bool(((middle > low) & (middle < high)).all()):
        return None
    first, second = upper.clone(), lower.clone()
    first.flatten(1)[:, entry] = middle
    second.flatten(1)[:, entry] = middle
    return torch.cat((lower, second)), torch.cat((first, upper))
