"""An ONNX file's bytes, model, tensors and shapes, as far as they go without its operators."""

import os
from collections.abc import Iterator
from math import prod
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper

from evaluators.numerics.arrays import Array
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.operators.builder import MAX_ENTRIES
from evaluators.onnx.rules import Broken, ModelRule, complaint, quoted
from evaluators.onnx.wire import too_much

MAX_BYTES = 500 * 2**20

OnnxFile = str | os.PathLike[str] | bytes | onnx.ModelProto
"""An ONNX file: its path, its bytes, or what was parsed of them."""


def bytes_of(model: OnnxFile) -> tuple[bytes, Path]:
    """Return a file's bytes, and its path, by which messages call it.

    Raises:
        UnsupportedModelError: the file cannot be read, or has too many bytes.
        TypeError: it is none.
    """
    if isinstance(model, str | os.PathLike):
        return read_bytes(path := Path(model)), path
    path = Path("the model")
    if isinstance(model, onnx.ModelProto):
        if model.ByteSize() > MAX_BYTES:
            raise _too_large(model.ByteSize(), path)
        return bytes(model.SerializeToString()), path
    if isinstance(model, bytes):
        if len(model) > MAX_BYTES:
            raise _too_large(len(model), path)
        return model, path
    raise TypeError(
        "A model is read from the path or the bytes of an ONNX file, or from an onnx.ModelProto,"
        f" not from a {type(model).__name__}; PyTorch modules are read by `import_module`."
    )


def _too_large(size: int, path: Path) -> UnsupportedModelError:
    most = f"at most {MAX_BYTES // 2**20} MB are read"
    return _refusal(ModelRule.FILE, path, f"has {size / 2**20:.0f} MB; {most}")


def read_bytes(path: Path) -> bytes:
    """Read the file's bytes, if there are not too many.

    Raises:
        UnsupportedModelError: the file cannot be read.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        reason = error.strerror or str(error)
        raise _refusal(ModelRule.FILE, path, f"cannot be read ({reason})") from error
    if size > MAX_BYTES:
        raise _too_large(size, path)
    return data


def parse(data: bytes, path: Path) -> onnx.ModelProto:
    """Parse the model in a file's bytes; external data are never followed.

    Raises:
        UnsupportedModelError: they are not an ONNX model, and what they are instead.
    """
    kinds = {
        b"\x80": "a Python pickle, not an ONNX model; export the network to ONNX",
        b"PK": "a zip archive (a PyTorch checkpoint?), not an ONNX model; export it to ONNX",
        b"<": "HTML or XML, not an ONNX model (was an error page downloaded?)",
        b"\x89HDF": "an HDF5 file, not an ONNX model; export the network to ONNX",
        b"version https://git-lfs": "a Git LFS pointer, not an ONNX model; fetch the file itself",
    }
    if not data:
        raise _refusal(ModelRule.FILE, path.name, "the file is empty")
    for start, kind in kinds.items():
        if data[:100].lstrip().startswith(start) or data.startswith(start):
            raise _refusal(ModelRule.FILE, path.name, f"this is {kind}")
    try:
        if (problem := too_much(data)) is not None:
            raise _refusal(
                ModelRule.FIELDS, path.name, f"it has {problem}, which no classifier needs"
            )
        model = onnx.load_model_from_string(data)
    except UnsupportedModelError:
        raise
    except Exception as error:
        damaged = "not a readable ONNX model; the file is damaged or truncated"
        raise _refusal(ModelRule.FILE, path.name, damaged) from error
    if not model.graph.node or not model.graph.output:
        damaged = "not an ONNX model with a graph; the file is damaged or of another kind"
        raise _refusal(ModelRule.FILE, path.name, damaged)
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that a model uses."""
    versions = (e.version for e in model.opset_import if e.domain in ("", "ai.onnx"))
    return int(next(versions))


def _refusal(rule: ModelRule, path: Path | str, sentence: str) -> UnsupportedModelError:
    return UnsupportedModelError(complaint(rule, f"{path}: {sentence}"))


