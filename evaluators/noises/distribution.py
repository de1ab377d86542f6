"""What a smoothing distribution is: its noise, and what certificates may ask about shifts of it.

All formulas are about noise z of scale one, and about the two hypotheses "x + z" and "x + δ + z"
for every shift δ of at most a given size. They hold for all such δ, of any direction. A formula
that a distribution does not define, it has not; certificates that ask for it are unsupported.

Formulas are float64 and already on the safe side: each is moved by `SLACK`, which is far more than
the error of the few elementary and special functions that it is made of (tests compare with
arithmetic of fifty digits).
"""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float64

from evaluators.question.norm import Norm

SLACK = 2.0**-36
"""Relative error, 1.5e-11, allowed for in every formula."""

Vector = Float64[np.ndarray, " values"]
Draws = Float64[np.ndarray, "rows entries"]


class Probabilities(NamedTuple):
    """Bounds of class probabilities under the noise.

    Attributes:
        lower: of the top class.
        upper: of any other class; a one-sided statement has 1 - lower, rounded up.
    """

    lower: float
    upper: float


class Shift(NamedTuple):
    """All shifts of an input of `dimension` entries by at most `distance` > 0 in `norm`."""

    distance: float
    norm: Norm
    dimension: int


class Distribution(ABC):
    """Noise around an input, known up to its scale. A new one is one file of this folder.

    It must be symmetric: z and -z have the same distribution.

    Attributes:
        name: as in `SmoothedNetwork.distribution`.
        own: norms of shifts that the formulas are about; balls of others are inscribed.
    """

    name: ClassVar[str]
    own: ClassVar[tuple[Norm, ...]]

    @property
    def norms(self) -> tuple[Norm, ...]:
        """The norms that it has certificates for, its own first."""
        return self.own + tuple(norm for norm in Norm if norm not in self.own)

    @abstractmethod
    def fill(self, generator: np.random.Generator, out: Draws) -> None:
        """Fill a contiguous array with independent rows of noise of scale one."""

    def has(self, formula: str) -> bool:
        """Tell whether it defines one of the formulas below."""
        return getattr(type(self), formula) is not getattr(Distribution, formula)

    def least(self, p: float, shift: Shift) -> float:
        """Bound from below what an event of probability `p` or more keeps after the shift.

        The trade-off function of Neyman and Pearson, rounded down. By symmetry no event of at most
        `p` comes to have more than `1 - least(1 - p)`.
        """
        raise NotImplementedError

    def privacy(self, epsilon: Vector, shift: Shift) -> Vector:
        """Give each ε >= 0 a `delta` with P(x + δ + z in E) <= exp(ε) P(x + z in E) + `delta`."""
        raise NotImplementedError

    def renyi(self, order: Vector, shift: Shift) -> Vector:
        """Bound the Rényi divergence of each order > 0 (1 is Kullback and Leibler's) from above.

        Of the shifted from the unshifted distribution; by symmetry also the other way round.
        """
        raise NotImplementedError

    def total_variation(self, shift: Shift) -> float:
        """Bound from above how much the shift can change the probability of an event."""
        raise NotImplementedError

    def growth(self, q: Vector, norm: Norm, dimension: int) -> Vector:
        """Bound from above how much events of probability `q` can grow, per unit of shift.

        The function Φ of Yang et al. 2020 (arXiv 2002.08118, section 4.2), or an upper bound of it,
        for `q` in (0, 1/2]. The bound without its rounding is concave and does not decrease there;
        beyond 1/2 it is Φ(1 - q).
        """
        raise NotImplementedError
