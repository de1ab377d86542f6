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

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from evaluators._recheck_arithmetic import AT_ONCE, LARGEST, Arithmetic, Array
from evaluators._recheck_claim import Region, Step, check_claim, check_leaves, require, steps_of
from evaluators.certificate import Certificate, Cuts, Leaves
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
        """Leak of every unit so far, and its verified bounds."""
        self.planes: dict[tuple[int, int], tuple[Array, Any, Any]] = {}
        """By unit and sign, a plane below sign·z: coefficients, value and slack."""
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
        planes = self._planes(
            parent, columns, signs, layer.slopes, none, none, self.units[1:, None]
        )
        bounds = self.region.least(*planes, self.gamma)
        for sign, ends, told in ((1, self.lower, lower), (-1, self.upper, upper)):
            proved, chosen = sign * ends[parent], layer.signs == sign
            np.maximum.at(proved, layer.rows[chosen], bounds[chosen])
            reason = f"the {_ENDS[sign]} bound of entry # of node {position} does not follow."
            require(sign * told <= proved, reason)
            ends[parent] = sign * np.maximum(sign * ends[parent], sign * told)
        units = np.flatnonzero((layer.lower < 0) & (layer.upper > 0))
        first, stable = self.units.shape[1], ar.array(np.where(layer.lower >= 0, 1.0, leak))
        self.relaxed[position] = units, slice(first, first + len(units)), stable
        number = {entry: first + place for place, entry in enumerate(units.tolist())}
        for claim in zip(layer.rows.tolist(), layer.signs.tolist(), *planes, strict=True):
            if claim[0] in number:
                self.planes[number[claim[0]], claim[1]] = claim[2:]
        leaks = ar.array(np.full(len(units), leak))
        self.units = np.concatenate((self.units, [leaks, lower[units], upper[units]]), axis=1)

    def _above(self, ends: Array) -> tuple[Array, Array]:
        """Slopes and intercepts of chords above units with these bounds."""
        ar, leak, (lower, upper) = self.ar, self.units[0], ends
        least, most, small = (values.astype(np.float64) for values in (lower, upper, leak))
        # Any slope in [leak, 1] will do, so rounding it is harmless; halves cannot overflow.
        rounded = (most / 2 - small * (least / 2)) / (most / 2 - least / 2)
        chord = ar.array(np.clip(np.where(np.isfinite(rounded), rounded, 1.0), small, 1.0))
        highest = np.maximum((1 - chord) * upper, (chord - leak) * -lower)
        return chord, ar.next(highest + ar.gamma(8) * highest, np.inf)

    def _planes(
        self,
        position: int,
        columns: Array,
        weights: Array,
        slopes: Array,
        sign: Any,
        shift: Any,
        ends: Array,
    ) -> tuple[Array, Array, Array]:
        """Planes below sums of a node's entries: in each row these columns with these weights.

        That is coefficients of the input, value and slack. `slopes` are those below units; `sign`
        says how they are split, `shift` is sign·beta; `ends` are bounds of the units.
        """
        leak = self.units[0]
        at_once = max(1, AT_ONCE // max(step.size for step in self.steps))
        none = self.ar.array(np.empty(0))
        found = [(none.reshape(0, self.steps[0].size), none, none)]
        for first in range(0, len(columns), at_once):
            rows = slice(first, first + at_once)
            alpha, split = self.ar.array(slopes[rows]), sign[rows].toarray()
            fits = alpha.shape[1] == len(leak) and (alpha >= leak).all() and (alpha <= 1).all()
            require(fits, "the slopes of a proof do not all lie between the leak and 1.")
            here = ends if ends.shape[1] == 1 else ends[:, rows]
            chord, intercept = self._above(here)
            free = (split == 0) & (here[0] < 0) & (here[1] > 0)
            side = np.where((split > 0) | ((split == 0) & (here[0] >= 0)), 1, leak)
            lines = [np.where(free, line, side) for line in (alpha, chord)]
            lines += [np.where(free, intercept, 0), self.ar.array(shift[rows].toarray())]
            start = np.zeros((len(alpha), self.steps[position].size))
            np.put_along_axis(start, columns[rows], weights[rows], 1)
            found.append(self._walk(position, self.ar.array(start), lines))
        weight, value, slack = (np.concatenate(part) for part in zip(*found, strict=True))
        return weight, value, slack

    def _walk(self, position: int, rows: Array, lines: list[Array]) -> tuple[Array, Array, Array]:
        """Planes below each row times the values of a node."""
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
        nothing = ar.array(np.zeros((len(value), self.steps[0].size)))
        return held.get(0, nothing), value, slack

    def _through(self, node: int, rows: Array, lines: list[Array]) -> tuple[Array, Array, Array]:
        """Coefficients before a ReLU, what they add to the value, and what rounding costs."""
        (units, mine, stable), size = self.relaxed[node], self._size(self.steps[node].parents[0])
        below, above, intercept, shift = (line[:, mine] for line in lines)
        used, before = rows[:, units], rows * stable
        before[:, units] = used * np.where(used >= 0, below, above) - shift
        lost = np.abs(rows) @ size + np.abs(shift) @ size[units]
        return before, (np.minimum(used, 0) * intercept).sum(1), self.gamma * lost

    def _margin(self) -> float:
        """The least bound of all leaves, which must be positive, as must the cuts' targets."""
        leaves, cuts = self.certificate.leaves, self.certificate.cuts
        check_leaves(self.certificate)
        ends = self._cut(cuts)
        every = np.arange(len(leaves.goal))
        planes = self._margins(leaves, every, ends[:, leaves.cut])
        bounds = self.region.least(*planes, self.gamma)
        require(bounds > 0, "leaf # is not proved positive.")
        least = min([Fraction(bounds.min()), *map(Fraction, cuts.target.tolist())])
        return float(Arithmetic(False).below([least])[0])

    def _margins(self, table: Leaves, rows: Array, ends: Array) -> tuple[Array, Array, Array]:
        """Planes below the margins of some leaves or cuts."""
        columns = np.stack((np.full_like(table.goal, self.certificate.label), table.goal), 1)[rows]
        splits = (table.split_unit, table.split_start)
        sign = csr_matrix((table.split_sign, *splits), table.slopes.shape)[rows]
        beta = csr_matrix((table.split_sign * table.split_beta, *splits), table.slopes.shape)[rows]
        weights = np.broadcast_to([1.0, -1.0], columns.shape)
        last = len(self.steps) - 1
        return self._planes(last, columns, weights, table.slopes[rows], sign, beta, ends)

    def _cut(self, cuts: Cuts) -> Array:
        """Lower and upper bounds of units by cut; at the end, for no cut, those of the region."""
        ends = np.repeat(self.units[1:, None], len(cuts.goal) + 1, axis=1)
        waiting = np.arange(len(cuts.goal))
        while len(waiting):
            # Parents come first, so the first one waits for nobody.
            ready = ~np.isin(cuts.cut[waiting], waiting)
            rows, waiting = waiting[ready], waiting[~ready]
            ends[:, rows] = ends[:, cuts.cut[rows]]
            planes = zip(*self._margins(cuts, rows, ends[:, rows]), strict=True)
            for row, plane in zip(rows.tolist(), planes, strict=True):
                self._narrow(cuts, row, plane, ends[:, row])
        return ends

    def _narrow(self, cuts: Cuts, row: int, plane: Sequence[Any], ends: Array) -> None:
        """Where margin <= target, sign·z >= its plane + gamma · (the margin's plane - target)."""
        clips = slice(*cuts.clip_start[row : row + 2])
        keys = list(
            zip(cuts.clip_unit[clips].tolist(), cuts.clip_sign[clips].tolist(), strict=True)
        )
        require([key in self.planes for key in keys], f"cut {row} uses a bound without a proof.")
        if not keys:
            return
        weight, value, slack = (
            np.stack(p) for p in zip(*(self.planes[k] for k in keys), strict=True)
        )
        gamma, target = self.ar.array(cuts.clip_gamma[clips]), self.ar.array(cuts.target[[row]])[0]
        size = np.abs(weight) + gamma[:, None] * np.abs(plane[0])
        lost = size @ self._size(0) + np.abs(value) + gamma * (abs(plane[1]) + target)
        found = self.region.least(
            weight + gamma[:, None] * plane[0],
            value + gamma * (plane[1] - target),
            slack + gamma * plane[2] + self.gamma * lost,
            self.gamma,
        )
        for (unit, sign), bound in zip(keys, found, strict=True):
            side = 0 if sign > 0 else 1
            ends[side, unit] = sign * max(sign * ends[side, unit], bound)
