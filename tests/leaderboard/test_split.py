from fractions import Fraction

import numpy as np
import pytest

from leaderboard.dataset import find_dataset
from leaderboard.errors import InputError
from leaderboard.split import ArraySplit


@pytest.mark.parametrize("scale", [255, 16])
def test_every_pixel_is_the_fraction_rounded_to_the_nearest_float32(scale: int) -> None:
    pixels = np.arange(scale + 1, dtype=np.uint8).reshape(-1, 1, 1, 1)
    split = ArraySplit(pixels, np.zeros(scale + 1, dtype=np.int64), scale=scale)
    values = split.images(range(scale + 1)).ravel()
    for pixel, value in enumerate(values):
        exact = Fraction(pixel, scale)
        error = abs(Fraction(float(value)) - exact)
        for neighbour in (np.nextafter(value, np.float32(-1)), np.nextafter(value, np.float32(2))):
            assert error <= abs(Fraction(float(neighbour)) - exact)


def test_the_digest_of_a_split_sees_pixels_and_labels() -> None:
    pixels = np.zeros((2, 1, 2, 2), dtype=np.uint8)
    other = pixels.copy()
    other[1, 0, 1, 1] = 1
    splits = [
        ArraySplit(pixels, np.array([0, 1])),
        ArraySplit(other, np.array([0, 1])),
        ArraySplit(pixels, np.array([1, 0])),
    ]
    assert len({split.sha256 for split in splits}) == 3


@pytest.mark.parametrize("index", [-1, 449])
def test_an_index_outside_the_split_is_refused(index: int) -> None:
    with pytest.raises(InputError, match=f"no example {index}: .* 0 to 448"):
        find_dataset("digits").load("test").images([0, index])
