"""CIFAR-10: 32 by 32 photographs of ten classes, in the official binary layout.

A record is one label byte and 3,072 pixel bytes (channel, height, width). Part of the test set is
accepted only where a `test_batch.csv` beside it declares every record with its official index.

For training alone, other files stand in for the official batches where none of those is there. In
`train_exact/`, each batch is a lossless sheet of 100 by 100 tiles, `data_batch_1.webp` to `_5.webp`
(tile k, row by row, is record k of the official batch), and a table of the same name declares those
that are there. Or JPEG copies: `train/<class>/<number>.jpg` in a folder or in `train_jpeg.tar.xz`.
Either says in its note what it is; of the JPEG copies, that they are not CIFAR-10 itself.
"""

import csv
import io
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from leaderboard.common.errors import InputError
from leaderboard.datasets import files
from leaderboard.datasets.catalogue import Dataset, find_file
from leaderboard.datasets.files import DataFile, Download
from leaderboard.datasets.split import ArraySplit, check_labels, without

_FOLDER = "cifar-10-batches-bin"
_RECORD = 1 + 3 * 32 * 32
_TRAIN_SIZE = 50_000
_JPEGS = ("train", "train_jpeg.tar.xz")
_LARGEST_JPEG = 100_000
"""Bytes; one of 32 by 32 pixels has about a thousand."""
_SHEETS = tuple(f"train_exact/data_batch_{number}.webp" for number in range(1, 6))
_TILES, _BATCH = 100, 10_000
"""A sheet's tiles in a row and a column, and the records of a batch."""
_LOSSLESS = b"VP8L"
"""At byte 12 of a WebP file whose pixels are exact."""

_TEST = DataFile(
    f"{_FOLDER}/test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"
)
_TRAIN = tuple(
    DataFile(f"{_FOLDER}/data_batch_{number}.bin", sha256)
    for number, sha256 in enumerate(
        (
            "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        ),
        start=1,
    )
)


def _read_train() -> ArraySplit:
    """The 50,000 training images in the files' order, or what stands in for them."""
    if not any(files.find(DATASET.name, _places(file)) for file in _TRAIN):
        if files.find(DATASET.name, _SHEETS) is not None:
            return read_sheets([find_file(DATASET.name, (sheet,)) for sheet in _SHEETS])
        if (copies := files.find(DATASET.name, _JPEGS)) is not None:
            return read_jpegs(copies)
    batches = [files.read_verified(_find(file), file.sha256) for file in _TRAIN]
    return decode(b"".join(batches), "The training batches")


def _read_test() -> ArraySplit:
    """The 10,000 test images in the file's order, or those that a table declares."""
    path = _find(_TEST)
    declaration = path.with_suffix(".csv")
    if not declaration.exists():
        return decode(files.read_verified(path, _TEST.sha256), str(path))
    content = files.read(path)
    found = decode(content, str(path))
    if files.digest(content) == _TEST.sha256:
        return found
    labels, numbers = _declared(declaration, "official_test_index", range(DATASET.test_size))
    if labels != found.labels.tolist():
        raise InputError(f"{declaration} does not declare the records of {path.name} beside it.")
    if len(numbers) == DATASET.test_size:
        raise InputError(
            f"{path} is not the official file, of which {declaration.name} lacks none."
        )
    return _part(found.pixels, found.labels, numbers, "test", DATASET.test_size)


def _part(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], numbers: list[int], kind: str, total: int
) -> ArraySplit:
    """A split that lacks some of its `total` official images, and says which."""
    note = f"{len(numbers):,} of the {total:,} official {kind} images"
    if len(numbers) < total:
        note += f", {without(numbers, total)}"
    return ArraySplit(pixels, labels, note=note, numbers=tuple(numbers))


def _find(file: DataFile) -> Path:
    return find_file(DATASET.name, _places(file))


def _places(file: DataFile) -> tuple[str, ...]:
    return file.path, Path(file.path).name


def decode(content: bytes, where: str) -> ArraySplit:
    """The records in `content`; `where` names their file in messages.

    Raises:
        InputError: the length is not a whole number of records, or a label is not a class.
    """
    if not content or len(content) % _RECORD:
        raise InputError(
            f"{where} has {len(content)} bytes, which is not a whole number of records of"
            f" {_RECORD} bytes."
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, _RECORD)
    labels = records[:, 0].astype(np.int64)
    check_labels(labels, len(DATASET.classes), where)
    pixels = np.ascontiguousarray(records[:, 1:]).reshape(-1, *DATASET.shape)
    return ArraySplit(pixels, labels)


