"""Two readings of one file: alike for every network, and told apart by any difference."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from evaluators.listing import catalogue
from evaluators.network.network import Network
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.reader import import_onnx
from evaluators.onnx.writer import export_onnx
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.recheck.agreement import disagreement
from evaluators.recheck.checker import recheck
from evaluators.recheck.reader import CheckedModel, read_model
from tests.evaluators.test_recheck_reader import GRAPHS, published
from tests.fixtures.drawn_graphs import drawn
from tests.fixtures.effort import only
from tests.fixtures.odd_graphs import built
from tests.fixtures.onnx_models import classifier_model, node, numbers, save
from tests.fixtures.tiny import FAMILIES, centers
from tests.fixtures.unrolled import TELLING


def both(proto: onnx.ModelProto, folder: Path) -> tuple[CheckedModel, Network]:
    """The two readings of one file."""
    path = save(proto, folder / "model.onnx")
    return read_model(path.read_bytes()), import_onnx(path)


def told(model: CheckedModel, network: Network) -> str:
    return disagreement(model, network, np.zeros((1, *model.input_shape), dtype=np.float32))


@settings(max_examples=GRAPHS, deadline=None)
@given(st.integers(0, 10**9))
def test_random_graphs_are_read_alike(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    try:
        model, network = both(drawn(seed), tmp_path_factory.mktemp("drawn"))
    except UnsupportedModelError:
        return
    assert told(model, network) == ""


@pytest.mark.slow
def test_published_networks_are_read_alike(shared: Path) -> None:
    alike = 0
    for path in published(shared):
        try:
            model = read_model(path.read_bytes())
        except UnsupportedModelError:
            continue
        assert told(model, import_onnx(path)) == "", path
        alike += 1
    assert alike > 30


Edit = Callable[[onnx.ModelProto], object]


def weight(name: str, place: int, factor: float) -> Edit:
    """One weight times a factor."""

    def edit(proto: onnx.ModelProto) -> None:
        (tensor,) = [each for each in proto.graph.initializer if each.name == name]
        array = numpy_helper.to_array(tensor).copy()
        array.reshape(-1)[place] *= factor
        tensor.CopyFrom(numpy_helper.from_array(array, name))

    return edit


def leaking(proto: onnx.ModelProto) -> None:
    proto.graph.node[2].op_type = "LeakyRelu"


def unbent(proto: onnx.ModelProto) -> None:
    proto.graph.node[2].op_type = "Identity"


EDITS: dict[str, tuple[Edit, str]] = {
    "a weight before the ReLU": (weight("w1", 7, 1 + 1e-6), "what layer 0 of its ReLUs reads"),
    "a bias before the ReLU": (weight("b1", 2, 1 + 1e-6), "what layer 0 of its ReLUs reads"),
    "a weight behind the ReLU": (weight("w2", 3, 1 + 1e-6), "its logits"),
    "a slope": (leaking, "layer 0 of its ReLUs is another"),
    "a ReLU that is none": (unbent, "layer 0 of its ReLUs is another"),
}


@pytest.mark.parametrize("never", [False, True], ids=["", "of ReLUs that are never active"])
@pytest.mark.parametrize("name", EDITS)
def test_any_difference_is_told(name: str, tmp_path: Path, *, never: bool) -> None:
    """Whether or not any input would show it."""
    edit, title = EDITS[name]
    proto = classifier_model()
    if never:
        off = numpy_helper.from_array(np.full(5, -1e4, dtype=np.float32), "b1")
        proto.graph.initializer[1].CopyFrom(off)
    model, network = both(proto, tmp_path)
    assert told(model, network) == ""
    edit(proto)
    changed, other = both(proto, tmp_path)
    assert title in told(changed, network)
    assert title in told(model, other)


def test_other_shapes_classes_and_orders_are_told(tmp_path: Path) -> None:
    model, _ = both(classifier_model(), tmp_path)
    _, wider = both(classifier_model((3, 2, 3)), tmp_path)
    _, more = both(classifier_model(classes=4), tmp_path)
    assert "shape (3, 2, 2)" in told(model, wider)
    assert "3 classes" in told(model, more)
    # Two ReLUs in the file's order, or in the other one.
    orders = []
    for first, second in ("ab", "ba"):
        shifts = {"a": numbers(32, seed=1), "b": numbers(32, seed=2)}
        nodes = [node("Flatten", "x", "flat")]
        for branch in (first, second):
            nodes.append(node("Add", f"flat {branch}", f"{branch}_in"))
            nodes.append(node("Relu", f"{branch}_in", f"{branch}_out"))
        nodes.append(node("Add", "a_out b_out", "z"))
        orders.append(both(built(nodes, shifts), tmp_path))
    (one, same), (other, _) = orders
    assert told(one, same) == ""
    assert "what layer 0 of its ReLUs reads differs" in told(other, same)


POOLS: dict[str, dict[str, Any]] = {
    "windows of 4": {"kernel_shape": [2, 2], "strides": [2, 2]},
    "overlapping and padded": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    "partial windows": {"kernel_shape": [2, 3], "strides": [2, 2], "ceil_mode": 1},
    "alone": {"kernel_shape": [1, 1]},
}


@pytest.mark.parametrize("name", POOLS)
def test_max_pools_are_written_as_the_same_layers(name: str, tmp_path: Path) -> None:
    nodes = [node("Relu", "x", "r"), node("MaxPool", "r", "p", **POOLS[name])]
    nodes.append(node("Relu", "p", "z"))
    model, network = both(built(nodes, shape=(2, 5, 4)), tmp_path)
    assert told(model, network) == ""


def pooled() -> onnx.ModelProto:
    """Two layers of ReLUs, and those of a max-pool between them."""
    nodes = [
        node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("MaxPool", "r", "p", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0]),
        node("Flatten", "p", "f"),
        node("Gemm", "f v", "g"),
        node("Relu", "g", "h"),
        node("MatMul", "h u", "z"),
    ]
    constants = {"w": numbers(2, 1, 3, 3), "v": numbers(8, 6, seed=1), "u": numbers(6, 3, seed=2)}
    return built(nodes, constants, shape=(1, 4, 4))


@pytest.mark.parametrize(
    "family", only(["pooled", "residual", "convolutional", "leaky 2-4-3-3"], TELLING)
)
def test_certificates_are_accepted_about_the_file_that_they_were_made_for(
    family: str, tmp_path: Path
) -> None:
    """Written with the importer's network, checked with the reader's."""
    path = tmp_path / "model.onnx"
    if family == "pooled":
        save(pooled(), path)
    else:
        export_onnx(FAMILIES[family](0), path)
    model, network = read_model(path.read_bytes()), import_onnx(path)
    x = centers(network, 0, 3)[2:]
    labels, region = network(x.double()).argmax(1), Ball(Norm.LINF, Fraction(1, 100))
    problem = Problem(network, x, labels, region, seconds=60.0, evidence=True)
    (verdict,) = catalogue()["branch-and-bound"]()(problem)
    assert verdict.status is Status.CERTIFIED
    assert verdict.certificate is not None
    made = replace(verdict.certificate, model_sha256=model.sha256)
    for exact in (False, True):
        found = recheck(model, made, exact=exact)
        assert found.accepted, found.reason
    if len(made.layers) > 1:
        assert not recheck(model, replace(made, layers=made.layers[::-1])).accepted
