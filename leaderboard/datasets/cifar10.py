"""CIFAR-10: 32 by 32 photographs of ten classes, in the official binary layout.

A record is one label byte and 3,072 pixel bytes (channel, height, width). Part of the test set is
accepted only where a `test_batch.csv` beside it declares every record. For training alone, JPEG
copies stand in for the official batches where none of those is there: `train/<class>/<number>.jpg`
in a folder or in `train_jpeg.tar.xz`. A split of them says that it is not CIFAR-10 itself.
"""

import csv
import io
import lzma
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from leaderboard import data_files
from leaderboard.data_files import DataFile, Download
from leaderboard.dataset import Dataset, find_file, unknown_split
from leaderboard.errors import InputError
from leaderboard.split import ArraySplit, check_labels

_FOLDER = "cifar-10-batches-bin"
_RECORD = 1 + 3 * 32 * 32
_TRAIN_SIZE = 50_000
_JPEGS = ("train", "train_jpeg.tar.xz")
_LARGEST_JPEG = 100_000
"""Bytes; one of 32 by 32 pixels has about a thousand."""
_COLUMNS = ["record", "label", "official_test_index"]

_TEST = DataFile(
    f"{_FOLDER}/test_batch.bin",
    "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
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


def load(split: str) -> ArraySplit:
    """The `test` (10,000) or `train` (50,000) split, in the files' order.

    Raises:
        InputError: no such split, or its files are missing, broken or not the official ones.
    """
    if split not in ("test", "train"):
        raise unknown_split(DATASET.name, split, "test, train")
    if split == "train":
        copies = _present(_JPEGS)
        if copies is not None and not any(_present(_places(file)) for file in _TRAIN):
            return read_jpegs(copies)
        batches = [data_files.read_verified(_find(file), file.sha256) for file in _TRAIN]
        return decode(b"".join(batches), "The training batches")
    path = _find(_TEST)
    declaration = path.with_suffix(".csv")
    if not declaration.exists():
        return decode(data_files.read_verified(path, _TEST.sha256), str(path))
    content = data_files.read(path)
    whole = data_files.digest(content) == _TEST.sha256
    part = decode(content, str(path), complete=whole)
    if not whole:
        _check_declaration(declaration, part)
    return part


def _find(file: DataFile) -> Path:
    return find_file(DATASET.name, _places(file))


def _places(file: DataFile) -> tuple[str, ...]:
    return file.path, Path(file.path).name


def _present(candidates: Iterable[str]) -> Path | None:
    """The first of `candidates` that lies in a folder of the dataset."""
    places = (root / path for root in data_files.folders(DATASET.name) for path in candidates)
    return next((place for place in places if place.exists()), None)


def decode(content: bytes, where: str, *, complete: bool = True) -> ArraySplit:
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
    total = DATASET.test_size
    note = "" if complete else f"{len(labels):,} of the {total:,} official test images"
    return ArraySplit(pixels, labels, complete=complete, note=note)


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
        found[path.stem, label] = _pixels(content, f"{name} of {where}")
    if not found:
        raise InputError(f"{where} has no image train/<class>/<number>.jpg.")
    order = sorted(found)
    note = (
        f"{len(order):,} JPEG copies of the {_TRAIN_SIZE:,} training images, near CIFAR-10's own"
        " but not equal to them"
    )
    labels = np.array([label for _, label in order], dtype=np.int64)
    return ArraySplit(np.stack([found[key] for key in order]), labels, complete=False, note=note)


def _jpegs(where: Path) -> Iterator[tuple[str, bytes]]:
    """Name (`train/<class>/<number>.jpg`) and content of each copy; other files are passed over."""
    if where.is_dir():
        for path in sorted(where.glob("*/*.jpg")):
            yield path.relative_to(where.parent).as_posix(), data_files.read(path)
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


def _pixels(content: bytes, where: str) -> NDArray[np.uint8]:
    """`[3, 32, 32]` of one picture."""
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            if image.size != (32, 32):
                raise InputError(f"{where} has {image.width} by {image.height} pixels, not 32.")
            return np.asarray(image.convert("RGB"), dtype=np.uint8).transpose(2, 0, 1)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{where} cannot be read: {error}.") from None


def _check_declaration(path: Path, part: ArraySplit) -> None:
    """Refuse a declaration that does not name every record, in order, with its label."""
    try:
        header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        table = [(int(record), int(label), index) for record, label, index in rows]
        official = [int(index) for *_, index in table if index]
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as {','.join(_COLUMNS)}: {error}.") from None
    if header != _COLUMNS:
        raise InputError(f"{path} has the columns {','.join(header)}, not {','.join(_COLUMNS)}.")
    declared = [(record, label) for record, label, _ in table]
    if declared != list(enumerate(part.labels.tolist())):
        raise InputError(f"{path} does not declare the records of test_batch.bin beside it.")
    if len(set(official)) != len(official) or not set(official) <= set(range(DATASET.test_size)):
        raise InputError(f"{path} has an official_test_index twice or outside the test set.")


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
    load=load,
    downloads=(
        Download(
            ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
            (_TEST, *_TRAIN),
        ),
    ),
)
