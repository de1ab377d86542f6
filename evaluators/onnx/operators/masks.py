"""Constants that hide entries from a softmax: minus infinity, and what is so low that it acts so.

An entry of such a value is `hidden`: the canonical graph holds the score before it was masked, or
zero, and a softmax over it leaves it out of its sums. That is exact: what a run has there is below
`BELOW`, as scores beyond `SCORES` leave nothing bounded; so its distance to an entry that is not
hidden is beyond what an exponential in float32 tells from minus infinity. Other masks are numbers
as any weights (`softmax.py`).
"""

import numpy as np
import torch
from torch import Tensor

from evaluators.network.deployment import MAX_WEIGHT
from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.builder import Builder, Operator, OperatorError
from evaluators.onnx.rules import ModelRule

SCORES = MAX_WEIGHT / 4
"""Scores beyond it, of which some are hidden, leave nothing bounded."""
BELOW = -MAX_WEIGHT / 2
"""What a run has at a hidden entry is below this."""

MASKING = frozenset(("Add", "Attention", "Where"))
"""Operators that take such a constant beside a value."""
KEEP_MASKS = frozenset(
    (
        "Add",
        "Cast",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Expand",
        "Gather",
        "Identity",
        "Reshape",
    )
) | {"Slice", "Split", "Squeeze", "Transpose", "Trilu", "Unsqueeze", "Where"}
"""Operators that work out such constants; minus infinity plus a number is exact."""
SEE_HIDDEN = frozenset(
    ("Cast", "Dropout", "Flatten", "Identity", "Reshape", "Softmax", "Squeeze", "Unsqueeze")
)
"""Operators that may read a value with hidden entries."""


def is_weight(array: Array, *, masks: bool = True) -> bool:
    """Tell whether all numbers are finite, or minus infinity where they may be a mask's."""
    finite = np.isfinite(array)
    return bool(finite.all() or (masks and (finite | np.isneginf(array)).all()))


def require_no_mask(builder: Builder, operator: Operator) -> None:
    """Refuse an operator that computes with what a mask holds, or hides.

    Raises:
        OperatorError: it does.
    """
    names = [name for name in operator.inputs if name]
    values = [name for name in names if name in builder.values]
    if operator.kind not in SEE_HIDDEN and any(builder.values[n] in builder.hidden for n in values):
        raise OperatorError("it reads what a mask hides, which only a Softmax does")
    if operator.kind in (MASKING if values else KEEP_MASKS):
        return
    for name in names:
        array = builder.constants.get(name)
        if array is not None and array.dtype.kind == "f" and not np.isfinite(array).all():
            said = "it reads a constant of minus infinity, which only masks a softmax"
            raise OperatorError(said, ModelRule.FINITE)


def parted(levels: Tensor) -> tuple[Tensor, Tensor | None]:
    """Part a constant into what is added, zero where it hides, and what hides, zero elsewhere.

    What hides is larger than any weight may be.
    """
    hides = levels < -MAX_WEIGHT
    if not bool(hides.any()):
        return levels, None
    zero = torch.zeros_like(levels)
    return torch.where(hides, zero, levels), torch.where(hides, levels, zero)
