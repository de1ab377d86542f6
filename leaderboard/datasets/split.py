"""Splits of a dataset: labelled images, read when asked for."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from leaderboard.common.errors import InputError

_MOST_RUNS = 60
"""Of missing examples, in one sentence."""


class Split(ABC):
    """The labelled examples of one split, each called by its number: its official index.

    Attributes:
        labels: the true classes, `[n]`, in the order of `examples`.
        scale: the pixel value that is 1.
        note: what it is where it is not the whole official split; empty where it is.
    """

    labels: NDArray[np.int64]
    scale: int = 255
    note: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def complete(self) -> bool:
        """Whether this is the whole official split."""
        return not self.note

    @property
    def examples(self) -> Sequence[int]:
        """The numbers of the examples that are there, ascending, `[n]`: here their positions."""
        return range(len(self.labels))

    @property
    @abstractmethod
    def sha256(self) -> str:
        """A digest of the content."""

    @abstractmethod
    def pixels_at(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pixels of the images at these positions, `[k, channel, height, width]`."""

    def images(self, examples: Sequence[int]) -> NDArray[np.float32]:
        """The images of the examples of these numbers, `[k, channel, height, width]` in [0, 1].

        Pixel / scale, correctly rounded (IEEE 754 division of two exact numbers).

        Raises:
            InputError: an example is not in the split, or an image cannot be read.
        """
        pixels = self.pixels_at(places_of(examples, self.examples, self.note))
        return pixels.astype(np.float32) / np.float32(self.scale)

    def labels_of(self, examples: Sequence[int]) -> NDArray[np.int64]:
        """The true classes of the examples of these numbers, `[k]`.

        Raises:
            InputError: an example is not in the split.
        """
        return self.labels[places_of(examples, self.examples, self.note)]


def present(examples: Iterable[int], split: Split) -> list[int]:
    """Those of `examples` that are in the split, in their order."""
    there = set(split.examples)
    return [example for example in examples if example in there]


def places_of(examples: Sequence[int], numbers: Sequence[int], note: str) -> NDArray[np.int64]:
    """The position among the ascending `numbers` of each example.

    Raises:
        InputError: an example is not there; `note` says what is missing of the split.
    """
    known, wanted = np.asarray(numbers, np.int64), np.asarray(examples, np.int64)
    places = np.searchsorted(known, wanted)
    found = places < len(known)
    found[found] = known[places[found]] == wanted[found]
    for example in wanted[~found][:1].tolist():
        if known.size and known[0] < example < known[-1]:
            raise InputError(f"Example {example} is missing: here are {note}.")
        last = known[-1] if known.size else -1
        raise InputError(
            f"There is no example {example}: the examples here are numbered 0 to {last}."
        )
    return places.astype(np.int64)


def without(numbers: Sequence[int], total: int) -> str:
    """`without 3, 7 to 9`: which of `0 … total - 1` are not among the ascending `numbers`.

    Empty where none is missing.
    """
    missing = np.setdiff1d(np.arange(total), np.asarray(numbers, np.int64))
    if not missing.size:
        return ""
    starts = np.flatnonzero(np.diff(missing, prepend=-2) > 1)
    runs = np.split(missing, starts[1:])
    told = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs[:_MOST_RUNS]]
    more = sum(len(run) for run in runs[_MOST_RUNS:])
    return f"without {', '.join(told)}" + (f" and {more:,} others" if more else "")


def note_of_part(count: int, total: int) -> str:
    """What a split of `count` images is where the official one has `total`; empty if it is that."""
    return "" if count == total else f"{count:,} images in place of the {total:,}"


def check_labels(labels: NDArray[np.int64], classes: int, where: str) -> None:
    """Refuse labels that are not a class."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise InputError(
            f"{where}: record {wrong[0]} has the label {labels[wrong[0]]}, but labels go from 0 to"
            f" {classes - 1}."
        )


@dataclass(frozen=True)
class ArraySplit(Split):
    """A split held in memory: `pixels` `[n, channel, height, width]` from 0 to `scale`.

    `numbers` are the official indices of the images, ascending; None for 0 to n - 1.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    scale: int = 255
    note: str = ""
    numbers: tuple[int, ...] | None = None

    @property
    def examples(self) -> Sequence[int]:
        """The numbers of the images, ascending."""
        return super().examples if self.numbers is None else self.numbers

    @property
    def sha256(self) -> str:
        """Digest of the pixel bytes, the labels and, where given, the numbers.

        Labels and numbers as little-endian int64.
        """
        content = hashlib.sha256(self.pixels.tobytes())
        content.update(self.labels.astype("<i8").tobytes())
        if self.numbers is not None:
            content.update(np.asarray(self.numbers, "<i8").tobytes())
        return content.hexdigest()

    def pixels_at(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Those in memory."""
        return self.pixels[places]


@dataclass(frozen=True)
class ImageFileSplit(Split):
    """A split whose images lie in one file each and are opened only when asked for.

    Its examples are the positions of the files: their names do not tell an official order.
    `prepare` turns an RGB image into one of `shape`.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    shape: tuple[int, int, int]
    prepare: Callable[[Image.Image], Image.Image]
    note: str = ""

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

    def pixels_at(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The prepared RGB images."""
        pixels = np.empty((len(places), *self.shape), dtype=np.uint8)
        for row, place in enumerate(places):
            pixels[row] = self._open(self.paths[place])
        return pixels

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
