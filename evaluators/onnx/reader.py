"""ONNX → the canonical graph. Untrusted input: nothing in the file is executed but the operators
of `evaluators.onnx.operators`, and every reason for a refusal is listed at once.

Trusted: the onnx and protobuf parsers; onnxruntime, against which the result is compared.
"""

import math
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from evaluators.network.affine import AffineMap, Reshape
from evaluators.network.deployment import MAX_WEIGHT
from evaluators.network.network import Network
from evaluators.network.regrouping import with_neighbours
from evaluators.numerics.arrays import Shape
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx import batches
from evaluators.onnx.adapter import layout_option
from evaluators.onnx.checks import (
    contradictions,
    made_twice,
    name_of,
    size_problems,
    static_problems,
    title_of,
    usage_problems,
)
from evaluators.onnx.compare import Imported, compare
from evaluators.onnx.file import (
    OnnxFile,
    array_of,
    bytes_of,
    opset_of,
    output_problems,
    parse,
    row_shape,
    whole_shape,
)
from evaluators.onnx.heads import without_heads
from evaluators.onnx.operators import OPERATORS, chosen, unbatched
from evaluators.onnx.operators.builder import Builder, Operator, OperatorError, Traced, require_size
from evaluators.onnx.operators.conditions import READERS
from evaluators.onnx.operators.declaration import Declaration, Translated
from evaluators.onnx.operators.masks import KEEP_MASKS, is_weight, require_no_mask
from evaluators.onnx.rules import Broken, ModelRule, complaint, first, printable, quoted, row_text
from evaluators.onnx.runtime import Runtime, cost

MAX_FOLDED = 2**22
"""Entries of all constants that are worked out, beyond twice those in the file."""
MAX_FOLDS = 5_000
"""Constants that are worked out."""
MAX_COST = 2**34
"""Products and other steps of one run of the network; ResNet-152 on ImageNet needs two thirds."""


def import_onnx(
    model: OnnxFile,
    samples: NDArray[np.float32] | None = None,
    *,
    shape: Shape | None = None,
    classes: int | None = None,
    salt: str | None = None,
) -> Network:
    """Read a classifier.

    Args:
        model: the path or the bytes of an ONNX file, or what `onnx.load` makes of it, with one
            input `[batch, *shape]` and one output `[batch, classes]`.
        samples: real inputs `[n, *shape]` on which to compare with onnxruntime, besides random
            ones in [0, 1].
        shape, classes: of the inputs and the logits, if only these will do.
        salt: of the random numbers on which to compare; drawn here and now if None.

    Raises:
        UnsupportedModelError: with every problem found, one sentence each.
        TypeError: the model is something else.
    """
    data, path = bytes_of(model)
    return import_bytes(data, path, samples, Contract(shape, classes), salt)


@dataclass(frozen=True)
class Contract:
    """What a network must be.

    Attributes:
        shape, classes: of the inputs and the logits, if only these will do.
        free: whether it was made to be verified, not deployed: its input may have any fixed shape,
            with or without a batch dimension, its output is one row of numbers, whatever their
            shape in the file, and samples are `[n, entries]` in row-major order.
    """

    shape: Shape | None = None
    classes: int | None = None
    free: bool = False


class _Ends(NamedTuple):
    """The least and the largest entry of a tensor of the node of this name; both NaN if any is."""

    name: str
    least: float
    largest: float


def import_bytes(
    data: bytes,
    path: Path,
    samples: NDArray[np.float32] | None,
    wanted: Contract,
    salt: str | None = None,
) -> Network:
    """Read a network from the bytes of a file, compare it with onnxruntime, or refuse it.

    The path is for messages; `samples` and `salt` are as of `import_onnx`.

    Raises:
        UnsupportedModelError: with every problem found, one sentence each.
    """
    model, notes, given = parse(data, path), list[str](), data
    # What is too much is not looked at one by one, and names that are no text cannot be shown.
    if problems := list(size_problems(model)):
        raise _refusal(path, problems)
    if not made_twice(model.graph):
        whole = model
        model, notes = without_heads(whole, free=wanted.free)
        data = data if model is whole else model.SerializeToString()
    if problems := static_problems(model) or usage_problems(model, opset_of(model)):
        raise _refusal(path, problems)
    builder, network, weights = _translate(model, path, wanted)
    runtime = network.runtime = Runtime(data)
    imported = Imported(network, runtime, builder, model, path, given, wanted.free)
    compare(imported, samples, salt := salt or secrets.token_hex(16))
    if not wanted.free and not _is_alone(model.graph):
        random = np.random.default_rng(list(salt.encode()))
        both = random.random((2, *network.input_shape), dtype=np.float32)
        notes += filter(None, [batches.note_of(builder, runtime, both)])
    network.notes = tuple(notes)
    if problems := list(_large_problems(weights)):
        raise _refusal(path, problems)
    return network


