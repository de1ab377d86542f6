"""`--memory`: a number of bytes with a unit, known to every process that a command starts."""

import gc
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.common.errors import InputError
from leaderboard.common.memory import chosen, divided, parse_memory, uncollected, within


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("2GB", 2 * 10**9),
        ("1.5 GiB", 3 * 2**29),
        ("800mb", 8 * 10**8),
        ("512MiB", 2**29),
        ("300000000", 3 * 10**8),
    ],
)
def test_memory_is_a_number_of_bytes(text: str, total: int) -> None:
    assert parse_memory(text) == total
    with within(text):
        assert chosen() == total
        assert divided(4).total == total // 4


@pytest.mark.parametrize("text", ["", "GB", "-2GB", "nan", "2 TB", "1e9", "99MB", "0", "²GB"])
def test_what_is_no_memory_or_too_little_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--memory"), within(text):
        pass


@given(st.text(max_size=12))
def test_no_text_is_an_error_that_nobody_foresaw(text: str) -> None:
    with suppress(InputError):
        assert parse_memory(text) >= 10**8


def test_garbage_is_set_aside_only_with_what_was_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = list[bool]()
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(gc.isenabled()))
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert frozen == []
    with uncollected():
        monkeypatch.setitem(sys.modules, "imported_for_a_test", sys)
    assert gc.isenabled()
    assert frozen == [False]
