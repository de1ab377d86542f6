"""A certificate: the evidence of a proof by linear bounds and splits, checked without a search.

About a network of affine maps, sums and (leaky) ReLUs (a max-pool is first rewritten as ReLUs).
A *layer* is one (leaky) ReLU of the model's file; layers are numbered from 0 in the file's order,
with those that a max-pool is rewritten into in their order. Bounds are about the entries that the
layer reads, flat. An entry whose claimed bounds straddle zero is a *unit*; units are numbered by
layer and entry. The file is one compressed `.npz` of plain arrays: `meta` (JSON), `x` or
`box_lower` and `box_upper`, `lower.K`, `upper.K`, `rows.K`, `signs.K`, `slopes.K` for each layer
K, and the fields of `Leaves` and `Cuts` as `leaf.goal`, `cut.goal` and so on.
What the arrays claim is verified by `evaluators.recheck.checker`.
"""

from dataclasses import dataclass, fields
from typing import Annotated, get_type_hints

from evaluators.numerics.arrays import Array
from evaluators.numerics.errors import CertificateError
from evaluators.question.evidence_file import BOX as BOX
from evaluators.question.evidence_file import Evidence, Kinds, claim_of

FloatArray = Annotated[Array, "float64", 1]
MultiplierArray = Annotated[Array, "float32", 1]
SlopeArray = Annotated[Array, "float16", 2]
NumberArray = Annotated[Array, "int64", 1]
SignArray = Annotated[Array, "int8", 1]
"""Each with its type and rank, as in a file."""


def kinds_of(table: type) -> Kinds:
    """Type and rank of each array of a table, by its name."""
    hints = get_type_hints(table, include_extras=True)
    return {name: hint.__metadata__ for name, hint in hints.items()}


@dataclass(frozen=True, eq=False)
class LayerBounds:
    """Claims about the pre-activation entries of one layer.

    Attributes:
        lower, upper: `[n]`, the claimed bounds.
        rows, signs: `[r]`, the entries that are bounded by a proof of their own:
            sign +1 proves the lower bound, -1 the upper one. All other claims follow from interval
            arithmetic.
        slopes: `[r, units of all earlier layers]`, of the line below each unit.
    """

    lower: FloatArray
    upper: FloatArray
    rows: NumberArray
    signs: SignArray
    slopes: SlopeArray


@dataclass(frozen=True, eq=False)
class Leaves:
    """The leaves of the split trees, one tree for each other class.

    Attributes:
        goal: `[L]`, the other class whose margin a leaf bounds.
        split_start: `[L + 1]`, where each leaf's splits begin in the next three.
        split_unit: the units split on, from the root to the leaf.
        split_sign: +1 for z >= 0 and -1 for z <= 0.
        split_beta: the multipliers (>= 0) of sign · z >= 0.
        slopes: `[L, all units]`, of the line below each unit.
        cut: `[L]`, the cut whose bounds of units a leaf's lines rest on, or -1.
    """

    goal: NumberArray
    split_start: NumberArray
    split_unit: NumberArray
    split_sign: SignArray
    split_beta: MultiplierArray
    slopes: SlopeArray
    cut: NumberArray


