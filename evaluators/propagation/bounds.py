"""Bounds of a network's logits and of every layer: numbers for whoever wants no verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from evaluators.network.network import Network
from evaluators.propagation.intervals import Interval
from evaluators.propagation.linear_bounds import (
    interval_relaxation,
    least_of_logits,
    linear_relaxation,
)
from evaluators.propagation.verdicts import BATCH
from evaluators.question.problem import Problem
from evaluators.question.region import Region

_METHODS = {
    "ibp": (interval_relaxation, False),
    "crown-ibp": (interval_relaxation, True),
    "crown": (linear_relaxation, True),
}
"""What bounds the layers, and whether the logits are walked back to the input."""


@dataclass(frozen=True)
class NetworkBounds:
    """Float64 intervals `[batch, *shape]`, rounded outward, of what a network computes in a region.

    Attributes:
        logits: of the outputs.
        layers: of the result of every node, in the network's order, by its name in the model's
            file; where several nodes have one name the last has it, and the others are called
            `NAME#POSITION`.
    """

    logits: Interval
    layers: Mapping[str, Interval]


def bounds(
    network: Network,
    x: Float[Tensor, "batch *shape"],
    region: Region,
    method: str = "crown",
    *,
    deployed: bool = True,
) -> NetworkBounds:
    """Enclose every layer and the logits for all inputs of the region around each example.

    Args:
        network: a deterministic network.
        x: the examples; each must lie in its region.
        region: a `Ball`, or a `Box` for each example.
        method: "ibp" (intervals), "crown-ibp" (intervals, and linear bounds for the logits) or
            "crown" (linear bounds for all that feeds a non-linearity and for the logits).
        deployed: whether the bounds hold for the values of every float32 run, too, not for real
            arithmetic on the weights alone.

    Returns:
        Intervals that contain every value; their ends are infinite where nothing can be said.

    Raises:
        ValueError: no method has that name, or an example or a box does not fit.
    """
    if method not in _METHODS:
        raise ValueError(f"No method is called '{method}', only {', '.join(_METHODS)}.")
    labels = torch.zeros(len(x), dtype=torch.long, device=x.device)
    problem = Problem(network, x, labels, region, deployed=deployed)
    if not len(x):
        raise ValueError("There is no example: x has length 0.")
    if outside := int((~region.holds_centers(x)).sum()):
        raise ValueError(
            f"{outside} of {len(x)} examples are not finite or lie outside the region's limits,"
            " which for a ball are [0, 1] unless it names others."
        )
    with torch.no_grad():
        parts = [
            _bounds(problem.select(range(first, min(first + BATCH, len(x)))), method)
            for first in range(0, len(x), BATCH)
        ]
    joined = [_joined(intervals) for intervals in zip(*parts, strict=True)]
    return NetworkBounds(joined[-1], dict(zip(names_of_nodes(network), joined, strict=True)))


def _bounds(problem: Problem, method: str) -> list[Interval]:
    """Intervals of every node of a batch, the logits last."""
    relax, to_input = _METHODS[method]
    relaxed = relax(problem)
    unit = torch.eye(problem.classes, dtype=torch.float64, device=problem.x.device)
    rows = torch.cat((unit, -unit)).expand(len(problem), -1, -1)
    lower, upper = least_of_logits(relaxed, rows, to_input).chunk(2, dim=1)
    return [*relaxed.bounds[:-1], relaxed.bounds[-1].meet(Interval(lower, -upper))]


def _joined(parts: tuple[Interval, ...]) -> Interval:
    """One interval for all batches; an end that is not a number says nothing."""
    lower, upper = (torch.cat(ends) for ends in zip(*parts, strict=True))
    return Interval(
        torch.where(lower.isnan(), -torch.inf, lower), torch.where(upper.isnan(), torch.inf, upper)
    )


def names_of_nodes(network: Network) -> list[str]:
    """A name for each node, no two the same."""
    last = {node.name: position for position, node in enumerate(network.nodes)}
    return [
        node.name if last[node.name] == position else f"{node.name}#{position}"
        for position, node in enumerate(network.nodes)
    ]
