"""The recheck of interval claims: only the answer is claimed, and many examples share a pass.

Every entry of every node lies between bounds that interval arithmetic derives from those of its
parents, forward from the smallest box that holds the region. The logits themselves are never
bounded: the rows `label - other` are multiplied with the last affine nodes first, back to where a
ReLU or the input stops them, which depends on the label alone. Floors, rounding errors and the two
arithmetics are those of `recheck`. An error is charged there against the magnitude of each entry,
here against an example's largest in the node, which is less to compute and never too little.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from evaluators.recheck.arithmetic import LARGEST, Arithmetic, Array
from evaluators.recheck.claim import Step, require

_AT_ONCE = 2**18  # entries of the largest node, of all examples of a pass together
_SIDES = np.array([[[1], [-1]]])  # floors are `[entries, 2, examples]`: (l, -u) = SIDES · (l, u)


@dataclass(frozen=True, eq=False)
class Balls:
    """One region around each of many examples, which shall all be answered by their labels.

    Attributes:
        norm: linf, l2 or l1.
        low, high: what each entry of an input is limited to.
        x, labels: float32 `[examples, inputs]` and int64 `[examples]`.
    """

    norm: str
    radius: Fraction
    low: float
    high: float
    x: Array
    labels: Array


def check_balls(steps: Sequence[Step], balls: Balls) -> None:
    """That these are claims about inputs and classes of this network.

    Raises:
        CertificateError: they are not.
    """
    classes, labels = steps[-1].size, balls.labels
    require(classes >= 2, "it has one class.")
    require((labels >= 0) & (labels < classes), "the label of claim # is not a class.")
    require(balls.x.shape == (len(labels), steps[0].size), "its examples do not fit the model.")
    require(balls.norm in ("linf", "l2", "l1"), f"there is no norm '{balls.norm}'.")
    require(0 < balls.radius <= LARGEST, f"its radius {float(balls.radius)} is not positive.")


def least_margins(steps: Sequence[Step], balls: Balls, exact: bool = False) -> Array:
    """Below each example's margin, its label's logit minus the best other, all over its ball.

    `[examples]`, float64; -inf where an example has entries outside the pixel range, or values in
    the network that are too large. A positive one proves the claim.

    Raises:
        CertificateError: the labels, the norm or the radius cannot be claimed about.
    """
    check_balls(steps, balls)
    labels = balls.labels
    found = np.full(len(labels), -np.inf)
    with np.errstate(all="ignore"):
        intervals = intervals_of(tuple(steps), exact)
        size = max(1, _AT_ONCE // max(step.size for step in steps))
        # Examples of a label share the rows that end a pass.
        for rows in np.split(np.argsort(labels, kind="stable"), range(size, len(labels), size)):
            found[rows] = intervals.margins(balls, rows)
    # A bound that overflowed is none.
    return np.where(np.isfinite(found), found, -np.inf)


@lru_cache(maxsize=4)
def intervals_of(steps: tuple[Step, ...], exact: bool) -> "Intervals":
    """The network as intervals pass through it, prepared once."""
    return Intervals(steps, Arithmetic(exact))


@dataclass(frozen=True, eq=False)
class _Layer:
    """An affine node: W as rows are multiplied by it, its positive and negative part, |W|·1."""

    weights: Any
    plus: Any
    minus: Any
    lengths: Array
    bias: Array
    gamma: Any


@dataclass(frozen=True, eq=False)
class End:
    """Rows `[others, entries]` before each node that stops them, and what is added to them.

    `charges`, `[others]` by node, is what rounding costs per unit of the node's largest magnitude.
    """

    rows: dict[int, Array]
    value: Array
    slack: Array
    charges: dict[int, Any]


class Intervals:
    """One network, as intervals pass through it; what is derived of it is kept."""

    def __init__(self, steps: Sequence[Step], arithmetic: Arithmetic) -> None:
        self.steps, self.ar = steps, arithmetic
        self.layers = {v: self._layer(x) for v, x in enumerate(steps) if x.weights is not None}
        # Covers any sum of one term for each entry of the network.
        self.gamma = self.ar.gamma(sum(step.size + 16 for step in steps) + 128)
        self.ends = dict[int, End]()

    def _layer(self, step: Step) -> _Layer:
        ar, weights = self.ar, step.weights
        gamma = ar.gamma(step.terms + len(step.parents) + 8, 2 * step.roundings)
        whole, plus, minus = map(ar.operand, (weights, weights.maximum(0), -weights.minimum(0)))
        lengths = ar.operand(abs(weights)) @ ar.array(np.ones(weights.shape[1]))
        return _Layer(whole, plus, minus, lengths, ar.array(step.bias), gamma)

    def margins(self, balls: Balls, rows: Array) -> Array:
        """Of the examples in these rows."""
        x, labels = balls.x[rows].astype(np.float64).T, balls.labels[rows]
        sound = ((x >= balls.low) & (x <= balls.high)).all(0)
        floors = self._forward(self._hull(balls, np.where(sound, x, balls.low)))
        sizes = [np.abs(floor).max((0, 1)) for floor in floors]
        sound &= np.all([size < LARGEST for size in sizes], axis=0)
        found = np.full(len(rows), -np.inf)
        for label in np.unique(labels[sound]).tolist():
            mine = np.flatnonzero(sound & (labels == label))
            ours = {node: floors[node][..., mine] for node in self.end(label).rows}
            least = self.bounds(label, ours, [size[mine] for size in sizes]).min(0)
            found[mine] = Arithmetic(False).below(least.tolist()) if self.ar.exact else least
        return found

    def _hull(self, balls: Balls, x: Array) -> Array:
        """Floors of the smallest box known to hold each ball."""
        ar = self.ar
        radius, center = -ar.below([-balls.radius])[0], ar.array(x)
        low, high = ar.array(np.array(balls.low)), ar.array(np.array(balls.high))
        lower = np.maximum(ar.down(center - radius), low)
        return np.stack([lower, np.maximum(ar.down(-center - radius), -high)], 1)

    def _forward(self, hull: Array) -> list[Array]:
        floors = list[Array]()
        for position, step in enumerate(self.steps):
            before = [floors[parent] for parent in step.parents]
            if position in self.layers:
                floors.append(self._affine(self.layers[position], before))
            elif step.leak is not None:
                leak, (floor,) = self.ar.array(np.array(step.leak)), before
                bent = self.ar.down(leak * floor) if step.leak else 0
                floors.append(np.where(_SIDES * floor >= 0, floor, bent))
            else:
                floors.append(hull)
        return floors

    def _affine(self, layer: _Layer, before: list[Array]) -> Array:
        floor = np.sum(before, axis=0)
        size = np.sum([np.abs(one).max((0, 1)) for one in before], axis=0)
        shape, bias = floor.shape, layer.bias[:, None, None]
        flat, swapped = (side.reshape(len(floor), -1) for side in (floor, floor[:, ::-1]))
        found = (layer.plus @ flat + layer.minus @ swapped).reshape(-1, *shape[1:])
        slack = layer.gamma * (layer.lengths[:, None, None] * size + np.abs(bias))
        return self.ar.settle(found + _SIDES * bias, slack)

    def bounds(self, label: int, floors: dict[int, Array], sizes: list[Array]) -> Array:
        """Below the margins to each other class, `[others, examples]`, by what is known of nodes.

        Args:
            label: of these examples.
            floors: `[entries, 2, examples]` of the nodes that stop the label's rows.
            sizes: `[examples]`, the largest magnitude of each node.
        """
        end = self.end(label)
        value = end.value[:, None]
        slack = end.slack[:, None] + self.gamma * np.abs(value)
        for node, rows in end.rows.items():
            lower, upper = floors[node][:, 0], floors[node][:, 1]
            value = value + (np.maximum(rows, 0) @ lower + np.maximum(-rows, 0) @ upper)
        for node, charge in end.charges.items():
            slack = slack + charge[:, None] * sizes[node]
        return np.asarray(self.ar.settle(value, slack))

    def end(self, label: int) -> End:
        """The rows of a label, walked back once."""
        if label not in self.ends:
            self.ends[label] = self._walk(label)
        return self.ends[label]

    def _walk(self, label: int) -> End:
        ar, last = self.ar, len(self.steps) - 1
        start = np.delete(-np.eye(self.steps[-1].size), label, axis=0)
        start[:, label] = 1
        held, stopped = {last: ar.array(start)}, dict[int, Array]()
        value = slack = ar.array(np.zeros(len(start)))
        charges = dict.fromkeys(range(len(self.steps)), value)
        for node in range(last, -1, -1):
            if node not in held:
                continue
            rows = held.pop(node)
            if node not in self.layers:
                stopped[node] = rows
                charges[node] = charges[node] + self.gamma * np.abs(rows).sum(1)
                continue
            layer, parents = self.layers[node], self.steps[node].parents
            value = value + rows @ layer.bias
            slack = slack + self.gamma * (np.abs(rows) @ np.abs(layer.bias))
            charge = layer.gamma * (np.abs(rows) @ layer.lengths)
            for parent in parents:
                charges[parent] = charges[parent] + charge
            rows = rows @ layer.weights
            for parent in parents:
                held[parent] = held[parent] + rows if parent in held else rows
                charges[parent] = charges[parent] + ar.gamma(2) * np.abs(held[parent]).sum(1)
        return End(stopped, value, slack, charges)
