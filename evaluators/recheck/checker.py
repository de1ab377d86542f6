"""The recheck of a certificate: every claimed bound and every leaf derived again, without search.

Guarantee: an accepted certificate proves that in real arithmetic the network, with exactly its
given weights, answers `label` (its logit is strictly the largest) at every point of the region.
Trusted: the reader of files (`recheck_reader`), and IEEE float64 (errors bounded in
`_recheck_arithmetic`) or Python's integers; nothing of the methods that make certificates, nor of
the importer that they get their network from.
Cost: one backward pass for each claimed row and leaf, in batches of matrix products.

By induction over the nodes. Of a ReLU's pre-activation z the claimed bounds must follow from
interval arithmetic over the earlier nodes' claims, or from a backward pass ("row") through them.
That bounds c·z from below over the region by walking c to the input. At unit i, with verified
l < 0 < u and a = max(z, leak·z), a coefficient A is replaced:

- A >= 0: a >= alpha·z for every alpha in [leak, 1], as both z and leak·z are that large;
- A < 0: a <= s·z + t for any s (the chord's, rounded), t the larger of a - s·z at l and u (convex);
- in a leaf, where the unit is split: a = z or a = leak·z on the leaf's part of the region, and
  beta·sign·z >= 0 there is subtracted, which can only lower the bound.

A leaf so bounds the margin to its goal on the part of the region in which all its splits hold. The
leaves of a goal form a complete tree whose inner nodes each cut the region into z >= 0 and z <= 0,
so their parts cover the region; zero belongs to both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import scipy  # scipy.sparse itself is imported when it is first used

from evaluators.numerics.errors import CertificateError
from evaluators.question.certificate import Certificate, LayerBounds, Leaves
from evaluators.recheck.arithmetic import AT_ONCE, LARGEST, SIDES, Arithmetic, Array
from evaluators.recheck.claim import CheckedModel, Region, check_claim, check_leaves, known, require

EXACT_WORK = 300_000  # products up to which exact arithmetic is chosen by itself: about a second
END = np.array([0, 0, 1])  # which of the floors is about sign·z, by sign: 1 and -1
Planes = tuple[Array, Array, Array]  # coefficients of the input `[rows, inputs]`, values, slacks


@dataclass(frozen=True)
class Recheck:
    """What came of it: whether the claim is proved, or the first thing that is wrong.

    `margin` is the least bound of all leaves, the label's logit minus the best other; `leaves` and
    `bounds` are how many were derived again, in `arithmetic` "float64" or "exact".
    """

    accepted: bool
    reason: str = ""
    margin: float | None = None
    leaves: int = 0
    bounds: int = 0
    arithmetic: str = ""


def recheck(model: CheckedModel, certificate: Certificate, *, exact: bool | None = None) -> Recheck:
    """Whether a certificate proves its claim about a model, as `read_model` read it.

    `exact` says which arithmetic; None takes the exact one where it is quick.
    """
    try:
        check_claim(model, certificate)
        with np.errstate(all="ignore"):
            return Checker(model, certificate, exact).run()
    except CertificateError as error:
        return Recheck(False, str(error))


class Checker:
    """Bounds of z are kept as its *floors*: numbers not above z, and not above -z."""

    def __init__(self, model: CheckedModel, made: Certificate, exact: bool | None) -> None:
        self.made, self.steps, self.cuts = made, model.steps, made.cuts
        # The layer of each ReLU, by its position among all nodes.
        relus = [place for place, step in enumerate(self.steps) if step.leak is not None]
        self.layer_at = {place: layer for layer, place in enumerate(relus)}
        if exact is None:
            products = (prod(step.weights.shape) for step in self.steps if step.weights is not None)
            proofs = sum(len(layer.rows) for layer in made.layers) + len(made.leaves.goal)
            exact = (proofs + 2) * sum(products) <= EXACT_WORK
        self.ar = Arithmetic(exact)
        self.region = Region(made, self.ar)
        # Of each node: the floors of its entries; where it is affine, W as it is multiplied by, and
        # |W| times the size of its parents times the rounding error; where it is a ReLU, the
        # entries that are units, their numbers, and the slopes of all others.
        self.floors = list[Array]()
        self.weights: dict[int, Any] = {}
        self.charge: dict[int, Array] = {}
        self.relaxed: dict[int, tuple[Array, slice, Array]] = {}
        # Of all units so far the leaks and floors; planes below sign·z of those that cuts use; of
        # each cut ends, units and floors there.
        self.leak, self.units = self.ar.array(np.empty(0)), self.ar.array(np.empty((2, 0)))
        self.used = {*zip(self.cuts.clip_unit.tolist(), self.cuts.clip_sign.tolist(), strict=True)}
        self.planes: dict[tuple[int, int], tuple[Array, Any, Any]] = {}
        self.narrower: dict[int, tuple[tuple[Array, Array], Array]] = {}
        # Covers any sum of one term for each entry of the network.
        self.gamma = self.ar.gamma(sum(step.size + 16 for step in self.steps) + 128)

    def run(self) -> Recheck:
        """Verify everything, or raise with the first thing that is wrong."""
        layers, leaves = self.made.layers, len(self.made.leaves.goal)
        found, needed = len(layers), len(self.layer_at)
        require(found == needed, f"it is about {found} layers of ReLUs; the model has {needed}.")
        self._walk_forward()
        margin, bounds = self._margin(), 2 * sum(len(layer.lower) for layer in layers)
        return Recheck(True, "", margin, leaves, bounds, "exact" if self.ar.exact else "float64")

    def _walk_forward(self) -> None:
        """Floors of all nodes, in order."""
        for position in range(len(self.steps)):
            self.floors.append(self._interval(position))
            require(self._size(position) < LARGEST, f"the values of node {position} are too large.")

    def _size(self, position: int) -> Array:
        """The largest magnitude of each entry of a node."""
        return np.asarray(np.abs(self.floors[position]).max(0))

    def _interval(self, position: int) -> Array:
        """Floors of a node from those of its parents, which a ReLU's claims first tighten."""
        ar, step, parents = self.ar, self.steps[position], self.steps[position].parents
        if step.leak is not None:
            self._verify(position, parents[0], step.leak)
            floors, leak = self.floors[parents[0]], ar.array(np.array(step.leak))
            return np.where(SIDES * floors >= 0, floors, ar.down(leak * floors) if leak else 0)
        if step.weights is None:
            return self.region.floors
        self.weights[position], back = ar.operand(step.weights), step.weights.T
        plus, minus, absolute = map(ar.operand, (back.maximum(0), back.minimum(0), abs(back)))
        floors = np.sum([self.floors[p] for p in parents], axis=0)
        size = np.sum([self._size(p) for p in parents], axis=0)
        bias = SIDES * ar.array(step.bias)
        gamma = ar.gamma(step.terms + len(parents) + 8, 2 * step.roundings)
        self.charge[position] = gamma * (size @ absolute)
        least = floors @ plus - floors[::-1] @ minus + bias
        # Of zeros, nothing is rounded and nothing underflows.
        idle = ar.array(size != 0) @ absolute == 0
        return np.where(idle, bias, ar.settle(least, self.charge[position] + gamma * np.abs(bias)))

    def _verify(self, position: int, parent: int, leak: float) -> None:
        """The claimed bounds of one ReLU's parent; then the lines that they allow."""
        ar, at, size = self.ar, self.layer_at[position], self.steps[parent].size
        layer = self.made.layers[at]
        count = len(layer.lower)
        require(count == size, f"layer {at} has {size} entries, not {count}.")
        require(layer.lower <= layer.upper, f"a bound of layer {at} is above the upper one.")
        known(f"rows of layer {at}", layer.rows, layer.signs, size)
        told = ar.array([layer.lower, -layer.upper])
        proved = self._proved(parent, layer, np.flatnonzero((told < 0).all(0)))
        told = self._told(at, told, proved)
        for end, side in enumerate(("lower", "upper")):
            reason = f"the {side} bound of entry # of layer {at} does not follow."
            require(told[end] <= proved[end], reason)
        self._relax(position, parent, leak, told)

    def _told(self, _layer: int, told: Array, _proved: Array) -> Array:
        """The floors that are claimed; those who write certificates may correct them here."""
        return told

    def _proved(self, parent: int, layer: LayerBounds, units: Array) -> Array:
        """Floors of a ReLU's parent, of which these entries are claimed to be units."""
        number = np.full(self.steps[parent].size, -1)
        number[units] = len(self.leak) + np.arange(len(units))
        proved = self.floors[parent] + 0
        for where, signs, planes in self._rows(parent, layer.rows, layer.signs, layer.slopes):
            np.maximum.at(proved, (END[signs], where), self.region.least(*planes, self.gamma))
            keys = zip(number[where].tolist(), signs.tolist(), strict=True)
            for key, weight, *rest in zip(keys, *planes, strict=True):
                if key in self.used:
                    self.planes[key] = weight.copy(), *rest
        return proved

    def _rows(
        self, parent: int, entries: Array, signs: Array, slopes: Array
    ) -> Iterator[tuple[Array, Array, Planes]]:
        """Entries and signs, and planes below sign times those entries of a node."""
        ends = np.arange(len(entries) + 1)
        start = scipy.sparse.csr_matrix(
            (signs, entries, ends), (len(entries), self.steps[parent].size)
        )
        none = scipy.sparse.csr_matrix(slopes.shape)
        proofs = start, slopes, none, none, 0 * ends[1:] - 1
        for rows, planes in self._planes(ends[:-1], parent, *proofs):
            yield entries[rows], signs[rows], planes

    def _relax(self, position: int, parent: int, leak: float, floors: Array) -> None:
        """Take these floors of a ReLU's parent, and the lines that they allow."""
        ar, units = self.ar, np.flatnonzero((floors < 0).all(0))
        first, stable = len(self.leak), ar.array(np.where(floors[0] >= 0, 1.0, leak))
        self.relaxed[position] = units, slice(first, first + len(units)), stable
        self.floors[parent] = np.maximum(self.floors[parent], floors)
        self.leak = np.append(self.leak, ar.array(np.full(len(units), leak)))
        self.units = np.append(self.units, floors[:, units], axis=1)

    def _planes(
        self, every: Array, node: int, start: Any, slopes: Array, sign: Any, shift: Any, cut: Array
    ) -> Iterator[tuple[Array, Planes]]:
        """Planes below sums of a node's entries, for as many rows at once as memory allows.

        With weights `start`; `slopes` below units; splits, and sign·beta; the cut each rests on.
        """
        ar, leak = self.ar, self.leak
        count = max(1, AT_ONCE // max(len(leak), *(step.size for step in self.steps)))
        for rows in np.split(every, range(count, len(every), count)):
            alpha, floors = ar.array(slopes[rows]), self._resting(cut[rows])
            fits = alpha.shape[1] == len(leak) and (alpha >= leak).all() and (alpha <= 1).all()
            require(fits, "the slopes of a proof do not all lie between the leak and 1.")
            least, most, small = (x.astype(np.float64) for x in (floors[0], -floors[1], leak))
            # Any slope in [leak, 1] will do, so rounding it is harmless; halves cannot overflow.
            chord = (most / 2 - small * (least / 2)) / (most / 2 - least / 2)
            chord = ar.array(np.clip(np.where(np.isfinite(chord), chord, 1.0), small, 1.0))
            highest = np.maximum((chord - 1) * floors[1], (leak - chord) * floors[0])
            highest = -ar.down(-(highest + ar.gamma(8) * highest))
            split = sign[rows].toarray()
            free = (split == 0) & (floors < 0).all(0)
            side = np.where((split > 0) | ((split == 0) & (floors[0] >= 0)), 1, leak)
            lines = [np.where(free, line, side) for line in (alpha, chord)]
            lines += [np.where(free, highest, 0), ar.array(shift[rows].toarray())]
            yield rows, self._walk(node, ar.array(start[rows].toarray()), lines)

    def _walk(self, position: int, rows: Array, lines: list[Array]) -> Planes:
        """Planes below each row times the values of a node."""
        ar, held = self.ar, {position: rows}
        value = slack = ar.array(np.zeros(len(rows)))
        for node in range(position, 0, -1):
            if node not in held:
                continue
            rows, step = held.pop(node), self.steps[node]
            if step.weights is not None:
                bias = ar.array(step.bias)
                value = value + rows @ bias
                slack = slack + np.abs(rows) @ (self.gamma * np.abs(bias) + self.charge[node])
                rows = rows @ self.weights[node]
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
        check_leaves(self.made)
        parents, proofs, bounds = self.cuts.cut, self._proofs(self.cuts), []
        waiting = np.arange(len(parents))
        while len(waiting):
            # Parents come first, so the first one waits for nobody.
            ready = ~np.isin(parents[waiting], waiting)
            for rows, planes in self._planes(waiting[ready], *proofs):
                for row, *plane in zip(rows.tolist(), *planes, strict=True):
                    self._narrow(row, *plane)
            waiting = waiting[~ready]
        leaves = np.arange(len(self.made.leaves.goal))
        for _, planes in self._planes(leaves, *self._proofs(self.made.leaves)):
            bounds += self.region.least(*planes, self.gamma).tolist()
        require(np.array(bounds) > 0, "leaf # is not proved positive.")
        least = min(map(Fraction, bounds + self.cuts.target.tolist()))
        return float(Arithmetic(False).below([least])[0])

    def _proofs(self, table: Leaves) -> tuple[int, Any, Array, Any, Any, Array]:
        """Collect what `_planes` takes to bound the margins of leaves or cuts."""
        last, shape, count = len(self.steps) - 1, table.slopes.shape, len(table.goal)
        columns = np.insert(table.goal, np.arange(count), self.made.label)
        ends, weights = np.arange(0, 2 * count + 1, 2), np.tile([1.0, -1.0], count)
        start = scipy.sparse.csr_matrix((weights, columns, ends), (count, self.made.classes))
        sign = scipy.sparse.csr_matrix(
            (table.split_sign, table.split_unit, table.split_start), shape
        )
        shift = scipy.sparse.csr_matrix(
            (sign.data * table.split_beta, sign.indices, sign.indptr), shape
        )
        return last, start, table.slopes, sign, shift, table.cut

    def _resting(self, cuts: Array) -> Array:
        """Floors of the units for what rests on these cuts (-1: on none), `[2, rows, units]`."""
        different, place = np.unique(cuts, return_inverse=True)
        floors = np.repeat(self.units[:, None], len(different), axis=1)
        for row, cut in enumerate(different.tolist()):
            while cut >= 0:
                if cut in self.narrower:
                    np.maximum.at(floors[:, row], *self.narrower[cut])
                cut = int(self.cuts.cut[cut])
        return floors if len(different) == 1 else floors[:, place]

    def _narrow(self, row: int, weight: Array, value: Any, slack: Any) -> None:
        """Where margin <= target, sign·z >= its plane + gamma · (the margin's plane - target)."""
        cuts, clips = self.cuts, slice(*self.cuts.clip_start[row : row + 2])
        units, signs = cuts.clip_unit[clips], cuts.clip_sign[clips]
        keys = list(zip(units.tolist(), signs.tolist(), strict=True))
        require([key in self.planes for key in keys], f"cut {row} uses a bound without a proof.")
        if not keys:
            return
        named = zip(*(self.planes[key] for key in keys), strict=True)
        weights, values, slacks = (np.stack(part) for part in named)
        gamma, target = self.ar.array(cuts.clip_gamma[clips]), self.ar.array(cuts.target[[row]])[0]
        size = np.abs(weights) + gamma[:, None] * np.abs(weight)
        lost = size @ self._size(0) + np.abs(values) + gamma * (abs(value) + target)
        weights, values = weights + gamma[:, None] * weight, values + gamma * (value - target)
        slacks = slacks + gamma * slack + self.gamma * lost
        found = self.region.least(weights, values, slacks, self.gamma)
        self.narrower[row] = (END[signs], units), found
