"""One ordinary file of what its owner saved otherwise: data beside it, free sizes, functions, If.

What comes out is a file of its own, with its own hash, read and checked as any other: what is
proved is proved of that file. Where float64 weights were rounded, `Settled.notes` says so.

Only for the process of whoever owns the files: a stranger's model is one file. Data beside it are
read from the model's own folder or below it, through no link.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from stat import S_ISREG

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from evaluators.numerics.arrays import Array
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.adapter import InputAdapter, adapt, layout_option
from evaluators.onnx.branches import take_branches
from evaluators.onnx.checks import holds_data, tensor_problems
from evaluators.onnx.file import MAX_BYTES, parse
from evaluators.onnx.functions import inlined
from evaluators.onnx.narrowing import narrow, tensors_of
from evaluators.onnx.pipelines import translated
from evaluators.onnx.rules import ModelRule, complaint, quoted, row_text
from evaluators.onnx.runtime import Session
from evaluators.onnx.wire import fields_of

_INLINED = "the functions that it defines ({}) stand where it calls them"
_TAKEN = "{} of its If have a constant condition: the branch that is taken is in it alone"
_FUNCTIONS = 25
"""The number of a model's functions in ONNX's protocol buffers."""
_KEYS = frozenset(("location", "offset", "length", "checksum"))


@dataclass(frozen=True)
class Settled:
    """A file's bytes, and a sentence about each thing that was changed; none for a file as it was.

    Attributes:
        data: of the file.
        notes: what is not as in the owner's file.
    """

    data: bytes
    notes: tuple[str, ...]


def settle(
    data: bytes, path: Path, pixels: tuple[int, ...], layout: InputAdapter | None = None
) -> Settled:
    """Make one float32 file of images in [0, 1] out of a model as its owner saved it.

    Args:
        data: the model's bytes.
        path: of the model, for messages; its folder holds the data beside it.
        pixels: channels, height and width of an image.
        layout: how the file wants its pixels, if not so.

    Raises:
        UnsupportedModelError: it is no model, or its parts cannot be had.
    """
    model, notes = parse(data, path), list[str]()
    if count := _merge(model, path):
        notes.append(f"the data of {count} tensors, which were in other files, are merged into it")
    if model.functions:
        notes.append(_INLINED.format(len(model.functions)))
        model = inlined(model, path)
    inside = pixels
    if layout is not None:
        last = (*pixels[1:], pixels[0])
        inside = layout.shape or (last if layout.channels_last else pixels)
    if _fix_sizes(model, inside):
        notes.append(f"its input has the shape {['batch', *inside]}")
    if count := take_branches(model):
        notes.append(_TAKEN.format(count))
    if said := translated(model):
        notes.append(said)
    if count := _dequantize(model, path):
        notes.append(f"{count} quantized weights are in it as what they stand for, in float32")
    if rounded := narrow(model):
        notes.append(rounded)
    data = bytes(model.SerializeToString(deterministic=True)) if notes else data
    if layout is None or layout == InputAdapter():
        _require_pixels(model, path, pixels)
        return Settled(data, tuple(notes))
    if prod(inside) != prod(pixels):
        said = f"an image has {prod(pixels)} numbers, not {prod(inside)}"
        raise _refusal(ModelRule.INPUT, path, said)
    data = adapt(data, layout, (pixels[0], pixels[1], pixels[2]))
    return Settled(data, (*notes, "pixels are put in its own layout first"))


def _require_pixels(model: onnx.ModelProto, path: Path, pixels: tuple[int, ...]) -> None:
    """Refuse an input that holds an image in another layout, and name the option for it."""
    names = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        whole = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        bare = prod(whole) == prod(pixels) and whole[:1] != (1,)
        sizes = whole if bare else whole[1:]
        if value.name in names or sizes == pixels or prod(sizes) != prod(pixels):
            continue
        shape = f"{list(whole)} without a batch dimension" if bare else row_text(sizes)
        said = f"its input has shape {shape}, and an image {row_text(pixels)}"
        option = layout_option(sizes, pixels)
        raise _refusal(ModelRule.INPUT, path, f"{said}; add {option} to the command")


def merged(data: bytes, path: Path) -> bytes:
    """Return a model's bytes with the data beside it, its functions and the branches it takes.

    The bytes themselves if there is none of these.

    Raises:
        UnsupportedModelError: it is no model, or the data cannot be had.
    """
    # The key of an entry that says where they are; the name of an attribute of every If.
    if b"location" not in data and b"then_branch" not in data and not _has_functions(data):
        return data
    model = parse(data, path)
    changed = _merge(model, path) + len(model.functions)
    model = inlined(model, path) if model.functions else model
    changed += take_branches(model)
    return bytes(model.SerializeToString(deterministic=True)) if changed else data


def _has_functions(data: bytes) -> bool:
    """Whether a model's bytes have a part that defines a function."""
    try:
        return any(part.number == _FUNCTIONS for part in fields_of(data, 0, len(data)))
    except (ValueError, IndexError):
        return False  # whoever parses them says why


