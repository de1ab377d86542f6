"""The recheck of a certificate: every claimed bound and every leaf derived again, without search.

Guarantee: an accepted certificate proves that in real arithmetic the network, with exactly its
given weights, answers `label` (its logit is strictly the largest) at every point of the region.
Trusted: the importer, the operations applied to one-hot inputs, and either IEEE float64 (errors are
bounded in `_recheck_arithmetic`) or Python's integers. Nothing is shared with the methods that make
certificates. Cost: one backward pass for each claimed row and leaf, in batches of matrix products.

By induction over the nodes. Of a ReLU's pre-activation z the claimed bounds must follow from
interval arithmetic over the earlier nodes' claims, or from a backward pass ("row") through them.
That bounds c·z from below over the region by walking c to the input. At unit i, with verified
l < 0 < u and a = max(z, leak·z), a coefficient A is replaced:

- A >= 0: a >= alpha·z for every alpha in [leak, 1], as both z and leak·z are that large;
- A < 0: a <= s·z + t for any s (the chord's, rounded), t the larger of a - s·z at l and u, as a is
  convex;
- in a leaf, where the unit is split: a = z or a = leak·z on the leaf's part of the region, and
  beta·sign·z >= 0 there is subtracted, which can only lower the bound.

A leaf so bounds the margin to its goal from below on the part of the region in which all its splits
hold. The leaves of a goal form a complete tree whose inner nodes each cut the region into z >= 0
and z <= 0, so their parts cover the region; zero belongs to both.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from evaluators._recheck_arithmetic import AT_ONCE, LARGEST, Arithmetic, Array
from evaluators._recheck_claim import Region, Step, check_claim, check_leaves, require, steps_of
from evaluators.certificate import Certificate
from evaluators.errors import CertificateError
from evaluators.network import Network

_EXACT_WORK = 300_000
"""Products up to which exact arithmetic is chosen by itself; about a second."""
_ENDS = {1: "lower", -1: "upper"}


@dataclass(frozen=True)
class Recheck:
    """What came of it.

    Attributes:
        accepted: whether the claim is proved.
        reason: of a refusal, the first thing that is wrong.
        margin: the least bound of all leaves: label's logit minus the best other.
        leaves, bounds: how many were derived again.
        arithmetic: "float64" or "exact".
    """

    accepted: bool
    reason: str = ""
    margin: float | None = None
    leaves: int = 0
    bounds: int = 0
    arithmetic: str = ""


def recheck(
    network: Network,
    certificate: Certificate,
    *,
    model_sha256: str | None = None,
    exact: bool | None = None,
) -> Recheck:
    """Whether a certificate proves its claim about a network, that of the file with this SHA-256.

    `exact` says which arithmetic; None takes the exact one where it is quick.
    """
    try:
        check_claim(network, certificate, model_sha256)
        with np.errstate(all="ignore"):
            return _Checker(network, certificate, exact).run()
    except CertificateError as error:
        return Recheck(False, str(error))


class _Checker:
    def __init__(self, network: Network, certificate: Certificate, exact: bool | None) -> None:
        self.certificate, self.steps = certificate, steps_of(network)
        if exact is None:
            weights = sum(step.matrix.weights.nnz for step in self.steps if step.matrix)
            rows = sum(len(layer.rows) for layer in certificate.layers.values())
            exact = (rows + len(certificate.leaves.goal) + 2) * weights <= _EXACT_WORK
        self.ar = Arithmetic(exact)
        self.region = Region(certificate, self.ar)
        self.lower, self.upper = list[Array](), list[Array]()
        self.charge: dict[int, Array] = {}
        """Of each affine node: |W| times the size of its parents, times the rounding error."""
        self.relaxed: dict[int, tuple[Array, slice, Array]] = {}
        """Of each ReLU: the entries that are units, their numbers, the slopes of all others."""
        self.units = self.ar.array(np.empty((3, 0)))
        """Leak of every unit so far, and slope and intercept of the chord above it."""
        self.gamma = self.ar.gamma(sum(step.size + 16 for step in self.steps) + 128)
        """Covers any sum of one term for each entry of the network."""

    def run(self) -> Recheck:
        """Verify everything, or raise with the first thing that is wrong."""
        layers = self.certificate.layers
        relus = {v for v, step in enumerate(self.steps) if step.leak is not None}
        strange = min(relus ^ layers.keys(), default=None)
        require(strange is None, f"node {strange} has bounds or is a ReLU, but not both.")
        for position, step in enumerate(self.steps):
            lower, upper = self._interval(position, step)
            bounded = (np.abs(lower) < LARGEST) & (np.abs(upper) < LARGEST)
            require(bounded, f"the values of node {position} are not bounded.")
            self.lower.append(lower)
            self.upper.append(upper)
        margin, leaves = self._margin(), len(self.certificate.leaves.goal)
        bounds = 2 * sum(len(layer.lower) for layer in layers.values())
        return Recheck(True, "", margin, leaves, bounds, "exact" if self.ar.exact else "float64")

    def _size(self, position: int) -> Array:
        """The largest magnitude of each entry of a node."""
        return np.maximum(np.abs(self.lower[position]), np.abs(self.upper[position]))

    def _interval(self, position: int, step: Step) -> tuple[Array, Array]:
        """Bounds of a node from those of its parents, which a ReLU's claims first tighten."""
        ar = self.ar
        if step.leak is not None:
            self._verify(position, step.parents[0], step.leak)
            return self._bend(step, self.lower, -np.inf), self._bend(step, self.upper, np.inf)
        if step.matrix is None:
            return self.region.lower, self.region.upper
        bias, (plus, minus, absolute) = ar.array(step.bias), step.matrix.parts
        ends = [(self.lower[p], self.upper[p], self._size(p)) for p in step.parents]
        lower, upper, size = np.sum(ends, axis=0)
        least = ar.product(lower, plus) + ar.product(upper, minus) + bias
        most = ar.product(upper, plus) + ar.product(lower, minus) + bias
        gamma = ar.gamma(step.terms + len(step.parents) + 8, 2 * step.roundings)
        self.charge[position] = gamma * ar.product(size, absolute)
        slack = self.charge[position] + gamma * np.abs(bias)
        # Of zeros, nothing is rounded and nothing underflows.
        idle = ar.product(ar.array(size != 0), absolute) == 0
        lower, upper = ar.settle(least, slack), -ar.settle(-most, slack)
        return np.where(idle, bias, lower), np.where(idle, bias, upper)

    def _bend(self, step: Step, ends: list[Array], side: float) -> Array:
        """max(z, leak·z) at its parent's lower or upper ends, the product rounded to one side."""
        values, leak = ends[step.parents[0]], self.ar.array(np.array(step.leak))
        return np.where(values >= 0, values, self.ar.next(leak * values, side) if leak else 0)

    def _verify(self, position: int, parent: int, leak: float) -> None:
        """The claimed bounds of one ReLU's parent; then the lines that they allow."""
        ar, layer, size = self.ar, self.certificate.layers[position], len(self.lower[parent])
        count = len(layer.lower)
        require(count == size, f"node {position} has {size} entries, not {count}.")
        lower, upper = ar.array(layer.lower), ar.array(layer.upper)
        require(lower <= upper, f"a lower bound of node {position} is above the upper one.")
        known = (layer.rows >= 0) & (layer.rows < size)
        require(known, f"the rows of node {position} are not all from 0 to {size - 1}.")
        require(np.abs(layer.signs) == 1, f"the signs of node {position} are not all 1 or -1.")
        none = csr_matrix(layer.slopes.shape)
        columns, signs = layer.rows[:, None], layer.signs[:, None]
        bounds = self._prove(parent, columns, signs, layer.slopes, none, none)
        for sign, ends, told in ((1, self.lower, lower), (-1, self.upper, upper)):
            proved, chosen = sign * ends[parent], layer.signs == sign
            np.maximum.at(proved, layer.rows[chosen], bounds[chosen])
            reason = f"the {_ENDS[sign]} bound of entry # of node {position} does not follow."
            require(sign * told <= proved, reason)
            ends[parent] = sign * np.maximum(sign * ends[parent], sign * told)
        units = np.flatnonzero((layer.lower < 0) & (layer.upper > 0))
        least, most = layer.lower[units], layer.upper[units]
        # Any slope in [leak, 1] will do, so rounding it is harmless; halves cannot overflow.
        rounded = (most / 2 - leak * (least / 2)) / (most / 2 - least / 2)
        chord = ar.array(np.clip(np.where(np.isfinite(rounded), rounded, 1.0), leak, 1.0))
        leaks = ar.array(np.full(len(units), leak))
        highest = np.maximum((1 - chord) * upper[units], (chord - leaks) * -lower[units])
        intercept = ar.next(highest + ar.gamma(8) * highest, np.inf)
        first, stable = self.units.shape[1], ar.array(np.where(layer.lower >= 0, 1.0, leak))
        self.relaxed[position] = units, slice(first, first + len(units)), stable
        self.units = np.concatenate((self.units, [leaks, chord, intercept]), axis=1)

    def _prove(
        self, position: int, columns: Array, weights: Array, slopes: Array, sign: Any, shift: Any
    ) -> Array:
        """Lower bounds of sums of a node's entries: in each row these columns with these weights.

        `slopes` are those below units; `sign` says how they are split, `shift` is sign·beta.
        """
        leak, chord, intercept = self.units
        at_once = max(1, AT_ONCE // max(step.size for step in self.steps))
        found = [self.ar.array(np.empty(0))]
        for first in range(0, len(columns), at_once):
            rows = slice(first, first + at_once)
            alpha, split = self.ar.array(slopes[rows]), sign[rows].toarray()
            fits = alpha.shape[1] == len(leak) and (alpha >= leak).all() and (alpha <= 1).all()
            require(fits, "the slopes of a proof do not all lie between the leak and 1.")
            free, side = split == 0, np.where(split > 0, 1, leak)
            lines = [np.where(free, line, side) for line in (alpha, chord)]
            lines += [np.where(free, intercept, 0), self.ar.array(shift[rows].toarray())]
            start = np.zeros((len(alpha), self.steps[position].size))
            np.put_along_axis(start, columns[rows], weights[rows], 1)
            found.append(self._least(position, self.ar.array(start), lines))
        return np.concatenate(found)

    def _least(self, position: int, rows: Array, lines: list[Array]) -> Array:
        """A lower bound over the region of each row times the values of a node."""
        ar, held = self.ar, {position: rows}
        value = slack = ar.array(np.zeros(len(rows)))
        for node in range(position, 0, -1):
            if node not in held:
                continue
            rows, step = held.pop(node), self.steps[node]
            if step.matrix is not None:
                bias = ar.array(step.bias)
                value = value + rows @ bias
                slack = slack + np.abs(rows) @ (self.gamma * np.abs(bias) + self.charge[node])
                rows = ar.product(rows, step.matrix)
            else:
                rows, gained, lost = self._through(node, rows, lines)
                value, slack = value + gained, slack + lost
            for parent in step.parents:
                if parent in held:
                    held[parent] = held[parent] + rows
                    slack = slack + ar.gamma(2) * (np.abs(held[parent]) @ self._size(parent))
                else:
                    held[parent] = rows
        if 0 not in held:
            return ar.settle(value, slack + self.gamma * np.abs(value))
        return self.region.least(held[0], value, slack, self.gamma)

    def _through(self, node: int, rows: Array, lines: list[Array]) -> tuple[Array, Array, Array]:
        """Coefficients before a ReLU, what they add to the value, and what rounding costs."""
        (units, mine, stable), size = self.relaxed[node], self._size(self.steps[node].parents[0])
        below, above, intercept, shift = (line[:, mine] for line in lines)
        used, before = rows[:, units], rows * stable
        before[:, units] = used * np.where(used >= 0, below, above) - shift
        lost = np.abs(rows) @ size + np.abs(shift) @ size[units]
        return before, (np.minimum(used, 0) * intercept).sum(1), self.gamma * lost

    def _margin(self) -> float:
        """The least bound of all leaves, which must be positive."""
        made, leaves = self.certificate, self.certificate.leaves
        check_leaves(made)
        columns = np.stack((np.full_like(leaves.goal, made.label), leaves.goal), 1)
        splits = (leaves.split_unit, leaves.split_start)
        sign = csr_matrix((leaves.split_sign, *splits), leaves.slopes.shape)
        beta = csr_matrix((leaves.split_sign * leaves.split_beta, *splits), leaves.slopes.shape)
        weights = np.broadcast_to([1.0, -1.0], columns.shape)
        bounds = self._prove(len(self.steps) - 1, columns, weights, leaves.slopes, sign, beta)
        require(bounds > 0, "leaf # is not proved positive.")
        return float(Arithmetic(False).below([Fraction(bounds.min())])[0])