def read_sheets(sheets: list[Path]) -> ArraySplit:
    """The training images in the lossless sheets of the five batches, in turn.

    Raises:
        InputError: a sheet is not lossless or not of the right size, or its table does not declare
            records of its batch.
    """
    pixels, labels, numbers = [], [], []
    for first, sheet in zip(range(0, _TRAIN_SIZE, _BATCH), sheets, strict=True):
        column, known = "official_train_index", range(first, first + _BATCH)
        classes, indices = _declared(sheet.with_suffix(".csv"), column, known)
        pixels.append(_tiles(sheet)[np.array(indices, dtype=np.int64) - first])
        labels += classes
        numbers += indices
    classes_of = np.array(labels, dtype=np.int64)
    check_labels(classes_of, len(DATASET.classes), str(sheets[0].parent))
    return _part(np.concatenate(pixels), classes_of, numbers, "training", _TRAIN_SIZE)


def _tiles(sheet: Path) -> NDArray[np.uint8]:
    """`[10000, 3, 32, 32]` of a sheet, row by row."""
    content = files.read(sheet)
    if content[12:16] != _LOSSLESS:
        raise InputError(f"{sheet} is not a lossless WebP file: its pixels may be inexact.")
    side = 32 * _TILES
    whole = _pixels(content, str(sheet), "WEBP", side).reshape(3, _TILES, 32, _TILES, 32)
    return whole.transpose(1, 3, 0, 2, 4).reshape(_BATCH, *DATASET.shape)


def read_jpegs(where: Path) -> ArraySplit:
    """The copies in the folder `train` or in an archive of it.

    They come in the order of their numbers, classes in turn, so that every part of the split has
    its share of each class.

    Raises:
        InputError: there are none, one is not a picture of the right size, or no class has the
            name of its folder.
    """
    found: dict[tuple[str, int], NDArray[np.uint8]] = {}
    for name, content in _jpegs(where):
        path = PurePosixPath(name)
        if path.parent.name not in DATASET.classes:
            raise InputError(f"{name} of {where} is not in the folder of a class of CIFAR-10.")
        label = DATASET.classes.index(path.parent.name)
        found[path.stem, label] = _pixels(content, f"{name} of {where}", "JPEG", 32)
    if not found:
        raise InputError(f"{where} has no image train/<class>/<number>.jpg.")
    order = sorted(found)
    note = (
        f"{len(order):,} JPEG copies of the {_TRAIN_SIZE:,} training images, near CIFAR-10's own"
        " but not equal to them"
    )
    labels = np.array([label for _, label in order], dtype=np.int64)
    return ArraySplit(np.stack([found[key] for key in order]), labels, note=note)


def _jpegs(where: Path) -> Iterator[tuple[str, bytes]]:
    """Name (`train/<class>/<number>.jpg`) and content of each copy; other files are passed over."""
    if where.is_dir():
        for path in sorted(where.glob("*/*.jpg")):
            yield path.relative_to(where.parent).as_posix(), files.read(path)
        return
    try:
        with tarfile.open(where) as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                inside = name.suffix == ".jpg" and name.parts[-3:-2] == ("train",)
                stream = archive.extractfile(member) if inside and member.isfile() else None
                if stream is not None:
                    yield member.name, stream.read(_LARGEST_JPEG)
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError) as error:
        raise InputError(f"{where} is not a whole archive: {error}.") from None


def _pixels(content: bytes, where: str, kind: str, side: int) -> NDArray[np.uint8]:
    """Decode one picture of this kind, `[3, side, side]`."""
    try:
        with Image.open(io.BytesIO(content), formats=(kind,)) as image:
            if image.size != (side, side):
                raise InputError(f"{where} has {image.width} by {image.height} pixels, not {side}.")
            return np.asarray(image.convert("RGB"), dtype=np.uint8).transpose(2, 0, 1)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{where} cannot be read: {error}.") from None


def _declared(path: Path, column: str, known: range) -> tuple[list[int], list[int]]:
    """The labels and the official indices (in `column`) of the records that a table declares.

    Raises:
        InputError: it does not number its records from 0, or has no ascending index of each.
    """
    columns = ["record", "label", column]
    try:
        header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        table = [(int(record), int(label), int(index)) for record, label, index in rows]
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as {','.join(columns)}: {error}.") from None
    if header != columns:
        raise InputError(f"{path} has the columns {','.join(header)}, not {','.join(columns)}.")
    records, labels, numbers = ([row[place] for row in table] for place in range(3))
    if records != list(range(len(records))):
        raise InputError(f"{path} does not number its records from 0.")
    if numbers != sorted(set(numbers)) or not set(numbers) <= set(known):
        raise InputError(
            f"{path}: each {column} must be there once, in ascending order, from {known[0]} to"
            f" {known[-1]}."
        )
    return labels, numbers


DATASET = Dataset(
    name="cifar10",
    title="CIFAR-10",
    shape=(3, 32, 32),
    classes=(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    test_size=10_000,
    source="https://www.cs.toronto.edu/~kriz/cifar.html",
    licence="none stated",
    citation="A. Krizhevsky. Learning Multiple Layers of Features from Tiny Images. 2009.",
    splits={"test": _read_test, "train": _read_train},
    downloads=(
        Download(("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",), (_TEST, *_TRAIN)),
    ),
)
