"""Residual blocks with a Lipschitz constant of their own in l2.

In h(x) = P x + B f(A x + a), with P orthogonal and slopes of f between 0 and 1, the branches add up
to far more than h can do: of the layers of Araujo et al. (SLL, arXiv 2303.03169), of which convex
potential layers (Meunier et al. 2022, arXiv 2110.12690) and the maxima and minima of pairs are
cases, h moves by no more than x. Let s >= 0 be one number for each unit, S its diagonal,
E = P⁻¹B + 2AᵀS, and c >= ‖S^½ A‖². For a diagonal D of slopes, AᵀS^½ D S^½ A = M is symmetric with
eigenvalues in [0, c], so that

    ‖P + B D A‖ <= ‖I - 2M‖ + ‖E‖ ‖D‖ ‖A‖ <= max(1, 2c - 1) + ‖E‖ ‖A‖.

All of it is read off the weights in the file, with s as the least squares of E suggest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from evaluators.lipschitz.operators import LARGEST_SIDE, constant_of, steepest
from evaluators.lipschitz.spectral import matrix_bound
from evaluators.network.affine import AffineMap
from evaluators.network.elementwise import Elementwise
from evaluators.network.network import Network, Operation, Sum
from evaluators.question.norm import Norm

ROUNDED = 1e-12
"""More than the relative rounding of any product of matrices here."""


@dataclass(frozen=True)
class Block:
    """A residual block.

    Attributes:
        start: the node that both branches read.
        branches: the nodes of each branch, from the start to the sum, both left out.
        constant: the block's Lipschitz constant in l2.
    """

    start: int
    branches: tuple[tuple[int, ...], tuple[int, ...]]
    constant: float


def blocks_of(network: Network) -> dict[int, Block]:
    """Find the residual blocks of a network in float64, by the position of their sum."""
    found = {}
    for position, node in enumerate(network.nodes):
        if isinstance(node.operation, Sum) and len(node.parents) == 2:
            block = _block(network, *node.parents)
            if block is not None:
                found[position] = block
    return found


def _block(network: Network, first: int, second: int) -> Block | None:
    ways = _way(network, first), _way(network, second)
    shared = set(ways[0]) & set(ways[1])
    if not shared:
        return None
    start = max(shared)
    branches = [tuple(reversed(way[: way.index(start)])) for way in ways]
    branches.sort(key=lambda branch: _functions(network, branch))
    skip, bent = branches
    sizes = [prod(network.nodes[position].shape) for position in (start, *skip, *bent)]
    one_function = (_functions(network, skip), _functions(network, bent)) == (0, 1)
    if not one_function or max(sizes) > LARGEST_SIDE:
        return None
    constant = _constant(network, skip, bent, sizes[0])
    return None if constant is None else Block(start, (skip, bent), constant)


def _way(network: Network, position: int) -> list[int]:
    """The nodes from here towards the input, as long as each reads one other."""
    way = [position]
    while isinstance(network.nodes[position].operation, AffineMap | Elementwise):
        (position,) = network.nodes[position].parents
        way.append(position)
    return way


def _functions(network: Network, branch: tuple[int, ...]) -> int:
    return sum(isinstance(network.nodes[p].operation, Elementwise) for p in branch)


def _constant(
    network: Network, skip: tuple[int, ...], bent: tuple[int, ...], size: int
) -> float | None:
    """The block's constant; None where it has none that is smaller than its branches'."""
    operations = [network.nodes[position].operation for position in bent]
    middle = next(i for i, one in enumerate(operations) if isinstance(one, Elementwise))
    function = operations[middle]
    assert isinstance(function, Elementwise)
    p, exact = _matrix([network.nodes[position].operation for position in skip], size)
    if steepest(function) > 1 or exact > 0 or p.shape[0] != size or not _is_permutation(p):
        return None
    a, lost_a = _matrix(operations[:middle], size)
    b, lost_b = _matrix(operations[middle + 1 :], len(a))
    b = p.T @ b
    squares = (a * a).sum(1)
    s = (-(a * b.T).sum(1) / (2 * squares)).nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
    root = matrix_bound(s.sqrt()[:, None] * a)
    c = root * root * (1 + ROUNDED)
    whole = matrix_bound(a) + lost_a
    # What rounding did to A counts in c and E: s is at most its largest entry.
    c += float(s.max()) * (2 * whole + lost_a) * lost_a
    rest = b + 2 * a.T * s
    lost = lost_b + 2 * float(s.max()) * lost_a
    lost += ROUNDED * float(torch.linalg.matrix_norm(b.abs() + 2 * (a.T * s).abs()))
    error = (matrix_bound(rest) + lost) * whole
    return (max(1.0, 2 * c - 1) + error) * (1 + ROUNDED)


def _is_permutation(matrix: Tensor) -> bool:
    ones = matrix.abs() == 1
    return bool(((matrix == 0) | ones).all() & (ones.sum(0) == 1).all() & (ones.sum(1) == 1).all())


def _matrix(operations: Sequence[Operation], size: int) -> tuple[Tensor, float]:
    """The product of affine maps' matrices, and a bound on the norm of what it has lost."""
    whole, lost = torch.eye(size, dtype=torch.float64), 0.0
    for operation in operations:
        assert isinstance(operation, AffineMap)
        matrix = torch.from_numpy(operation.matrix.toarray())
        if operation.fan_in or lost:
            own = constant_of(operation, Norm.L2)
            before = float(torch.linalg.matrix_norm(whole)) * (1 + ROUNDED)
            # Frobenius norms of absolute values bound what products and rounded weights lose.
            size_of = float(torch.linalg.matrix_norm(matrix)) * (1 + ROUNDED)
            lost = lost * own + ROUNDED * size_of * before
        whole = matrix @ whole
    return whole, lost
