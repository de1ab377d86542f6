"""The deployed runtime: what a model's file computes when somebody uses it, in float32.

The only file that imports onnxruntime.
"""

import os
from math import prod
from pathlib import Path

# Read when the library is loaded. Since 1.29 its Linux builds, too, send facts about the models
# that are run to its makers; nothing about a submission leaves this machine.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from evaluators.affine import AffineMap
from evaluators.elementwise import Elementwise, LeakyReLU
from evaluators.errors import UnsupportedModelError
from evaluators.network import MaxPool, Network, Node
from evaluators.onnx_rules import Rule, told


class Runtime:
    """A model in onnxruntime, quiet and on one thread, asked about one input at a time."""

    def __init__(self, data: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0]

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output, in its own shape, of an input given in row-major order; batch size 1."""
        sizes = self._input.shape
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in sizes]
        result = self._session.run(None, {self._input.name: x.reshape(shape)})[0]
        return np.asarray(result)


def compare(
    network: Network,
    data: bytes,
    path: Path,
    samples: NDArray[np.float32] | None,
    *,
    free: bool,
) -> None:
    """Refuse a network whose logits are not onnxruntime's."""

    def refusal(sentence: str) -> UnsupportedModelError:
        return UnsupportedModelError(told(Rule.RUNTIME, f"{path.name}: {sentence}"))

    inputs = _samples(network, samples, free=free)
    try:
        runtime = Runtime(data)
        outputs = [runtime(x) for x in inputs]
        theirs = np.stack([y.reshape(-1) for y in outputs]) if free else np.concatenate(outputs)
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise refusal(f"onnxruntime cannot run it ({reason})") from error
    try:
        rows = [network(torch.from_numpy(x[None]).double()) for x in inputs]
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise refusal(f"its operators' shapes do not fit ({reason})") from error
    ours = torch.cat(rows).numpy()
    if theirs.shape != ours.shape:
        raise refusal(f"onnxruntime gives logits of shape {theirs.shape}, not {ours.shape}")
    where = "on inputs of the region" if free else "on inputs in [0, 1]"
    if not np.isfinite(theirs).all() or not np.isfinite(ours).all():
        raise refusal(f"its logits are not finite {where}")
    worst = float(np.abs(theirs - ours).max())
    allowed = 1e-4 * (1.0 + float(np.abs(ours).max()))
    if worst > allowed:
        raise refusal(
            f"the imported network's logits differ from onnxruntime's by {worst:.2g}"
            f" (allowed {allowed:.2g})"
        )


def _samples(
    network: Network, samples: NDArray[np.float32] | None, *, free: bool
) -> NDArray[np.float32]:
    """The inputs on which to compare: those given, and random ones in [0, 1] unless free."""
    generator = np.random.Generator(np.random.Philox(key=20))
    count = 4 if cost(network) < 2**28 else 1
    random = generator.random((count, *network.input_shape), dtype=np.float32)
    if samples is None:
        return random
    if free:
        if samples[0].size != prod(network.input_shape):
            return random  # whoever asks will notice
        return samples[:8].reshape(-1, *network.input_shape)
    return np.concatenate((random, samples[:8]))


def products(network: Network) -> int:
    """Products of one run."""
    return sum(
        prod(node.shape) * node.operation.fan_in
        for node in network.nodes
        if isinstance(node.operation, AffineMap)
    )


_TOUCHED, _COMPARED, _EXPONENTIAL = 20, 8, 80
"""What reading or writing an entry, comparing two, and an inexact function such as a sigmoid cost,
in products (measured)."""


def cost(network: Network) -> int:
    """Steps of one run: products, and what else is done to each entry, counted in products."""
    return products(network) + sum(_steps(node) for node in network.nodes)


def _steps(node: Node) -> int:
    entries, operation = prod(node.shape), node.operation
    if isinstance(operation, MaxPool):
        return entries * prod(operation.kernel) * _COMPARED
    if isinstance(operation, Elementwise) and not isinstance(operation, LeakyReLU):
        return entries * _EXPONENTIAL
    return entries * max(1, len(node.parents)) * _TOUCHED
