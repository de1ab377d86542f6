"""The headers of a Parquet file's pages, read without unpacking a page; and its columns' codecs.

A file's footer says how much its columns hold, but its author wrote that, too: a library that
reads the file follows the headers of the pages. A page of some bytes may unpack to two gigabytes.
So the headers are read first, by these few lines: Thrift's compact protocol, as far as a page's
header and the footer use it (parquet-format, `PageHeader` and `FileMetaData`; texts are skipped).
"""

from collections.abc import Iterator
from dataclasses import dataclass

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _STRUCT = (*range(1, 10), 12)
_DEEPEST, _MOST_FIELDS = 4, 32

Fields = dict[int, object]


@dataclass(frozen=True)
class ParquetPage:
    """A page: whether it is a dictionary, its unpacked size in bytes, and how many values."""

    dictionary: bool
    unpacked: int
    values: int


def pages(data: bytes, start: int, stop: int) -> Iterator[ParquetPage]:
    """Yield the pages between two positions of a file, which they must fill without a gap.

    Raises:
        ValueError: they do not, or a header is none.
    """
    place = start
    while place < stop:
        reader = _Reader(data, place, stop)
        header = reader.struct(0)
        unpacked, packed = _number(header.get(2)), _number(header.get(3))
        place = reader.place + packed
        yield ParquetPage(7 in header, unpacked, _values(header))
    if place != stop:
        raise ValueError("its pages do not fill their place")


def codecs(data: bytes, start: int, stop: int) -> list[object]:
    """List the numbers of the codecs of all columns that a footer between two positions names.

    pyarrow must not be asked: it ends the whole process where it does not know a codec.

    Raises:
        ValueError: this is no footer.
    """
    footer = _Reader(data, start, stop).struct(0)
    columns = [column for group in _structs(footer.get(4)) for column in _structs(group.get(1))]
    return [fact.get(4) for column in columns for fact in _structs([column.get(3)])]


def _structs(found: object) -> list[Fields]:
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("a footer lacks a structure")
    return found


def _values(header: Fields) -> int:
    # Data, dictionary, data of version 2; any other page holds nothing that we write.
    found = [header[key] for key in (5, 7, 8) if key in header]
    if len(found) != 1 or not isinstance(found[0], dict):
        raise ValueError("a page is of no known kind")
    return _number(found[0].get(1))


def _number(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("a page's header lacks a number")
    return value


class _Reader:
    """Reads one header or footer from a place on, before `stop`; `place` is then behind it."""

    def __init__(self, data: bytes, place: int, stop: int) -> None:
        self.data, self.place, self.stop = data, place, stop

    def struct(self, depth: int) -> Fields:
        """Read the fields of a structure, by their numbers."""
        if depth > _DEEPEST:
            raise ValueError("a header is nested too deep")
        fields: Fields = {}
        number = 0
        while len(fields) <= _MOST_FIELDS:
            head = self._byte()
            if head == 0:
                return fields
            number = number + (head >> 4) if head >> 4 else self._signed()
            fields[number] = self._value(head & 15, depth)
        raise ValueError("a header has too many fields")

    def _value(self, kind: int, depth: int) -> object:
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind in (_I16, _I32, _I64):
            return self._signed()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind == _LIST:
            return self._list(depth)
        if kind in (_BYTE, _DOUBLE, _BINARY):
            self._skip({_BYTE: 1, _DOUBLE: 8}.get(kind) or self._unsigned())
            return None
        raise ValueError("a header has a field of an unknown kind")

    def _list(self, depth: int) -> list[object]:
        head = self._byte()
        count, kind = (head >> 4 if head >> 4 < 15 else self._unsigned()), head & 15
        # Alone, a truth is a byte; in a structure it is in the kind of its field.
        kind = _BYTE if kind in (_TRUE, _FALSE) else kind
        if kind == _LIST or count > self.stop - self.place:
            raise ValueError("a list is nested or cut off")
        return [self._value(kind, depth) for _ in range(count)]

    def _skip(self, count: int) -> None:
        self.place += count
        if self.place > self.stop:
            raise ValueError("a header is cut off")

    def _byte(self) -> int:
        self._skip(1)
        return self.data[self.place - 1]

    def _unsigned(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number of a header does not end")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
