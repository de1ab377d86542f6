"""What a certificate is about: a network as matrices, a region; and whether its trees are complete.

The matrices are read off by applying operations to one-hot inputs. An entry of W·e is one product
w·1 and zeros, so it is exact in float64, however the operation is implemented; neither the adjoints
nor the absolute values that bounding methods use take part. Max-pools are written with ReLUs here
once more: a certificate of a method that wrote them as another function is about other nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix, identity, vstack

from evaluators._recheck_arithmetic import AT_ONCE, LARGEST, Arithmetic, Array, Matrix
from evaluators.affine import Adjoint, AffineMap, Convolution, Dense, Diagonal, Gather, Reshape
from evaluators.certificate import BOX, Certificate, Leaves
from evaluators.elementwise import LeakyReLU
from evaluators.errors import CertificateError
from evaluators.network import Input, MaxPool, Network, Node, Sum


def require(holds: Any, reason: str) -> None:
    """Refuse the certificate unless all of these hold; # stands for the first that does not."""
    if len(wrong := np.flatnonzero(~np.asarray(holds, dtype=bool))):
        raise CertificateError(reason.replace("#", str(wrong[0])))


@dataclass(frozen=True, eq=False)
class Step:
    """One node: the input, W·(sum of the parents) + bias, or a ReLU (`leak`).

    A product with W sums up to `terms` products, on either side; its weights are `roundings` off.
    """

    size: int
    parents: tuple[int, ...]
    leak: float | None = None
    matrix: Matrix | None = None
    bias: Any = None
    terms: int = 0
    roundings: int = 0


@lru_cache(maxsize=2)
def steps_of(network: Network) -> list[Step]:
    """The nodes of a network, or a refusal because of a kind that certificates do not cover."""
    steps, places = list[Step](), list[int]()
    for node in network.nodes:
        parents = tuple(places[parent] for parent in node.parents)
        if isinstance(node.operation, MaxPool):
            _write_pool(steps, node.operation, parents)
        else:
            steps.append(_step(node, parents))
        places.append(len(steps) - 1)
    return steps


def _write_pool(steps: list[Step], pool: MaxPool, parents: tuple[int, ...]) -> None:
    """Its windows in a row; then, until one entry is left of each, the larger of every pair in it.

    That is max(a, b) = a + relu(b - a); an entry without a partner stays.
    """
    windows = _weights(pool)
    steps.append(_affine(parents, identity(windows.shape[1], format="csr")[windows.indices]))
    sizes = np.diff(windows.indptr)
    while sizes.max() > 1:
        x, unit = len(steps) - 1, identity(sizes.sum(), format="csr")
        place = np.concatenate([np.arange(size) for size in sizes])
        even, paired = place % 2 == 0, place + 1 < np.repeat(sizes, sizes)
        first, own, other = unit[even], unit[even & paired], unit[np.roll(even & paired, 1)]
        one, kept = own @ own.T, first @ first.T
        steps += [_affine((x,), first), _affine((x,), other), _affine((x,), own)]
        steps += [_affine((x + 3,), -one), _affine((x + 2, x + 4), one)]
        steps += [Step(one.shape[0], (x + 5,), leak=0.0), _affine((x + 6,), first @ own.T)]
        steps += [_affine((x + 1, x + 7), kept)]
        sizes = (sizes + 1) // 2
    steps.append(_affine((len(steps) - 1,), identity(len(sizes), format="csr")))


def _affine(parents: tuple[int, ...], weights: Any, bias: Any = 0.0, roundings: int = 0) -> Step:
    size, matrix = weights.shape[0], Matrix(weights.tocsr())
    counts = np.append(np.diff(matrix.weights.indptr), np.bincount(matrix.weights.indices))
    shift = np.broadcast_to(bias, size).astype(np.float64)
    return Step(size, parents, None, matrix, shift, int(counts.max()), roundings)


