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
from functools import lru_cache
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from evaluators.propagation.concretization import dual_norm
from evaluators.question.norm import Norm
from evaluators.question.region import Region
from evaluators.unrolled.unit_lines import Choice
from evaluators.unrolled.unrolled_network import Unrolled


@dataclass(frozen=True, eq=False)
class Member:
    """One example's matrices.

    Attributes:
        weights, biases: of each layer's pre-activations, `[units, columns before]` and `[units]`.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]


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
    padded: dict[tuple[int, ...], Member] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, unrolled: Unrolled, x: Tensor, region: Region) -> "System":
        """The system of an unrolled network so far, in float32 for the search."""
        lower, upper = (bound.flatten() for bound in unrolled.bounds[0])
        middle = (lower + upper) / 2
        reach = torch.maximum(upper - middle, middle - lower)
        weights = tuple(layer.weight32 for layer in unrolled.layers)
        biases = tuple(layer.rows.bias.float() for layer in unrolled.layers)
        return cls(
            unrolled.inputs,
            tuple(len(layer) for layer in unrolled.layers),
            (Member(weights, biases),),
            middle.float()[None],
            reach.float()[None],
            x.reshape(1, -1).float(),
            region.norm,
            float(region.radius),
        )

    @property
    def units(self) -> int:
        """Number of units."""
        return sum(self.sizes)

    @property
    def coefficients(self) -> int:
        """Number of a member's weights."""
        return sum(weight.numel() for weight in self.members[0].weights)

    def spans(self) -> list[tuple[int, int]]:
        """First and last column of each layer's units."""
        return list(pairwise(accumulate(self.sizes, initial=self.inputs)))

    def by_member(self, rows: Tensor) -> Tensor:
        """Rows `[rows, ...]` as `[members, rows of each, ...]`."""
        count = len(self.members)
        return rows.view(count, len(rows) // count, *rows.shape[1:])

    def backward(self, columns: Tensor, constant: Tensor, choice: Choice) -> tuple[Tensor, Tensor]:
        """Bounds `[rows]` and the slopes used, `[rows, units]`.

        `columns` `[rows, inputs + units]` hold the rows, and are overwritten: afterwards they hold
        each unit's coefficient when it was replaced, and the inputs' final ones.
        """
        n, used, constant = self.inputs, torch.empty_like(choice.slopes), constant.clone()
        for layer, (first, last) in reversed(list(enumerate(self.spans()))):
            here = slice(first - n, last - n)
            a = columns[:, first:last]
            torch.where(a >= 0, choice.slopes[:, here], choice.chords[..., here], out=used[:, here])
            through = a * used[:, here]
            if choice.pulls is not None:
                through -= choice.pulls[:, here]
            negative = a.clamp(max=0)
            if choice.offsets.dim() == 1:
                constant += negative @ choice.offsets[here]
            else:
                constant += (negative * choice.offsets[:, here]).sum(1)
            if choice.floors is not None:
                constant += ((a - negative) * choice.floors[..., here]).sum(1)
            self._replace(columns[:, :first], constant, through, layer)
        return constant + self.least(columns[:, :n]), used

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

    def forward(self, columns: Tensor, used: Tensor, choice: Choice) -> tuple[Tensor, Tensor]:
        """The relaxed system at the minimiser: pre-activations `[rows, units]` and all columns."""
        n = self.inputs
        values = torch.empty_like(columns)
        values[:, :n] = self.minimizer(columns[:, :n])
        z = torch.empty_like(used)
        for layer, (first, last) in enumerate(self.spans()):
            here = slice(first - n, last - n)
            self._pre_activations(values[:, :first], z[:, here], layer)
            negative = columns[:, first:last] < 0
            out = z[:, here] * used[:, here] + negative * choice.offsets[..., here]
            if choice.floors is not None:
                out += ~negative * choice.floors[..., here]
            values[:, first:last] = out
        return z, values

    def _replace(self, columns: Tensor, constant: Tensor, through: Tensor, layer: int) -> None:
        """Add a layer's rows, times `through` `[rows, units]`, to columns and constants."""
        if len(self.members) == 1:
            constant.addmv_(through, self.members[0].biases[layer])
            columns.addmm_(through, self.members[0].weights[layer])
            return
        columns, constant, through = map(self.by_member, (columns, constant, through))
        weights, biases = _stacked(self.members, layer)
        constant += torch.bmm(through, biases[..., None])[..., 0]
        columns.baddbmm_(through, weights)

    def _pre_activations(self, values: Tensor, z: Tensor, layer: int) -> None:
        """Write a layer's pre-activations at columns `values` into `z` `[rows, units]`."""
        if len(self.members) == 1:
            (only,) = self.members
            torch.addmm(only.biases[layer], values, only.weights[layer].T, out=z)
            return
        weights, biases = _stacked(self.members, layer)
        found = torch.baddbmm(biases[:, None], self.by_member(values), weights.mT)
        z.copy_(found.flatten(0, 1))

    def _dot(self, rows: Tensor, vectors: Tensor) -> Tensor:
        """Products of rows with their member's vector, `[rows]`."""
        if len(vectors) == 1:
            return rows @ vectors[0]
        return torch.bmm(self.by_member(rows), vectors[..., None]).flatten()


@lru_cache(maxsize=16)
def _stacked(members: tuple[Member, ...], layer: int) -> tuple[Tensor, Tensor]:
    """The matrices of all members as one: a product of them all costs one call."""
    weights = torch.stack([member.weights[layer] for member in members])
    return weights, torch.stack([member.biases[layer] for member in members])
