"""The forward pass as fast as the library allows: the same function, fewer passes over memory.

Biases go into the convolution and matrix product, ReLUs work in place, and convolutional networks
run channels-last with the flattening folded into the next matrix: `Network.__call__` in another
order of additions. What this computes *is* the base classifier of a smoothed network.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluators.network.affine import Convolution, Dense, Diagonal, Reshape
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.ensemble import Ensemble, combine
from evaluators.network.network import Network, Sum, apply


@contextmanager
def plain_float32() -> Iterator[None]:
    """Turn off TensorFloat-32, and take the kernels that give the same numbers each time.

    It matters on CUDA alone: there convolutions may otherwise round their factors to ten bits. The
    base classifier is what is run, so it is run as its file says.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic = False, False, True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic = before


Forward = Callable[[Tensor], Tensor]


class _Step(NamedTuple):
    """One computed value: where it goes, from which values, and which are not needed after it."""

    position: int
    parents: tuple[int, ...]
    compute: Callable[..., Tensor]
    done: tuple[int, ...]


def memory_format(network: Network | Ensemble) -> torch.memory_format:
    """Choose channels-last for networks, or ensembles of such, with 2-d convolutions."""
    if isinstance(network, Ensemble):
        formats = {memory_format(member) for member in network.networks}
        last = torch.channels_last
        return last if last in formats else torch.contiguous_format
    flat = not any(_is_convolution(network, position) for position in range(len(network.nodes)))
    return torch.contiguous_format if flat else torch.channels_last


def fast_forward(network: Network | Ensemble) -> Forward:
    """Compile a network into a function `[rows, *shape] -> [rows, classes]`, for inference.

    Call it in `torch.inference_mode`, with inputs in the network's `memory_format`.
    """
    if isinstance(network, Ensemble):
        return _ensemble(network)
    planned = _plan(network)
    last_use = {parent: step[0] for step in planned for parent in step[1]}
    steps = [
        _Step(*step, tuple(parent for parent in set(step[1]) if last_use[parent] == step[0]))
        for step in planned
    ]

    def forward(x: Tensor) -> Tensor:
        values = {0: x}
        for step in steps:
            result = step.compute(*(values[parent] for parent in step.parents))
            for parent in step.done:
                del values[parent]
            values[step.position] = result
        return values[len(network.nodes) - 1]

    return forward


def _ensemble(ensemble: Ensemble) -> Forward:
    """All members on the same input, which a denoiser before them makes once."""
    members, rule = [fast_forward(member) for member in ensemble.members], ensemble.rule

    def answer(x: Tensor) -> Tensor:
        return combine(torch.stack([member(x) for member in members]), rule)

    if ensemble.denoiser is None:
        return answer
    denoise, layout = fast_forward(ensemble.denoiser), memory_format(ensemble)
    shape = ensemble.members[0].input_shape

    def forward(x: Tensor) -> Tensor:
        image = denoise(x).reshape(-1, *shape)
        return answer(image.contiguous(memory_format=layout) if image.dim() == 4 else image)

    return forward


def _plan(network: Network) -> list[tuple[int, tuple[int, ...], Callable[..., Tensor]]]:
    """Position, parents and function of every value to compute."""
    folded = _folded_reshapes(network)
    planned = []
    for position, node in enumerate(network.nodes[1:], start=1):
        if position in folded:
            continue
        parents = node.parents
        compute = _function(network, position)
        if parents[0] in folded:
            assert isinstance(node.operation, Dense)
            compute = _dense_after_flatten(node.operation, network.nodes[parents[0]].operation)
            parents = network.nodes[parents[0]].parents
        planned.append((position, parents, compute))
    return planned


def _function(network: Network, position: int) -> Callable[..., Tensor]:
    """The fastest way to compute one node."""
    node = network.nodes[position]
    operation = node.operation
    if isinstance(operation, Convolution) and _is_convolution(network, position):
        return _convolution(operation)
    if isinstance(operation, Dense) and operation.bias is not None and operation.bias.dim() == 1:
        weight, bias = operation.weight, operation.bias
        return lambda x: F.linear(x, weight, bias)
    if isinstance(operation, Diagonal) and None not in (operation.scale, operation.bias):
        scale, shift = operation.scale, operation.bias
        assert scale is not None
        assert shift is not None
        return lambda x: torch.addcmul(shift, x, scale)
    if isinstance(operation, LeakyReLU) and not operation.leak:
        return torch.relu_ if _may_overwrite(network, node.parents[0]) else torch.relu
    return lambda *inputs: apply(operation, list(inputs))


def _convolution(operation: Convolution) -> Callable[[Tensor], Tensor]:
    weight = operation.weight.contiguous(memory_format=torch.channels_last)
    stride, padding, dilation = operation.stride, operation.padding, operation.dilation
    channels, bias = operation.output_shape[0], operation.bias
    if bias is None or tuple(bias.shape) != (channels, 1, 1):
        return lambda x: _shifted(
            F.conv2d(x, weight, None, stride, padding, dilation, operation.groups), bias
        )
    flat = bias.flatten()
    return lambda x: F.conv2d(x, weight, flat, stride, padding, dilation, operation.groups)


def _shifted(y: Tensor, bias: Tensor | None) -> Tensor:
    return y if bias is None else y.add_(bias)


def _dense_after_flatten(operation: Dense, flatten: object) -> Callable[[Tensor], Tensor]:
    """The matrix with its columns in channels-last order, so that flattening is a view."""
    assert isinstance(flatten, Reshape)
    channels, height, width = flatten.input_shape
    columns = operation.weight.reshape(-1, channels, height, width).permute(0, 2, 3, 1)
    weight, bias = columns.reshape(-1, channels * height * width).contiguous(), operation.bias
    return lambda x: F.linear(x.permute(0, 2, 3, 1).flatten(1), weight, bias)


def _folded_reshapes(network: Network) -> set[int]:
    """Flattenings of an image that only matrices read."""
    if memory_format(network) is torch.contiguous_format:
        return set()
    readers: dict[int, list[int]] = {}
    for position, node in enumerate(network.nodes):
        for parent in node.parents:
            readers.setdefault(parent, []).append(position)
    return {
        position
        for position, node in enumerate(network.nodes)
        if isinstance(node.operation, Reshape)
        and node.operation.bias is None
        and (len(node.operation.input_shape), len(node.shape)) == (3, 1)
        and position in readers
        and all(_is_plain_dense(network, reader) for reader in readers[position])
    }


def _is_plain_dense(network: Network, position: int) -> bool:
    operation = network.nodes[position].operation
    return isinstance(operation, Dense) and (operation.bias is None or operation.bias.dim() == 1)


def _is_convolution(network: Network, position: int) -> bool:
    operation = network.nodes[position].operation
    return isinstance(operation, Convolution) and len(operation.stride) == 2


def _may_overwrite(network: Network, position: int) -> bool:
    """Whether a value is fresh memory that only one node reads."""
    reads = Counter(parent for node in network.nodes for parent in node.parents)
    operation = network.nodes[position].operation
    fresh = isinstance(operation, Convolution | Dense) or (
        isinstance(operation, Sum) and len(network.nodes[position].parents) > 1
    )
    return fresh and reads[position] == 1
