"""The deployed runtime: what a model's file computes when somebody uses it, in float32.

The only file that imports onnxruntime.
"""

import os
from collections.abc import Mapping
from functools import cached_property
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Read when the library is loaded. Since 1.29 its Linux builds, too, send facts about the models
# that are run to its makers; nothing about a submission leaves this machine.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from evaluators.network.affine import AffineMap
from evaluators.network.elementwise import Elementwise, LeakyReLU
from evaluators.network.network import MaxPool, Network, Node

# Of what operators say while they are made, which no session's own level covers.
onnxruntime.set_default_logger_severity(4)


class Session:
    """A model in onnxruntime, quiet and on one thread: named inputs in, named outputs out.

    `plain` runs the graph as it is written, without what the runtime makes of it.
    """

    def __init__(self, data: bytes, *, plain: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        if plain:
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
            # Copies of weights, rearranged for many runs, cost more than they save in a few.
            options.add_session_config_entry("session.disable_prepacking", "1")
        self._session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"]
        )
        self.inputs = self._session.get_inputs()
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Compute all outputs by name."""
        results = map(np.asarray, self._session.run(self._outputs, dict(feeds)))
        return dict(zip(self._outputs, results, strict=True))


def rewritten(data: bytes) -> bytes:
    """The file that onnxruntime makes of another before it runs it, but for the order of data.

    It replaces operators that stand together by others that it has.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rewritten.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return path.read_bytes()


class Runtime:
    """A model as it is deployed, asked about one input at a time.

    Attributes:
        data: the bytes of its file.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    @cached_property
    def _session(self) -> Session:
        return Session(self.data)

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the output, in its own shape, of one input in row-major order."""
        return self.batch(x[None])

    def batch(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the output of some inputs `[n, ...]` at once, where the file takes so many."""
        (source, *_) = self._session.inputs
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in source.shape]
        if len(x) > 1:
            shape[0] = len(x)
        (result,) = self._session({source.name: x.reshape(shape)}).values()
        return result


def products(network: Network) -> int:
    """Count the products of one run."""
    return sum(
        prod(node.shape) * node.operation.fan_in
        for node in network.nodes
        if isinstance(node.operation, AffineMap)
    )


_TOUCHED, _COMPARED, _EXPONENTIAL = 20, 8, 80
"""What reading or writing an entry, comparing two, and an inexact function such as a sigmoid cost,
in products (measured)."""


def cost(network: Network) -> int:
    """Count the steps of one run: products, and what else is done to each entry."""
    return products(network) + sum(_steps(node) for node in network.nodes)


def _steps(node: Node) -> int:
    entries, operation = prod(node.shape), node.operation
    if isinstance(operation, MaxPool):
        return entries * prod(operation.kernel) * _COMPARED
    if isinstance(operation, Elementwise) and not isinstance(operation, LeakyReLU):
        return entries * _EXPONENTIAL
    return entries * max(1, len(node.parents)) * _TOUCHED
