"""A file's own functions are put where it calls them as onnxruntime means them, or refused."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import AttributeProto, FunctionProto, NodeProto, TensorProto, helper

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.functions import inlined
from evaluators.onnx.one_file import merged
from tests.fixtures.onnx_models import node

NAME = Path("m.onnx")


def file(call: NodeProto, *functions: FunctionProto, opset: int = 17) -> onnx.ModelProto:
    """A graph of one call."""
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 2]), ("y", None))
    )
    graph = helper.make_graph([call], "g", [x], [y])
    return helper.make_model(
        graph, functions=functions, ir_version=10,
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("own", 1)],
    )  # fmt: skip


def function(
    name: str, nodes: Sequence[NodeProto], domain: str = "own", opset: int = 17, **defaults: float
) -> FunctionProto:
    """From "a" to "b"."""
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    given = [helper.make_attribute(name, value) for name, value in defaults.items()]
    return helper.make_function(domain, name, ["a"], ["b"], nodes, imports, [], given)


def leaky(reference: str = "slope") -> NodeProto:
    made = node("LeakyRelu", "a", "b")
    kind = AttributeProto.FLOAT
    made.attribute.append(AttributeProto(name="alpha", ref_attr_name=reference, type=kind))
    return made


def run(model: onnx.ModelProto) -> np.ndarray:
    x = np.array([[0.5, -2]], np.float32)
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    return np.asarray(found)


@pytest.mark.parametrize("given", [{}, {"slope": 0.25}], ids=["its default", "given"])
def test_a_call_without_an_attribute_has_its_default(given: dict[str, float]) -> None:
    call = helper.make_node("bent", ["x"], ["y"], domain="own")
    call.attribute.extend(helper.make_attribute(*one) for one in given.items())
    model = file(call, function("bent", [leaky()], slope=0.5))
    made = onnx.load_from_string(merged(model.SerializeToString(), NAME))
    assert not made.functions
    np.testing.assert_array_equal(run(made), run(model))
    assert run(made)[0, 1] == -2 * given.get("slope", 0.5)


OTHERS = {
    "of the domain": file(
        node("Relu", "x", "y"), function("Relu", [node("Neg", "a", "b")], domain="")
    ),
    "in another opset": file(
        helper.make_node("f", ["x"], ["y"], domain="own"),
        function("f", [node("Softmax", "a", "b")], opset=12),
    ),
    "is another function's": file(
        helper.make_node("outer", ["x"], ["y"], domain="own"),
        function("outer", [helper.make_node("bent", ["a"], ["b"], domain="own")]),
        function("bent", [leaky()], slope=0.5),
    ),
}
OTHERS["is another function's"].functions[0].node[0].attribute.append(
    AttributeProto(name="slope", ref_attr_name="mine", type=AttributeProto.FLOAT)
)


@pytest.mark.parametrize("said", OTHERS)
def test_a_function_that_runtimes_may_mean_otherwise_is_refused(said: str) -> None:
    with pytest.raises(UnsupportedModelError, match=said):
        inlined(OTHERS[said], NAME)
