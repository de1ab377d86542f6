"""DeepPoly: polyhedra with one inequality on each side."""

from dataclasses import dataclass

import torch

from evaluators.evaluator import Evaluator
from evaluators.network.elementwise import Elementwise, LeakyReLU, Slopes, SShaped
from evaluators.network.network import MaxPool
from evaluators.propagation.intervals import Interval
from evaluators.propagation.relaxation import Relaxation, winner_planes
from evaluators.propagation.verdicts import propagate_back
from evaluators.question.problem import Problem
from evaluators.question.verdict import Verdict


def deeppoly_slopes(function: Elementwise, interval: Interval) -> Slopes:
    """The paper's transformers: of a ReLU as CROWN's, of an S-shaped function its own.

    λ is the slope of the chord and λ' = min(f'(l), f'(u)); the line below has slope λ where
    l > 0, the line above where u <= 0, and both have λ' elsewhere. As f' has no other minimum in
    [l, u], f(x) - λ'·x grows, so that the safe intercepts put the line below through (l, f(l)) and
    the line above through (u, f(u)), as the paper does.
    """
    if not isinstance(function, SShaped):
        return function.slopes(*interval)
    lower, upper = interval
    chord = function.chord(lower, upper)
    gentle = torch.minimum(function.derivative(lower), function.derivative(upper))
    return Slopes(torch.where(lower > 0, chord, gentle), torch.where(upper <= 0, chord, gentle))


DEEPPOLY = Relaxation(deeppoly_slopes, winner_planes, covers=(LeakyReLU, SShaped, MaxPool))
"""The paper's transformers of ReLU, sigmoid, tanh and max-pooling."""


@dataclass(frozen=True)
class DeepPoly(Evaluator):
    """DeepPoly (Singh et al. 2019, POPL, doi 10.1145/3290354, section 4).

    Each neuron keeps one linear inequality below and one above in terms of the layer before, and an
    interval from substituting them back to the input. For a ReLU, the inequality below has slope 0
    or 1, whichever leaves the smaller area: on networks of ReLUs and max-pooling this is CROWN in
    other words, and its margins are `crown`'s. Sigmoid and tanh have lines of their own.

    Differs from the paper: leaky ReLUs are allowed, by the same areas. Every bound is, elementwise,
    the better of this one and interval propagation's; because lines depend on intervals, margins
    may differ from the paper's; as a rule they are larger. Balls in l2 and l1 are allowed (the
    paper has boxes). A network with a function that is neither a ReLU nor S-shaped is answered with
    unknown.

    Guarantee: a certified example's label has the strictly largest logit for every input of the
    region, in real arithmetic on the given weights and, unless the problem asks for that alone, in
    every float32 run (`deployment.py`).
    Trusted: IEEE float64 and PyTorch's sums of products; rounding is bounded (`rounding.py`).
    Cost: that of CROWN.
    """

    title = "DeepPoly"
    node = "polyhedra"
    version = "3"

    def solve(self, problem: Problem) -> list[Verdict]:
        """Bound all margins of the batch at once."""
        return propagate_back(problem, DEEPPOLY)
