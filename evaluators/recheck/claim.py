"""What a certificate is about: matrices and a region; and whether its trees are complete."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from evaluators.numerics.errors import CertificateError
from evaluators.question.certificate import BOX, Certificate
from evaluators.recheck.arithmetic import LARGEST, SIDES, Arithmetic, Array

LONGEST_CHAIN = 10_000
"""Cuts that rest on each other: a search makes one for a split, and each waits for the one before.
"""
Path = list[tuple[int, int]]  # the splits from the root: units and signs


def require(holds: Any, reason: str) -> None:
    """Refuse the certificate unless all of these hold; # stands for the first that does not."""
    if len(wrong := np.flatnonzero(~np.asarray(holds, dtype=bool))):
        raise CertificateError(reason.replace("#", str(wrong[0])))


@dataclass(frozen=True, eq=False)
class Step:
    """One node: the input, W·(sum of the parents) + bias, or a ReLU (`leak`)."""

    size: int
    parents: tuple[int, ...]
    leak: float | None = None
    map: Any = None  # what `tocsr` makes W of, perhaps only when somebody asks for it
    bias: Any = None
    roundings: int = 0  # that its weights are off

    @cached_property
    def weights(self) -> Any:
        """W as a sparse matrix; None where there is none."""
        return None if self.map is None else self.map.tocsr()

    @cached_property
    def terms(self) -> int:
        """The number of terms that a product with W sums up at most, on either side."""
        columns = np.bincount(self.weights.indices)
        return int(max(np.diff(self.weights.indptr).max(), columns.max(initial=0)))


@dataclass(frozen=True, eq=False)
class CheckedModel:
    """What a file says, as the checker reads it: nodes in the file's order, the logits last.

    `input_shape` is without the batch dimension.
    """

    steps: tuple[Step, ...]
    input_shape: tuple[int, ...]
    classes: int
    sha256: str


def affine(parents: tuple[int, ...], matrix: Any, bias: Any = 0.0, roundings: int = 0) -> Step:
    """The step matrix · (sum of the parents) + bias."""
    size = matrix.shape[0]
    shift = np.broadcast_to(bias, size).astype(np.float64)
    return Step(size, parents, None, matrix, shift, roundings)


def check_claim(model: CheckedModel, made: Certificate) -> None:
    """That the certificate speaks about this model."""
    # What `save` and `load` would refuse is refused here, too.
    Certificate.from_arrays(made.arrays())
    require(made.model_sha256 is not None, "it does not say which model it is about.")
    same = made.model_sha256 == model.sha256
    require(same, "it is about another model: the SHA-256 differ.")
    shape, classes = model.input_shape, model.classes
    require(made.classes == classes >= 2, f"it is about {made.classes} classes, not {classes}.")
    require(0 <= made.label < classes, f"its label {made.label} is not a class.")
    fits = [x is None or x.shape == shape for x in (made.x, made.box_lower, made.box_upper)]
    require(fits, f"its example does not have the network's shape {shape}.")


def check_leaves(made: Certificate) -> None:
    """Everything about the leaves and cuts but their slopes and bounds."""
    cuts, units, paths = made.cuts, made.leaves.slopes.shape[1], list[list[Path]]()
    for table, most in ((cuts, np.arange(len(cuts.goal))), (made.leaves, len(cuts.goal))):
        others = (table.goal >= 0) & (table.goal < made.classes) & (table.goal != made.label)
        require(others, "the goals are not all classes other than the label.")
        known("splits", table.split_unit, table.split_sign, units)
        require(table.split_beta >= 0, "a multiplier beta is negative.")
        before = (table.cut >= -1) & (table.cut < most)
        require(before, "row # rests on a cut that does not precede it.")
        splits = list(zip(table.split_unit.tolist(), table.split_sign.tolist(), strict=True))
        paths.append([splits[a:b] for a, b in pairwise(table.split_start.tolist())])
        require([len(dict(path)) == len(path) for path in paths[-1]], "row # splits a unit twice.")
        for row, cut in enumerate(table.cut.tolist()):
            same = cut < 0 or table.goal[row] == cuts.goal[cut]
            part = cut < 0 or paths[-1][row][: len(paths[0][cut])] == paths[0][cut]
            require(same and part, f"leaf or cut {row} rests on a cut of another domain.")
    chain = list[int]()
    for cut in cuts.cut.tolist():
        chain.append(1 + chain[cut] if cut >= 0 else 1)
    require(max(chain, default=0) <= LONGEST_CHAIN, "too many of its cuts rest on each other.")
    known("bounds of the cuts", cuts.clip_unit, cuts.clip_sign, units)
    require(cuts.clip_gamma >= 0, "a multiplier gamma is negative.")
    require((cuts.target > 0) & (cuts.target < LARGEST), "the target of cut # is not positive.")
    for goal in set(range(made.classes)) - {made.label}:
        tree = [path for path, own in zip(paths[1], made.leaves.goal, strict=True) if own == goal]
        require(_covers(tree), f"the leaves against class {goal} are not a complete tree.")


