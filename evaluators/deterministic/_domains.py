"""The open domains of a branch and bound: parts of the region, given by the signs of units."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

Path = tuple[tuple[int, int], ...]
"""The splits from the root: each a unit and its sign, +1 or -1."""


@dataclass(frozen=True)
class Domains:
    """Domains, each about one goal.

    Attributes:
        goals: which goal each is about, `[domains]`.
        bounds: found for each by the search, float32 `[domains]`.
        slopes, betas: what gave them, and where the ascent goes on, `[domains, units]`.
        signs: of the splits, int8 `[domains, units]`, 0 where there is none.
        paths: the splits in order.
    """

    goals: Tensor
    bounds: Tensor
    slopes: Tensor
    betas: Tensor
    signs: Tensor
    paths: list[Path]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def megabytes(self) -> float:
        """Memory that they take."""
        tensors = (self.slopes, self.betas, self.signs)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 2**20

    def select(self, index: Tensor) -> "Domains":
        """Some of the domains."""
        return Domains(
            self.goals[index],
            self.bounds[index],
            self.slopes[index],
            self.betas[index],
            self.signs[index],
            [self.paths[i] for i in index.tolist()],
        )

    def join(self, other: "Domains") -> "Domains":
        """These domains and others."""
        if not len(self) or not len(other):
            return other if not len(self) else self
        return Domains(
            torch.cat((self.goals, other.goals)),
            torch.cat((self.bounds, other.bounds)),
            torch.cat((self.slopes, other.slopes)),
            torch.cat((self.betas, other.betas)),
            torch.cat((self.signs, other.signs)),
            self.paths + other.paths,
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
            halves.append(Domains(self.goals, self.bounds, self.slopes, self.betas, signs, paths))
        return halves[0].join(halves[1])

    def leaves(self) -> list["Leaf"]:
        """The domains as leaves of a proof."""
        found = []
        for row, path in enumerate(self.paths):
            units = torch.tensor([unit for unit, _ in path], dtype=torch.long)
            betas = self.betas[row, units].float()
            found.append(Leaf(int(self.goals[row]), path, betas, self.slopes[row]))
        return found


class Leaf(NamedTuple):
    """A proved domain, for the certificate.

    Attributes:
        goal: which goal it is about.
        path: its splits.
        betas: their multipliers, float32 `[splits]`.
        slopes: float16 `[units]`.
    """

    goal: int
    path: Path
    betas: Tensor
    slopes: Tensor
