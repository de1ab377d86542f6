"""The open domains of a branch and bound: parts of the region, given by the signs of units."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.unrolled.unit_lines import UnitBounds, UnitLines

Splits = tuple[tuple[int, int], ...]
"""The splits from the root: each a unit and its sign, +1 or -1."""

PAIR_BYTES = 24
"""Memory of a split in a path: a reference, and part of a pair that all domains below share."""


@dataclass(frozen=True, eq=False)
class Cut:
    """Narrower bounds of units in a domain and all its parts, and what proves them.

    Attributes:
        parent: the cut that they start from, or None.
        leaf: the domain's plane below its margin: made as if it were a leaf with `parent`.
        target: the bounds hold wherever the margin is at most this.
        units, signs, gammas: which planes of units were combined with it, and how.
        bounds: of all units, float64 `[units]`.
    """

    parent: "Cut | None"
    leaf: "Leaf"
    target: float
    units: Tensor
    signs: Tensor
    gammas: Tensor
    bounds: UnitBounds


def bytes_of(*tensors: Tensor) -> int:
    """Memory of the entries of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def bytes_of_cuts(cuts: "Sequence[Cut | None]") -> int:
    """Memory of cuts and of those that they start from, each counted once."""
    seen, total = set[int](), 0
    for cut in cuts:
        while cut is not None and id(cut) not in seen:
            seen.add(id(cut))
            total += bytes_of(*cut.bounds, cut.units, cut.signs, cut.gammas)
            total += bytes_of(cut.leaf.slopes, cut.leaf.betas)
            cut = cut.parent
    return total


@dataclass(frozen=True)
class Domains:
    """Domains, each about one row of a specification.

    Attributes:
        rows: which row each is about, `[domains]`.
        bounds: found for each by the search, float32 `[domains]`.
        slopes, betas: what gave them, and where the ascent goes on, `[domains, units]`.
        signs: of the splits, int8 `[domains, units]`, 0 where there is none.
        paths: the splits in order.
        cuts: narrower bounds of units in each, or None.
    """

    rows: Tensor
    bounds: Tensor
    slopes: Tensor
    betas: Tensor
    signs: Tensor
    paths: list[Splits]
    cuts: list[Cut | None]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def bytes(self) -> int:
        """Memory that they take, with their cuts and paths."""
        paths = PAIR_BYTES * sum(map(len, self.paths))
        return paths + bytes_of_cuts(self.cuts) + bytes_of(self.slopes, self.betas, self.signs)

    def within(self, lines: UnitLines) -> UnitBounds | None:
        """The bounds of units in each domain; None where all have the region's."""
        if not any(self.cuts):
            return None
        region = UnitBounds(lines.lower, lines.upper)
        found = [region if cut is None else cut.bounds for cut in self.cuts]
        return UnitBounds(*(torch.stack(ends) for ends in zip(*found, strict=True)))

    @property
    def targets(self) -> Tensor:
        """Largest margin asked about: a cut's target, else infinite; float64 `[domains]`."""
        found = [torch.inf if cut is None else cut.target for cut in self.cuts]
        return torch.tensor(found, dtype=torch.float64)

    def free(self, lines: UnitLines) -> Tensor:
        """Where a unit can still be split, `[domains, units]`."""
        open_ = (self.signs == 0) & lines.optimizable
        within = self.within(lines)
        return open_ if within is None else open_ & (within.lower < 0) & (within.upper > 0)

    def uncut(self) -> "Domains":
        """The domains with the region's bounds of units, to be bounded anew."""
        nothing = torch.full_like(self.bounds, -torch.inf)
        return replace(self, bounds=nothing, cuts=[None] * len(self))

    def select(self, index: Tensor) -> "Domains":
        """Some of the domains."""
        return Domains(
            self.rows[index],
            self.bounds[index],
            self.slopes[index],
            self.betas[index],
            self.signs[index],
            [self.paths[i] for i in index.tolist()],
            [self.cuts[i] for i in index.tolist()],
        )

    def join(self, other: "Domains") -> "Domains":
        """These domains and others."""
        if not len(self) or not len(other):
            return other if not len(self) else self
        return Domains(
            torch.cat((self.rows, other.rows)),
            torch.cat((self.bounds, other.bounds)),
            torch.cat((self.slopes, other.slopes)),
            torch.cat((self.betas, other.betas)),
            torch.cat((self.signs, other.signs)),
            self.paths + other.paths,
            self.cuts + other.cuts,
        )

    def best(self, count: int) -> tuple["Domains", "Domains"]:
        """The domains nearest to a proof, and the others.

        Going on with these keeps the number of open domains small, as depth first search does.
        """
        if len(self) <= count:
            return self, self.select(torch.zeros(0, dtype=torch.long))
        order = torch.argsort(self.bounds, descending=True, stable=True)
        return self.select(order[:count]), self.select(order[count:])

    def children(self, units: Tensor) -> "Domains":
        """Both halves of each domain, split at one unit each: all z >= 0, then all z <= 0."""
        rows = torch.arange(len(self), device=self.signs.device)
        halves = []
        for sign in (1, -1):
            signs = self.signs.clone()
            signs[rows, units] = sign
            paths = [
                (*path, (unit, sign)) for path, unit in zip(self.paths, units.tolist(), strict=True)
            ]
            halves.append(replace(self, signs=signs, paths=paths))
        return halves[0].join(halves[1])

    def leaves(self) -> list["Leaf"]:
        """The domains as leaves of a proof."""
        found = []
        for row, path in enumerate(self.paths):
            units = torch.tensor([unit for unit, _ in path], dtype=torch.long)
            betas = self.betas[row, units].float()
            slopes = self.slopes[row]
            found.append(Leaf(int(self.rows[row]), path, betas, slopes, self.cuts[row]))
        return found


class Leaf(NamedTuple):
    """A proved domain, for the certificate.

    Attributes:
        goal: which row of the specification it is about.
        path: its splits.
        betas: their multipliers, float32 `[splits]`.
        slopes: float16 `[units]`.
        cut: the narrower bounds of units that its lines rest on.
    """

    goal: int
    path: Splits
    betas: Tensor
    slopes: Tensor
    cut: Cut | None = None
