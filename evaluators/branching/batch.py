"""Domains as rows for the search's arithmetic: those of one example, or of several in one batch.

Every example has matrices of its own, since its network is unrolled around it. To share a pass they
are padded with zeros to common sizes; an example's rows meet its own matrices, and all elementwise
work, which is what small batches spend their time on, is done once for all rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, zip_longest
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.propagation.relaxation import Lines
from evaluators.unrolled.members import Member
from evaluators.unrolled.system import System
from evaluators.unrolled.unit_lines import Choice, UnitBounds, UnitLines

SIZES = 32
"""Padded sizes are multiples of this: others joining or leaving then seldom changes them."""

COEFFICIENTS = 2**21
"""Coefficients of a pass over children, 8 MB in float32; with 2**18 a search takes as long."""


class Minimum(NamedTuple):
    """The relaxation of each domain where it is least.

    Attributes:
        choice: the lines of every neuron.
        leak: slopes of the neurons below zero, `[units]` or `[domains, units]`.
        coefficients: the neurons' in the bound, `[domains, units]`.
        z: pre-activations at the minimiser, `[domains, units]`.
        x: the minimiser, `[domains, inputs]`.
    """

    choice: Choice
    leak: Tensor
    coefficients: Tensor
    z: Tensor
    x: Tensor


@dataclass(frozen=True)
class Batch:
    """Rows about domains, in float32.

    Attributes:
        system, lines: the networks.
        columns, constant: what is bounded, `[rows, inputs + units]` and `[rows]`.
        slopes, betas: where an ascent goes on, `[rows, units]`.
        signs: of the splits, int8 `[rows, units]`.
        within: narrower bounds of the units, or None.
    """

    system: System
    lines: UnitLines
    columns: Tensor
    constant: Tensor
    slopes: Tensor
    betas: Tensor
    signs: Tensor
    within: UnitBounds | None

    def __len__(self) -> int:
        return len(self.constant)

    def choice(self) -> Choice:
        """The lines of every row."""
        return self.lines.choice(self.slopes, self.signs, self.betas, self.within)

    def minimum(self) -> Minimum:
        """Walk back through the lines of every domain, and forward to the minimiser."""
        choice = self.choice()
        walked = self.system.backward(self.columns, self.constant, choice)
        z, x = self.system.forward(walked, choice), self.system.minimizer(walked.inputs)
        return Minimum(choice, self.lines.leak.to(z), walked.units, z, x)

    def child_bounds(
        self, choice: Choice, candidates: Tensor, at_once: int = COEFFICIENTS
    ) -> Tensor:
        """Bound both children of each domain and candidate, `[domains, candidates, 2]`.

        Args:
            choice: the domains' lines, which the children keep but for the neuron split.
            candidates: neurons to split, `[domains, candidates]`.
            at_once: coefficients of one pass.
        """
        rows, count = candidates.shape
        leak = self.lines.leak.to(self.columns).expand(rows, -1)
        places = self.system.by_member(torch.arange(rows))
        step = max(1, at_once // (2 * count * self.columns.shape[1] * len(places)))
        found = candidates.new_zeros((rows, count, 2), dtype=self.columns.dtype)
        # Of each member as many at a time.
        for first in range(0, places.shape[1], step):
            part = places[:, first : first + step].flatten()
            parents = part.repeat_interleave(2 * count)
            units = candidates[part].flatten().repeat_interleave(2)
            children = _children(choice, parents, units, leak[parents, units])
            columns, constant = self.columns[parents], self.constant[parents]
            walked = self.system.backward(columns, constant, children, spent=True)
            found[part] = walked.bounds.reshape(-1, count, 2)
        return found


def _children(choice: Choice, parents: Tensor, units: Tensor, leak: Tensor) -> Choice:
    """The parents' lines with one neuron split, at even rows z >= 0, at odd ones z <= 0."""
    rows = torch.arange(len(parents), device=parents.device)
    line = torch.where(rows % 2 == 0, 1.0, leak)
    slopes, chords, offsets = (
        part.expand_as(choice.slopes)[parents]
        for part in (choice.slopes, choice.chords, choice.offsets)
    )
    slopes[rows, units] = line
    chords[rows, units] = line
    offsets[rows, units] = 0.0
    pulls = None if choice.pulls is None else choice.pulls[parents]
    return Choice(slopes, choice.free, chords, offsets, choice.floors_of(parents), pulls)


class Joined(NamedTuple):
    """Batches of several examples as one.

    Attributes:
        batch: all rows, of each example as many.
        counts: how many of them are each example's; the others repeat its last one.
        units: the place of each example's units among the batch's, increasing.
    """

    batch: Batch
    counts: list[int]
    units: list[Tensor]

    @classmethod
    def of(cls, parts: Sequence[Batch]) -> "Joined":
        """Of batches of different examples, with inputs and a region of the same kind."""
        counts = [len(part) for part in parts]
        if len(parts) == 1:
            return cls(parts[0], counts, [torch.arange(parts[0].system.units)])
        padding = _Padding.of(parts)
        of_inputs = padding.rows([part.columns[:, : padding.inputs] for part in parts])
        of_units = padding([part.columns[:, padding.inputs :] for part in parts])
        batch = Batch(
            padding.system([part.system for part in parts]),
            padding.lines([part.lines for part in parts]),
            torch.cat((of_inputs, of_units), 1),
            padding.rows([part.constant for part in parts]),
            padding([part.slopes for part in parts]),
            padding([part.betas for part in parts]),
            padding([part.signs for part in parts]),
            padding.within(parts),
        )
        return cls(batch, counts, padding.units)

    def own_rows(self, found: Tensor) -> list[Tensor]:
        """What was found for each row, for each example's own."""
        parts = self.batch.system.by_member(found)
        return [part[:count] for part, count in zip(parts, self.counts, strict=True)]

    def own_units(self, found: Tensor) -> list[Tensor]:
        """What was found for `[rows, units]` of the batch, for each example's own."""
        if len(self.counts) == 1:
            return [found]
        parts = zip(self.own_rows(found), self.units, strict=True)
        return [its[:, index] for its, index in parts]

    def own_places(self, found: Tensor) -> list[Tensor]:
        """Units of the batch found for each row, `[rows]`, as each example's own."""
        parts = zip(self.own_rows(found), self.units, strict=True)
        return [torch.searchsorted(index, its) for its, index in parts]


