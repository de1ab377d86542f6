"""Operators of choice (If) whose condition is known before anything is run, and what they choose.

Exporters write them where a program asks about sizes or options: `squeeze` of a dimension that may
be one, padding where a size is odd, functions that were scripted. With the sizes of one input every
condition of that kind is a constant. A condition that the input decides stays, and is refused.

Only for the process of whoever owns the file, as all of `one_file.py`: what comes out is a file of
its own, which is read and compared with onnxruntime as any other.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, helper, numpy_helper, shape_inference

from evaluators.numerics.arrays import Array
from evaluators.onnx.runtime import Session

MAX_TAKEN = 1_000
"""Choices of one file; each is a function or a squeeze of the program that was exported."""
MAX_KNOWN = 10_000
"""Entries of a constant that a condition is worked out from: sizes, and what is counted of them."""
BATCHES = (1, 2)
"""Sizes of a free batch dimension with which a condition must be the same."""


def take_branches(model: onnx.ModelProto) -> int:
    """Put the branch that is taken in the place of each If with a constant condition.

    Args:
        model: that is changed.

    Returns:
        How many were replaced.
    """
    graph, count, taken = model.graph, 0, set[str]()
    while choices := list(_choices(graph)):
        conditions = _conditions(model, choices)
        known = [choice for choice in choices if choice.input[0] in conditions]
        if not known or count + len(known) > MAX_TAKEN:
            break
        for choice in known:
            name = choice.input[0]
            _replace(graph, choice, f"{choice.output[0]}/{count}/", conditions[name])
            taken.add(name)
            count += 1
    if count:
        _drop_unread(graph, taken)
    return count


def _choices(graph: GraphProto) -> Iterator[NodeProto]:
    return (node for node in graph.node if node.op_type == "If" and len(node.input) == 1)


def _conditions(model: onnx.ModelProto, choices: Iterable[NodeProto]) -> dict[str, bool]:
    """The conditions of these that are constant, and what they are."""
    wanted = {choice.input[0] for choice in choices}
    found = [_worked_out(model, wanted, batch) for batch in _batches(model.graph)]
    same = {
        name: bool(value.reshape(()))
        for name, value in found[0].items()
        if value.dtype == np.bool_
        and value.size == 1
        and all(name in other and np.array_equal(other[name], value) for other in found)
    }
    return _as_run(model, same)


def _as_run(model: onnx.ModelProto, found: Mapping[str, bool]) -> dict[str, bool]:
    """Those of these conditions that onnxruntime finds alike.

    It may sum in another order than was done here, or mean another version of an operator.
    """
    given = {tensor.name for tensor in model.graph.initializer}
    made = [name for name in found if name not in given]
    if not made:
        return dict(found)
    try:
        session = Session(_alone(model, made).SerializeToString())
        runs = [session(_any_inputs(model.graph, batch)) for batch in _batches(model.graph)]
    except Exception:  # what cannot be run here is not known
        return {name: value for name, value in found.items() if name in given}
    return {
        name: value
        for name, value in found.items()
        if name in given or all(run[name].tolist() in (value, [value]) for run in runs)
    }


def _alone(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A model of nothing but these values."""
    needed, nodes = set(names), list[NodeProto]()
    for node in reversed(model.graph.node):
        if not needed.isdisjoint(node.output):
            nodes.append(node)
            needed |= set(_read_by(node))
    graph = helper.make_graph(
        nodes[::-1],
        model.graph.name,
        list(model.graph.input),
        [helper.make_tensor_value_info(name, onnx.TensorProto.BOOL, None) for name in names],
        [tensor for tensor in model.graph.initializer if tensor.name in needed],
    )
    alone = onnx.ModelProto(ir_version=model.ir_version, graph=graph)
    alone.opset_import.extend(model.opset_import)
    return alone


def _any_inputs(graph: GraphProto, batch: int) -> dict[str, Array]:
    """Inputs of the sizes that the graph says, all of one number."""
    given = {tensor.name for tensor in graph.initializer}
    found = dict[str, Array]()
    for value in graph.input:
        if value.name not in given:
            kind = value.type.tensor_type
            sizes = [max(1, dim.dim_value) for dim in kind.shape.dim]
            if _is_free(kind.shape):
                sizes[0] = batch
            dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
            found[value.name] = np.full(sizes, 0.5).astype(dtype)
    return found


def _batches(graph: GraphProto) -> tuple[int, ...]:
    """What to put for a batch dimension: one size if none is free."""
    return BATCHES if any(_is_free(dims) for dims in _input_sizes(graph)) else BATCHES[:1]


def _input_sizes(graph: GraphProto) -> Iterator[onnx.TensorShapeProto]:
    names = {tensor.name for tensor in graph.initializer}
    return (value.type.tensor_type.shape for value in graph.input if value.name not in names)


def _is_free(shape: onnx.TensorShapeProto) -> bool:
    return bool(shape.dim) and shape.dim[0].dim_value < 1