def _is_alone(graph: onnx.GraphProto) -> bool:
    """Whether the file says that it is run on one input at a time."""
    given = {one.name for one in graph.initializer}
    shapes = [one.type.tensor_type.shape.dim for one in graph.input if one.name not in given]
    return all(shape and shape[0].dim_value == 1 for shape in shapes)


def _refusal(path: Path, problems: list[Broken]) -> UnsupportedModelError:
    sentences = first([complaint(*problem) for problem in problems])
    return UnsupportedModelError(*(f"{path.name}: {sentence}" for sentence in sentences))


def _translate(
    model: onnx.ModelProto, path: Path, wanted: Contract
) -> tuple[Builder, Network, list[_Ends]]:
    builder = _begin(model.graph, path, wanted)
    problems = _input_problems(builder.nodes[0].shape, wanted)
    opset = opset_of(model)
    for number, node in enumerate(model.graph.node):
        first_made, builder.number = len(builder.nodes), number
        goes_on = _step(builder, node, opset, problems, free=wanted.free)
        _trace(builder, number, node, first_made)
        if not goes_on:
            break
    problems += contradictions(model.graph, _known(builder))
    value = model.graph.output[0]
    # A classifier is never the identity; a file to be verified may be.
    known = value.name in builder.values and (
        wanted.free or ((p := builder.values[value.name]) > 0 and p in builder.dependent())
    )
    if value.name in builder.deferred:
        problems.append((ModelRule.OUTPUT, LABEL))
    if not problems and not known:
        said = f"its output {quoted(value.name)} does not depend on its input"
        problems.append((ModelRule.OUTPUT, said))
    if value.name not in builder.values:
        raise _refusal(path, problems)
    position = builder.values[value.name]
    if position in builder.truths:
        problems.append((ModelRule.OUTPUT, "its output is of truths, not of numbers"))
    if position in builder.hidden:
        problems.append((ModelRule.OUTPUT, "a mask hides entries of its output"))
    shape = builder.nodes[position].shape
    if wanted.free and len(shape) != 1:
        flat = Reshape(shape, (prod(shape),), None)
        position = builder.affine(flat, position, f"{printable(value.name)} flattened")
    elif not wanted.free:
        problems += _output_problems(value, shape, wanted)
    if not problems:
        network = Network(with_neighbours(builder.nodes[: position + 1]))
        network.operators = _operators(builder, model.graph)
        weights = list(_weight_ends(network))
        problems = [*_finite_problems(weights), *_cost_problems(network)]
    if problems:
        raise _refusal(path, problems)
    return builder, network, weights


def _operators(builder: Builder, graph: onnx.GraphProto) -> dict[str, frozenset[int]]:
    """List the nodes that compute the results of each kind of operator; none of constants."""
    found: dict[str, set[int]] = {node.op_type: set() for node in graph.node}
    for one in builder.trace:
        found[graph.node[one.node].op_type].update(one.outputs.values())
    return {kind: frozenset(positions) for kind, positions in found.items()}


LABEL = (
    "its output is the label. Export the network without it: the logits that it reads are needed"
)


def _known(builder: Builder) -> dict[str, tuple[int, Shape]]:
    """ONNX's number of each value's type, and its shape at batch size 1.

    The network's are float32, or truths. Files declare constants, too.
    """
    known = {
        name: (int(helper.np_dtype_to_tensor_dtype(array.dtype)), array.shape)
        for name, array in builder.constants.items()
    }
    for name, deferred in builder.deferred.items():
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(deferred.type))
        known[name] = (int(kind), deferred.shape)
    for name, position in builder.values.items():
        kind = onnx.TensorProto.BOOL if position in builder.truths else onnx.TensorProto.FLOAT
        known[name] = (int(kind), builder.whole_shape(name))
    return known


