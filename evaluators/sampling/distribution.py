"""What a smoothing distribution is: its noise, and what certificates may ask about shifts of it.

All formulas are about noise z of scale one, and about the two hypotheses "x + z" and "x + δ + z"
for every shift δ of at most a given size. They hold for all such δ, of any direction. A formula
that a distribution does not define, it has not; certificates that ask for it are unsupported.

Formulas are float64 and already on the safe side: each is moved by `SLACK`, which is far more than
the error of the few elementary and special functions that it is made of (tests compare with
arithmetic of fifty digits).
"""

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from fractions import Fraction
from functools import cache
from math import isqrt
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float64

from evaluators.question.problem import Norm

RESOLUTION = 10**6
"""Radii are stated in multiples of one millionth, rounded down."""

SLACK = 2.0**-36
"""Relative error, 1.5e-11, allowed for in every formula."""

Column = Float64[np.ndarray, " values"]


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
    """Noise around an input, known up to its scale. A new one is one file with an evaluator.

    It must be symmetric: z and -z have the same distribution.

    Attributes:
        name: as in `SmoothedNetwork.distribution`.
        own: norms of shifts that the formulas are about; balls of others are inscribed.
    """

    name: ClassVar[str]
    own: ClassVar[tuple[Norm, ...]]

    @property
    def norms(self) -> tuple[Norm, ...]:
        """All norms that it has certificates for, its own first."""
        return self.own + tuple(norm for norm in Norm if norm not in self.own)

    @abstractmethod
    def fill(
        self, generator: np.random.Generator, out: Float64[np.ndarray, "rows entries"]
    ) -> None:
        """Fill a contiguous array with independent rows of noise of scale one."""

    def has(self, formula: str) -> bool:
        """Whether it defines one of the formulas below."""
        return getattr(type(self), formula) is not getattr(Distribution, formula)

    def least(self, p: float, shift: Shift) -> float:
        """Least probability after the shift of an event that has at least `p` before it.

        The trade-off function of Neyman and Pearson, rounded down. By symmetry no event of at most
        `p` comes to have more than `1 - least(1 - p)`.
        """
        raise NotImplementedError

    def privacy(self, epsilon: Column, shift: Shift) -> Column:
        """For each ε >= 0 some `delta` with P(x + δ + z in E) <= exp(ε) P(x + z in E) + `delta`."""
        raise NotImplementedError

    def renyi(self, order: Column, shift: Shift) -> Column:
        """Rényi divergence of each order > 0 (1 is Kullback and Leibler's), rounded up.

        Of the shifted from the unshifted distribution; by symmetry also the other way round.
        """
        raise NotImplementedError

    def total_variation(self, shift: Shift) -> float:
        """The most by which the shift can change the probability of an event, rounded up."""
        raise NotImplementedError

    def growth(self, q: Column, norm: Norm, dimension: int) -> Column:
        """The most by which events of probability `q` can grow, per unit of shift, rounded up.

        The function Φ of Yang et al. 2020 (arXiv 2002.08118, section 4.2), or an upper bound of it,
        for `q` in (0, 1/2]. The bound without its rounding is concave and does not decrease there;
        beyond 1/2 it is Φ(1 - q).
        """
        raise NotImplementedError


def inscribed(radius: Fraction, norm: Norm, dimension: int, own: Norm = Norm.L2) -> Fraction:
    """Radius, rounded down, of the largest ball of `norm` inside the ball of `radius` in `own`.

    ‖δ‖₂ <= √d ‖δ‖∞ and ‖δ‖₁ <= √d ‖δ‖₂ and ‖δ‖₁ <= d ‖δ‖∞, with equality in a corner; and
    ‖δ‖∞ <= ‖δ‖₂ <= ‖δ‖₁ with equality on an axis.
    """
    steps = radius.numerator * RESOLUTION // radius.denominator
    if (own, norm) in ((Norm.L2, Norm.LINF), (Norm.L1, Norm.L2)):
        steps = isqrt(steps * steps // dimension)
    elif (own, norm) == (Norm.L1, Norm.LINF):
        steps //= dimension
    return Fraction(steps, RESOLUTION)


def outer(radius: Fraction, norm: Norm, dimension: int, own: Norm) -> Fraction:
    """The least radius in `own` from which `inscribed` makes `radius` or more; not 0."""
    steps = max(-(-radius.numerator * RESOLUTION // radius.denominator), 1)
    if (own, norm) in ((Norm.L2, Norm.LINF), (Norm.L1, Norm.L2)):
        steps = isqrt(steps * steps * dimension - 1) + 1
    elif (own, norm) == (Norm.L1, Norm.LINF):
        steps *= dimension
    return Fraction(steps, RESOLUTION)


@cache
def distributions() -> dict[str, Distribution]:
    """All distributions by name: one from each file `smoothing_*.py` of that folder that has one.

    Raises:
        TypeError: two distributions have one name.
    """
    package = importlib.import_module("evaluators.probabilistic")
    found: dict[str, Distribution] = {}
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("smoothing_"):
            continue
        members = vars(importlib.import_module(f"{package.__name__}.{module.name}")).values()
        for value in members:
            if not (inspect.isclass(value) and issubclass(value, Distribution)):
                continue
            if inspect.isabstract(value) or not value.__module__.endswith(f".{module.name}"):
                continue
            if value.name in found:
                raise TypeError(f"Two distributions are called '{value.name}'.")
            found[value.name] = value()
    return found
