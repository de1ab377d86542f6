"""The table of ONNX operators: what is read of each, and what becomes of it."""

from evaluators.network.elementwise import elementwise_functions
from evaluators.onnx.operators import arithmetic, layers, parts, pools, views, windows
from evaluators.onnx.operators.declaration import Declaration

OPERATORS: dict[str, Declaration] = {
    **dict.fromkeys(elementwise_functions(), arithmetic.ELEMENTWISE),
    "Add": arithmetic.ADD,
    "AveragePool": pools.AVERAGE_POOL,
    "BatchNormalization": layers.BATCH_NORMALIZATION,
    "Cast": arithmetic.CAST,
    "Concat": parts.CONCAT,
    "Constant": views.CONSTANT,
    "ConstantOfShape": views.CONSTANT_OF_SHAPE,
    "Conv": windows.CONV,
    "ConvTranspose": windows.CONV_TRANSPOSE,
    "Div": arithmetic.DIV,
    "Dropout": arithmetic.DROPOUT,
    "Flatten": views.FLATTEN,
    "Gather": parts.GATHER,
    "Gemm": layers.GEMM,
    "GlobalAveragePool": parts.GLOBAL_AVERAGE_POOL,
    "Identity": arithmetic.IDENTITY,
    "LeakyRelu": arithmetic.LEAKY_RELU,
    "MatMul": layers.MATMUL,
    "MaxPool": pools.MAX_POOL,
    "Mul": arithmetic.MUL,
    "Neg": arithmetic.NEG,
    "Pad": parts.PAD,
    "ReduceMean": parts.REDUCE_MEAN,
    "ReduceSum": parts.REDUCE_SUM,
    "Reshape": views.RESHAPE,
    "Shape": views.SHAPE,
    "Slice": parts.SLICE,
    "Split": parts.SPLIT,
    "Squeeze": views.SQUEEZE,
    "Sub": arithmetic.SUB,
    "Sum": arithmetic.SUM,
    "Transpose": views.TRANSPOSE,
    "Unsqueeze": views.UNSQUEEZE,
}