def _begin(graph: onnx.GraphProto, path: Path, wanted: Contract) -> Builder:
    """Begin with the input and the constants."""
    constants = {tensor.name: array_of(tensor, path) for tensor in graph.initializer}
    source = next(value for value in graph.input if value.name not in constants)
    shape = whole_shape(source, path) if wanted.free else (1, *row_shape(source, path))
    batched = len(shape) > 1 and shape[0] == 1
    builder = Builder.begin(source.name, shape[1:] if batched else shape)
    builder.bare = set() if batched else {0}
    builder.alone = wanted.free or _is_alone(graph)
    builder.constants.update(constants)
    builder.needed = {name for node in graph.node for name in node.input}
    builder.needed |= {value.name for value in graph.output}
    builder.weights = sum(array.size for array in constants.values())
    return builder


def _input_problems(shape: Shape, wanted: Contract) -> list[Broken]:
    if wanted.shape is None or shape == tuple(wanted.shape):
        return []
    needed = f"{row_text(wanted.shape)} is needed"
    said = f"its input has shape {row_text(shape)}; {needed}"
    if prod(shape) == prod(wanted.shape):
        said += f" (`certboard export` with {layout_option(shape, wanted.shape)} changes that)"
    return [(ModelRule.INPUT, said)]


def _output_problems(value: onnx.ValueInfoProto, shape: Shape, wanted: Contract) -> list[Broken]:
    if len(shape) != 1:
        said = f"its output has shape {row_text(shape)}; one logit per class is needed"
        return [(ModelRule.OUTPUT, said)]
    problems = []
    if wanted.classes not in (None, shape[0]):
        said = f"it has {shape[0]} classes; {wanted.classes} are needed"
        problems.append((ModelRule.OUTPUT, said))
    return [*problems, *output_problems(value, shape[0])]


def _trace(builder: Builder, number: int, node: onnx.NodeProto, first_made: int) -> None:
    inputs, outputs = (
        {name: builder.values[name] for name in names if name in builder.values}
        for names in (node.input, node.output)
    )
    deferred = [builder.deferred[name] for name in node.input if name in builder.deferred]
    for name in {name for one in deferred for name in one.given}:
        inputs[name] = builder.values[name]
    before = {place for one in deferred for place in one.operators}
    if outputs:
        last = len(builder.nodes)
        # What was lifted is given to the operator, not made by it.
        first_made += sum(builder.values[name] >= first_made for name in builder.lifted)
        traced = Traced(number, first_made, last, inputs, outputs, tuple(sorted(before)))
        builder.trace.append(traced)
    builder.folded_names |= {name for name in node.output if name in builder.constants}


def _step(
    builder: Builder, node: onnx.NodeProto, opset: int, problems: list[Broken], *, free: bool
) -> bool:
    """Translate or fold one node; what depends on a refused node is passed over.

    Returns whether to go on: what is too large is not made larger to find further problems.
    """
    names = [name for name in node.input if name]
    made_before = (builder.values, builder.constants, builder.deferred)
    missing = [n for n in names if not any(n in known for known in made_before)]
    title = title_of(node)
    if missing:
        if not problems:
            said = f"{title} reads {quoted(missing[0])}, which nothing computes before it"
            problems.append((ModelRule.ORDER, said))
        return True
    try:
        declared = OPERATORS[node.op_type]
        operator = _operator(node, opset)
        require_no_mask(builder, operator)
        if all(name in builder.constants for name in names) and _needs_value(
            builder, operator, declared
        ):
            builder.lift(names[0])
        operator = declared.read(operator, builder)
        truths = [n for n in names if builder.values.get(n) in builder.truths]
        if truths and operator.kind not in READERS:
            raise OperatorError("it reads what a comparison makes")
        if all(name in builder.constants for name in names):
            _fold(builder, operator, declared)
        elif chosen.are_read(builder, operator):
            _name_made(builder, operator, chosen.read(builder, operator))
        elif declared.translate is None:
            raise OperatorError("it is only supported between constants")
        else:
            moves = free or _moves(operator)
            if unbatched.is_needed(builder, operator, moves=moves):
                made = unbatched.translate(builder, operator, declared)
            else:
                made = declared.translate(builder, operator)
            _name_made(builder, operator, made)
    except OperatorError as error:
        problems.append((error.rule, f"{title}: {error}"))
        return error.rule != ModelRule.SIZE
    except Exception as error:  # a file from a stranger may break any rule of its operators
        reason = " ".join(str(error).split())[:120]
        said = f"{title}: its shapes or attributes do not fit ({reason})"
        problems.append((ModelRule.USE, said))
    return True


