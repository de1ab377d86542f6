"""Canonical graph → ONNX, for models trained by the project's own recipes and for tests.

The file is the same for the same network, byte for byte: weights in float32, opset 17, a dynamic
batch dimension, no metadata. With weights in half the room, matrices and kernels are float16 and
cast to float32 where they are used: all is computed in float32, by another network.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from evaluators.network.affine import AffineMap, Convolution, Dense, Diagonal, Reshape
from evaluators.network.elementwise import Elementwise, LeakyReLU
from evaluators.network.network import MaxPool, Network, Node, Product, Sum
from evaluators.network.smooth import Smooth
from evaluators.numerics.errors import UnsupportedModelError

OPSET = 17
IR_VERSION = 8


class _Writer:
    """Collects the nodes and initializers of a graph."""

    def __init__(self, network: Network, half: bool) -> None:
        self.network, self.half = network, half
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def value(self, position: int) -> str:
        last = len(self.network.nodes) - 1
        return {0: "input", last: "logits"}.get(position, f"node_{position}")

    def constant(self, name: str, value: Tensor | np.ndarray) -> str:
        array = value.detach().cpu().float().numpy() if isinstance(value, Tensor) else value
        stored = name
        if self.half and array.dtype == np.float32 and array.ndim > 1:
            if not bool((np.abs(array) <= np.finfo(np.float16).max).all()):
                raise UnsupportedModelError(f"'{name}' has weights too large for float16.")
            stored, array = f"{name}_half", array.astype(np.float16)
            self.add("Cast", [stored], name, to=TensorProto.FLOAT)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), stored))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))

    def write(self, position: int, node: Node) -> None:
        inputs = [self.value(parent) for parent in node.parents]
        output, operation = self.value(position), node.operation
        if isinstance(operation, Smooth):
            raise TypeError(f"A network with {operation.name} is not written.")
        if isinstance(operation, AffineMap):
            self.affine(operation, inputs[0], output)
        elif isinstance(operation, Sum):
            self.add("Sum", inputs, output)
        elif isinstance(operation, Product):
            self.add("Mul", inputs, output)
        elif isinstance(operation, MaxPool):
            layout = {"strides": operation.stride, "pads": operation.padding * 2}
            window = {"kernel_shape": operation.kernel, "ceil_mode": int(operation.ceil)}
            self.add("MaxPool", inputs, output, **window, **layout)
        elif isinstance(operation, Elementwise):
            leak = isinstance(operation, LeakyReLU) and operation.leak
            self.add(operation.name, inputs, output, **({"alpha": float(leak)} if leak else {}))

    def affine(self, operation: AffineMap, source: str, output: str) -> None:
        if isinstance(operation, Reshape):
            shape = np.array([-1, *operation.output_shape], dtype=np.int64)
            self.add("Reshape", [source, self.constant(f"{output}_shape", shape)], output)
        elif isinstance(operation, Dense) and len(operation.input_shape) == 1:
            inputs = [source, self.constant(f"{output}_weight", operation.weight)]
            self.add("Gemm", inputs + self.bias(operation, output), output, transB=1)
        elif isinstance(operation, Convolution):
            inputs = [source, self.constant(f"{output}_weight", operation.weight)]
            inputs += self.bias(operation, output)
            layout = {"strides": operation.stride, "pads": operation.padding * 2}
            window = {"dilations": operation.dilation, "group": operation.groups}
            self.add("Conv", inputs, output, **layout, **window)
        elif isinstance(operation, Diagonal):
            self.diagonal(operation, source, output)
        else:
            kind = type(operation).__name__
            raise UnsupportedModelError(f"'{output}': a {kind} map cannot be written as ONNX.")

    def bias(self, operation: AffineMap, output: str) -> list[str]:
        if operation.bias is None:
            return []
        bias = operation.bias
        if isinstance(operation, Convolution):
            if bias.numel() != operation.output_shape[0]:
                raise UnsupportedModelError(f"'{output}': a convolution's bias is one per channel.")
            bias = bias.flatten()
        return [self.constant(f"{output}_bias", bias)]

    def diagonal(self, operation: Diagonal, source: str, output: str) -> None:
        """Append a scaling and a shift."""
        steps = [("Mul", "scale", operation.scale), ("Add", "bias", operation.bias)]
        steps = [step for step in steps if step[2] is not None] or [("Identity", "", None)]
        for number, (operator, name, value) in enumerate(steps):
            target = output if number == len(steps) - 1 else f"{output}_{name}d"
            inputs = [source]
            if value is not None:
                inputs.append(self.constant(f"{output}_{name}", value))
            self.add(operator, inputs, target)
            source = target


def export_onnx(network: Network, path: Path, *, half: bool = False) -> None:
    """Write a network to an ONNX file.

    Args:
        network, path: what is written, and where.
        half: whether matrices and kernels are rounded to float16, for half the room.

    Raises:
        UnsupportedModelError: an affine map that has no single ONNX operator, or weights that
            float16 has no room for.
    """
    writer = _Writer(network, half)
    for position, node in enumerate(network.nodes[1:], start=1):
        writer.write(position, node)
    shape: list[str | int | None] = ["batch", *network.input_shape]
    graph = helper.make_graph(
        writer.nodes,
        "certboard",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", network.classes])],
        writer.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