def array_of(tensor: onnx.TensorProto, path: Path) -> Array:
    """Read the value of an initializer."""
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:
        title = f"initializer {quoted(tensor.name)}"
        raise _refusal(
            ModelRule.SHAPE, path.name, f"{title} does not hold what its shape says"
        ) from error


def _sizes(value: onnx.ValueInfoProto, path: Path) -> tuple[list[int | None], list[object]]:
    """The input's sizes, None where they are free, and as they are shown in messages."""
    kind = value.type.tensor_type
    dimensions = kind.shape.dim
    # Some exporters write -1 for a free size.
    sizes = [
        d.dim_value if d.HasField("dim_value") and d.dim_value != -1 else None for d in dimensions
    ]
    shown = [
        d.dim_param or "?" if size is None else size
        for d, size in zip(dimensions, sizes, strict=True)
    ]
    if kind.elem_type != TensorProto.FLOAT:
        wide = "float64, " if kind.elem_type == TensorProto.DOUBLE else ""
        said = f"its input {quoted(value.name)} is {wide}not float32"
        raise _refusal(ModelRule.INPUT, path.name, said)
    return sizes, shown


def whole_shape(value: onnx.ValueInfoProto, path: Path) -> tuple[int, ...]:
    """Read any fixed shape; a free first size is a batch of 1."""
    sizes, shown = _sizes(value, path)
    whole = [size or 0 for size in sizes]
    if whole and not sizes[0]:
        whole[0] = 1
    if not whole or min(whole) < 1:
        has = f"its input {quoted(value.name)} has shape {shown}"
        raise _refusal(ModelRule.INPUT, path.name, f"{has}; fixed sizes are needed")
    _require_small(prod(whole), path)
    return tuple(whole)


def row_shape(value: onnx.ValueInfoProto, path: Path) -> tuple[int, ...]:
    """Read the fixed sizes behind a batch dimension."""
    sizes, shown = _sizes(value, path)
    fixed = [size for size in sizes[1:] if size and size > 0]
    if not fixed or sizes[0] not in (None, 0, 1) or len(fixed) < len(sizes) - 1:
        needed = "needed is a batch dimension (free or 1) and then fixed sizes"
        said = f"its input {quoted(value.name)} has shape {shown}; {needed}"
        raise _refusal(ModelRule.INPUT, path.name, said)
    _require_small(prod(fixed), path)
    return tuple(fixed)


def _require_small(entries: int, path: Path) -> None:
    if entries > MAX_ENTRIES:
        most = f"at most {MAX_ENTRIES:.3g} are read"
        raise _refusal(ModelRule.INPUT, path.name, f"its input has {entries:.3g} entries; {most}")


def output_problems(value: onnx.ValueInfoProto, classes: int) -> Iterator[Broken]:
    """Yield how a file's output contradicts one logit per class, if it does."""
    kind = value.type.tensor_type
    name = f"its output {quoted(value.name)}"
    if value.HasField("type") and kind.elem_type != TensorProto.FLOAT:
        yield ModelRule.OUTPUT, f"{name} is not declared as float32"
    elif kind.HasField("shape"):
        sizes = [max(d.dim_value, 0) for d in kind.shape.dim]  # 0 where they are free
        if len(sizes) != 2 or sizes[0] not in (0, 1) or sizes[1] not in (0, classes):
            shown = [d.dim_param or d.dim_value for d in kind.shape.dim][:8]
            said = f"{name} is declared as {shown}, but has shape ['batch', {classes}]"
            yield ModelRule.OUTPUT, said


_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def count_parameters(path: Path) -> int:
    """Count a file's floating-point numbers: weights, biases, statistics, constants.

    Shapes, indices and other whole numbers do not count; a tensor that is used twice counts once.

    Raises:
        UnsupportedModelError: the file is not an ONNX model.
    """
    graph = parse(read_bytes(path), path).graph
    constants = (
        attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.HasField("t")
    )
    tensors = (*graph.initializer, *constants)
    return sum(prod(tensor.dims) for tensor in tensors if tensor.data_type in _FLOATS)
