"""The recheck of claims by linear bounds: only the answer is claimed, the lines are the checker's.

What a certificate brings, bounds of units and the slopes below them, follows here from rules. Of
every entry that interval arithmetic leaves undecided both bounds come from a backward pass; or only
of those that no ReLU precedes, around which a round ball is smaller than its box (`everywhere` is
false). Below a unit runs the line of the smaller triangle: z where its upper bound is the larger
one, leak·z where it is not (Zhang et al. 2018, arXiv 1811.00866). A margin's bound is the better of
a backward pass and interval arithmetic. The passes and what is trusted are those of `recheck`.
"""

from fractions import Fraction
from math import prod

import numpy as np

from evaluators.question.certificate import Certificate, Cuts, Leaves
from evaluators.recheck.arithmetic import Arithmetic, Array
from evaluators.recheck.batch import Balls, check_balls, intervals_of
from evaluators.recheck.checker import END, EXACT_WORK, Checker, Recheck
from evaluators.recheck.claim import CheckedModel, require


def derive(
    model: CheckedModel, balls: Balls, row: int, *, everywhere: bool, exact: bool | None = None
) -> Recheck:
    """What comes of the claim about one of the examples.

    Raises:
        CertificateError: it is not proved.
    """
    check_balls(model.steps, balls)
    if exact is None:
        reads = sum(model.steps[s.parents[0]].size for s in model.steps if s.leak is not None)
        products = sum(prod(s.weights.shape) for s in model.steps if s.weights is not None)
        exact = (2 * reads * everywhere + model.classes + 2) * products <= EXACT_WORK
    claim = Certificate(
        norm=balls.norm,
        radius=balls.radius,
        low=balls.low,
        high=balls.high,
        label=int(balls.labels[row]),
        classes=model.classes,
        x=balls.x[row],
        layers=(),
        leaves=_leaves(np.arange(0), np.empty(0)),
        cuts=_NO_CUTS,
    )
    with np.errstate(all="ignore"):
        return _Deriving(model, claim, exact, everywhere).run()


class _Deriving(Checker):
    def __init__(self, model: CheckedModel, made: Certificate, exact: bool, everywhere: bool):
        super().__init__(model, made, exact)
        self.everywhere, self.slopes, self.proofs = everywhere, self.ar.array(np.empty(0)), 0
        self.intervals = intervals_of(model.steps, exact)
        # Whether a ReLU is at or before a node.
        self.bent = list[bool]()
        for step in self.steps:
            self.bent.append(step.leak is not None or any(self.bent[p] for p in step.parents))

    def run(self) -> Recheck:
        """Derive everything, or raise where a margin is not positive."""
        self._walk_forward()
        others = np.delete(np.arange(self.made.classes), self.made.label)
        leaves = _leaves(others, self.slopes)
        bounds = self._by_intervals()
        for rows, planes in self._planes(np.arange(len(others)), *self._proofs(leaves)):
            bounds[rows] = np.fmax(bounds[rows], self.region.least(*planes, self.gamma))
        require(bounds > 0, "the margin to other class # is not proved positive.")
        (margin,) = Arithmetic(False).below([Fraction(bounds.min())])
        kind = "exact" if self.ar.exact else "float64"
        return Recheck(True, "", float(margin), len(others), self.proofs, kind)

    def _by_intervals(self) -> Array:
        """Bounds of the margins by those of the nodes that precede them."""
        label = self.made.label
        ours = {node: self.floors[node].T[..., None] for node in self.intervals.end(label).rows}
        sizes = [np.abs(floors).max((0, 1), keepdims=True)[0] for floors in self.floors]
        return self.intervals.bounds(label, ours, sizes)[:, 0]

    def _verify(self, position: int, parent: int, leak: float) -> None:
        """The bounds of one ReLU's parent, and a slope below each unit."""
        floors, entries = self.floors[parent] + 0, np.arange(0)
        if self.everywhere or (self.made.norm != "linf" and not self.bent[parent]):
            entries = np.flatnonzero((floors < 0).all(0))
        sides = np.repeat(entries, 2), np.tile(np.array([1, -1]), len(entries))
        slopes = np.broadcast_to(self.slopes, (2 * len(entries), len(self.slopes)))
        for where, signs, planes in self._rows(parent, *sides, slopes):
            # Those that overflowed, and are no numbers, are passed over.
            np.fmax.at(floors, (END[signs], where), self.region.least(*planes, self.gamma))
        self.proofs += 2 * len(entries)
        first = len(self.leak)
        self._relax(position, parent, leak, floors)
        (lower, upper), leaks = self.units[:, first:], self.leak[first:]
        self.slopes = np.append(self.slopes, np.where(upper < lower, self.ar.array(1.0), leaks))


def _leaves(others: Array, slopes: Array) -> Leaves:
    """One leaf without splits for each other class."""
    count, none = len(others), np.arange(0)
    return Leaves(
        goal=others,
        split_start=np.zeros(count + 1, dtype=np.int64),
        split_unit=none,
        split_sign=none,
        split_beta=np.empty(0),
        slopes=np.tile(slopes, (count, 1)),
        cut=np.full(count, -1),
    )


_NO_CUTS = Cuts(
    **vars(_leaves(np.arange(0), np.empty(0))),
    target=np.empty(0),
    clip_start=np.zeros(1, dtype=np.int64),
    clip_unit=np.arange(0),
    clip_sign=np.arange(0),
    clip_gamma=np.empty(0),
)
