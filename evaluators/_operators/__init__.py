"""How each ONNX operator becomes nodes of the canonical graph: the table of them all."""

from collections.abc import Callable

from evaluators._operators import arithmetic, shapes, windows
from evaluators._operators.builder import Builder, Operator
from evaluators.elementwise import elementwise_functions

Translation = Callable[[Builder, Operator], None]

TRANSLATIONS: dict[str, Translation] = {
    "Add": arithmetic.add,
    "AveragePool": windows.average_pool,
    "BatchNormalization": arithmetic.batch_normalization,
    "Cast": arithmetic.identity,
    "Concat": shapes.concat,
    "Conv": windows.conv,
    "ConvTranspose": windows.conv_transpose,
    "Div": arithmetic.multiply,
    "Dropout": arithmetic.identity,
    "Flatten": shapes.reshape,
    "Gather": shapes.gather,
    "Gemm": arithmetic.gemm,
    "GlobalAveragePool": shapes.global_average_pool,
    "Identity": arithmetic.identity,
    "MatMul": arithmetic.matmul,
    "MaxPool": windows.max_pool,
    "Mul": arithmetic.multiply,
    "Neg": arithmetic.multiply,
    "Pad": shapes.pad,
    "ReduceMean": shapes.reduce,
    "ReduceSum": shapes.reduce,
    "Reshape": shapes.reshape,
    "Slice": shapes.strided_slice,
    "Split": shapes.split,
    "Squeeze": shapes.reshape,
    "Sub": arithmetic.add,
    "Sum": arithmetic.add,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.reshape,
    **dict.fromkeys(elementwise_functions(), arithmetic.elementwise),
}
