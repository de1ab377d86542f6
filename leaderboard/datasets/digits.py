"""The embedded dataset: scans of handwritten digits, 8 by 8 pixels.

The files of the UCI repository give writers in sequence, so the split alternates along the file:
every example whose position modulo 4 is 3 is a test example (449), the others train (1,348).
"""

import numpy as np

from leaderboard.common.errors import InputError
from leaderboard.datasets.catalogue import Dataset, unknown_split
from leaderboard.datasets.files import digest
from leaderboard.datasets.split import ArraySplit

_PIXELS_SHA256 = "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"


def load(split: str) -> ArraySplit:
    """The `test` or `train` split: 8 by 8 pixels from 0 to 16, in the file's order."""
    # Slow to import, and needed for no other dataset.
    from sklearn.datasets import load_digits

    if split not in ("test", "train"):
        raise unknown_split(DATASET.name, split, "test, train")
    data = load_digits()
    pixels = data.images.astype(np.uint8)[:, None]
    if digest(pixels.tobytes()) != _PIXELS_SHA256:
        raise InputError("scikit-learn's digits have changed: reinstall scikit-learn.")
    is_test = np.arange(len(pixels)) % 4 == 3
    chosen = is_test if split == "test" else ~is_test
    return ArraySplit(pixels[chosen], data.target[chosen].astype(np.int64), scale=16)


DATASET = Dataset(
    name="digits",
    title="Digits",
    shape=(1, 8, 8),
    classes=tuple("0123456789"),
    test_size=449,
    source="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    licence="CC BY 4.0",
    citation="E. Alpaydin and C. Kaynak. Optical Recognition of Handwritten Digits. UCI, 1998.",
    load=load,
    obtain="it is embedded, and needs no download",
)
