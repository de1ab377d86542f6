"""ImageNet 64x64: the validation set in the official downsampled form, `val_data.npz`.

The archive has `data`, `[50000, 12288]` bytes (channel, height, width), and `labels` from 1.
"""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leaderboard.common.errors import InputError
from leaderboard.datasets.catalogue import Dataset, find_file
from leaderboard.datasets.split import ArraySplit, check_labels, note_of_part


def _read_test() -> ArraySplit:
    """The `test` split: the validation set, whose labels are public."""
    path = find_file(DATASET.name, ("val_data.npz",))
    data, numbers = _read(path)
    labels = numbers.astype(np.int64) - 1
    check_labels(labels, len(DATASET.classes), str(path))
    note = note_of_part(len(labels), DATASET.test_size)
    return ArraySplit(data.reshape(-1, *DATASET.shape), labels, note=note)


def _read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            data, labels = archive["data"], archive["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} has no readable arrays data and labels: {error}.") from None
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != np.prod(DATASET.shape):
        raise InputError(f"{path}: data is {data.dtype}{list(data.shape)}, not uint8[n, 12288].")
    if labels.shape != data.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{path}: labels are not one whole number an image.")
    return data, labels


DATASET = Dataset(
    name="imagenet64",
    title="ImageNet 64x64",
    shape=(3, 64, 64),
    classes=tuple(str(index) for index in range(1000)),
    test_size=50_000,
    source="https://www.image-net.org/download-images.php",
    licence="for non-commercial research, on terms that the user accepts at image-net.org",
    citation="P. Chrabaszcz, I. Loshchilov and F. Hutter. A Downsampled Variant of ImageNet as an"
    " Alternative to the CIFAR datasets. 2017.",
    splits={"test": _read_test},
    obtain="register at https://www.image-net.org/download.php and unpack val_data.npz of the"
    " 64x64 downsampled images into imagenet64/",
    may_be_shown=False,
)
