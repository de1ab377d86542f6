"""Level sets: the differential method of Yang et al. 2020 (arXiv 2002.08118, theorem 4.1), for any
noise whose events have a known growth rate.

Let Φ(q) be the most by which an event of probability q under the noise can gain per unit of shift;
the worst event is a level set of the directional derivative of the log density. Along any shift the
top class's probability p obeys p' >= -Φ(p), and any other's p' <= Φ(p). So with
H(p) = integral of 1/Φ from 1/2 to p (and Φ(1 - q) = Φ(q) by symmetry), the answer cannot change for
‖δ‖ < σ/2 (H(p_A) - H(p_B)); with p_B = 1 - p_A that is σ times the integral of dq/Φ(q) from 1 - p_A
to 1/2, the paper's formula.

The integral is bounded from below: 1/Φ is convex where Φ is concave, so each cell of a fixed mesh
has at least its length times the value in its middle (Hermite and Hadamard). With 65,536 cells in
geometric progression it is short of the integral by less than one part in 10⁷.

Guarantee: as for `smoothing-gaussian`, with that radius. It equals Neyman and Pearson's where one
event is the worst for all sizes of the shift (Gaussian, Laplace, uniform in a cube), and is smaller
elsewhere (uniform in a ball).

Trusted: as there, and the proof that Φ is the distribution's (in its file).

Cost: at most n0 + n forward passes for each example; half a second for the first, for the mesh.
"""

from functools import lru_cache

import numpy as np

from evaluators.noises.distribution import Distribution, Probabilities, Shift, Vector
from evaluators.question.norm import Norm
from evaluators.smoothing.evaluator import SmoothingEvaluator
from evaluators.smoothing.radius import RadiusCertificate

_CELLS, _OCTAVES = 2**16, 60
"""The mesh goes from 2^-61 to 1/2 in this many cells, _OCTAVES factors of two."""

_SUM_ERROR = 1e-11
"""More than the relative rounding error of a sum over the whole mesh, 2^16 x 2^-53."""


class _Mesh:
    """Lower sums of 1/Φ over a mesh of (0, 1/2]."""

    def __init__(self, distribution: Distribution, norm: Norm, dimension: int) -> None:
        self._of = distribution, norm, dimension
        self._edges = 0.5 * np.exp2(_OCTAVES * np.linspace(-1.0, 0.0, _CELLS + 1))
        self._edges[-1] = 0.5
        parts = np.diff(self._edges) / self._growth((self._edges[1:] + self._edges[:-1]) / 2)
        self._sums = np.concatenate(([0.0], np.cumsum(parts)))
        self._error = _SUM_ERROR * float(self._sums[-1])

    def _growth(self, q: Vector) -> Vector:
        distribution, norm, dimension = self._of
        return distribution.growth(q, norm, dimension)

    def integral(self, start: float, end: float) -> float:
        """Integrate 1/Φ between two points of (0, 1/2], rounded down; at least 0."""
        start = max(start, float(self._edges[0]))
        if not start < end:
            return 0.0
        first = int(np.searchsorted(self._edges, start, "left"))
        last = int(np.searchsorted(self._edges, end, "right")) - 1
        if first > last:
            return self._cell(start, end) - self._error
        whole = float(self._sums[last] - self._sums[first])
        left = self._cell(start, float(self._edges[first]))
        return whole + left + self._cell(float(self._edges[last]), end) - self._error

    def _cell(self, start: float, end: float) -> float:
        middle = np.array([(start + end) / 2])
        return float((end - start) / self._growth(middle)[0]) if end > start else 0.0


_mesh = lru_cache(maxsize=32)(_Mesh)
"""The mesh of one kind of noise; distributions are the same objects all along."""


class LevelSet(RadiusCertificate):
    """It proves that the integral of 1/Φ between the probabilities exceeds twice the distance."""

    name = "level-set"
    asks = ("growth",)

    def keeps(self, distribution: Distribution, probabilities: Probabilities, shift: Shift) -> bool:
        """Tell whether this is so; above 1/2 the integral is taken at 1 - q."""
        mesh = _mesh(distribution, shift.norm, shift.dimension)
        lower, upper = probabilities
        # Differences from 1 are exact above 1/2.
        if lower <= 0.5:
            between = mesh.integral(upper, lower)
        elif upper >= 0.5:
            between = mesh.integral(1.0 - lower, 1.0 - upper)
        else:
            between = mesh.integral(1.0 - lower, 0.5) + mesh.integral(upper, 0.5)
        return between > 2 * shift.distance


class LevelSetSmoothing(SmoothingEvaluator):
    """The level set certificate, for any noise that has growth rates."""

    title = "Level sets (differential method)"
    node = "level-set"
    version = "1"
    certificate = LevelSet()
