"""Pictures of examples: the original, the witness that refutes it, and their difference.

Small PNG files, the same bytes for the same pixels. An original is shown only if the data on this
machine are those that the rows were measured on, by their SHA-256.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from leaderboard.common.errors import InputError
from leaderboard.datasets.catalogue import Dataset
from leaderboard.datasets.split import Split
from leaderboard.results.highlights import Shown
from leaderboard.results.witness import Pixels, is_in_full, point_of

if TYPE_CHECKING:
    from leaderboard.results.store import Provenance

LARGEST = 96
"""Pixels: a larger picture is made smaller, to this height and width at most."""

FACTORS = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5))
"""By which a difference is multiplied, so that it can be seen."""


@dataclass(frozen=True)
class Picture:
    """One image of a page: its file relative to the website's root, and what it shows.

    `width` and `height` are in pixels of the file; `make` gives its bytes.
    """

    path: str
    alt: str
    caption: str
    width: int
    height: int
    make: Callable[[], bytes]


@dataclass
class Gallery:
    """The data of this machine, opened at most once for all pages."""

    datasets: Mapping[str, Dataset]
    _opened: dict[str, tuple[Split, str] | None] = field(default_factory=dict)

    def pictures(self, origin: "Provenance", dataset: str, shown: Shown) -> tuple[Picture, ...]:
        """What can be shown of one example: none, one, or original, witness and difference."""
        if not self.datasets[dataset].may_be_shown:
            return ()
        classes = self.datasets[dataset].classes
        label = class_name(classes, shown.label)
        name = f"test example {shown.example}, label {label}"
        folder = f"examples/{origin.setting}/{origin.submission}"
        original = self._original(origin, dataset, shown.example)
        # The witness of an example that is misread as it is, is the example.
        witness = None if shown.misread else self._witness(dataset, shown.witness, original)
        if shown.misread and shown.prediction is not None:
            name += f", read as {class_name(classes, shown.prediction)}"
        found = []
        if original is not None:
            path = f"examples/{dataset}/{origin.data_sha256[:12]}/{shown.example}.png"
            found.append(_picture(path, name, "original", original))
        if witness is not None:
            told = f"{name}; a perturbed copy that is not read as {label}"
            path = f"{folder}/{shown.example}-witness.png"
            found.append(_picture(path, told, "witness", witness))
        if original is not None and witness is not None:
            difference, factor = amplified(original, witness)
            told = f"{name}; the difference, multiplied by {factor} around grey"
            path = f"{folder}/{shown.example}-difference.png"
            found.append(_picture(path, told, f"difference × {factor}", difference))
        return tuple(found)

    def at_hand(self, dataset: str) -> str:
        """The digest of the data that are on this machine; empty where none may be shown."""
        if not self.datasets[dataset].may_be_shown:
            return ""
        opened = self._open(dataset)
        return "" if opened is None else opened[1]

    def missing(self, dataset: str) -> str:
        """Why originals are not shown, for readers; empty where they are, or are not at hand."""
        subject = self.datasets[dataset]
        if not subject.may_be_shown:
            return f"No pictures: the licence of {subject.title} does not let them be shown here."
        return ""

    def _open(self, dataset: str) -> tuple[Split, str] | None:
        if dataset not in self._opened:
            try:
                # Not the split that a process keeps: the data may have come or gone since.
                split = self.datasets[dataset].load("test")
                self._opened[dataset] = split, split.sha256
            except InputError:
                self._opened[dataset] = None
        return self._opened[dataset]

    def _original(self, origin: "Provenance", dataset: str, example: int) -> Pixels | None:
        opened = self._open(dataset)
        if opened is None or opened[1] != origin.data_sha256:
            return None
        try:
            pixels: Pixels = opened[0].images((example,))[0]
        except InputError:
            return None
        return pixels

    def _witness(
        self, dataset: str, stored: bytes | None, original: Pixels | None
    ) -> Pixels | None:
        """Return the pixels of a witness; in steps it is none without the original."""
        shape = self.datasets[dataset].shape
        if stored is None or (original is None and not is_in_full(stored, prod(shape))):
            return None
        try:
            pixels = point_of(stored, np.zeros(shape, np.float32) if original is None else original)
        except ValueError:
            return None
        return pixels if np.isfinite(pixels).all() else None


def class_name(classes: Sequence[str], label: int) -> str:
    """What a dataset calls a class."""
    return classes[label] if 0 <= label < len(classes) else str(label)


def amplified(original: Pixels, witness: Pixels) -> tuple[Pixels, int]:
    """The difference around grey, in [0, 1], and the factor by which it was multiplied.

    The largest of `FACTORS` that keeps every pixel in range; 1 if none does.
    """
    difference = witness.astype(np.float64) - original.astype(np.float64)
    largest = float(np.abs(difference).max())
    fitting = [factor for factor in FACTORS if factor * largest <= 0.5]
    factor = fitting[-1] if fitting and largest > 0 else 1
    return (0.5 + factor * difference).astype(np.float32), factor


def _picture(path: str, alt: str, caption: str, pixels: Pixels) -> Picture:
    height, width = _fitting(pixels.shape[1], pixels.shape[2])
    return Picture(path, alt, caption, width, height, partial(png, pixels))


def _fitting(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, LARGEST / max(height, width))
    return max(1, round(scale * height)), max(1, round(scale * width))


def png(pixels: Pixels) -> bytes:
    """A PNG file of an image `[1 or 3, height, width]`; values outside [0, 1] are cut off."""
    bytes_ = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    image = Image.fromarray(bytes_[0] if len(bytes_) == 1 else bytes_.transpose(1, 2, 0))
    height, width = _fitting(image.height, image.width)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
