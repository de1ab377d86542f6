"""A certificate: the evidence of a proof by linear bounds and splits, checked without a search.

About a network of affine maps, sums and (leaky) ReLUs (a max-pool is first rewritten as ReLUs).
An elementwise node is named by its position in `network.nodes`; bounds are about the entries of
its parent, flat. An entry whose claimed bounds straddle zero is a *unit*; units are numbered by
node and entry. The file is one compressed `.npz` of plain arrays: `meta` (JSON), `x` or
`box_lower` and `box_upper`, `lower.V`, `upper.V`, `rows.V`, `signs.V`, `slopes.V` for each
elementwise node V, and the leaves' `goal`, `split_start`, `split_unit`, `split_sign`,
`split_beta`, `leaf_slopes`. What the arrays claim is verified by `evaluators.recheck`.
"""

from dataclasses import dataclass, fields

from evaluators._evidence_file import BOX as BOX
from evaluators._evidence_file import Array, Evidence, Kinds, claim_of
from evaluators.errors import CertificateError


@dataclass(frozen=True, eq=False)
class LayerBounds:
    """Claims about the pre-activation entries of one elementwise node.

    Attributes:
        lower, upper: float64 `[n]`, the claimed bounds.
        rows, signs: int64 and int8 `[r]`, the entries that are bounded by a proof of their own:
            sign +1 proves the lower bound, -1 the upper one. All other claims follow from interval
            arithmetic.
        slopes: float16 `[r, units of all earlier nodes]`, of the line below each unit.
    """

    lower: Array
    upper: Array
    rows: Array
    signs: Array
    slopes: Array


@dataclass(frozen=True, eq=False)
class Leaves:
    """The leaves of the split trees, one tree for each other class.

    Attributes:
        goal: int64 `[L]`, the other class whose margin a leaf bounds.
        split_start: int64 `[L + 1]`, where each leaf's splits begin in the next three.
        split_unit: int64, the units split on, from the root to the leaf.
        split_sign: int8, +1 for z >= 0 and -1 for z <= 0.
        split_beta: float32, the multipliers (>= 0) of sign · z >= 0.
        slopes: float16 `[L, all units]`, of the line below each unit.
    """

    goal: Array
    split_start: Array
    split_unit: Array
    split_sign: Array
    split_beta: Array
    slopes: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Certificate(Evidence):
    """The claim that a network answers `label` in a whole region, and the numbers that prove it.

    Attributes:
        layers: the claims about each elementwise node, by its position.
        leaves: of the split trees.
    """

    layers: dict[int, LayerBounds]
    leaves: Leaves

    def arrays(self) -> dict[str, Array]:
        """The file's arrays by name."""
        arrays = super().arrays()
        for node, layer in sorted(self.layers.items()):
            arrays |= {f"{f.name}.{node}": getattr(layer, f.name) for f in fields(layer)}
        return arrays | {
            _leaf_name(f.name): getattr(self.leaves, f.name) for f in fields(self.leaves)
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> "Certificate":
        """The certificate that these arrays hold.

        Raises:
            CertificateError: as of `Evidence.from_arrays`.
        """
        nodes = sorted(_node_of(name) for name in arrays if name.startswith("lower."))
        kinds = {_leaf_name(name): kind for name, kind in _LEAVES.items()}
        for node in nodes:
            kinds |= {f"{name}.{node}": kind for name, kind in _LAYER.items()}
        claim = claim_of(arrays, kinds)
        layers = {
            node: LayerBounds(**{name: arrays[f"{name}.{node}"] for name in _LAYER})
            for node in nodes
        }
        leaves = Leaves(**{name: arrays[_leaf_name(name)] for name in _LEAVES})
        _check_sizes(layers, leaves)
        return cls(layers=layers, leaves=leaves, **claim)


@dataclass(frozen=True, eq=False, kw_only=True)
class Refutation(Evidence):
    """The claim that an input of the region is not classified as `label`.

    Attributes:
        witness: float32, that input.
    """

    witness: Array

    def arrays(self) -> dict[str, Array]:
        """The file's arrays by name."""
        return super().arrays() | {"witness": self.witness}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> "Refutation":
        """The refutation that these arrays hold.

        Raises:
            CertificateError: as of `Evidence.from_arrays`.
        """
        claim = claim_of(arrays, {"witness": ("float32", None)})
        return cls(witness=arrays["witness"], **claim)


_LAYER: Kinds = {
    "lower": ("float64", 1),
    "upper": ("float64", 1),
    "rows": ("int64", 1),
    "signs": ("int8", 1),
    "slopes": ("float16", 2),
}
_LEAVES: Kinds = {
    "goal": ("int64", 1),
    "split_start": ("int64", 1),
    "split_unit": ("int64", 1),
    "split_sign": ("int8", 1),
    "split_beta": ("float32", 1),
    "slopes": ("float16", 2),
}
"""Type and rank of each array."""


def _leaf_name(name: str) -> str:
    return "leaf_slopes" if name == "slopes" else name


def _node_of(name: str) -> int:
    number = name.removeprefix("lower.")
    if not (number.isascii() and number.isdecimal() and len(number) < 10) or (
        number != str(int(number))
    ):
        raise CertificateError(f"the array '{name}' does not name a node.")
    return int(number)


def _check_sizes(layers: dict[int, LayerBounds], leaves: Leaves) -> None:
    """The sizes that must agree within the file, whatever the network is."""
    units = 0
    for node, layer in layers.items():
        count = len(layer.rows)
        if len(layer.lower) != len(layer.upper):
            raise CertificateError(f"'lower.{node}' and 'upper.{node}' differ in size.")
        if len(layer.signs) != count or layer.slopes.shape != (count, units):
            raise CertificateError(
                f"'slopes.{node}' has shape {layer.slopes.shape} and 'signs.{node}' size"
                f" {len(layer.signs)}; 'rows.{node}' and the earlier units need {(count, units)}."
            )
        units += int(((layer.lower < 0) & (layer.upper > 0)).sum())
    count, splits = len(leaves.goal), len(leaves.split_unit)
    if len(leaves.split_start) != count + 1 or leaves.slopes.shape != (count, units):
        raise CertificateError(
            f"'split_start' has size {len(leaves.split_start)} and 'leaf_slopes' shape"
            f" {leaves.slopes.shape}; {count} leaves and {units} units do not fit."
        )
    if len(leaves.split_sign) != splits or len(leaves.split_beta) != splits:
        raise CertificateError("'split_unit', 'split_sign' and 'split_beta' differ in size.")
    start = leaves.split_start
    if start[0] != 0 or start[-1] != splits or bool((start[1:] < start[:-1]).any()):
        raise CertificateError("'split_start' does not cut the list of splits into leaves.")
