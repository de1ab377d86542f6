"""Linear bounds on an unrolled network: two matrix products a layer, forwards and backwards.

A *row* is an affine function of the inputs and units. Walking back over the layers, every unit's
coefficient A is replaced by a line: where A >= 0 by the one below, whose slope may be chosen, where
A < 0 by the one above. A split unit is on its one line, and a multiplier beta >= 0 of the
constraint sign·z >= 0 is subtracted (β-CROWN, Wang et al. 2021, arXiv 2103.06624, theorem 3.1).
What remains is linear in the input and is minimised exactly; the minimiser, sent forward through
the same lines, gives the bound's gradient in closed form:

    d bound / d slope_i = max(A_i, 0) · z_i,        d bound / d beta_i = -sign_i · z_i

with the pre-activations z_i that the relaxed system has at the minimiser; no tape is needed. Of
functions without a kink both lines may be chosen (`curves.py`).
"""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.propagation.concretization import dual_norm
from evaluators.question.norm import Norm
from evaluators.question.region import Region
from evaluators.unrolled.members import Member, all_biases, all_fronts, all_weights, front_of
from evaluators.unrolled.unit_lines import Choice
from evaluators.unrolled.unrolled_network import Unrolled


class Walked(NamedTuple):
    """Rows after the walk back.

    Attributes:
        bounds: `[rows]`.
        used: the slopes that units were replaced with, `[rows, units]`.
        units: each unit's coefficient when it was replaced, `[rows, units]`.
        inputs: the inputs' final coefficients, `[rows, inputs]`.
    """

    bounds: Tensor
    used: Tensor
    units: Tensor
    inputs: Tensor


