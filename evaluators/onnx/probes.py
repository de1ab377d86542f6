"""Random numbers on which operators are run alone."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from evaluators.network.elementwise import LeakyReLU
from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.builder import Builder

NamedArrays = dict[str, Array]
"""Of the file, by their names, in their own shapes."""
Draw = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float32]]


def drawn(
    known: Builder,
    inputs: Mapping[str, int],
    draw: Draw,
    generator: np.random.Generator,
    *,
    reached: bool,
) -> NamedArrays:
    """Random numbers for values of the network, which are at these positions.

    Where only those are asked for that can be `reached`, ReLUs give none below zero.
    """
    # Two names of one value are one value.
    found: dict[int, Array] = {
        position: draw(generator, known.nodes[position].shape)
        for position in sorted(set(inputs.values()))
    }
    for position in found:
        operation = known.nodes[position].operation
        if reached and isinstance(operation, LeakyReLU) and not operation.leak:
            found[position] = np.abs(found[position])
    for position in known.truths.intersection(found):
        found[position] = (found[position] > 0) & (position not in known.never)
    for position in known.lowered.keys() & found.keys():
        found[position] += known.lowered[position].numpy().astype(np.float32)
    for position in known.hidden.keys() & found.keys():
        levels = known.hidden[position].numpy().astype(np.float32)
        found[position] = np.where(levels < 0, levels, found[position])
    return {
        name: found[position].reshape(known.whole_shape(name)) for name, position in inputs.items()
    }


def _even(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.asarray(generator.random(shape, dtype=np.float32) * np.float32(4) - np.float32(2))


def _few(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Large numbers in a few positions: a small weight is seen where a large one meets a zero."""
    drawn = generator.random(shape, dtype=np.float32)
    large = (drawn * np.float32(4 / _SHARE) - np.float32(2)) * np.float32(2**20)
    return np.where(drawn < _SHARE, large, np.float32(0))


def _wide(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Numbers of very different sizes, all negative: none that zeros around it do not exceed."""
    # As whole numbers, float32s of one sign are as even as their exponents and fractions are.
    bits = np.asarray(generator.integers(_LEAST, _MOST, shape, dtype=np.uint32))
    return np.asarray(-bits.view(np.float32))


_SHARE = 0.3
"""Of the positions that are not zero."""
_LEAST, _MOST = np.array((2.0**-80, 2.0**10), dtype=np.float32).view(np.uint32).tolist()
"""The ends of the numbers of different sizes, as the whole numbers that are kept for them."""
KINDS: tuple[Draw, ...] = (_even, _few, _wide)
"""Of random numbers; the first two where a run takes long."""
