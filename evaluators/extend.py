"""What a method of one's own is made of: the interface, and helpers that round to the safe side.

A file of `evaluators/deterministic/`, `probabilistic/` or `falsification/` imports from here; a
noise, a file of `evaluators/noises/`, subclasses `Distribution`. The helpers below
`SmoothingEvaluator` are sound as they are; what a method computes by itself it must round outward,
with `up`, `down` and `gamma`.
"""

from evaluators.evaluator import Evaluator
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.noises.distribution import Distribution, Probabilities, Shift
from evaluators.numerics.rounding import down, gamma, up
from evaluators.propagation.intervals import Interval
from evaluators.propagation.linear_bounds import interval_relaxation, linear_relaxation, margins
from evaluators.propagation.relaxation import Relaxation
from evaluators.propagation.relaxed import Relaxed
from evaluators.propagation.verdicts import in_batches, verdicts
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball, Box
from evaluators.question.verdict import Status, Verdict
from evaluators.smoothing.evaluator import SmoothingEvaluator
from evaluators.smoothing.radius import RadiusCertificate

__all__ = [
    "Ball",
    "Box",
    "Distribution",
    "Evaluator",
    "Interval",
    "Network",
    "Norm",
    "Probabilities",
    "Problem",
    "RadiusCertificate",
    "Relaxation",
    "Relaxed",
    "Shift",
    "SmoothedNetwork",
    "SmoothingEvaluator",
    "Status",
    "Verdict",
    "down",
    "gamma",
    "in_batches",
    "interval_relaxation",
    "linear_relaxation",
    "margins",
    "up",
    "verdicts",
]
