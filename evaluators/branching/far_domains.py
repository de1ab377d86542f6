"""Open domains that wait: packed, in blocks, the last of them nearest to a proof.

A search takes the domains nearest to a proof, whose parts are nearer still. The others are put
away in blocks, each farther from a proof than the next one, and the last block is taken back when
the near ones run out. No round touches, and copies, what lies below.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from evaluators.unrolled.domains import Cut, Domains, bytes_of, bytes_of_cuts
from evaluators.unrolled.proof import stored
from evaluators.unrolled.unit_lines import UnitLines

ROW_BYTES = 8
"""Memory of an entry of a list."""


@dataclass(frozen=True, eq=False)
class Packed:
    """Domains without what can be made again.

    Attributes:
        rows, bounds: as of `Domains`.
        counts: splits of each domain, `[domains]`.
        units, signs: of the splits of all domains, one after the other, in order.
        slopes: float16 `[domains, units]`; None where the ascent begins again with CROWN's.
        betas: of the splits; None where it begins again without.
        cuts: as of `Domains`; None where there are none.
    """

    rows: Tensor
    bounds: Tensor
    counts: Tensor
    units: Tensor
    signs: Tensor
    slopes: Tensor | None
    betas: Tensor | None
    cuts: Sequence[Cut | None] | None

    @classmethod
    def of(cls, domains: Domains) -> "Packed":
        """Pack domains."""
        counts = torch.tensor([len(path) for path in domains.paths])
        flat = torch.tensor([pair for path in domains.paths for pair in path], dtype=torch.int32)
        units, signs = flat.reshape(-1, 2).T
        owner = torch.arange(len(domains)).repeat_interleave(counts)
        return cls(
            domains.rows,
            domains.bounds,
            counts,
            units.clone(),
            signs.to(torch.int8),
            domains.slopes,
            domains.betas[owner, units.long()],
            domains.cuts if any(domains.cuts) else None,
        )

    def __len__(self) -> int:
        return len(self.rows)

    def unpacked(self, lines: UnitLines) -> Domains:
        """The domains; those that lost their slopes begin again with CROWN's `lines`."""
        count, size = len(self), len(lines.leak)
        owner, units = torch.arange(count).repeat_interleave(self.counts), self.units.long()
        signs = torch.zeros(count, size, dtype=torch.int8)
        signs[owner, units] = self.signs
        betas = torch.zeros(count, size)
        if self.betas is not None:
            betas[owner, units] = self.betas
        slopes = self.slopes
        if slopes is None:
            # To the safe side: these may be proved as they are.
            slopes = stored(lines.start, lines).expand(count, -1).clone()
        pairs = list(zip(units.tolist(), self.signs.tolist(), strict=True))
        ends = pairwise(accumulate(self.counts.tolist(), initial=0))
        paths = [tuple(pairs[first:last]) for first, last in ends]
        cuts: list[Cut | None] = [None] * count if self.cuts is None else [*self.cuts]
        return Domains(self.rows, self.bounds, slopes, betas, signs, paths, cuts)

    def bare(self) -> "Packed":
        """The domains without slopes, multipliers and cuts: they are bounded anew when split."""
        return replace(self, slopes=None, betas=None, cuts=None)

    @property
    def is_bare(self) -> bool:
        """Whether nothing more can be left out."""
        return self.slopes is None

    @cached_property
    def bytes(self) -> int:
        """Memory that they take; a cut that two blocks share is counted in both."""
        warm = [tensor for tensor in (self.slopes, self.betas) if tensor is not None]
        splits = bytes_of(self.rows, self.bounds, self.counts, self.units, self.signs)
        cuts = 0 if self.cuts is None else bytes_of_cuts(self.cuts) + ROW_BYTES * len(self.cuts)
        return splits + bytes_of(*warm) + cuts


@dataclass(frozen=True, eq=False)
class FarDomains:
    """Blocks of packed domains, the last one nearest to a proof."""

    blocks: tuple[Packed, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    @property
    def bytes(self) -> int:
        """Memory that they take."""
        return sum(block.bytes for block in self.blocks)

    @property
    def is_bare(self) -> bool:
        """Whether nothing more can be left out."""
        return all(block.is_bare for block in self.blocks)

    def push(self, domains: Domains) -> "FarDomains":
        """Put away domains that are nearer to a proof than all that are here."""
        return FarDomains((*self.blocks, Packed.of(domains)))

    def pop(self, lines: UnitLines) -> tuple[Domains, "FarDomains"]:
        """Take back the block nearest to a proof; `lines` as of `Packed.unpacked`."""
        return self.blocks[-1].unpacked(lines), FarDomains(self.blocks[:-1])

    def lighter(self, size: int) -> "FarDomains":
        """Leave out what can be made again, of the farthest first, down to so many bytes."""
        blocks, total = list(self.blocks), self.bytes
        for place, block in enumerate(self.blocks):
            if total <= size:
                break
            blocks[place] = block.bare()
            total += blocks[place].bytes - block.bytes
        return FarDomains(tuple(blocks))