@dataclass(frozen=True)
class System:
    """The matrices of unrolled networks in one floating-point type: of one example, or of several.

    Rows are those of the first member, then as many of the second, and so on.

    Attributes:
        inputs: number of input entries.
        sizes: units of each layer, of all members alike.
        members: the matrices of each example.
        middle, reach: of the regions' bounding boxes, `[members, inputs]`.
        x: the examples, the centres of the balls where the regions are balls, `[members, inputs]`.
        norm, radius: of the ball, where the region is one.
        padded: the only member with the sizes that it last shared a batch with.
    """

    inputs: int
    sizes: tuple[int, ...]
    members: tuple[Member, ...]
    middle: Tensor
    reach: Tensor
    x: Tensor
    norm: Norm
    radius: float
    padded: dict[tuple[int | None, ...], Member] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def of(cls, unrolled: Unrolled, x: Tensor, region: Region) -> "System":
        """The system of an unrolled network so far, in float32 for the search."""
        lower, upper = (bound.flatten() for bound in unrolled.bounds[0])
        middle = (lower + upper) / 2
        reach = torch.maximum(upper - middle, middle - lower)
        return cls(
            unrolled.inputs,
            tuple(len(layer) for layer in unrolled.layers),
            (Member.of(unrolled),),
            middle.float()[None],
            reach.float()[None],
            x.reshape(1, -1).float(),
            region.norm,
            float(region.radius),
        )

    @property
    def alone(self) -> bool:
        """Whether there is but one member."""
        return len(self.members) == 1

    @property
    def units(self) -> int:
        """Number of units."""
        return sum(self.sizes)

    @property
    def coefficients(self) -> int:
        """Number of a member's weights."""
        member = self.members[0]
        front = 0 if member.front is None else member.front.numel()
        return front + sum(weight.numel() for weight in member.weights)

    @property
    def outputs(self) -> int | None:
        """Number of the front's outputs, which the layers' columns begin with in place of inputs.

        None where there is no front.
        """
        front = self.members[0].front
        return None if front is None else len(front)

    def spans(self, inputs: int) -> list[tuple[int, int]]:
        """First and last column of each layer's units, after so many columns."""
        return list(pairwise(accumulate(self.sizes, initial=inputs)))

    def by_member(self, rows: Tensor) -> Tensor:
        """Rows `[rows, ...]` as `[members, rows of each, ...]`."""
        count = len(self.members)
        return rows.view(count, len(rows) // count, *rows.shape[1:])

    def backward(
        self, columns: Tensor, constant: Tensor, choice: Choice, *, spent: bool = False
    ) -> Walked:
        """Replace all units of rows by their lines.

        Args:
            columns, constant: the rows, `[rows, inputs + units]` and `[rows]`.
            choice: the lines.
            spent: whether the columns may be overwritten.
        """
        n, m = self.inputs, self.outputs
        if m is None:
            work = columns if spent else columns.clone()
            constant, used = self._backward(work, constant, choice, n)
            inputs, units = work[:, :n], work[:, n:]
        else:
            work = columns.new_zeros(len(columns), m + self.units)
            work[:, m:] = columns[:, n:]
            constant, used = self._backward(work, constant, choice, m)
            inputs, units = self._through_front(columns[:, :n], work[:, :m]), work[:, m:]
        return Walked(constant + self.least(inputs), used, units, inputs)

    def _backward(
        self, columns: Tensor, constant: Tensor, choice: Choice, n: int
    ) -> tuple[Tensor, Tensor]:
        """Replace all units by their lines: the constants, and the slopes used."""
        used, through = torch.empty_like(choice.slopes), torch.empty_like(choice.slopes)
        # `torch.where` takes several times as long as these two steps.
        above = choice.slopes - choice.chords
        for layer, (first, last) in reversed(list(enumerate(self.spans(n)))):
            here = slice(first - n, last - n)
            a = columns[:, first:last]
            its = torch.ge(a, 0, out=used[:, here])
            torch.addcmul(choice.chords[..., here], its, above[:, here], out=its)
            torch.mul(a, its, out=through[:, here])
            if choice.pulls is not None:
                through[:, here] -= choice.pulls[:, here]
            self._replace(columns[:, :first], through[:, here], layer)
        # What is added to constants takes a few passes over all layers at once.
        a, bias = columns[:, n:], self.members[0].bias[None]
        negative = a.clamp(max=0)
        constant = constant + self._dot(through, bias if self.alone else all_biases(self.members))
        if choice.offsets.dim() == 1:
            constant += negative @ choice.offsets
        else:
            constant += (negative * choice.offsets).sum(1)
        if choice.floors is not None:
            constant += ((a - negative) * choice.floors).sum(1)
        return constant, used

    def least(self, rows: Tensor) -> Tensor:
        """Least value of linear functions of the input over the region, `[rows]`.

        In float32 and with no charge for rounding: a search proves nothing. What counts is proved
        by `proof.py`, over `propagation/concretization.py`.
        """
        box, ball = self._least(rows)
        return box if ball is None else torch.maximum(box, ball)

    def _least(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Least values over the bounding box, and over the ball where that is another."""
        box = self._dot(rows, self.middle) - self._dot(rows.abs(), self.reach)
        if self.norm is Norm.LINF:
            return box, None
        lengths = dual_norm(rows, self.norm)
        return box, self._dot(rows, self.x) - self.radius * lengths

    def minimizer(self, rows: Tensor) -> Tensor:
        """Where that least value is taken, `[rows, inputs]`."""
        signs = self.by_member(rows.sign())
        middle, reach, x = (part[:, None] for part in (self.middle, self.reach, self.x))
        corner = torch.addcmul(middle, signs, reach, value=-1).flatten(0, 1)
        if self.norm is Norm.LINF:
            return corner
        if self.norm is Norm.L2:
            norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
            step = rows / norm.clamp(min=1e-30)
        else:
            top = rows.abs().argmax(1, keepdim=True)
            step = torch.zeros_like(rows).scatter(1, top, rows.sign().gather(1, top))
        box, ball = self._least(rows)
        assert ball is not None
        inside = (x - self.radius * self.by_member(step)).flatten(0, 1)
        return torch.where((ball > box)[:, None], inside, corner)

    def forward(self, walked: Walked, choice: Choice) -> Tensor:
        """The relaxed system's pre-activations at the minimiser, `[rows, units]`."""
        begin, used = self._begin(walked.inputs), walked.used
        n, z = begin.shape[1], torch.empty_like(used)
        values = begin.new_empty(len(begin), n + self.units)
        values[:, :n] = begin
        heights = torch.lt(walked.units, 0, out=torch.empty_like(used))
        floors = None if choice.floors is None else (1 - heights) * choice.floors
        heights.mul_(choice.offsets)
        heights = heights if floors is None else heights.add_(floors)
        for layer, (first, last) in enumerate(self.spans(n)):
            here = slice(first - n, last - n)
            self._pre_activations(values[:, :first], z[:, here], layer, here)
            out = values[:, first:last]
            torch.addcmul(heights[:, here], z[:, here], used[:, here], out=out)
        return z

    def _through_front(self, columns: Tensor, through: Tensor) -> Tensor:
        """The inputs' coefficients, plus the front's rows times `through` `[rows, outputs]`.

        A tensor of its own: passes over part of each row take two to three times as long.
        """
        if self.alone:
            return torch.addmm(columns, through, front_of(self.members[0]))
        rows = self.by_member(columns), self.by_member(through)
        return torch.baddbmm(*rows, all_fronts(self.members)).flatten(0, 1)

    def _begin(self, rows: Tensor) -> Tensor:
        """What layers' columns begin with where the rows are least, `[rows, columns]`."""
        if self.outputs is None:
            return self.minimizer(rows)
        if self.alone and self.norm is Norm.LINF:
            middle, reach = self._front_box
            return torch.addmm(middle, rows.sign(), reach.T, alpha=-1)
        x = self.minimizer(rows)
        if self.alone:
            return x @ front_of(self.members[0]).T
        return torch.bmm(self.by_member(x), all_fronts(self.members).mT).flatten(0, 1)

    @cached_property
    def _front_box(self) -> tuple[Tensor, Tensor]:
        """The front without its bias, of the only member: at the middle, and times the reach."""
        front = front_of(self.members[0])
        return front @ self.middle[0], front * self.reach

    def _replace(self, columns: Tensor, through: Tensor, layer: int) -> None:
        """Add a layer's rows, times `through` `[rows, units]`, to columns."""
        if self.alone:
            columns.addmm_(through, self.members[0].weights[layer])
            return
        weights = all_weights(self.members, layer)
        self.by_member(columns).baddbmm_(self.by_member(through), weights)

    def _pre_activations(self, values: Tensor, z: Tensor, layer: int, here: slice) -> None:
        """Write a layer's pre-activations, those units, at columns `values`, `[rows, units]`."""
        if self.alone:
            (only,) = self.members
            torch.addmm(only.bias[here], values, only.weights[layer].T, out=z)
            return
        bias, weights = all_biases(self.members)[:, None, here], all_weights(self.members, layer)
        z.copy_(torch.baddbmm(bias, self.by_member(values), weights.mT).flatten(0, 1))

    def _dot(self, rows: Tensor, vectors: Tensor) -> Tensor:
        """Products of rows with their member's vector, `[rows]`."""
        if len(vectors) == 1:
            return rows @ vectors[0]
        return torch.bmm(self.by_member(rows), vectors[..., None]).flatten()
