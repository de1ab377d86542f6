"""Ctrl-C while modules are imported."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from leaderboard.common.interrupts import wait_for_imports

LOST = """
import os, signal, weakref
one = {1}
watch = weakref.ref(one, lambda _: os.kill(os.getpid(), signal.SIGINT))
del one
ended = True
"""
"""A module whose import Python's own handler would let go on as if nothing had been typed."""


@pytest.fixture
def _handlers() -> Iterator[None]:
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGALRM)]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
def test_an_interrupt_during_an_import_comes_when_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "interrupted_import.py").write_text(LOST)
    wait_for_imports()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        import_module("interrupted_import")
        time.sleep(30)
    assert sys.modules.pop("interrupted_import").ended


@pytest.mark.usefixtures("_handlers")
def test_any_other_interrupt_comes_at_once() -> None:
    wait_for_imports()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