def _name_made(builder: Builder, operator: Operator, made: Translated) -> None:
    """Remember what computes an operator's outputs."""
    if isinstance(made, np.ndarray):
        builder.constants[operator.outputs[0]] = made
        return
    positions = [made] if isinstance(made, int) else made
    made_values = zip(operator.outputs, positions, strict=False)
    builder.values.update({name: at for name, at in made_values if name})


def _needs_value(builder: Builder, operator: Operator, declared: Declaration) -> bool:
    """Whether an operator of constants is not worked out, but could be computed by nodes."""
    if declared.translate is None or not operator.inputs or not operator.inputs[0]:
        return False
    array = builder.constants[operator.inputs[0]]
    foldable = declared.fold is not None and array.dtype.name in declared.folds
    return declared.inputs[0].data and array.dtype == np.float32 and not foldable


def _moves(operator: Operator) -> bool:
    """Whether the batch dimension may be elsewhere, or nowhere, in the result."""
    order = operator.attributes.get("perm") if operator.kind == "Transpose" else None
    return order is None or order[0] != 0


def _operator(node: onnx.NodeProto, opset: int) -> Operator:
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return Operator(
        printable(name_of(node))[:100],
        node.op_type,
        tuple(node.input),
        tuple(node.output),
        attributes,
        opset,
    )


def _fold(builder: Builder, operator: Operator, declared: Declaration) -> None:
    """Work out a node whose inputs are all constants."""
    if declared.fold is None:
        raise OperatorError("it is not supported between constants")
    builder.folds += 1
    require_size(builder.folds, MAX_FOLDS, "constants")
    if declared.size is not None:
        size = declared.size(builder, operator)
    else:
        size = sum(builder.constants[name].size for name in operator.inputs if name)
    builder.folded += size
    require_size(builder.folded, MAX_FOLDED + 2 * builder.weights)
    results = declared.fold(builder, operator)
    results = results if isinstance(results, list) else [results]
    for name, result in zip(operator.outputs, results, strict=False):
        if result.dtype.kind == "f" and not is_weight(result, masks=operator.kind in KEEP_MASKS):
            raise OperatorError("its result is not finite", ModelRule.FINITE)
        builder.constants[name] = result


def _weight_ends(network: Network) -> Iterator[_Ends]:
    """Of all tensors of affine maps."""
    for node in network.nodes:
        operation: object = node.operation
        while isinstance(operation, AffineMap):
            for value in vars(operation).values():
                if isinstance(value, torch.Tensor):
                    yield _Ends(node.name, *map(float, torch.aminmax(value)))
            operation = getattr(operation, "inner", None)


def _finite_problems(weights: Iterable[_Ends]) -> Iterator[Broken]:
    for name, *ends in weights:
        if not all(map(math.isfinite, ends)):
            yield ModelRule.FINITE, f"node {quoted(name)} has weights that are not finite"


def _large_problems(weights: Iterable[_Ends]) -> Iterator[Broken]:
    """What leaves no room for a runtime that multiplies before it adds; of finite weights."""
    for name, *ends in weights:
        if max(map(abs, ends)) > MAX_WEIGHT:
            yield ModelRule.FINITE, f"node {quoted(name)} has weights larger than {MAX_WEIGHT:.2g}"


def _cost_problems(network: Network) -> Iterator[Broken]:
    needed = cost(network)
    if needed > MAX_COST:
        most = f"at most {MAX_COST:.2g} are read"
        yield ModelRule.SIZE, f"one run of it takes {needed:.2g} steps; {most}"
