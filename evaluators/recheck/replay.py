"""Witnesses, replayed where the model is deployed: in onnxruntime, from the file itself.

A witness refutes when onnxruntime's float32 logits are finite and the label's is not strictly the
largest; no tolerance. It must lie in its region in exact arithmetic.
"""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.network.network import FileRun
from evaluators.question.certificate import BOX, Refutation


def why_not_replayed(runtime: FileRun, x: NDArray[np.float32], label: int) -> str:
    """Why an input does not refute a label in onnxruntime; empty when it does."""
    logits = runtime(np.ascontiguousarray(x, dtype=np.float32)).reshape(-1)
    if not np.isfinite(logits).all():
        return "onnxruntime's logits at the witness are not finite"
    if logits[label] > np.delete(logits, label).max(initial=-np.inf):
        return "onnxruntime classifies the witness as the label"
    return ""


def recheck_refutation(
    runtime: FileRun, refutation: Refutation, model_sha256: str | None = None
) -> str:
    """Why a file does not refute its label; empty when it does."""
    if model_sha256 and refutation.model_sha256 and model_sha256 != refutation.model_sha256:
        return "it is about another model: the SHA-256 differ."
    shapes = {
        place.shape
        for place in (
            refutation.witness, refutation.x, refutation.box_lower, refutation.box_upper
        )
        if place is not None
    }  # fmt: skip
    if len(shapes) != 1:
        return "its arrays are not of one shape."
    if not np.isfinite(refutation.witness).all():
        return "the witness is not finite."
    if not 0 <= refutation.label < refutation.classes:
        return f"its label {refutation.label} is not a class."
    if not is_inside(refutation):
        return "the witness lies outside the region."
    try:
        reason = why_not_replayed(runtime, refutation.witness, refutation.label)
    except Exception as error:  # onnxruntime has exceptions of its own for inputs that do not fit
        return f"onnxruntime cannot run the witness ({' '.join(str(error).split())[:120]})."
    return reason and f"{reason}."


def is_inside(refutation: Refutation) -> bool:
    """Whether the witness lies in the region, in exact arithmetic."""
    point = _exact(refutation.witness)
    if refutation.norm == BOX:
        assert refutation.box_lower is not None
        assert refutation.box_upper is not None
        ends = zip(_exact(refutation.box_lower), point, _exact(refutation.box_upper), strict=True)
        return all(lower <= value <= upper for lower, value, upper in ends)
    assert refutation.x is not None
    low, high = Fraction(refutation.low), Fraction(refutation.high)
    if not all(low <= value <= high for value in point):
        return False
    moves = [abs(a - b) for a, b in zip(point, _exact(refutation.x), strict=True)]
    radius = refutation.radius
    if refutation.norm == "linf":
        return max(moves, default=radius) <= radius
    if refutation.norm == "l1":
        return sum(moves, Fraction(0)) <= radius
    return sum((move * move for move in moves), Fraction(0)) <= radius * radius


def _exact(values: NDArray[Any]) -> list[Fraction]:
    return [Fraction(value) for value in values.astype(np.float64).reshape(-1).tolist()]
