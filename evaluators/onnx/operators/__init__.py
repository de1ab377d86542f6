"""The table of ONNX operators: what is read of each, and what becomes of it."""

from evaluators.onnx.operators import arithmetic, clamps, layers, parts, pools, views, windows
from evaluators.onnx.operators.declaration import Declaration

OPERATORS: dict[str, Declaration] = {
    **arithmetic.OPERATORS,
    **clamps.OPERATORS,
    **layers.OPERATORS,
    **parts.OPERATORS,
    **pools.OPERATORS,
    **views.OPERATORS,
    **windows.OPERATORS,
}
