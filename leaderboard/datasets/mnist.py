"""MNIST: 28 by 28 scans of handwritten digits, in the four official idx files."""

import struct
from functools import partial

import numpy as np

from leaderboard.common.errors import InputError
from leaderboard.datasets.catalogue import Dataset, read_file
from leaderboard.datasets.files import DataFile, Download
from leaderboard.datasets.split import ArraySplit, check_labels

_IMAGES_MAGIC, _LABELS_MAGIC = 0x803, 0x801

_SHA256 = {
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
}
_TEST_IMAGES, _TEST_LABELS, *_TRAIN = (DataFile(*file) for file in _SHA256.items())
_FILES = {"test": (_TEST_IMAGES, _TEST_LABELS), "train": tuple(_TRAIN)}
"""Images and labels of each split."""

_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)


def _read(images: DataFile, labels: DataFile) -> ArraySplit:
    """A split, in the files' order."""
    return decode(read_file(DATASET.name, images), read_file(DATASET.name, labels))


def decode(images: bytes, labels: bytes) -> ArraySplit:
    """The examples in the contents of an idx3 file of images and an idx1 file of labels.

    Raises:
        InputError: a header or a length does not fit.
    """
    if len(images) < 16 or len(labels) < 8:
        raise InputError("An MNIST file is too short to have a header.")
    image_magic, count, height, width = struct.unpack(">4I", images[:16])
    label_magic, label_count = struct.unpack(">2I", labels[:8])
    if (image_magic, label_magic) != (_IMAGES_MAGIC, _LABELS_MAGIC):
        raise InputError("An MNIST file does not begin as idx files of images and labels do.")
    if (height, width) != DATASET.shape[1:] or len(images) != 16 + count * height * width:
        raise InputError("The MNIST images are not as many bytes as their header says.")
    if label_count != count or len(labels) != 8 + count:
        raise InputError("The MNIST labels are not as many as the images.")
    pixels = np.frombuffer(images, dtype=np.uint8, offset=16).reshape(count, 1, height, width)
    classes = np.frombuffer(labels, dtype=np.uint8, offset=8).astype(np.int64)
    check_labels(classes, len(DATASET.classes), "The MNIST labels")
    return ArraySplit(pixels, classes)


DATASET = Dataset(
    name="mnist",
    title="MNIST",
    shape=(1, 28, 28),
    classes=tuple("0123456789"),
    test_size=10_000,
    source="http://yann.lecun.com/exdb/mnist/",
    licence="CC BY-SA 3.0",
    citation="Y. LeCun, L. Bottou, Y. Bengio and P. Haffner. Gradient-Based Learning Applied to"
    " Document Recognition. Proceedings of the IEEE, 1998.",
    splits={split: partial(_read, *files) for split, files in _FILES.items()},
    downloads=tuple(
        Download(tuple(f"{mirror}{file.path}.gz" for mirror in _MIRRORS), (file,))
        for files in _FILES.values()
        for file in files
    ),
)
