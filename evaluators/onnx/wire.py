"""How much a model's file will take to parse, counted on its bytes before anything is parsed.

A protobuf message of two bytes becomes an object of hundreds, and a packed number of one byte one
of eight: a small file can ask for any amount of memory. The walk knows ONNX's messages from their
descriptors, keeps nothing, and stops at the first limit.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import onnx

MAX_FIELDS = 500_000
"""Ten thousand nodes with fifty fields each: inputs, attributes, names, metadata."""
MAX_PACKED = 16_000_000
"""Bytes of packed whole numbers; weights are raw bytes, or floats of a fixed width."""
MAX_DEPTH = 40

_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5
_WHOLE = ("INT32", "INT64", "UINT32", "UINT64", "BOOL", "ENUM")


def too_much(data: bytes) -> str | None:
    """Say in a few words what is too much in a file; None where it may be parsed.

    Raises:
        ValueError: these are not the fields of a message. (A parser might notice that only after
            it made everything before the fault.)
    """
    stack = [(onnx.ModelProto.DESCRIPTOR, 0, len(data), 1)]
    fields = packed = 0
    while stack:
        descriptor, position, end, depth = stack.pop()
        if depth > MAX_DEPTH:
            return f"messages nested more than {MAX_DEPTH} deep"
        messages, numbers = _kinds(descriptor)
        while position < end:
            fields += 1
            if fields > MAX_FIELDS:
                return f"more than {MAX_FIELDS:,} fields"
            try:
                # Most numbers have one byte: a call for each would take most of the time.
                key = data[position]
                position += 1
                if key > 127:
                    key, position = _varint(data, position - 1)
                kind, number = key & 7, key >> 3
                if kind == _VARINT:
                    _, position = _varint(data, position)
                    continue
                if kind in (_EIGHT, _FOUR):
                    position += 8 if kind == _EIGHT else 4
                    continue
                if kind != _LENGTH:
                    raise ValueError("a group, which ONNX does not have")
                size = data[position]
                position += 1
                if size > 127:
                    size, position = _varint(data, position - 1)
            except IndexError:
                raise ValueError("the data end within a field") from None
            if not size:
                continue
            if position + size > end:
                raise ValueError("a field is longer than what it lies in")
            if number in messages:
                stack.append((messages[number], position, position + size, depth + 1))
            elif number in numbers:
                packed += size
                if packed > MAX_PACKED:
                    return f"more than {MAX_PACKED:,} bytes of packed whole numbers"
            position += size
        if position != end:
            raise ValueError("a field is longer than what it lies in")
    return None


@cache
def _kinds(descriptor: Any) -> tuple[dict[int, Any], frozenset[int]]:
    """The fields that hold messages, and those that hold whole numbers, which may be packed."""
    messages = {f.number: f.message_type for f in descriptor.fields if f.message_type is not None}
    numbers = {
        f.number
        for f in descriptor.fields
        if f.cpp_type in [getattr(f, f"CPPTYPE_{name}") for name in _WHOLE]
    }
    return messages, frozenset(numbers)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number of variable width, and the position behind it.

    Raises:
        IndexError: the data end within it, or it is wider than any.
    """
    value = shift = 0
    while (byte := data[position]) > 127:
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if shift > 63:
            raise IndexError("a number without end")
    return value | byte << shift, position + 1


class Field(NamedTuple):
    """A field of a message: its number, where it starts, where its content does, and its end."""

    number: int
    start: int
    inner: int
    stop: int


def fields_of(data: bytes, position: int, end: int) -> Iterator[Field]:
    """Yield the fields of a message that lies between two positions, in their order.

    Raises:
        ValueError: these are not the fields of a message.
        IndexError: the data end within one.
    """
    while position < end:
        start = position
        key, inner = _varint(data, position)
        kind = key & 7
        if kind == _VARINT:
            _, position = _varint(data, inner)
        elif kind in (_EIGHT, _FOUR):
            position = inner + (8 if kind == _EIGHT else 4)
        elif kind == _LENGTH:
            size, inner = _varint(data, inner)
            position = inner + size
        else:
            raise ValueError("a group, which ONNX does not have")
        if position > end:
            raise ValueError("a field is longer than what it lies in")
        yield Field(key >> 3, start, inner, position)


def number_of(data: bytes, field: Field) -> int:
    """Read a field that is a whole number."""
    return _varint(data, field.inner)[0]


def head(number: int, size: int) -> bytes:
    """Write what stands before the content of a field that has a length."""
    written = bytearray()
    for value in (number << 3 | _LENGTH, size):
        while value > 127:
            written.append(value & 127 | 128)
            value >>= 7
        written.append(value)
    return bytes(written)