def known(name: str, numbers: Array, signs: Array, end: int) -> None:
    """Refuse the certificate unless these are numbers before `end`, with signs."""
    require((numbers >= 0) & (numbers < end), f"the {name} are not all from 0 to {end - 1}.")
    require(np.abs(signs) == 1, f"the signs of the {name} are not all 1 or -1.")


def _covers(paths: list[Path]) -> bool:
    """Whether these are the paths of a complete binary tree.

    All paths through an inner node go on with the same unit, and some of them to either side.
    """
    waiting = [(paths, 0)]
    while waiting:
        group, depth = waiting.pop()
        if [len(path) for path in group] == [depth]:
            continue
        units = {path[depth][0] if len(path) > depth else -1 for path in group}
        if len(units) != 1 or -1 in units:
            return False
        halves = ([path for path in group if path[depth][1] == sign] for sign in (1, -1))
        waiting += [(half, depth + 1) for half in halves]
    return True


class Region:
    """A ball cut to the pixel range, or a box; `floors` are those of its bounding box."""

    def __init__(self, made: Certificate, arithmetic: Arithmetic) -> None:
        self._ar, self._made, x = arithmetic, made, np.asarray(made.x, dtype=np.float64).reshape(-1)
        if made.norm == BOX:
            require(made.radius == 0, "its region is a box, but it claims a radius, too.")
            ends = [np.asarray(end).reshape(-1) for end in (made.box_lower, made.box_upper)]
            require(ends[0] <= ends[1], "its box is empty.")
            self.floors = SIDES * arithmetic.array(np.stack(ends))
            return
        require(0 < made.radius <= LARGEST, f"its radius {float(made.radius)} is not positive.")
        # Or else the region may be empty, and a claim about it void.
        require((x >= made.low) & (x <= made.high), "its example lies outside the pixel range.")
        low, high, centers = Fraction(made.low), Fraction(made.high), [*map(Fraction, x.tolist())]
        lower = arithmetic.below([max(low, center - made.radius) for center in centers])
        upper = arithmetic.below([max(-high, -center - made.radius) for center in centers])
        self._x, self.floors = x, np.stack((lower, upper))

    def least(self, rows: Array, value: Array, slack: Array, gamma: Any) -> Array:
        """A lower bound of value - slack + rows·x: over the bounding box, or a round ball around x.

        There by the dual norm of the coefficients, except those that pull an entry out of the pixel
        range at whose end it already is: it can only move the other way, which adds.
        """
        ar, made, sizes, (least, most) = self._ar, self._made, np.abs(rows), SIDES * self.floors
        found = np.maximum(rows, 0) @ least + np.minimum(rows, 0) @ most
        lost = sizes @ np.abs(self.floors).max(0) + np.abs(value)
        box = ar.settle(value + found, slack + gamma * lost)
        if made.norm in (BOX, "linf"):
            return box
        stuck = ((self._x <= made.low) & (rows > 0)) | ((self._x >= made.high) & (rows < 0))
        free, center = np.where(stuck, 0, rows), ar.array(self._x)
        norm = ar.two_norm(free) if made.norm == "l2" else np.abs(free).max(1)
        reach = -ar.down(ar.below([-made.radius])[0] * norm)
        lost = sizes @ np.abs(center) + reach + np.abs(value)
        ball = ar.settle(value + (rows @ center - reach), slack + gamma * lost)
        return np.maximum(box, ball)