def _refusal(rule: ModelRule, path: Path, said: str) -> UnsupportedModelError:
    return UnsupportedModelError(complaint(rule, f"{path.name}: {said}"))


def _merge(model: onnx.ModelProto, path: Path) -> int:
    """Take what tensors keep in other files into the model; return how many did."""
    count, left = 0, MAX_BYTES
    for tensor in tensors_of(model):
        if tensor.data_location != TensorProto.EXTERNAL and not tensor.external_data:
            continue
        # Runtimes read the one or the other, as `data_location` says, if that.
        if tensor.data_location != TensorProto.EXTERNAL or holds_data(tensor):
            said = f"{quoted(tensor.name)} has its data in this file and in another"
            raise _refusal(ModelRule.EXTERNAL_DATA, path, said)
        given = {entry.key: entry.value for entry in tensor.external_data}
        if set(given) - _KEYS or len(given) != len(tensor.external_data):
            said = f"{quoted(tensor.name)} names its data in a way that is not read"
            raise _refusal(ModelRule.EXTERNAL_DATA, path, said)
        content = _beside(path, given, left)
        left -= len(content)
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = content
        count += 1
    return count


def _beside(path: Path, given: Mapping[str, str], left: int) -> bytes:
    """The bytes that a tensor names, in a plain file below the model's folder."""
    location = given.get("location", "")
    parts = location.replace("\\", "/").split("/")
    if not location or "\0" in location or Path(location).is_absolute() or ".." in parts:
        said = f"its data lie in {quoted(location)}, not in its own folder"
        raise _refusal(ModelRule.EXTERNAL_DATA, path, said)
    folder = path.parent.resolve()
    place = folder / location
    if place.resolve() != place:
        said = f"its data lie behind a link, {quoted(location)}"
        raise _refusal(ModelRule.EXTERNAL_DATA, path, said)
    try:
        start = int(given.get("offset", "0"))
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(descriptor)
            size = int(given["length"]) if "length" in given else state.st_size - start
            whole = S_ISREG(state.st_mode) and 0 <= start <= state.st_size - size
            if not whole or not 0 <= size <= left:
                raise ValueError
            file.seek(start)
            content = file.read(size)
    except OSError as error:
        said = f"its data in {quoted(location)} cannot be read ({error.strerror})"
        raise _refusal(ModelRule.EXTERNAL_DATA, path, said) from error
    except ValueError as error:
        said = f"its data in {quoted(location)} are not where it says, or too large"
        raise _refusal(ModelRule.EXTERNAL_DATA, path, said) from error
    if len(content) != size:
        raise _refusal(ModelRule.EXTERNAL_DATA, path, f"{quoted(location)} ends before its data")
    return content


