"""The embedded dataset: scans of handwritten digits, 8 by 8 pixels.

The files of the UCI repository give writers in sequence, so the split alternates along the file:
every example whose position modulo 4 is 3 is a test example (449), the others train (1,348).
"""

import gzip
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leaderboard.common.errors import InputError
from leaderboard.datasets.catalogue import Dataset
from leaderboard.datasets.files import digest
from leaderboard.datasets.split import ArraySplit

_PIXELS_SHA256 = "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"


def _read(*, test: bool) -> ArraySplit:
    """The `test` or `train` split: 8 by 8 pixels from 0 to 16, in the file's order."""
    rows = _rows()
    pixels, labels = rows[:, :-1].reshape(-1, 1, 8, 8), rows[:, -1].astype(np.int64)
    if digest(pixels.tobytes()) != _PIXELS_SHA256:
        raise InputError("scikit-learn's digits have changed: reinstall scikit-learn.")
    chosen = (np.arange(len(pixels)) % 4 == 3) == test
    return ArraySplit(pixels[chosen], labels[chosen], scale=16)


def _rows() -> NDArray[np.uint8]:
    """Pixels and label of each example; read without scikit-learn, which is slow to import."""
    package = find_spec("sklearn")
    folders = package.submodule_search_locations if package else None
    if not folders:
        raise InputError("The digits come with scikit-learn, which is not installed.")
    with gzip.open(Path(folders[0]) / "datasets" / "data" / "digits.csv.gz", "rt") as file:
        return np.loadtxt(file, np.uint8, delimiter=",")


DATASET = Dataset(
    name="digits",
    title="Digits",
    shape=(1, 8, 8),
    classes=tuple("0123456789"),
    test_size=449,
    source="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    licence="CC BY 4.0",
    citation="E. Alpaydin and C. Kaynak. Optical Recognition of Handwritten Digits. UCI, 1998.",
    splits={"test": partial(_read, test=True), "train": partial(_read, test=False)},
    obtain="it is embedded, and needs no download",
)
