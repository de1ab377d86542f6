"""What ONNX itself says of an operator: how many inputs and outputs, and which attributes."""

import onnx
from onnx import checker, defs
from onnx.defs import SchemaError
from onnx.onnx_cpp2py_export.checker import CheckerContext

from evaluators.onnx.rules import quoted

OPSETS = range(7, 26)


def schema_problem(
    node: onnx.NodeProto, opset: int, versions: tuple[int, ...] | None
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
    for attribute in node.attribute:
        if not {part.name for part, _ in attribute.ListFields()} <= _fields(attribute.type):
            return f"has the attribute {quoted(attribute.name)} with more values than one"
    plain = node
    if node.domain:
        # ONNX's own domain has two names, of which its checker knows one.
        plain = onnx.NodeProto()
        plain.CopyFrom(node)
        plain.domain = ""
    context = CheckerContext()
    context.ir_version, context.opset_imports = onnx.IR_VERSION, {"": opset}
    try:
        checker.check_node(plain, context)
    except checker.ValidationError as error:
        return f"is not used as ONNX defines it ({' '.join(str(error).split())[:200]})"
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
