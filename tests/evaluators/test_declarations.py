"""What the operators say that they read: all that ONNX defines is read as declared, or refused."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, SupportsInt, cast

import numpy as np
import pytest
from onnx import AttributeProto, defs, helper
from onnx.defs import OpSchema, SchemaError

from evaluators.onnx.operators import OPERATORS
from evaluators.onnx.operators.builder import Builder, Operator, OperatorError
from evaluators.onnx.rules import ModelRule
from evaluators.onnx.schema import OPSETS

NOT_READ = {
    ("Constant", "sparse_value"),
    ("Constant", "value_string"),
    ("Constant", "value_strings"),
    ("ConvTranspose", "output_shape"),
    ("Resize", "axes"),
    *product(("GRU", "LSTM", "RNN"), ("activation_alpha", "activation_beta", "clip")),
    ("LogSoftmax", "axis"),
    ("Softmax", "axis"),
}
"""Attributes that ONNX has and nothing here reads; a new operator adds those that it refuses."""

VALUES: dict[int, Any] = {
    AttributeProto.INT: 1,
    AttributeProto.INTS: [1, 1],
    AttributeProto.FLOAT: 0.5,
    AttributeProto.FLOATS: [0.5],
    AttributeProto.STRING: "text",
    AttributeProto.STRINGS: ["text"],
    AttributeProto.TENSOR: np.ones(1, np.float32),
}


def schemas(kind: str) -> Iterator[tuple[int, OpSchema]]:
    for opset in OPSETS:
        try:
            yield opset, defs.get_schema(kind, opset, "")
        except SchemaError:
            continue


def refusal(operator: Operator, **constants: np.ndarray) -> OperatorError:
    """Why a node with these inputs, all constants if there are any, is refused."""
    builder = Builder.begin("x", (3,))
    builder.constants.update(constants)
    builder.needed = set(operator.outputs)
    with pytest.raises(OperatorError) as caught:
        OPERATORS[operator.kind].read(operator, builder)
    return caught.value


def bare(kind: str, opset: int) -> Operator:
    """A node that carries nothing."""
    return Operator("n", kind, (), ("z",), {}, opset)


def test_every_version_of_a_definition_was_read() -> None:
    """A definition of another version may mean something else by the same attributes."""
    for kind in OPERATORS:
        versions = OPERATORS[kind].versions
        found = {schema.since_version for _, schema in schemas(kind)}
        assert found
        assert versions is None or set(versions) == found
        if versions is None:
            assert not any(schema.attributes for _, schema in schemas(kind))


def test_what_is_declared_is_what_onnx_has_with_its_defaults() -> None:
    for kind in OPERATORS:
        for opset, schema in schemas(kind):
            for name, attribute in OPERATORS[kind].known(opset).items():
                known = schema.attributes[name]
                theirs = known.default_value
                default = helper.get_attribute_value(theirs) if theirs.type else None
                default = default.decode() if isinstance(default, bytes) else default
                assert attribute.default == default, (opset, name)
            for position in range(len(OPERATORS[kind].inputs)):
                if OPERATORS[kind].parameter(position, opset) is not None:
                    assert position < len(schema.inputs), (opset, position)


def test_an_attribute_of_onnx_is_declared_or_refused() -> None:
    for kind in OPERATORS:
        declared = OPERATORS[kind]
        for opset, schema in schemas(kind):
            for name, known in schema.attributes.items():
                if name in declared.known(opset):
                    continue
                assert (kind, name) in NOT_READ
                given = {name: VALUES.get(int(cast("SupportsInt", known.type)), object())}
                error = refusal(replace(bare(kind, opset), attributes=given))
                assert error.rule is ModelRule.ATTRIBUTES
                assert name in str(error)


def test_an_input_of_onnx_is_declared() -> None:
    for kind in OPERATORS:
        for opset, schema in schemas(kind):
            for position in range(len(schema.inputs)):
                assert OPERATORS[kind].parameter(position, opset) is not None, (opset, position)


def test_what_is_not_declared_is_refused_wherever_the_node_stands() -> None:
    """Of a node that is translated, and of one between constants."""
    for kind, folded in product(OPERATORS, (False, True)):
        declared, name = OPERATORS[kind], "c" if folded else "x"
        constants = {"c": np.ones(2, np.float32)} if folded else {}
        opset = max(opset for opset, _ in schemas(kind))
        node = replace(bare(kind, opset), inputs=(name,) if declared.inputs else ())
        error = refusal(replace(node, attributes={"hidden_mode": 0}), **constants)
        assert error.rule is ModelRule.ATTRIBUTES
        assert "hidden_mode" in str(error)
        if not declared.inputs or not declared.inputs[-1].many:
            behind = ("",) * len(declared.inputs)
            error = refusal(replace(node, inputs=(*behind, name)), **constants)
            assert error.rule is ModelRule.ATTRIBUTES
            assert f"input {len(declared.inputs)}" in str(error)


def test_a_second_output_is_refused() -> None:
    for kind in (kind for kind in OPERATORS if OPERATORS[kind].outputs == 1):
        opset = max(opset for opset, _ in schemas(kind))
        said = str(refusal(replace(bare(kind, opset), outputs=("z", "more"))))
        assert "2 outputs" in said or OPERATORS[kind].more_outputs[0] in said


def cases() -> Iterator[tuple[str, int, int]]:
    for kind, declared in OPERATORS.items():
        for position, parameter in enumerate(declared.inputs):
            if not parameter.data:
                opset = max(parameter.since, min(opset for opset, _ in schemas(kind)))
                yield kind, position, opset


def test_a_constant_input_has_its_types_and_ranks_and_is_a_constant() -> None:
    for kind, position, opset in cases():
        parameter = OPERATORS[kind].inputs[position]
        node = replace(bare(kind, opset), inputs=(*("",) * position, "c"))
        others = {"float32", "float64", "int32", "int64", "uint8", "bool"} - set(parameter.types)
        for other in sorted(others):
            error = refusal(node, c=np.ones((1,) * max(parameter.ranks or (1,)), other))
            assert error.rule is ModelRule.TYPES
            assert parameter.name in str(error)
        if parameter.ranks is not None:
            shape = (1,) * (max(parameter.ranks) + 1)
            assert "dimensions are needed" in str(
                refusal(node, c=np.ones(shape, parameter.types[0]))
            )
        assert "is not a constant" in str(refusal(replace(node, inputs=(*("",) * position, "x"))))


DISALLOWED: dict[tuple[str, str], Any] = {
    ("AveragePool", "ceil_mode"): 2,
    ("AveragePool", "dilations"): [1, 0],
    ("AveragePool", "count_include_pad"): 2,
    ("BatchNormalization", "epsilon"): -1.0,
    ("BatchNormalization", "training_mode"): 1,
    ("Cast", "to"): 10,
    ("Cast", "saturate"): 0,
    ("Cast", "round_mode"): "down",
    ("Conv", "auto_pad"): "same_upper",
    ("Conv", "group"): 0,
    ("Conv", "strides"): [1, 0],
    ("Conv", "pads"): [0, 0, 0, -1],
    ("ConvTranspose", "auto_pad"): "SAME_UPPER",
    ("ConvTranspose", "output_padding"): [-1, 0],
    ("Gemm", "transA"): 1,
    ("Gemm", "transB"): 2,
    ("MaxPool", "dilations"): [0, 2],
    ("MaxPool", "kernel_shape"): [0, 1],
    ("Pad", "mode"): "mirror",
    ("Resize", "mode"): "area",
    ("DepthToSpace", "blocksize"): 0,
    ("ReduceSum", "keepdims"): -1,
    ("ReduceMean", "noop_with_empty_axes"): 2,
    ("Reshape", "allowzero"): 3,
    ("Split", "num_outputs"): 0,
    ("TopK", "sorted"): 0,
}


@pytest.mark.parametrize(("kind", "name"), DISALLOWED)
def test_a_value_that_is_not_read_is_told_with_those_that_are(kind: str, name: str) -> None:
    declared, value = OPERATORS[kind], DISALLOWED[kind, name]
    opset = max(opset for opset, _ in schemas(kind))
    error = refusal(replace(bare(kind, opset), attributes={name: value}))
    words = declared.attributes[name].allowed.words
    assert f"{name!r} is {value!r}; only {words} can be read" in str(error)
