"""What is kept of result files is believed only of the same bytes, counted by the same code."""

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from leaderboard.common.errors import InputError
from leaderboard.results import counted as module
from leaderboard.results import kept as keeping
from leaderboard.results.counted import counted
from leaderboard.results.kept import Kept, shared
from leaderboard.results.store import scan, write
from leaderboard.website import plan
from leaderboard.website.plot import Figure
from leaderboard.website.publishing import documents
from tests.fixtures.board import provenance, rows, smoothed_rows


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "cache" / "kept.sqlite")


def stored(path: Path, *, noisy: bool = False, falsified: int = 7) -> Path:
    parts = {("certified", "ibp"): 13, ("falsified", "pgd"): falsified, ("unknown", "crown"): 5}
    made = rows("any", "digits-linf-0.1", parts)
    if noisy:
        made = smoothed_rows("any", "digits-l2-0.25", 40, "0.25", n=1000, right=0.7)
        made = made.drop(index=[3]).reset_index(drop=True)
    made["witness"] = [bytes([7] * 8) if one == "falsified" else None for one in made["status"]]
    write(path, made, provenance(made))
    return path


def never(_: Path) -> None:
    raise AssertionError("read again")


@pytest.mark.parametrize("noisy", [False, True])
def test_a_file_that_did_not_change_is_not_read_and_tells_the_same(
    tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch, noisy: bool
) -> None:
    path = stored(tmp_path / "a.parquet", noisy=noisy)
    counted(path, kept)
    monkeypatch.setattr(module, "scan", never)
    again, fresh = counted(path, kept), scan(path)
    assert again.tally == fresh.tally
    assert again.highlights == fresh.highlights
    assert again.provenance == fresh.provenance
    assert type(again.highlights.examples) is type(fresh.highlights.examples)


def test_other_bytes_or_other_code_are_counted_anew(
    tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored(tmp_path / "a.parquet")
    assert counted(path, kept).tally.of_status("falsified") == 7
    stored(path, falsified=8)
    assert counted(path, kept).tally.of_status("falsified") == 8
    monkeypatch.setattr(module, "scan", never)
    monkeypatch.setattr(keeping, "code", lambda: "another")
    with pytest.raises(AssertionError, match="read again"):
        counted(path, kept)


def test_a_damaged_file_is_refused_as_without_the_cache(tmp_path: Path, kept: Kept) -> None:
    path = stored(tmp_path / "a.parquet")
    counted(path, kept)
    path.write_bytes(path.read_bytes()[:-50])
    for _ in range(2):
        with pytest.raises(InputError, match="damaged"):
            counted(path, kept)


def test_what_was_altered_in_the_cache_or_moved_to_another_key_is_not_believed(
    tmp_path: Path, kept: Kept
) -> None:
    for key in ("a", "b"):
        kept.put(key, key.encode())
    assert kept.get("a") == b"a"
    with sqlite3.connect(tmp_path / "cache" / "kept.sqlite") as direct:
        direct.execute("update kept set content = ? where key = 'a'", (b"forged",))
        direct.execute("update kept set key = 'c' where key = 'b'")
    assert kept.get("a") is None
    assert kept.get("c") is None
    assert kept.made("a", lambda: b"again") == b"again" == kept.get("a")


def test_a_cache_that_cannot_be_had_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "kept.sqlite").write_bytes(b"no database" * 100)
    for path in (None, tmp_path / "file" / "kept.sqlite", tmp_path / "kept.sqlite"):
        found = Kept(path)
        assert found.made("a", lambda: b"a") == b"a"
        assert found.get("a") is None
    monkeypatch.setenv(keeping.VARIABLE, "")
    shared().put("a", b"a")
    assert shared().get("a") is None


def test_a_still_picture_and_the_list_of_evaluators_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(keeping.VARIABLE, str(tmp_path))
    made: list[Figure] = []

    def drawing(figure: Figure, title: str, width: int) -> str:
        made.append(figure)
        return f"{title} {figure.layout['height']}"

    monkeypatch.setattr(plan, "svg", drawing)
    for height in (1, 2, 1):
        figure = Figure({"height": height})
        item: Any = SimpleNamespace(
            chart=SimpleNamespace(title="a"), drawing=SimpleNamespace(figure=figure)
        )
        assert plan._still(item, figure.json()) == f"a {height}".encode()
    assert len(made) == 2
    entries = documents._evaluator_entries()
    monkeypatch.setattr("leaderboard.evaluation.evaluator.evaluator_entries", never)
    assert documents._evaluator_entries() == entries
    monkeypatch.setattr(documents, "hash_of", str)
    with pytest.raises(TypeError):
        documents._evaluator_entries()


def test_what_nobody_asks_for_is_dropped_after_a_month(tmp_path: Path) -> None:
    path = tmp_path / "kept.sqlite"
    kept = Kept(path)
    for key in ("old", "asked"):
        kept.put(key, b"a")
    with sqlite3.connect(path) as direct:
        direct.execute("update kept set used = used - ?", (keeping.DAYS,))
    assert kept.get("asked") == b"a"
    with sqlite3.connect(path) as direct:
        direct.execute("update kept set used = used - 1")
    again = Kept(path)
    assert again.get("old") is None
    assert again.get("asked") == b"a"


def test_a_cache_that_is_too_large_drops_what_was_not_asked_for_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.sqlite"
    kept = Kept(path)
    names = [f"key {number}" for number in range(8)]
    for name in names:
        kept.put(name, bytes(20_000))
    with sqlite3.connect(path) as direct:
        for age, name in enumerate(names):
            direct.execute("update kept set used = used - ? where key = ?", (age, name))
    monkeypatch.setattr(keeping, "MOST_BYTES", 70_000)
    with sqlite3.connect(path) as direct:
        assert keeping._size(direct) > 160_000
    again = Kept(path)
    assert [name for name in names if again.get(name) is not None] == names[:3]
    with sqlite3.connect(path) as direct:
        assert keeping._size(direct) < 90_000


def test_the_cache_lies_in_no_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(keeping.VARIABLE, raising=False)
    monkeypatch.setattr(keeping, "_kept", Path)
    checkout = Path(keeping.__file__).parents[2]
    assert not Path(str(shared())).is_relative_to(checkout)
