"""Noise from a counter-based generator: sample i of a stream is a function of the key alone.

The key is (seed, stream); the counter is the sample's number. So neither the batch size, nor the
order, nor resuming, nor the number of workers or the kind of device changes a single bit of it.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from evaluators.noises.distribution import Distribution
from evaluators.numerics.arrays import Shape

GRAIN = 16
"""Samples that share one position of the counter; blocks begin at multiples of it."""

SELECTION, ESTIMATION = "selection", "estimation"
"""Names of the streams of CERTIFY; their samples are independent of each other."""


@dataclass(frozen=True)
class NoiseStream:
    """An endless sequence of independent noise tensors of scale one.

    Attributes:
        distribution: of the entries.
        shape: of one sample.
        seed: of the evaluation.
        name: of the stream; streams of different names are independent of each other.
    """

    distribution: Distribution
    shape: Shape
    seed: int
    name: str

    def block(self, start: int, samples: int) -> NDArray[np.float64]:
        """Draw samples `start` to `start + samples`, as `[samples, *shape]`.

        Float64, so that the noisy input is rounded only once, when it is made float32: a network
        cannot tell an input by the grid on which its noise was rounded.
        """
        if start % GRAIN:
            raise ValueError(f"A block starts at a multiple of {GRAIN}, not at {start}.")
        grains = range(start // GRAIN, -(-(start + samples) // GRAIN))
        noise = np.empty((len(grains), GRAIN * prod(self.shape)))
        key = self._key()

        threads = min(torch.get_num_threads(), len(grains))

        def fill(first: int) -> None:
            generator = np.random.Generator(np.random.Philox(key=key))
            # Of a generator that has drawn nothing; making one takes several times as long.
            begun = generator.bit_generator.state
            for row in range(first, len(grains), threads):
                # The top quarter of the 256-bit counter: 2^192 draws from one grain to the next.
                begun["state"]["counter"][3] = grains[row]
                generator.bit_generator.state = begun
                self.distribution.fill(generator, noise[row].reshape(GRAIN, -1))

        if threads == 1:
            fill(0)
        else:
            # NumPy lets go of the interpreter while it draws. A pool that outlives this call would
            # be a trap for a worker process forked later.
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(fill, range(threads)))
        return noise.reshape(-1, *self.shape)[:samples]

    def _key(self) -> int:
        text = f"certboard noise, seed {self.seed}, stream {self.name}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
