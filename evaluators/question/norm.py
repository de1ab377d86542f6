"""The norms of perturbations.

A new norm is a member here with the order of its dual, an exact test of membership (`region.py`),
projections in float32 (`float_region.py`), and the least value of a plane over its ball
(`propagation/concretization.py`).
"""

from enum import StrEnum


class Norm(StrEnum):
    """The norms of perturbations, in units of pixels in [0, 1]."""

    LINF = "linf"
    L2 = "l2"
    L1 = "l1"

    @property
    def dual(self) -> float:
        """Order q of the dual norm: the largest w·d over the unit ball is the q-norm of w."""
        return {Norm.LINF: 1.0, Norm.L2: 2.0, Norm.L1: float("inf")}[self]
