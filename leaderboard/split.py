"""Splits of a dataset: labelled images, read when asked for."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from leaderboard.errors import InputError


class Split(Protocol):
    """The labelled examples of one split, numbered from 0.

    `labels` is `[n]`; `shape` is one image's `(channel, height, width)`; `sha256` identifies the
    content; `complete` says whether this is the whole official split, and `note` what it is where
    it is not.
    """

    @property
    def labels(self) -> NDArray[np.int64]:
        """The true classes, `[n]`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """One image's `(channel, height, width)`."""

    @property
    def sha256(self) -> str:
        """A digest of the content."""

    @property
    def complete(self) -> bool:
        """Whether every official example is there."""

    @property
    def note(self) -> str:
        """What is missing; empty for a complete split."""

    def __len__(self) -> int: ...

    def images(self, indices: Sequence[int]) -> NDArray[np.float32]:
        """The images at `indices`, `[k, channel, height, width]` in [0, 1].

        Raises:
            InputError: an index is not in the split, or an image cannot be read.
        """


def check_indices(indices: Sequence[int], total: int) -> None:
    """Refuse indices outside `0 … total - 1`."""
    outside = [index for index in indices if not 0 <= index < total]
    if outside:
        raise InputError(
            f"There is no example {outside[0]}: the examples here are numbered 0 to {total - 1}."
        )


def check_labels(labels: NDArray[np.int64], classes: int, where: str) -> None:
    """Refuse labels that are not a class."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise InputError(
            f"{where}: record {wrong[0]} has the label {labels[wrong[0]]}, but labels go from 0 to"
            f" {classes - 1}."
        )


@dataclass(frozen=True)
class ArraySplit:
    """A split held in memory: `pixels` `[n, channel, height, width]` from 0 to `scale`."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    scale: int = 255
    complete: bool = True
    note: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """One image's `(channel, height, width)`."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    @property
    def sha256(self) -> str:
        """Digest of the pixel bytes followed by the labels as little-endian int64."""
        content = hashlib.sha256(self.pixels.tobytes())
        content.update(self.labels.astype("<i8").tobytes())
        return content.hexdigest()

    def images(self, indices: Sequence[int]) -> NDArray[np.float32]:
        """Pixel / scale, correctly rounded (IEEE 754 division of two exact numbers)."""
        check_indices(indices, len(self))
        chosen = self.pixels[np.asarray(indices, dtype=np.int64)]
        return chosen.astype(np.float32) / np.float32(self.scale)


@dataclass(frozen=True)
class ImageFileSplit:
    """A split whose images lie in one file each and are opened only when asked for.

    `prepare` turns an RGB image into one of `shape`.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    shape: tuple[int, int, int]
    prepare: Callable[[Image.Image], Image.Image]
    complete: bool = True
    note: str = ""

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def sha256(self) -> str:
        """Digest of the listing: folder, name, size and label of every file, in order.

        The content of the images is not read: a split of 50,000 photographs would take minutes.
        """
        listing = hashlib.sha256()
        for path, label in zip(self.paths, self.labels, strict=True):
            line = f"{path.parent.name}/{path.name}\t{path.stat().st_size}\t{label}\n"
            listing.update(line.encode())
        return listing.hexdigest()

    def images(self, indices: Sequence[int]) -> NDArray[np.float32]:
        """Pixel / 255, correctly rounded, of the prepared RGB images."""
        check_indices(indices, len(self))
        pixels = np.empty((len(indices), *self.shape), dtype=np.uint8)
        for row, index in enumerate(indices):
            pixels[row] = self._open(self.paths[index])
        return pixels.astype(np.float32) / np.float32(255)

    def _open(self, path: Path) -> NDArray[np.uint8]:
        try:
            with Image.open(path) as image:
                prepared = self.prepare(image.convert("RGB"))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise InputError(f"The image {path} cannot be read: {error}.") from None
        pixels = np.asarray(prepared, dtype=np.uint8).transpose(2, 0, 1)
        if pixels.shape != self.shape:
            raise InputError(f"The image {path} has the shape {pixels.shape}, not {self.shape}.")
        return pixels
