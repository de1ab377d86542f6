"""Functions that a file defines, put where it calls them; as onnxruntime means them, or not at all.

onnx's own inliner knows nothing of the defaults of a function's attributes, and puts a function in
the place of an operator of the same name, which a runtime has and computes itself.

Only for the process of whoever owns the file, as all of `one_file.py`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx import FunctionProto, NodeProto
from onnx.inliner import inline_local_functions

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.rules import ModelRule, complaint, quoted

STANDARD = ("", "ai.onnx")
"""Domains of ONNX's own operators."""
RUNTIME = ("ai.onnx", "com.microsoft", "com.ms", "org.pytorch.aten")
"""How domains begin that runtimes have operators of."""

Key = tuple[str, str, str]


def inlined(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """A model without functions that computes the same.

    Raises:
        UnsupportedModelError: a runtime may mean something else by one of its functions.
    """
    functions = {_key(one): one for one in model.functions}
    if len(functions) < len(model.functions):
        raise _refusal(path, "it defines a function twice")
    version = _version(model.opset_import)
    for function in model.functions:
        title = f"the function {quoted(function.name)}"
        if function.domain in STANDARD or function.domain.startswith(RUNTIME):
            raise _refusal(path, f"{title} is of the domain {quoted(function.domain)}")
        if _version(function.opset_import) not in (None, version):
            raise _refusal(path, f"{title} is written in another opset than the file")
    made = onnx.ModelProto()
    made.CopyFrom(model)
    called = [made.graph.node, *(function.node for function in made.functions)]
    for node in (node for nodes in called for node in _every(nodes)):
        if (function := functions.get((node.domain, node.op_type, node.overload))) is not None:
            _give_defaults(node, function, path)
    return inline_local_functions(made)


def _key(function: FunctionProto) -> Key:
    return function.domain, function.name, function.overload


def _version(imports: Iterable[onnx.OperatorSetIdProto]) -> int | None:
    return next((one.version for one in imports if one.domain in STANDARD), None)


def _every(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Nodes, and those of the graphs that they choose among."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _every(attribute.g.node)


def _give_defaults(node: NodeProto, function: FunctionProto, path: Path) -> None:
    """Write the attributes that a call leaves out."""
    given = {attribute.name: attribute for attribute in node.attribute}
    for default in function.attribute_proto:
        own = given.get(default.name)
        if own is None:
            node.attribute.append(default)
        elif own.ref_attr_name:
            said = f"an attribute of the function {quoted(function.name)} is another function's"
            raise _refusal(path, said)


def _refusal(path: Path, said: str) -> UnsupportedModelError:
    return UnsupportedModelError(complaint(ModelRule.FUNCTIONS, f"{path.name}: {said}"))
