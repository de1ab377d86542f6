"""From a PyTorch module to a canonical graph that holds the module's own parameters.

For derivatives alone: what is certified is read from an ONNX file (`evaluators/onnx/module.py`).
The graph is compared with the module on the examples at hand.
"""

import operator
from collections.abc import Callable
from math import prod
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from evaluators.network.affine import Convolution, Dense, Diagonal, Reshape
from evaluators.network.elementwise import LeakyReLU, Sigmoid, Tanh
from evaluators.network.maxima import GraphBuilder
from evaluators.network.network import Input, Network, Node, Operation, Sum
from evaluators.numerics.arrays import Shape
from evaluators.numerics.errors import UnsupportedModelError

_TOLERANCE = 1e-3
"""Share of the largest logit by which the graph's answers may differ from the module's."""

Reader = Callable[[Any, Shape], Operation | None]
"""From a layer and the shape of its input to an operation; None where it changes nothing."""


def live_network(module: nn.Module, x: Tensor) -> Network:
    """Read a module in evaluation mode, its parameters shared.

    Args:
        module: of linear and convolutional layers, normalisation by running statistics,
            (leaky) ReLU, Sigmoid, Tanh, flattening, sums, and what changes nothing then.
        x: examples `[batch, *shape]`, on which the reading is compared with the module.

    Raises:
        UnsupportedModelError: it has other layers, is in training mode where that matters, or
            answers otherwise.
    """
    name = type(module).__name__
    for label, part in module.named_modules():
        if part.training and isinstance(part, nn.modules.batchnorm._BatchNorm | nn.Dropout):
            raise UnsupportedModelError(f"{name}: '{label}' is in training mode: call eval().")
    try:
        traced = torch.fx.symbolic_trace(module)
    except Exception as error:
        raise UnsupportedModelError(f"{name}: cannot be traced ({error}).") from error
    network = _read(traced, name, tuple(x.shape[1:]))
    with torch.no_grad():
        expected, found = module(x), network(x)
    if expected.shape != found.shape or not _near(expected, found):
        raise UnsupportedModelError(f"{name}: its graph answers otherwise than the module.")
    return network


def _near(expected: Tensor, found: Tensor) -> bool:
    return bool((expected - found).abs().max() <= _TOLERANCE * expected.abs().max().clamp(min=1.0))


def _read(traced: torch.fx.GraphModule, name: str, shape: Shape) -> Network:
    graph = GraphBuilder([Node("input", Input(), (), shape)], name)
    places: dict[torch.fx.Node, int] = {}
    for node in traced.graph.nodes:
        if node.op == "output":
            return Network(tuple(graph.nodes[: places[node.args[0]] + 1]))
        places[node] = 0 if node.op == "placeholder" else _add(traced, graph, node, places)
    raise UnsupportedModelError(f"{name}: it has no output.")


def _add(
    traced: torch.fx.GraphModule,
    graph: GraphBuilder,
    node: torch.fx.Node,
    places: dict[torch.fx.Node, int],
) -> int:
    """Append a node, and return its place; a parent's where it changes nothing."""
    parents = tuple(places[arg] for arg in node.args if isinstance(arg, torch.fx.Node))
    inner = graph.nodes[parents[0]].shape if parents else ()
    if node.op == "call_module":
        layer: Any = traced.get_submodule(str(node.target))
        reader = _MODULES.get(type(layer))
    else:
        layer, reader = node, _FUNCTIONS.get(node.target)
    if reader is None or not parents:
        what = type(layer).__name__ if node.op == "call_module" else node.target
        raise UnsupportedModelError(f"{graph.prefix}: {what} is not read with derivatives.")
    operation = reader(layer, inner)
    if operation is None:
        return parents[0]
    shape = getattr(operation, "output_shape", inner)
    return graph.add(node.name, operation, parents, shape)


def _linear(layer: nn.Linear, shape: Shape) -> Operation:
    return Dense(shape, (*shape[:-1], layer.out_features), layer.bias, layer.weight)


def _convolution(layer: nn.Conv2d, shape: Shape) -> Operation:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise UnsupportedModelError("Convolutions are read with paddings of zeros in numbers.")
    bias = None if layer.bias is None else layer.bias[:, None, None]
    layout = layer.stride, layer.padding, layer.dilation
    with torch.no_grad():
        sizes = F.conv2d(
            layer.weight.new_zeros(1, *shape), layer.weight, None, *layout, layer.groups
        )
    return Convolution(shape, tuple(sizes.shape[1:]), bias, layer.weight, *layout, layer.groups)


def _normalisation(layer: nn.BatchNorm2d, shape: Shape) -> Operation:
    if layer.running_mean is None or layer.running_var is None:
        raise UnsupportedModelError("Normalisation is read with running statistics only.")
    scale = (layer.running_var + layer.eps).rsqrt()
    scale = scale if layer.weight is None else scale * layer.weight
    shift = -layer.running_mean * scale
    shift = shift if layer.bias is None else shift + layer.bias
    entries = (-1, *(1,) * (len(shape) - 1))
    return Diagonal(shape, shape, shift.reshape(entries), scale.reshape(entries))


def _flattened(layer: nn.Flatten | torch.fx.Node, shape: Shape) -> Operation:
    ends = (
        (layer.start_dim, layer.end_dim)
        if isinstance(layer, nn.Flatten)
        else (*layer.args[1:], *layer.kwargs.values())
    )
    if ends not in ((1,), (1, -1)):
        raise UnsupportedModelError("Only whole examples are flattened with derivatives.")
    return Reshape(shape, (prod(shape),), None)


def _nothing(_layer: object, _shape: Shape) -> None:
    return None


_MODULES: dict[type[nn.Module], Reader] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _normalisation,
    nn.BatchNorm2d: _normalisation,
    nn.Flatten: _flattened,
    nn.ReLU: lambda _layer, _shape: LeakyReLU(),
    nn.LeakyReLU: lambda layer, _shape: LeakyReLU(layer.negative_slope),
    nn.Sigmoid: lambda _layer, _shape: Sigmoid(),
    nn.Tanh: lambda _layer, _shape: Tanh(),
    nn.Identity: _nothing,
    nn.Dropout: _nothing,
}
_FUNCTIONS: dict[Any, Reader] = {
    **dict.fromkeys((torch.relu, F.relu, "relu"), lambda _layer, _shape: LeakyReLU()),
    **dict.fromkeys((torch.sigmoid, F.sigmoid, "sigmoid"), lambda _layer, _shape: Sigmoid()),
    **dict.fromkeys((torch.tanh, F.tanh, "tanh"), lambda _layer, _shape: Tanh()),
    **dict.fromkeys((operator.add, torch.add, "add"), lambda _layer, _shape: Sum()),
    **dict.fromkeys((torch.flatten, "flatten"), _flattened),
}
"""Functions and methods that tracing meets, by themselves and by name."""
