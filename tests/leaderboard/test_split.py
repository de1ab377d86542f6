from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.common.errors import InputError
from leaderboard.datasets.catalogue import find_dataset
from leaderboard.datasets.split import ArraySplit, places_of, present, without


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
        ArraySplit(pixels, np.array([0, 1]), numbers=(0, 1)),
        ArraySplit(pixels, np.array([0, 1]), numbers=(0, 2)),
    ]
    assert len({split.sha256 for split in splits}) == 5


@pytest.mark.parametrize("index", [-1, 449])
def test_an_index_outside_the_split_is_refused(index: int) -> None:
    with pytest.raises(InputError, match=f"no example {index}: .* 0 to 448"):
        find_dataset("digits").load("test").images([0, index])


@given(st.sets(st.integers(0, 30), min_size=1), st.lists(st.integers(-3, 33), max_size=6))
def test_examples_are_found_by_number_whatever_is_missing(
    there: set[int], wanted: list[int]
) -> None:
    numbers = tuple(sorted(there))
    pixels = np.array(numbers, dtype=np.uint8).reshape(-1, 1, 1, 1)
    split = ArraySplit(pixels, np.array(numbers), numbers=numbers, note="a part")
    assert present(wanted, split) == [example for example in wanted if example in there]
    if there.issuperset(wanted):
        assert split.labels_of(wanted).tolist() == wanted
        assert (split.images(wanted).ravel() * 255).round().astype(int).tolist() == wanted
    else:
        with pytest.raises(InputError, match=r"is missing: here are a part|There is no example"):
            split.images(wanted)


@given(st.sets(st.integers(0, 40)))
def test_what_is_missing_is_told_in_runs(there: set[int]) -> None:
    told = set()
    for run in without(sorted(there), 41).removeprefix("without ").split(", "):
        first, _, last = run.partition(" to ")
        told |= set(range(int(first), int(last or first) + 1)) if run else set()
    assert told == set(range(41)) - there


def test_where_nothing_is_missing_nothing_is_told() -> None:
    assert without(range(41), 41) == ""


def test_a_sentence_does_not_tell_a_thousand_gaps() -> None:
    told = without(range(0, 2000, 2), 2000)
    assert told.startswith("without 1, 3, 5, ")
    assert told.endswith(" and 940 others")
    assert len(told) < 400


def test_an_empty_split_has_no_example() -> None:
    with pytest.raises(InputError, match="There is no example 0"):
        places_of([0], (), "")
