"""The table of ONNX operators: what is read of each, and what becomes of it."""

from evaluators.onnx.operators import (
    activations,
    arithmetic,
    clamps,
    constants,
    copies,
    layers,
    maxima,
    parts,
    pools,
    products,
    views,
    windows,
)
from evaluators.onnx.operators.declaration import Declaration

OPERATORS: dict[str, Declaration] = {
    **activations.OPERATORS,
    **arithmetic.OPERATORS,
    **clamps.OPERATORS,
    **constants.OPERATORS,
    **copies.OPERATORS,
    **layers.OPERATORS,
    **maxima.OPERATORS,
    **parts.OPERATORS,
    **pools.OPERATORS,
    **products.OPERATORS,
    **views.OPERATORS,
    **windows.OPERATORS,
}
