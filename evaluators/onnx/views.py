"""A file that answers by the mean of its logits on several views of an image.

The mean over moved and mirrored images is usual at test time (Krizhevsky et al. 2012, section 4.1).
Here it is part of the network, so that what is certified is the mean: its margins are means of
margins, and where bounds of single views fail by little and in different places, theirs hold.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from evaluators.numerics.errors import UnsupportedModelError


@dataclass(frozen=True)
class ImageView:
    """An image moved by whole pixels, black coming in; mirrored before that, if it is.

    Attributes:
        down, right: by how many pixels.
    """

    down: int = 0
    right: int = 0
    mirrored: bool = False


def views_within(most: int, *, mirrored: bool) -> tuple[ImageView, ...]:
    """List the views moved by at most so many pixels along one axis, and their mirror images."""
    moves = [(0, 0)]
    for pixels in range(1, most + 1):
        moves += [(pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels)]
    sides = (False, True) if mirrored else (False,)
    return tuple(ImageView(*move, side) for side in sides for move in moves)


def average_views(file: Path, views: tuple[ImageView, ...]) -> None:
    """Write a classifier of images `[batch, channel, height, width]` anew as its mean over views.

    All views share the weights. The mean is taken before the last layer, which is linear, so that
    bounds that merge it with the margins stay as tight as they are for a single view.

    Raises:
        UnsupportedModelError: the last node is no Gemm on what comes before it.
    """
    model = onnx.load(file)
    graph = model.graph
    *body, last = graph.node
    weights = {one.name for one in graph.initializer}
    nodes = [node for node in body if weights.issuperset(node.input)]
    body = [node for node in body if node not in nodes]
    weights |= {name for node in nodes for name in node.output}
    if last.op_type != "Gemm" or not body or last.input[0] != body[-1].output[0]:
        raise UnsupportedModelError("Only a network that ends with a Gemm is averaged over views.")
    constants: dict[str, onnx.TensorProto] = {}
    features: list[str] = []
    for number, view in enumerate(views):
        source = graph.input[0].name
        for node in _moved(view, source, f"view_{number}", constants):
            nodes.append(node)
            source = node.output[0]
        renamed = {name: name for name in weights} | {graph.input[0].name: source}
        for node in body:
            renamed |= {name: f"view_{number}_{name}" for name in node.output}
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f"view_{number}_{node.name}"
            copy.input[:] = [renamed[name] for name in node.input]
            copy.output[:] = [renamed[name] for name in node.output]
            nodes.append(copy)
        features.append(renamed[last.input[0]])
    nodes.append(helper.make_node("Mean", features, ["mean_of_views"], name="mean_of_views"))
    end = onnx.NodeProto()
    end.CopyFrom(last)
    end.input[0] = "mean_of_views"
    del graph.node[:]
    graph.node.extend([*nodes, end])
    graph.initializer.extend(constants.values())
    onnx.checker.check_model(model, full_check=True)
    file.write_bytes(model.SerializeToString(deterministic=True))


def _moved(
    view: ImageView, source: str, name: str, constants: dict[str, onnx.TensorProto]
) -> list[onnx.NodeProto]:
    """Write the nodes that make a view of an image."""

    def constant(values: list[int]) -> str:
        text = "_".join(["ints", *map(str, values)]).replace("-", "minus_")
        constants[text] = numpy_helper.from_array(np.array(values, np.int64), text)
        return text

    nodes = []
    if view.mirrored:
        ends = [constant([-1]), constant([np.iinfo(np.int64).min]), constant([3]), constant([-1])]
        nodes.append(helper.make_node("Slice", [source, *ends], [f"{name}_mirrored"]))
        source = f"{name}_mirrored"
    if view.down or view.right:
        # What comes in at one side goes out at the other: a negative pad cuts off.
        pads = constant([0, 0, view.down, view.right, 0, 0, -view.down, -view.right])
        nodes.append(helper.make_node("Pad", [source, pads], [f"{name}_moved"]))
    for node in nodes:
        node.name = node.output[0]
    return nodes