def _step(node: Node, parents: tuple[int, ...]) -> Step:
    operation, size = node.operation, prod(node.shape)
    if isinstance(operation, Input | LeakyReLU):
        return Step(size, parents, getattr(operation, "leak", None))
    if isinstance(operation, Sum):
        return _affine(parents, identity(size))
    kind = f"node '{node.name}' is a {type(operation).__name__}"
    if not isinstance(operation, AffineMap):
        raise CertificateError(f"{kind}, which certificates do not cover.")
    inner: AffineMap = operation
    while isinstance(inner, Adjoint):
        inner = inner.inner
    known = isinstance(inner, Convolution | Dense | Diagonal | Gather | Reshape)
    require(known, f"{kind}, unknown to the recheck.")
    # In how many roundings the importer computed a weight: of an average, of a normalisation.
    roundings = int(getattr(inner, "rounded", getattr(inner, "roundings", 0)))
    weights, shift = _weights(operation), operation.bias
    constants = np.zeros(()) if shift is None else shift.detach().cpu().double().numpy()
    bias = np.broadcast_to(constants, node.shape).reshape(-1)
    finite = np.abs(np.append(weights.data, bias)) < LARGEST
    require(finite, f"the weights of node '{node.name}' are not finite.")
    return _affine(parents, weights, bias, roundings)


