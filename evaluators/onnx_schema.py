"""What ONNX itself says of an operator: how many inputs and outputs, and which attributes."""

from typing import SupportsInt, cast

import onnx
from onnx import defs
from onnx.defs import OpSchema, SchemaError

from evaluators.onnx_rules import quoted

OPSETS = range(7, 26)


def schema_problem(node: onnx.NodeProto, opset: int) -> str | None:
    """How a node breaks its operator's definition, as the end of a sentence; None if it does not.

    A left-out input has an empty name, which only an optional one may have.
    """
    try:
        schema = defs.get_schema(node.op_type, opset, "")
    except SchemaError:
        return f"is not an operator of opset {opset}"
    if not schema.min_input <= len(node.input) <= schema.max_input:
        return _counted("inputs", len(node.input), schema.min_input, schema.max_input)
    if not schema.min_output <= len(node.output) <= schema.max_output:
        return _counted("outputs", len(node.output), schema.min_output, schema.max_output)
    if not node.output[0] or any(_missing(schema, i) for i, n in enumerate(node.input) if not n):
        return "leaves out what it needs"
    for attribute in node.attribute:
        known = schema.attributes.get(attribute.name)
        if known is None:
            return f"has no attribute {quoted(attribute.name)}"
        if int(cast("SupportsInt", known.type)) != attribute.type:
            return f"has the attribute {quoted(attribute.name)} of another type than ONNX says"
    given = {attribute.name for attribute in node.attribute}
    for name, known in schema.attributes.items():
        if known.required and name not in given:
            return f"lacks the attribute {quoted(name)}"
    return None


def _counted(what: str, found: int, least: int, most: int) -> str:
    allowed = str(least) if least == most else f"{least} to {most if most < 2**31 - 1 else 'any'}"
    return f"has {found} {what}, but must have {allowed}"


def _missing(schema: OpSchema, position: int) -> bool:
    """Whether an input must be there."""
    inputs = schema.inputs
    kind = inputs[min(position, len(inputs) - 1)].option
    return bool(kind != OpSchema.FormalParameterOption.Optional)
