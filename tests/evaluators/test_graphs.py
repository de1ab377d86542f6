"""Random graphs: each is refused by a rule, or means to us what it means to onnxruntime.

A few are tried here, many more by

    CERTBOARD_GRAPHS=20000 pytest -n0 tests/evaluators/test_graphs.py
"""

import os

import numpy as np
import onnx
from hypothesis import HealthCheck, event, given, settings
from onnx import helper

from evaluators.onnx.operators import OPERATORS
from tests.fixtures.graph_runs import require_alike, require_exact
from tests.fixtures.graph_spellings import FREE, constants, graphs
from tests.fixtures.graphs import MAKERS
from tests.fixtures.onnx_models import node

GRAPHS = int(os.environ.get("CERTBOARD_GRAPHS", "100"))
many = settings(
    max_examples=GRAPHS, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


@many
@given(graphs())
def test_a_graph_is_refused_or_means_what_it_means_to_onnxruntime(proto: onnx.ModelProto) -> None:
    event(require_alike(proto))


@many
@given(graphs(FREE))
def test_a_graph_of_any_shapes_is_refused_or_means_what_it_means_to_onnxruntime(
    proto: onnx.ModelProto,
) -> None:
    event(require_alike(proto, free=True))


@many
@given(constants())
def test_a_constant_is_refused_or_is_exactly_onnxruntimes(
    asked: tuple[onnx.ModelProto, str],
) -> None:
    event(require_exact(*asked))


def test_every_operator_is_drawn() -> None:
    only_between_constants = {"Constant", "ConstantOfShape", "EyeLike", "Mod", "NonZero", "Range"}
    assert OPERATORS.keys() - only_between_constants - {"ReduceProd"} == MAKERS.keys()


def test_a_sign_of_what_float32_rounds_to_zero_is_left_out() -> None:
    """Beside a mask a LogSoftmax is -2e-9, of which a run has 0 and another sign."""
    mask = np.full((3, 2), -20.0, np.float32)
    mask[1, 1] = 0.0
    nodes = [
        node("Add", "x mask", "a"),
        node("LogSoftmax", "a", "b"),
        node("Sign", "b", "z"),
        node("Flatten", "z", "y", axis=1),
    ]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 3, 2])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, None])
    held = [onnx.numpy_helper.from_array(mask, "mask")]
    graph = helper.make_graph(nodes, "test", [x], [y], held)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=8)
    assert require_alike(proto, free=True) == "near a jump"
