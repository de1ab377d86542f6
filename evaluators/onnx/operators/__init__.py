"""The table of ONNX operators: what is read of each, and what becomes of it."""

from evaluators.onnx.operators import (
    activations,
    arithmetic,
    attention,
    clamps,
    conditions,
    constants,
    contractions,
    copies,
    layers,
    maxima,
    norms,
    parts,
    pools,
    products,
    recurrent,
    scatter,
    views,
    windows,
)
from evaluators.onnx.operators.declaration import Declaration

OPERATORS: dict[str, Declaration] = {
    **activations.OPERATORS,
    **arithmetic.OPERATORS,
    **attention.OPERATORS,
    **clamps.OPERATORS,
    **conditions.OPERATORS,
    **constants.OPERATORS,
    **contractions.OPERATORS,
    **copies.OPERATORS,
    **layers.OPERATORS,
    **maxima.OPERATORS,
    **norms.OPERATORS,
    **parts.OPERATORS,
    **pools.OPERATORS,
    **products.OPERATORS,
    **recurrent.OPERATORS,
    **scatter.OPERATORS,
    **views.OPERATORS,
    **windows.OPERATORS,
}