class _Padding(NamedTuple):
    """Where each example's rows and units go.

    Attributes:
        inputs: number of input entries.
        outputs: of their fronts; None where there are none.
        sizes: units of each layer.
        most: rows of each example.
        units: the place of each example's units.
    """

    inputs: int
    outputs: int | None
    sizes: tuple[int, ...]
    most: int
    units: list[Tensor]

    @classmethod
    def of(cls, parts: Sequence[Batch]) -> "_Padding":
        own = [part.system.sizes for part in parts]
        largest = [max(sizes) for sizes in zip_longest(*own, fillvalue=0)]
        common = tuple(map(_rounded, largest))
        fronts = [system.outputs for part in parts if (system := part.system).outputs is not None]
        outputs = _rounded(max(fronts)) if fronts else None
        firsts = list(accumulate(common, initial=0))
        units = []
        for sizes in own:
            layers = zip(firsts, sizes, strict=False)
            spans = [torch.arange(at, at + count) for at, count in layers]
            # An example may have no units at all.
            units.append(torch.cat([torch.arange(0), *spans]))
        most = max(len(part) for part in parts)
        return cls(parts[0].system.inputs, outputs, common, most, units)

    def rows(self, tensors: Sequence[Tensor]) -> Tensor:
        """Tensors `[rows, ...]`, one for each example, as one with as many rows for each."""
        return torch.cat([self._filled(tensor) for tensor in tensors])

    def __call__(self, tensors: Sequence[Tensor], fill: float = 0.0) -> Tensor:
        """Tensors `[rows, units]` or `[units]`, one for each example, as one for all."""
        padded = tensors[0].new_full((len(tensors), self.most, sum(self.sizes)), fill)
        for into, units, tensor in zip(padded, self.units, tensors, strict=True):
            into.index_copy_(1, units, self._filled(tensor if tensor.dim() == 2 else tensor[None]))
        return padded.flatten(0, 1)

    def _filled(self, rows: Tensor) -> Tensor:
        """An example's rows, and its last one as often as others have more."""
        return rows[torch.arange(self.most).clamp(max=len(rows) - 1)]

    def lines(self, lines: Sequence[UnitLines]) -> UnitLines:
        """Lines of each row; places without a unit have none to choose, and are zero."""
        parts = zip(*(its.lines for its in lines), strict=True)
        return UnitLines(
            Lines(*(self([part.float() for part in its]) for its in parts)),
            self([its.leak.float() for its in lines], torch.nan),
            self([its.lower for its in lines]),
            self([its.upper for its in lines]),
        )

    def within(self, parts: Sequence[Batch]) -> UnitBounds | None:
        """UnitBounds of each row's units; None where all have their region's."""
        if all(part.within is None for part in parts):
            return None
        found = [part.within or UnitBounds(part.lines.lower, part.lines.upper) for part in parts]
        return UnitBounds(self([its.lower for its in found]), self([its.upper for its in found]))

    def system(self, systems: Sequence[System]) -> System:
        """One system with a member for each example."""
        members, sizes = [], (self.outputs, *self.sizes)
        for system, units in zip(systems, self.units, strict=True):
            if sizes not in system.padded:
                system.padded.clear()
                system.padded[sizes] = self._padded(system.members[0], units)
            members.append(system.padded[sizes])
        return replace(
            systems[0],
            sizes=self.sizes,
            members=tuple(members),
            middle=torch.cat([system.middle for system in systems]),
            reach=torch.cat([system.reach for system in systems]),
            x=torch.cat([system.x for system in systems]),
            padded={},
        )

    def _padded(self, member: Member, units: Tensor) -> Member:
        """The example's matrices with rows and columns of zeros; layers without units, too."""
        weights, first, front = list[Tensor](), 0, None
        begin = its = self.inputs
        if self.outputs is not None:
            assert member.front is not None
            begin, its = self.outputs, len(member.front)
            front = torch.zeros(begin, self.inputs)
            front[:its] = member.front
        for layer, size in enumerate(self.sizes):
            weight = torch.zeros(size, begin + first)
            if layer < len(member.weights):
                own = member.weights[layer]
                before = units[: own.shape[1] - its] + begin
                columns = torch.cat((torch.arange(its), before))
                weight[: len(own)].index_copy_(1, columns, own)
            weights.append(weight)
            first += size
        bias = torch.zeros(first).index_copy_(0, units, member.bias)
        return Member(tuple(weights), bias, front)


def _rounded(size: int) -> int:
    """A size that others joining or leaving seldom change."""
    return -(-size // SIZES) * SIZES
