"""The bytes of a counterexample give its point again, and no bytes give anything else."""

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from leaderboard.results.witness import (
    SteppedPoint,
    fault_of,
    in_full,
    is_in_full,
    point_of,
    steps_of,
)

STEPS = st.floats(2**-20, 1, width=32)


@st.composite
def drawn_steps(draw: st.DrawFn) -> SteppedPoint:
    levels = draw(st.sampled_from([1, 2, 3, 7, 127]))
    size = draw(st.integers(4, 60))
    return SteppedPoint(
        draw(STEPS), levels, draw(arrays(np.int8, size, elements=st.integers(-levels, levels)))
    )


def examples(size: int) -> st.SearchStrategy["np.ndarray[tuple[int], np.dtype[np.float32]]"]:
    shades = arrays(np.int64, size, elements=st.integers(0, 255))
    return shades.map(lambda some: (some / 255).astype(np.float32))


@given(drawn_steps(), st.data())
def test_what_is_packed_is_read_and_is_the_point_that_is_documented(
    steps: SteppedPoint, data: st.DataObject
) -> None:
    x = data.draw(examples(steps.counts.size))
    stored = steps.packed()
    assert len(stored) < 4 * x.size
    assert fault_of(stored, x.size) == ""
    found = steps_of(stored, x.size)
    assert (found.step, found.levels) == (steps.step, steps.levels)
    assert found.counts.tolist() == steps.counts.tolist()
    point = point_of(stored, x)
    assert point.dtype == np.float32
    for value, center, count in zip(point.tolist(), x.tolist(), steps.counts.tolist(), strict=True):
        exact = Fraction(center) + Fraction(steps.step) * count
        aim = min(max(exact, Fraction(0)), Fraction(1))
        assert abs(Fraction(value) - Fraction(center)) <= abs(aim - Fraction(center))
        assert abs(Fraction(value) - aim) < Fraction(np.spacing(np.float32(1)).item())


@given(drawn_steps(), st.data())
def test_a_picture_keeps_its_shape(steps: SteppedPoint, data: st.DataObject) -> None:
    x = data.draw(examples(2 * steps.counts.size)).reshape(1, 2, -1)
    double = SteppedPoint(steps.step, steps.levels, np.tile(steps.counts, 2))
    flat = point_of(double.packed(), x.reshape(-1))
    assert (point_of(double.packed(), x) == flat.reshape(x.shape)).all()


@st.composite
def nearly_steps(draw: st.DrawFn) -> tuple[bytes, int]:
    """Bytes of the right size, of whatever else."""
    levels, pixels = draw(st.integers(0, 255)), draw(st.integers(4, 60))
    size = next(n for n in range(9) if (2 * max(levels, 1) + 1) ** (n + 1) > 256) or 1
    digits = -(-pixels // size)
    rest = draw(st.binary(min_size=digits, max_size=digits))
    return bytes([levels]) + np.float32(draw(STEPS)).tobytes() + rest, pixels


@given(nearly_steps() | st.tuples(st.binary(max_size=120), st.integers(1, 60)))
def test_any_bytes_are_read_in_one_way_or_refused(drawn: tuple[bytes, int]) -> None:
    """No two strings of bytes are the same steps: nothing hides in what is not read."""
    stored, pixels = drawn
    if is_in_full(stored, pixels):
        return
    if told := fault_of(stored, pixels):
        with pytest.raises(ValueError, match=re.escape(told)):
            point_of(stored, np.zeros(pixels, np.float32))
        return
    found = steps_of(stored, pixels)
    assert found.packed() == stored
    assert fault_of(in_full(found.point(np.full(pixels, 0.5, np.float32))), pixels) == ""


@pytest.mark.parametrize("levels", range(1, 128))
def test_every_number_of_levels_is_read_as_it_was_written(levels: int) -> None:
    counts = np.tile(np.arange(-levels, levels + 1), 2).astype(np.int8)
    found = steps_of(SteppedPoint(0.5, levels, counts).packed(), counts.size)
    assert found.counts.tolist() == counts.tolist()


GOOD = SteppedPoint(0.25, 1, np.ones(16, np.int8)).packed()
FAULTS = {
    "nothing": (b"", "wrong size, 0 bytes"),
    "too short": (GOOD[:-1], "wrong size, 8 bytes"),
    "too long": (GOOD + b"\0", "wrong size, 10 bytes"),
    "longer than in full": (bytes([1]) * 10_000_000, "wrong size, 10,000,000 bytes"),
    "no levels": (b"\0" + GOOD[1:], "0 levels"),
    "too many levels": (b"\xff" + GOOD[1:], "255 levels"),
    "levels that do not fit the size": (b"\3" + GOOD[1:], "for its 3 levels"),
    "no step": (GOOD[:1] + bytes(4) + GOOD[5:], "a step of 0"),
    "a huge step": (GOOD[:1] + np.float32(1e30).tobytes() + GOOD[5:], "a step of 1e"),
    "a step back": (GOOD[:1] + np.float32(-0.1).tobytes() + GOOD[5:], "a step of -0.1"),
    "a step that is no number": (GOOD[:1] + np.float32(np.nan).tobytes() + GOOD[5:], "of nan"),
    "an endless step": (GOOD[:1] + np.float32(np.inf).tobytes() + GOOD[5:], "a step of inf"),
    "a byte that no digits make": (GOOD[:5] + b"\xf3" + GOOD[6:], "a digit"),
    "a pixel that is not there": (GOOD[:-1] + b"\xf2", "a digit"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_forged_steps_are_refused_in_a_sentence(name: str) -> None:
    stored, told = FAULTS[name]
    assert told in fault_of(stored, 16)
    with pytest.raises(ValueError, match=told):
        point_of(stored, np.zeros((1, 4, 4), np.float32))


@pytest.mark.parametrize(
    ("step", "levels"), [(0.1, 1), (0.0, 1), (1.5, 1), (np.nan, 1), (0.5, 0), (0.5, 128), (0.5, 2)]
)
def test_steps_that_bytes_cannot_hold_are_not_made(step: float, levels: int) -> None:
    with pytest.raises(ValueError, match="step"):
        SteppedPoint(step, levels, np.full(16, 3, np.int8))


def test_pixels_in_full_stay_readable_and_are_judged_by_their_range() -> None:
    x = np.linspace(0, 1, 16, dtype=np.float32).reshape(1, 4, 4)
    assert (point_of(in_full(x), np.zeros_like(x)) == x).all()
    assert fault_of(in_full(x), 16) == ""
    for wrong in (x - 1, x + 1, x * np.float32(np.nan)):
        assert fault_of(in_full(wrong), 16) == "has a number outside [0, 1]"
