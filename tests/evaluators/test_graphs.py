"""Random graphs: each is refused by a rule, or means to us what it means to onnxruntime.

A few are tried here, many more by

    CERTBOARD_GRAPHS=20000 pytest -n0 tests/evaluators/test_graphs.py
"""

import os

import onnx
from hypothesis import HealthCheck, event, given, settings

from evaluators.onnx.operators import OPERATORS
from tests.fixtures.graph_runs import require_alike, require_exact
from tests.fixtures.graph_spellings import FREE, constants, graphs
from tests.fixtures.graphs import MAKERS

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
    only_between_constants = {"Constant", "ConstantOfShape", "Equal", "Mod", "Range", "ReduceProd"}
    assert OPERATORS.keys() - only_between_constants == MAKERS.keys()
