"""CIFAR-10: 32 by 32 photographs of ten classes, in the official binary layout.

A record is one label byte and 3,072 pixel bytes (channel, height, width). Part of the test set is
accepted only where a `test_batch.csv` beside it declares every record.
"""

import csv
from pathlib import Path

import numpy as np

from leaderboard import data_files
from leaderboard.data_files import DataFile, Download
from leaderboard.dataset import Dataset, find_file, unknown_split
from leaderboard.errors import InputError
from leaderboard.split import ArraySplit, check_labels

_FOLDER = "cifar-10-batches-bin"
_RECORD = 1 + 3 * 32 * 32
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
    """The `test` (10,000) or `train` (50,000) split, in the files' order."""
    if split not in ("test", "train"):
        raise unknown_split(DATASET.name, split, "test, train")
    if split == "train":
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
    return find_file(DATASET.name, (file.path, Path(file.path).name))


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
