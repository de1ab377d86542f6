"""Convex hulls of two or three ReLUs together, and rows that are proved to hold on them.

Of a group's pre-activations z an octahedron is known, {z : c·z <= h_c} for all c in {-1, 0, 1}^k,
and each output is a = max(z, leak·z). The hull of all such (z, a) is narrower than the product of
the triangles (k-ReLU, Singh et al. 2019, NeurIPS, "Beyond the Single Neuron Convex Barrier").

A row p·a + q·z <= r is *proved* by weak duality, orthant by orthant, where a is linear in z and
the row's left side is g·z: with any multipliers y >= 0 of the octahedron's sides and of the
orthant's,

    g·z <= h·y + |g - Nᵀy|·m,    m the largest |z|,

N the sides' normals. All multipliers that are tried belong to k sides that meet in a point; the
least of these sums, rounded up, is the orthant's, and r the largest of all orthants'. So p and q
may come from anywhere: what is wrong with them costs tightness.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product

import numpy as np
import scipy  # scipy.sparse itself is imported when it is first used

from evaluators.linear_programs.triangle import FREE, Float64Array, highs
from evaluators.numerics.rounding import UNDERFLOW, gamma

INSIDE = 1e-9
"""Share by which a vertex may be beyond a side: vertices only suggest rows."""

LARGEST = 1e6
"""Largest coefficient of a row, where its group's hull has a size of one."""

LOST = 2 * gamma(64)
"""Covers the sums of a group's few products."""


@dataclass(frozen=True, eq=False)
class OctahedronShape:
    """What all octahedra of as many neurons share.

    Attributes:
        directions: c, `[sides, k]`.
        normals: the directions, then the axes' planes z_i = 0, `[sides + k, k]`.
        corners: each k normals that are independent, `[corners, k]`.
        inverses: of those normals as a matrix, `[corners, k, k]`.
        signs: of the orthants, `[2^k, k]`.
    """

    directions: Float64Array
    normals: Float64Array
    corners: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    inverses: Float64Array
    signs: Float64Array


@lru_cache
def shape_of(count: int) -> OctahedronShape:
    """The shape of octahedra of so many neurons."""
    directions = np.array([c for c in product((-1.0, 0.0, 1.0), repeat=count) if any(c)])
    normals = np.concatenate([directions, np.eye(count)])
    corners = np.array(list(combinations(range(len(normals)), count)))
    corners = corners[np.abs(np.linalg.det(normals[corners])) > 1 / 2]
    signs = np.array(list(product((-1.0, 1.0), repeat=count)))
    return OctahedronShape(directions, normals, corners, np.linalg.inv(normals[corners]), signs)


def leaky(z: Float64Array, leak: float) -> Float64Array:
    """The function's values."""
    return np.maximum(z, leak * z)


def vertices(heights: Float64Array, leak: float, count: int) -> Float64Array:
    """The hull's vertices (and other points of it), `[points, 2k]`: z, then a; rounded.

    Args:
        heights: h, `[sides]`.
        leak: of the functions.
        count: k.
    """
    shape = shape_of(count)
    ends = np.concatenate([heights, np.zeros(count)])[shape.corners]
    z = (shape.inverses @ ends[..., None])[..., 0]
    size = np.abs(heights).max()
    kept = z[(z @ shape.directions.T <= heights + INSIDE * size).all(1)]
    kept = np.unique(np.round(kept / max(size, UNDERFLOW), 9), axis=0) * size
    return np.concatenate([kept, leaky(kept, leak)], 1)


def separate(points: Float64Array, outside: Float64Array) -> Float64Array | None:
    """The row that a point violates most, as the hull's polar measures it.

    Args:
        points: of the hull, `[points, 2k]`.
        outside: `[2k]`.

    Returns:
        Its coefficients `[2k]`; None where the point seems to be in the hull.
    """
    if len(points) <= points.shape[1]:
        return None
    middle = points.mean(0)
    scale = np.maximum(np.abs(points - middle).max(0), 1e-9)
    solver = highs(
        scipy.sparse.csr_array((points - middle) / scale),
        (np.full(len(points), -FREE), np.ones(len(points))),
        (np.full(len(scale), -LARGEST), np.full(len(scale), LARGEST)),
    )
    cost = (middle - outside) / scale
    solver.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)
    solver.run()
    row = np.array(solver.getSolution().col_value)
    if (
        len(row) != len(scale)
        or not bool(np.isfinite(row).all())
        or not float(-cost @ row) > 1 + 1e-5
    ):
        return None
    found: Float64Array = row / scale
    found /= np.abs(found).max()
    return found


def right_side(row: Float64Array, heights: Float64Array, leak: float) -> float:
    """A number that the row's left side never exceeds on the octahedron.

    Args:
        row: of z, then of a, `[2k]`; any numbers.
        heights: true bounds of all directions, `[sides]`.
        leak: of the functions.
    """
    q, p = np.split(row, 2)
    count = len(q)
    shape = shape_of(count)
    slopes = np.where(shape.signs > 0, 1.0, leak)
    gradients = q + p * slopes
    sizes = np.abs(q) + np.abs(p)
    # Multipliers [orthants, corners, k], of the sides' sign in each orthant.
    wanted = np.einsum("cij,oi->ocj", shape.inverses, gradients)
    axis = shape.corners - len(shape.directions)
    turned = shape.signs[:, np.maximum(axis, 0)]
    taken = np.where(axis >= 0, -turned * np.maximum(-turned * wanted, 0), np.maximum(wanted, 0))
    normals = shape.normals[shape.corners]
    sums = np.einsum("ock,cki->oci", taken, normals)
    spread = np.einsum("ock,cki->oci", np.abs(taken), np.abs(normals)) + sizes
    missing = np.abs(gradients[:, None] - sums) + LOST * spread
    ends = np.concatenate([heights, np.zeros(count)])[shape.corners]
    largest = reach(heights, count)
    total = (taken * ends).sum(2) + missing @ largest
    lost = LOST * ((np.abs(taken * ends)).sum(2) + missing @ largest) + UNDERFLOW
    bounds = total + lost
    least = np.where(np.isnan(bounds), np.inf, bounds).min(1)
    return float(np.nextafter(least.max(), np.inf))


def reach(heights: Float64Array, count: int) -> Float64Array:
    """The largest |z| of each neuron, `[k]`."""
    directions = shape_of(count).directions
    single = np.abs(directions).sum(1) == 1
    each = np.where(single[:, None] & (directions != 0), np.abs(heights)[:, None], 0.0)
    largest: Float64Array = each.max(0)
    return largest