@dataclass(frozen=True, eq=False)
class Cuts(Leaves):
    """Narrower bounds of units, for the part of some leaves where the margin is small.

    A cut is made like a leaf, about part of the splits of those that rest on it, and `cut` is an
    earlier one, or -1. Its plane p is below the margin, so that where the margin is at most
    `target`, a plane q below sign · z is raised by gamma · (p - target) for any gamma >= 0.

    Attributes:
        target: `[C]`, positive.
        clip_start: `[C + 1]`, where each cut's bounds begin in the next three.
        clip_unit, clip_sign: the units, and +1 for a lower and -1 for an upper bound; q comes from
            its proof among the `rows` of its layer.
        clip_gamma: the multipliers (>= 0) of raised planes.
    """

    target: FloatArray
    clip_start: NumberArray
    clip_unit: NumberArray
    clip_sign: SignArray
    clip_gamma: MultiplierArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Certificate(Evidence):
    """The claim that a network answers `label` in a whole region, and the numbers that prove it.

    Attributes:
        layers: the claims about each layer, in their order.
        leaves: of the split trees.
        cuts: what some leaves rest on.
    """

    layers: tuple[LayerBounds, ...]
    leaves: Leaves
    cuts: Cuts

    def arrays(self) -> dict[str, Array]:
        """Name the file's arrays."""
        arrays = super().arrays()
        for number, layer in enumerate(self.layers):
            arrays |= {f"{f.name}.{number}": getattr(layer, f.name) for f in fields(layer)}
        for prefix, table in (("leaf", self.leaves), ("cut", self.cuts)):
            arrays |= {f"{prefix}.{f.name}": getattr(table, f.name) for f in fields(table)}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> "Certificate":
        """Read the certificate that these arrays hold.

        Raises:
            CertificateError: as of `Evidence.from_arrays`.
        """
        numbers = range(sum(name.startswith("lower.") for name in arrays))
        kinds = {f"leaf.{name}": kind for name, kind in kinds_of(Leaves).items()}
        kinds |= {f"cut.{name}": kind for name, kind in kinds_of(Cuts).items()}
        for number in numbers:
            kinds |= {f"{name}.{number}": kind for name, kind in kinds_of(LayerBounds).items()}
        claim = claim_of(arrays, kinds)
        layers = tuple(
            LayerBounds(**{name: arrays[f"{name}.{number}"] for name in kinds_of(LayerBounds)})
            for number in numbers
        )
        leaves = Leaves(**{name: arrays[f"leaf.{name}"] for name in kinds_of(Leaves)})
        cuts = Cuts(**{name: arrays[f"cut.{name}"] for name in kinds_of(Cuts)})
        _check_sizes(layers, leaves, cuts)
        return cls(layers=layers, leaves=leaves, cuts=cuts, **claim)


@dataclass(frozen=True, eq=False, kw_only=True)
class Refutation(Evidence):
    """The claim that an input of the region is not classified as `label`.

    Attributes:
        witness: float32, that input.
    """

    witness: Array

    def arrays(self) -> dict[str, Array]:
        """Name the file's arrays."""
        return super().arrays() | {"witness": self.witness}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> "Refutation":
        """Read the refutation that these arrays hold.

        Raises:
            CertificateError: as of `Evidence.from_arrays`.
        """
        claim = claim_of(arrays, {"witness": ("float32", None)})
        return cls(witness=arrays["witness"], **claim)


def _check_sizes(layers: tuple[LayerBounds, ...], leaves: Leaves, cuts: Cuts) -> None:
    """The sizes that must agree within the file, whatever the network is."""
    units = 0
    for number, layer in enumerate(layers):
        count = len(layer.rows)
        if len(layer.lower) != len(layer.upper):
            raise CertificateError(f"'lower.{number}' and 'upper.{number}' differ in size.")
        if len(layer.signs) != count or layer.slopes.shape != (count, units):
            raise CertificateError(
                f"'slopes.{number}' has shape {layer.slopes.shape} and 'signs.{number}' size"
                f" {len(layer.signs)}; 'rows.{number}' and the earlier units need {(count, units)}."
            )
        units += int(((layer.lower < 0) & (layer.upper > 0)).sum())
    for prefix, table in (("leaf", leaves), ("cut", cuts)):
        shape, count = table.slopes.shape, len(table.goal)
        if shape != (count, units) or len(table.cut) != count:
            raise CertificateError(
                f"'{prefix}.slopes' has shape {shape} and '{prefix}.cut' size {len(table.cut)};"
                f" {count} goals and {units} units do not fit."
            )
        lists = (table.split_unit, table.split_sign, table.split_beta)
        _check_lists(f"{prefix}.split", count, table.split_start, lists)
    lists = (cuts.clip_unit, cuts.clip_sign, cuts.clip_gamma)
    _check_lists("cut.clip", len(cuts.goal), cuts.clip_start, lists)
    if len(cuts.target) != len(cuts.goal):
        raise CertificateError("'cut.target' and 'cut.goal' differ in size.")


def _check_lists(name: str, count: int, start: Array, lists: tuple[Array, ...]) -> None:
    """That `start` cuts lists of one size into as many parts."""
    size = len(lists[0])
    if any(len(entries) != size for entries in lists):
        raise CertificateError(f"The lists '{name}_…' differ in size.")
    whole = len(start) == count + 1 and start[0] == 0 and start[-1] == size
    if not whole or bool((start[1:] < start[:-1]).any()):
        raise CertificateError(f"'{name}_start' does not cut its lists into {count} parts.")
