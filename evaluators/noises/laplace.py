"""Laplace noise: independent entries of density exp(-|z|/b) / (2b), radii in ℓ1."""

import numpy as np

from evaluators.noises.distribution import Draws
from evaluators.noises.log_lipschitz import LogLipschitzNoise
from evaluators.question.norm import Norm


class LaplaceNoise(LogLipschitzNoise):
    """Independent Laplace entries; its scale is b. Its formulas are exact."""

    name = "laplace"
    own = (Norm.L1,)

    def fill(self, generator: np.random.Generator, out: Draws) -> None:
        """Draw exponential variates and give them random signs."""
        generator.standard_exponential(out=out)
        bits = np.frombuffer(generator.bytes(-(-out.size // 8)), np.uint8)
        signs = np.unpackbits(bits, count=out.size).astype(bool).reshape(out.shape)
        np.negative(out, out=out, where=signs)
