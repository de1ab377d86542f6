"""ImageNet (ILSVRC 2012): the validation photographs, in the ImageFolder layout.

`val/<wnid>/*.JPEG` and `wnids.txt`, which lists the 1,000 classes in index order. Examples are
ordered by class folder, then by file name. Images are converted to RGB, resized to a shorter side
of 256 (bilinear) and cropped to the central 224 by 224, as in the published evaluations.
"""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from leaderboard.common.errors import InputError
from leaderboard.datasets.catalogue import Dataset, find_file
from leaderboard.datasets.split import ImageFileSplit, note_of_part

_SHORTER_SIDE, _SIDE = 256, 224


def _read() -> ImageFileSplit:
    """The `test` split: the validation set, whose labels are public."""
    root = find_file(DATASET.name, ("wnids.txt",)).parent
    classes = {wnid: index for index, wnid in enumerate(read_wnids(root, len(DATASET.classes)))}
    folders = sorted(folder for folder in (root / "val").glob("*") if folder.is_dir())
    if not folders:
        raise InputError(f"There is no folder val/<wnid> with images in {root}.")
    for folder in folders:
        if folder.name not in classes:
            raise InputError(f"{folder} is not the folder of a class in wnids.txt.")
    paths = tuple(path for folder in folders for path in sorted(folder.glob("*.JPEG")))
    labels = np.array([classes[path.parent.name] for path in paths], dtype=np.int64)
    note = note_of_part(len(paths), DATASET.test_size)
    return ImageFileSplit(paths, labels, DATASET.shape, prepare, note)


def read_wnids(root: Path, count: int) -> list[str]:
    """The WordNet identifiers of the classes, one a line, in `root/wnids.txt`.

    Raises:
        InputError: they are not `count` different identifiers.
    """
    path = root / "wnids.txt"
    wnids = path.read_text(encoding="utf-8").split()
    if len(set(wnids)) != count or len(wnids) != count:
        raise InputError(f"{path} does not list {count:,} different classes.")
    if wrong := [wnid for wnid in wnids if not re.fullmatch("n[0-9]{8}", wnid)]:
        raise InputError(f"{path} has {wrong[0]!r}, which is not n and eight digits.")
    return wnids


def prepare(image: Image.Image) -> Image.Image:
    """Resize to a shorter side of 256 and crop the central 224 by 224 pixels."""
    width, height = image.size
    scale = min(width, height)
    size = (width * _SHORTER_SIDE // scale, height * _SHORTER_SIDE // scale)
    resized = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - _SIDE) / 2), round((size[1] - _SIDE) / 2)
    return resized.crop((left, top, left + _SIDE, top + _SIDE))


DATASET = Dataset(
    name="imagenet",
    title="ImageNet",
    shape=(3, _SIDE, _SIDE),
    classes=tuple(str(index) for index in range(1000)),
    test_size=50_000,
    source="https://www.image-net.org/challenges/LSVRC/2012/",
    licence="for non-commercial research, on terms that the user accepts at image-net.org",
    citation="O. Russakovsky et al. ImageNet Large Scale Visual Recognition Challenge. IJCV, 2015.",
    splits={"test": _read},
    obtain="register at https://www.image-net.org/download.php and unpack the ILSVRC 2012"
    " validation images as imagenet/val/<wnid>/*.JPEG beside imagenet/wnids.txt",
    may_be_shown=False,
)
