"""Publishing writes what differs, removes what is stale, and is never half done unnoticed."""

from pathlib import Path

import pytest

from leaderboard.website import publication
from leaderboard.website.mkdocs import write_file
from leaderboard.website.publication import Publication

NEW = {"index.html": b"2", "a/same": b"same", "a/changed": b"new!", "file": b"f", "folder/x": b"x"}


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """What an earlier build left, with links in it and files where folders are to be."""
    old = {"index.html": b"1", "a/same": b"same", "a/changed": b"old!", "stale/b/c": b"",
           "file/inner": b"", "folder": b"", ".git/kept": b"", "other/outside": b"o"}  # fmt: skip
    for path, content in old.items():
        write_file(tmp_path / "public", path, content)
    write_file(tmp_path, "elsewhere/x", b"x")
    (tmp_path / "public/linked").symlink_to(tmp_path / "elsewhere")
    return tmp_path / "public"


def publish(public: Path, new: dict[str, bytes]) -> None:
    found = Publication(public)
    for path, content in new.items():
        write_file(public.parent / "made", path, content)
    found.replace(public.parent / "made")


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes()
            for p in folder.rglob("*") if p.is_file()}  # fmt: skip


def test_what_is_published_is_what_was_made_and_nothing_else(public: Path) -> None:
    before = (public / "a/same").stat()
    publish(public, NEW)
    assert files(public) == {**NEW, ".git/kept": b""}
    assert not any((public / name).exists() for name in ("stale", "linked", "other"))
    assert files(public.parent / "elsewhere") == {"x": b"x"}
    assert (public / "a/same").stat().st_ino == before.st_ino
    publish(public, NEW)
    assert files(public) == {**NEW, ".git/kept": b""}


def test_an_interrupted_publication_has_no_first_page_and_the_next_one_is_whole(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    for first in (b"1", b"2"):
        for step in ("_remove_others", "place_files"):
            write_file(public, "index.html", b"1")
            with monkeypatch.context() as patch:
                patch.setattr(publication, step, stopped)
                with pytest.raises(KeyboardInterrupt):
                    publish(public, {**NEW, "index.html": first})
            assert not (public / "index.html").exists()
    publish(public, NEW)
    assert files(public) == {**NEW, ".git/kept": b""}
