"""Tiny ImageNet: the 10,000 validation photographs of 200 classes, 64 by 64 pixels.

`tiny-imagenet-200/wnids.txt` and, in `tiny-imagenet-200/val/`, `val_annotations.txt` and
`images/`. A class is its position among the sorted WordNet identifiers, as an ImageFolder numbers
them and published networks were trained; examples are in the order of the numbers in their names.
"""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from leaderboard.common.errors import InputError
from leaderboard.datasets.catalogue import Dataset, find_file
from leaderboard.datasets.imagenet import read_wnids
from leaderboard.datasets.split import ImageFileSplit, note_of_part


def _read() -> ImageFileSplit:
    """The `test` split: the validation set, whose labels are public."""
    wnids_file = find_file(DATASET.name, ("tiny-imagenet-200/wnids.txt", "wnids.txt"))
    root = wnids_file.parent
    wnids = sorted(read_wnids(root, len(DATASET.classes)))
    classes = {wnid: index for index, wnid in enumerate(wnids)}
    annotated = _annotations(root / "val" / "val_annotations.txt")
    listed = [root / "val" / "images" / name for name in annotated]
    if absent := [path for path in listed if not path.is_file()]:
        raise InputError(f"There is no image {absent[0]}, which val_annotations.txt names.")
    if unknown := [wnid for wnid in annotated.values() if wnid not in classes]:
        raise InputError(f"val_annotations.txt names {unknown[0]!r}, which is not in wnids.txt.")
    labels = np.array([classes[wnid] for wnid in annotated.values()], dtype=np.int64)
    note = note_of_part(len(listed), DATASET.test_size)
    return ImageFileSplit(tuple(listed), labels, DATASET.shape, Image.Image.copy, note)


def _annotations(path: Path) -> dict[str, str]:
    """The class of each image by the image's name, in the order of the names' numbers."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path} is missing or not text.") from None
    classes: dict[str, str] = {}
    for line in lines:
        match = re.match(r"(val_[0-9]+\.JPEG)\t(n[0-9]{8})\t", line)
        if not match or match[1] in classes:
            raise InputError(f"{path} has the line {line[:60]!r}, not one image and its class.")
        classes[match[1]] = match[2]
    return dict(sorted(classes.items(), key=lambda item: int(item[0][4:-5])))


DATASET = Dataset(
    name="tinyimagenet",
    title="Tiny ImageNet",
    shape=(3, 64, 64),
    classes=tuple(str(index) for index in range(200)),
    test_size=10_000,
    source="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    licence="for non-commercial research, as ImageNet",
    citation="Y. Le and X. Yang. Tiny ImageNet Visual Recognition Challenge. 2015.",
    splits={"test": _read},
    obtain="unpack http://cs231n.stanford.edu/tiny-imagenet-200.zip into tinyimagenet/",
    may_be_shown=False,
)