def _dequantize(model: onnx.ModelProto, path: Path) -> int:
    """Work out what quantized constants stand for; return how many there were.

    A runtime given such weights may round a layer's inputs, too, so that no float32 is left.
    """
    graph, count = model.graph, 0
    known = {tensor.name: tensor for tensor in graph.initializer}
    _require_room(graph, known, path)
    for node in list(graph.node):
        plain = node.op_type == "DequantizeLinear" and node.domain in ("", "ai.onnx")
        if not plain or not {*node.input} - {""} <= known.keys():
            continue
        given = [known[name] for name in node.input if name]
        for tensor in given:
            if problems := list(tensor_problems(tensor, f"tensor {quoted(tensor.name)}")):
                raise UnsupportedModelError(*(complaint(*problem) for problem in problems))
        if not _is_scaled(node, given):
            said = f"the quantized constant {quoted(node.output[0])} has scales of another shape"
            raise _refusal(ModelRule.QUANTIZATION, path, said)
        feeds = {tensor.name: numpy_helper.to_array(tensor) for tensor in given}
        # It reads a schema for every operator that there is: only where a file needs it.
        from onnx.reference import ReferenceEvaluator

        try:
            (value,) = ReferenceEvaluator(node, opsets=_opsets(model)).run(None, feeds)
        except Exception as error:
            said = f"the quantized constant {quoted(node.output[0])} cannot be worked out"
            raise _refusal(ModelRule.QUANTIZATION, path, said) from error
        if np.asarray(value).dtype != np.float32:
            continue
        _require_as_run(model, node, given, np.asarray(value), path)
        made = numpy_helper.from_array(np.asarray(value), node.output[0])
        graph.initializer.append(made)
        graph.node.remove(node)
        known[made.name] = made
        count += 1
    return count


def _require_as_run(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    given: Sequence[TensorProto],
    value: Array,
    path: Path,
) -> None:
    """Refuse a constant of which onnxruntime makes other numbers, to the last bit.

    As of differences of int32 numbers, which wrap around or do not.
    """
    made = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    alone = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    alone.graph.CopyFrom(helper.make_graph([node], "quantized", [], [made], given))
    try:
        same = np.array_equal(Session(alone.SerializeToString())({})[node.output[0]], value)
    except Exception:  # whatever a runtime cannot run is no constant of this file
        same = False
    if not same:
        said = f"the quantized constant {quoted(node.output[0])} is not in onnxruntime what it"
        raise _refusal(ModelRule.QUANTIZATION, path, f"{said} is in ONNX")


def _require_room(graph: onnx.GraphProto, known: Mapping[str, TensorProto], path: Path) -> None:
    """Refuse quantized constants that are too many.

    One of a megabyte may be named thousands of times, and each time it becomes four times as large.
    """
    entries, total = {name: prod(tensor.dims) for name, tensor in known.items()}, 0
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input and node.input[0] in entries:
            total += (size := entries[node.input[0]])
            entries |= dict.fromkeys(node.output, size)
    if 4 * total > MAX_BYTES:
        said = f"its quantized weights have more than {MAX_BYTES // 2**20} MB in float32"
        raise _refusal(ModelRule.QUANTIZATION, path, said)


def _is_scaled(node: onnx.NodeProto, given: Sequence[TensorProto]) -> bool:
    """Whether what comes out is as large as the whole numbers: no scale repeats them."""
    if len(given) < 2 or any(list(one.dims) != list(given[1].dims) for one in given[2:]):
        return False
    sizes, scale = list(given[0].dims), list(given[1].dims)
    axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
    if prod(scale) == 1 and len(scale) <= 1:
        return True
    if len(scale) == 1:
        return -len(sizes) <= axis < len(sizes) and sizes[axis] == scale[0]
    return len(scale) == len(sizes) and all(a <= b for a, b in zip(scale, sizes, strict=True))


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
    return {entry.domain: entry.version for entry in model.opset_import}


def _fix_sizes(model: onnx.ModelProto, inside: tuple[int, ...]) -> bool:
    """Say which sizes an input has that declares them free; whether any were."""
    names = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        kind = value.type.tensor_type
        if value.name not in names and not kind.HasField("shape"):
            kind.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in range(len(inside) + 1))
        dims = kind.shape.dim
        if value.name in names or len(dims) != len(inside) + 1:
            continue
        free = [not d.HasField("dim_value") or d.dim_value in (-1, 0) for d in dims]
        known = zip(dims[1:], inside, free[1:], strict=True)
        if any(free[1:]) and all(is_free or d.dim_value == size for d, size, is_free in known):
            for d, size in zip(dims[1:], inside, strict=True):
                d.dim_value = size
            return True
    return False