def _weights(operation: AffineMap | MaxPool) -> Any:
    """W, `[outputs, inputs]`; of a max-pool a one wherever a window holds an input."""
    apply = operation if isinstance(operation, MaxPool) else operation.linear
    inputs, blocks = prod(operation.input_shape), list[Any]()
    count = max(1, AT_ONCE // max(inputs, prod(operation.output_shape)))
    for first in range(0, inputs, count):
        one_hot = torch.from_numpy(np.eye(min(count, inputs - first), inputs, first))
        with torch.inference_mode():
            result = apply(one_hot.reshape(-1, *operation.input_shape))
        blocks.append(csr_matrix(result.flatten(1).numpy()))
        require(sum(block.nnz for block in blocks) <= 2**27, "a layer has more than 2^27 weights.")
    return vstack(blocks).T.tocsr()


def check_claim(network: Network, made: Certificate, sha256: str | None) -> None:
    """That the certificate speaks about this network."""
    # What `save` and `load` would refuse is refused here, too.
    Certificate.from_arrays(made.arrays())
    same = not sha256 or not made.model_sha256 or sha256 == made.model_sha256
    require(same, "it is about another model: the SHA-256 differ.")
    shape, classes = network.input_shape, network.classes
    known = made.classes == classes >= 2
    require(known, f"it is about {made.classes} classes; the network has {classes}.")
    require(0 <= made.label < classes, f"its label {made.label} is not a class.")
    for place in (made.x, made.box_lower, made.box_upper):
        fits = place is None or place.shape == shape
        require(fits, f"its example does not have the network's shape {shape}.")


def check_leaves(certificate: Certificate) -> None:
    """Everything about the leaves but their slopes and bounds."""
    leaves, cuts, units = certificate.leaves, certificate.cuts, certificate.leaves.slopes.shape[1]
    cut_paths = _paths(certificate, cuts, np.arange(len(cuts.goal)))
    paths = _paths(certificate, leaves, np.full(len(leaves.goal), len(cuts.goal)))
    for table, own in ((cuts, cut_paths), (leaves, paths)):
        for row, cut in enumerate(table.cut.tolist()):
            same = cut < 0 or table.goal[row] == cuts.goal[cut]
            part = cut < 0 or own[row][: len(cut_paths[cut])] == cut_paths[cut]
            require(same and part, f"leaf or cut {row} rests on a cut of another domain.")
    known = (cuts.clip_unit >= 0) & (cuts.clip_unit < units) & (np.abs(cuts.clip_sign) == 1)
    require(known, "the bounds of the cuts are not all of units of the network.")
    positive = (cuts.clip_gamma >= 0) & np.isfinite(cuts.clip_gamma)
    require(positive, "a multiplier gamma is negative.")
    require((cuts.target > 0) & (cuts.target < LARGEST), "the target of cut # is not positive.")
    for goal in set(range(certificate.classes)) - {certificate.label}:
        tree = [path for path, own in zip(paths, leaves.goal, strict=True) if own == goal]
        require(_covers(tree), f"the leaves against class {goal} are not a complete tree.")


def _paths(certificate: Certificate, table: Leaves, most: Array) -> list[list[tuple[int, int]]]:
    """The splits of each row of a table, whose cuts are before `most`."""
    known = (table.goal >= 0) & (table.goal < certificate.classes)
    require(known, f"the goals are not all from 0 to {certificate.classes - 1}.")
    require(table.goal != certificate.label, "a leaf's goal is the label itself.")
    known = (table.split_unit >= 0) & (table.split_unit < table.slopes.shape[1])
    require(known, "the units of the splits are not all units of the network.")
    require(np.abs(table.split_sign) == 1, "the signs of the splits are not all 1 or -1.")
    require(table.split_beta >= 0, "a multiplier beta is negative.")
    require(
        (table.cut >= -1) & (table.cut < most), "row # rests on a cut that does not precede it."
    )
    splits = list(zip(table.split_unit.tolist(), table.split_sign.tolist(), strict=True))
    return [splits[first:end] for first, end in pairwise(table.split_start.tolist())]


def _covers(paths: Sequence[Sequence[tuple[int, int]]]) -> bool:
    """Whether these units and signs are the paths of a complete binary tree, no unit split twice.

    All paths through an inner node go on with the same unit, and some of them to either side.
    """
    waiting = [(paths, 0)]
    while waiting:
        group, depth = waiting.pop()
        if [len(path) for path in group] == [depth]:
            continue
        ends = any(len(path) == depth for path in group)
        if ends or len({path[depth][0] for path in group}) != 1:
            return False
        for sign in (1, -1):
            waiting += [([path for path in group if path[depth][1] == sign], depth + 1)]
    return all(len({unit for unit, _ in path}) == len(path) for path in paths)


class Region:
    """A ball cut to the pixel range, or a box; `lower` and `upper` are its bounding box, outward.

    An example outside the pixel range is refused: its region may be empty, a claim about it void.
    """

    def __init__(self, made: Certificate, arithmetic: Arithmetic) -> None:
        self._ar, self._made = arithmetic, made
        if made.norm == BOX:
            require(made.radius == 0, "its region is a box, but it claims a radius, too.")
            self.lower = arithmetic.array(np.asarray(made.box_lower).reshape(-1))
            self.upper = arithmetic.array(np.asarray(made.box_upper).reshape(-1))
            require(self.lower <= self.upper, "its box is empty.")
            return
        self._x = np.asarray(made.x, dtype=np.float64).reshape(-1)
        require(0 < made.radius <= LARGEST, f"its radius {float(made.radius)} is not positive.")
        inside = (self._x >= made.low) & (self._x <= made.high)
        require(inside, "its example lies outside the pixel range.")
        low, high = Fraction(made.low), Fraction(made.high)
        centers = [Fraction(value) for value in self._x.tolist()]
        self.lower = arithmetic.below([max(low, center - made.radius) for center in centers])
        self.upper = -arithmetic.below([-min(high, center + made.radius) for center in centers])

    def least(self, rows: Array, value: Array, slack: Array, gamma: Any) -> Array:
        """A lower bound of value - slack + rows·x, the better of two over balls that are round.

        Over the bounding box; and around x by the dual norm of the coefficients, except those that
        pull an entry out of the pixel range at whose end it already is: it can only move the other
        way, which adds. `gamma` covers any sum of one term for each entry of the network.
        """
        ar, made = self._ar, self._made
        size, sizes = np.maximum(np.abs(self.lower), np.abs(self.upper)), np.abs(rows)
        found = np.maximum(rows, 0) @ self.lower + np.minimum(rows, 0) @ self.upper
        box = ar.settle(value + found, slack + gamma * (sizes @ size + np.abs(value)))
        if made.norm in (BOX, "linf"):
            return box
        stuck = ((self._x <= made.low) & (rows > 0)) | ((self._x >= made.high) & (rows < 0))
        free = np.where(stuck, 0, rows)
        norm = ar.two_norm(free) if made.norm == "l2" else np.abs(free).max(1)
        reach = ar.next(-ar.below([-made.radius])[0] * norm, np.inf)
        center = ar.array(self._x)
        lost = slack + gamma * (sizes @ np.abs(center) + reach + np.abs(value))
        return np.maximum(box, ar.settle(value + (rows @ center - reach), lost))
