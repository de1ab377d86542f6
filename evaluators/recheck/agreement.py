"""Whether the checker and the evaluators read the same network from a file.

Between ReLUs a network is affine. Every ReLU's result is replaced by random numbers, the same on
both sides, so that what the next layers read is compared whether or not a ReLU is ever active:
affine maps that agree at random points are equal but for rounding, and so are then the networks.
What is constant is compared by itself, where every other number is zero; and of the others half
are zero, differently in each row, so that large terms do not always hide small ones.
The numbers follow from the file's SHA-256: whoever makes a file cannot choose them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from evaluators.network.affine import AffineMap
from evaluators.network.elementwise import Elementwise, LeakyReLU
from evaluators.network.maxima import without_max_pools
from evaluators.network.network import Network, apply
from evaluators.recheck.reader import CheckedModel

Array = NDArray[Any]
ROUNDING = 1e-10
"""What float64 may differ by, of the sum of the magnitudes of all that an entry is a sum of."""
RANDOM = 16
"""Rows of random inputs besides the given ones."""


@dataclass(frozen=True)
class _Layer:
    """What a ReLU reads, or the logits: `[entries, rows]`, and its slope below zero."""

    leak: float | None
    values: Array
    size: Array | float = 0.0


def disagreement(model: CheckedModel, network: Network, inputs: Array) -> str:
    """How two readings of one file differ, as a clause; empty where they agree.

    They are compared on these inputs `[n, *shape]` and on random ones.
    """
    if (model.input_shape, model.classes) != (network.input_shape, network.classes):
        said = f"shape {model.input_shape} and {model.classes} classes"
        return f"it has {said} to the checker, {network.input_shape} and {network.classes} here"
    random = np.random.default_rng(int(model.sha256, 16))
    more = _drawn((RANDOM, prod(model.input_shape)), random)
    rows = np.concatenate([inputs.reshape(len(inputs), -1), more]).astype(np.float64).T
    written = without_max_pools(network.to(torch.float64, "cpu"))
    # One seed for either side: the same layers draw the same numbers.
    seed = int(random.integers(2**63))
    for start in (rows, np.zeros((len(rows), 1))):
        ours = _checked(model, start, np.random.default_rng(seed))
        theirs = _imported(written, start, np.random.default_rng(seed))
        if said := _difference(ours, theirs):
            return said
    return ""


def _difference(ours: Iterator[_Layer], theirs: Iterator[_Layer]) -> str:
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one.leak != other.leak or one.values.shape != other.values.shape:
            return f"layer {number} of its ReLUs is another, or none, to one of the two readers"
        off = np.abs(one.values - other.values)
        if not bool((off <= ROUNDING * one.size).all()):
            what = "its logits" if one.leak is None else f"what layer {number} of its ReLUs reads"
            return f"{what} differs by {off.max():.3g} between the two readers"
    return ""


def _drawn(shape: tuple[int, ...], random: Generator) -> Array:
    """Normal numbers, half of which are zero."""
    return random.normal(size=shape) * random.integers(2, size=shape)


def _checked(model: CheckedModel, rows: Array, random: Generator) -> Iterator[_Layer]:
    """Each layer as the checker's matrices say; constants alone where there is but one row."""
    constant = rows.shape[1] == 1
    values, sizes = [rows], [np.abs(rows)]
    for step in model.steps[1:]:
        value = np.sum([values[parent] for parent in step.parents], axis=0)
        size = np.sum([sizes[parent] for parent in step.parents], axis=0)
        if step.leak is not None:
            yield _Layer(step.leak, value, size)
            value = np.zeros_like(value) if constant else _drawn(value.shape, random)
            size = np.abs(value)
        else:
            value, size = step.map @ value, abs(step.map) @ size
            if constant:
                value, size = value + step.bias[:, None], size + np.abs(step.bias[:, None])
        values.append(value)
        sizes.append(size)
    yield _Layer(None, values[-1], sizes[-1])


def _imported(network: Network, rows: Array, random: Generator) -> Iterator[_Layer]:
    """Each layer as the evaluators' network says."""
    constant = rows.shape[1] == 1
    values = [torch.from_numpy(rows.T.copy()).reshape(-1, *network.input_shape)]
    for node in network.nodes[1:]:
        parents = [values[parent] for parent in node.parents]
        with torch.inference_mode():
            if isinstance(node.operation, Elementwise):
                read = parents[0].flatten(1).T.numpy()
                linear = isinstance(node.operation, LeakyReLU)
                yield _Layer(getattr(node.operation, "leak", 0.0) if linear else np.nan, read)
                drawn = np.zeros_like(read) if constant else _drawn(read.shape, random)
                values.append(torch.from_numpy(drawn.T.copy()).reshape(-1, *node.shape))
            elif isinstance(node.operation, AffineMap) and not constant:
                values.append(node.operation.linear(parents[0]))
            else:
                values.append(apply(node.operation, parents))
    yield _Layer(None, values[-1].flatten(1).T.numpy())