def _worked_out(model: onnx.ModelProto, names: Iterable[str], batch: int) -> dict[str, Array]:
    """Those of these values that follow from constants and sizes, with a batch of this size."""
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    for shape in _input_sizes(sized.graph):
        if _is_free(shape):
            shape.dim[0].dim_value = batch
    for value in sized.graph.output:
        value.ClearField("type")  # what is declared of a free batch is not of this one
    known = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in sized.graph.initializer
        if prod(tensor.dims) <= MAX_KNOWN
    }
    # What is worked out says more of shapes, and these more of what can be.
    while found := _round(sized, known):
        known |= found
        kept = [node for node in sized.graph.node if found.keys().isdisjoint(node.output)]
        del sized.graph.node[:]
        sized.graph.node.extend(kept)
        sized.graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in found.items()
        )
    return {name: known[name] for name in names if name in known}


def _round(model: onnx.ModelProto, known: Mapping[str, Array]) -> dict[str, Array]:
    """What nodes give whose inputs, or their shapes, are known."""
    del model.graph.value_info[:]
    try:
        inferred = shape_inference.infer_shapes(model).graph
    except Exception:  # of a file whose shapes do not fit, which the reader tells
        return {}
    shapes = {
        value.name: [dim.dim_value if dim.HasField("dim_value") else -1 for dim in sizes.dim]
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
        if value.type.tensor_type.HasField("shape")
        for sizes in [value.type.tensor_type.shape]
    }
    now, found = dict(known), dict[str, Array]()
    for node in model.graph.node:
        made = _result(node, now, shapes, model)
        now |= made
        found |= made
    return found


def _ancestors(graph: GraphProto, names: Iterable[str]) -> set[str]:
    """The values that these are worked out from, as far as the sizes of others; and these."""
    needed = set(names)
    for node in reversed(graph.node):
        if needed.intersection(node.output) and node.op_type not in ("Shape", "Size"):
            needed.update(node.input)
    return needed


def _result(
    node: NodeProto,
    known: Mapping[str, Array],
    shapes: Mapping[str, list[int]],
    model: onnx.ModelProto,
) -> dict[str, Array]:
    """What a node gives, if that is known; nothing if not."""
    # It reads a schema for every operator that there is: only where a file needs it.
    from onnx.reference import ReferenceEvaluator

    if node.domain not in ("", "ai.onnx") or any(a.HasField("g") for a in node.attribute):
        return {}
    feeds = {name: known[name] for name in node.input if name in known}
    if node.op_type in ("Shape", "Size"):
        sizes = shapes.get(node.input[0], [-1])
        if min(sizes, default=0) < 0:
            return {}
        feeds = {node.input[0]: np.broadcast_to(np.float32(0), sizes)}
    elif feeds.keys() < {*node.input} - {""}:
        return {}
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    try:
        results = ReferenceEvaluator(node, opsets=opsets).run(None, feeds)
    except Exception:  # what cannot be worked out here is not known
        return {}
    found = zip(node.output, map(np.asarray, results), strict=False)
    return {name: value for name, value in found if name and value.size <= MAX_KNOWN}


def _replace(graph: GraphProto, choice: NodeProto, prefix: str, condition: bool) -> None:
    """Put the nodes of a branch where the choice stood, with names of their own."""
    wanted = "then_branch" if condition else "else_branch"
    (branch,) = (entry.g for entry in choice.attribute if entry.name == wanted)
    made = [tensor.name for tensor in branch.initializer]
    made += [name for node in branch.node for name in node.output if name]
    names = {name: prefix + name for name in made}
    _rename(branch, names)
    nodes = [
        *branch.node,
        *(
            helper.make_node("Identity", [value.name], [name])
            for value, name in zip(branch.output, choice.output, strict=True)
            if name
        ),
    ]
    place = next(place for place, node in enumerate(graph.node) if node.output == choice.output)
    after = list(graph.node)[place + 1 :]
    del graph.node[place:]
    graph.node.extend([*nodes, *after])
    graph.initializer.extend(branch.initializer)


def _rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Call values otherwise, also where inner branches read them."""
    for value in (*graph.initializer, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for inner in (entry.g for entry in node.attribute if entry.HasField("g")):
            own = {name for each in inner.node for name in each.output}
            own.update(tensor.name for tensor in inner.initializer)
            _rename(inner, {name: new for name, new in names.items() if name not in own})


def _drop_unread(graph: GraphProto, conditions: Iterable[str]) -> None:
    """Leave out what only conditions that are taken out were worked out from."""
    made_for = _ancestors(graph, conditions)
    read = {value.name for value in graph.output}
    kept = list[NodeProto]()
    for node in reversed(graph.node):
        if not read.isdisjoint(node.output) or made_for.isdisjoint(node.output):
            kept.append(node)
            read |= set(_read_by(node))
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _read_by(node: NodeProto) -> Iterator[str]:
    yield from node.input
    for inner in (entry.g for entry in node.attribute if entry.HasField("g")):
        yield from (value.name for value in inner.output)
        for each in inner.node:
            yield from _read_by(each)
