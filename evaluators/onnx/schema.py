"""What ONNX itself says of an operator: how many inputs and outputs, and which attributes."""

from typing import SupportsInt, cast

import onnx
from onnx import defs
from onnx.defs import OpSchema, SchemaError

from evaluators.onnx.rules import quoted

OPSETS = range(7, 26)


def schema_problem(
    node: onnx.NodeProto, opset: int, versions: tuple[int, ...] | None = None
) -> str | None:
    """Say how a node breaks its operator's definition, as the end of a sentence, or None.

    A left-out input has an empty name, which only an optional one may have.

    Args:
        node: of ONNX's own domain.
        opset: of its model.
        versions: the versions of the definition that are read; None for all.
    """
    try:
        schema = defs.get_schema(node.op_type, opset, "")
    except SchemaError:
        return f"is not an operator of opset {opset}"
    if versions is not None and schema.since_version not in versions:
        read = ", ".join(map(str, versions))
        return f"is defined as of opset {schema.since_version}; those of {read} are read"
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
        if not {part.name for part, _ in attribute.ListFields()} <= _fields(attribute.type):
            return f"has the attribute {quoted(attribute.name)} with more values than one"
    given = {attribute.name for attribute in node.attribute}
    for name, known in schema.attributes.items():
        if known.required and name not in given:
            return f"lacks the attribute {quoted(name)}"
    return None


_FIELDS: dict[int, str] = {
    onnx.AttributeProto.FLOAT: "f",
    onnx.AttributeProto.INT: "i",
    onnx.AttributeProto.STRING: "s",
    onnx.AttributeProto.TENSOR: "t",
}


def _fields(kind: int) -> set[str]:
    """The fields that an attribute of a type may have; a runtime may read any of the others."""
    plural = onnx.AttributeProto.AttributeType.Name(kind).lower()
    return {"name", "type", "doc_string", _FIELDS.get(kind, plural)}


def _counted(what: str, found: int, least: int, most: int) -> str:
    allowed = str(least) if least == most else f"{least} to {most if most < 2**31 - 1 else 'any'}"
    return f"has {found} {what}, but must have {allowed}"


def _missing(schema: OpSchema, position: int) -> bool:
    """Whether an input must be there."""
    inputs = schema.inputs
    kind = inputs[min(position, len(inputs) - 1)].option
    return bool(kind != OpSchema.FormalParameterOption.Optional)
