"""Another input for an ONNX file: pixels in [0, 1] where its authors feed it something else.

What the authors' own code does to an image before the network sees it (normalisation, channels
last, a flat input) is put in front of the graph as nodes of ONNX. Every byte of the file stays as
it is, but for the declaration of its input, and what comes out is the same, byte for byte, on every
machine: so its hash stands for the file and for what was put in front of it.

The bytes may be a stranger's: they are walked, not parsed, within the limits of `too_much`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.rules import ModelRule, complaint
from evaluators.onnx.wire import Field, fields_of, head, number_of, too_much

_GRAPH = 7
_NODE, _INITIALIZER, _INPUT = 1, 5, 11
_READ, _MADE = 1, 2
_VALUE_NAME, _VALUE_TYPE, _TENSOR_NAME = 1, 2, 8
_TENSOR_TYPE, _SHAPE, _DIMENSION, _SIZE = 1, 2, 1, 1
_PREFIX = "adapter_"


@dataclass(frozen=True)
class InputAdapter:
    """What happens to pixels `[batch, channel, height, width]` in [0, 1], in this order.

    Attributes:
        mean, deviation: of each channel: subtracted, then divided by, in float32; or both empty.
        channels_last: whether channels then go last.
        shape: of the file's input behind its batch dimension, into which all then goes in row-major
            order; None where it fits as it is.
    """

    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    channels_last: bool = False
    shape: tuple[int, ...] | None = None


def layout_option(shape: Sequence[int], pixels: Sequence[int]) -> str:
    """The option of the command line for a file whose input holds an image in another layout."""
    last = tuple(shape) == (*pixels[1:], pixels[0])
    return "--channels-last" if last else f"--input-shape {','.join(map(str, shape))}"


def adapt(data: bytes, adapter: InputAdapter, pixels: tuple[int, int, int]) -> bytes:
    """Put an adapter in front of the graph in an ONNX file's bytes.

    Args:
        data: the file.
        adapter: what is put in front of it.
        pixels: channels, height and width of an image.

    Raises:
        UnsupportedModelError: these are no bytes of an ONNX file with one input, or it uses the
            adapter's names.
    """
    try:
        if problem := too_much(data):
            raise ValueError(f"it has {problem}")
        (graph,) = (one for one in fields_of(data, 0, len(data)) if one.number == _GRAPH)
        made = _graph(data, graph, adapter, pixels)
    except (ValueError, IndexError) as error:
        said = f"nothing can be put in front of this file: {error or 'it ends within a field'}"
        raise UnsupportedModelError(complaint(ModelRule.FILE, said)) from error
    return data[: graph.start] + head(_GRAPH, len(made)) + made + data[graph.stop :]


def _graph(data: bytes, graph: Field, adapter: InputAdapter, pixels: tuple[int, int, int]) -> bytes:
    """The bytes of the graph with the adapter's nodes first."""
    inside = list(fields_of(data, graph.inner, graph.stop))
    constants = {_name(data, one, _TENSOR_NAME) for one in inside if one.number == _INITIALIZER}
    inputs = {_name(data, one, _VALUE_NAME): one for one in inside if one.number == _INPUT}
    sources = [name for name in inputs if name not in constants]
    if len(sources) != 1 or len(inputs) != sum(one.number == _INPUT for one in inside):
        raise ValueError("it has not one input")
    names = constants | set(inputs) | set(_names_in_nodes(data, inside))
    if any(name.startswith(_PREFIX) for name in names):
        raise ValueError(f"a name in it begins with {_PREFIX}")
    source = inputs[sources[0]]
    batch: int | str = 1 if _batch(data, source) == 1 else "batch"
    image = helper.make_tensor_value_info(
        f"{_PREFIX}pixels", TensorProto.FLOAT, [batch, *pixels]
    ).SerializeToString(deterministic=True)
    nodes = b"".join(
        _whole(_NODE, node.SerializeToString(deterministic=True))
        for node in _nodes(adapter, batch, sources[0])
    )
    before, behind = data[graph.inner : source.start], data[source.stop : graph.stop]
    return nodes + before + _whole(_INPUT, image) + behind


def _nodes(adapter: InputAdapter, batch: int | str, last: str) -> list[onnx.NodeProto]:
    """The adapter's nodes in order; the last makes what was the file's input."""
    steps: list[tuple[str, Any, dict[str, Any]]] = []
    for kind, numbers in (("Sub", adapter.mean), ("Div", adapter.deviation)):
        if numbers:
            steps.append((kind, np.array(numbers, dtype=np.float32).reshape(1, -1, 1, 1), {}))
    if adapter.channels_last:
        steps.append(("Transpose", None, {"perm": [0, 2, 3, 1]}))
    if adapter.shape is not None:
        rows = 1 if batch == 1 else -1
        steps.append(("Reshape", np.array([rows, *adapter.shape], dtype=np.int64), {}))
    if not steps:
        raise ValueError("the adapter does nothing")
    nodes, value = [], f"{_PREFIX}pixels"
    for number, (kind, constant, attributes) in enumerate(steps, start=1):
        title = f"{_PREFIX}{kind.lower()}"
        made = last if number == len(steps) else f"{title}_made"
        operands = [value]
        if constant is not None:
            operands.append(f"{title}_by")
            tensor = numpy_helper.from_array(constant)
            nodes.append(helper.make_node("Constant", [], [operands[1]], operands[1], value=tensor))
        nodes.append(helper.make_node(kind, operands, [made], title, **attributes))
        value = made
    return nodes


def _batch(data: bytes, value: Field) -> int:
    """The first size of a declared input; 0 where it is free or not told."""
    at = value
    for number in (_VALUE_TYPE, _TENSOR_TYPE, _SHAPE, _DIMENSION):
        found = [one for one in fields_of(data, at.inner, at.stop) if one.number == number]
        if not found:
            return 0
        at = found[0]
    sizes = [one for one in fields_of(data, at.inner, at.stop) if one.number == _SIZE]
    return number_of(data, sizes[-1]) if sizes else 0


def _name(data: bytes, message: Field, number: int) -> str:
    found = [one for one in fields_of(data, message.inner, message.stop) if one.number == number]
    return data[found[-1].inner : found[-1].stop].decode() if found else ""


def _names_in_nodes(data: bytes, inside: list[Field]) -> Iterator[str]:
    for node in inside:
        if node.number == _NODE:
            for one in fields_of(data, node.inner, node.stop):
                if one.number in (_READ, _MADE):
                    yield data[one.inner : one.stop].decode()


def _whole(number: int, content: bytes) -> bytes:
    return head(number, len(content)) + content
