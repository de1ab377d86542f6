import gzip
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from leaderboard.common.errors import InputError
from leaderboard.datasets import catalogue
from leaderboard.datasets import files as data_files
from leaderboard.datasets.catalogue import find_dataset
from leaderboard.datasets.files import DataFile, Download, digest


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which it is served."""
    root = tmp_path / "served"
    root.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(root))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield root, f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def offer(monkeypatch: pytest.MonkeyPatch, *downloads: Download) -> None:
    """Let the catalogue's MNIST come from other places."""
    changed = replace(find_dataset("mnist"), downloads=downloads)
    monkeypatch.setattr(catalogue, "load_datasets", lambda: {"mnist": changed})


def test_fetch_passes_over_a_broken_and_a_wrong_mirror(
    data: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, address = server
    for name, content in (("wrong", b"another file"), ("right", b"the file")):
        (root / name).mkdir()
        (root / name / "a.gz").write_bytes(gzip.compress(content))
    mirrors = ("http://127.0.0.1:9", f"{address}/absent", f"{address}/wrong", f"{address}/right")
    file = DataFile("a", digest(b"the file"))
    offer(monkeypatch, Download(tuple(f"{mirror}/a.gz" for mirror in mirrors), (file,)))
    folder = catalogue.fetch("mnist")
    assert folder == data / "mnist"
    assert [path.name for path in folder.iterdir()] == ["a"]
    assert (folder / "a").read_bytes() == b"the file"


def test_fetch_takes_the_files_of_an_archive_and_checks_each(
    data: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, address = server
    with tarfile.open(root / "all.tar.gz", "w:gz") as archive:
        for name in ("sub/a.bin", "sub/b.bin", "../c.bin"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
    files = (DataFile("sub/a.bin", digest(b"abc")), DataFile("sub/b.bin", digest(b"abc")))
    urls = (f"{address}/all.tar.gz",)
    offer(monkeypatch, Download(urls, files))
    folder = catalogue.fetch("mnist")
    assert sorted(path.name for path in folder.rglob("*.bin")) == ["a.bin", "b.bin"]
    offer(monkeypatch, Download(urls, (*files, DataFile("sub/d.bin", digest(b"abc")))))
    with pytest.raises(InputError, match="wrong content"):
        catalogue.fetch("mnist")
    offer(monkeypatch, Download(urls, (files[0], DataFile("sub/b.bin", digest(b"abd")))))
    with pytest.raises(InputError, match=r"wrong content of sub/b\.bin"):
        catalogue.fetch("mnist")


def test_without_a_network_fetch_says_so_in_one_sentence(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = DataFile("a", digest(b"x"))
    urls = ("http://127.0.0.1:9/a", "http://no-such-host.invalid/a")
    offer(monkeypatch, Download(urls, (file,)))
    with pytest.raises(InputError) as raised:
        catalogue.fetch("mnist")
    (sentence,) = raised.value.problems
    assert sentence.startswith("a could not be downloaded from http://127.0.0.1:9/a (no answer")
    assert "nor from http://no-such-host.invalid/a (no answer" in sentence
    assert not (data / "mnist").exists()


def test_fetch_leaves_what_is_already_right(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "mnist").mkdir(parents=True)
    (data / "mnist" / "a.gz").write_bytes(gzip.compress(b"x"))
    offer(monkeypatch, Download(("http://127.0.0.1:9/a",), (DataFile("a", digest(b"x")),)))
    assert catalogue.fetch("mnist") == data / "mnist"


@pytest.mark.parametrize("name", ["imagenet", "imagenet64", "tinyimagenet", "digits"])
def test_what_cannot_be_downloaded_is_told_with_what_to_do(name: str) -> None:
    with pytest.raises(InputError) as raised:
        catalogue.fetch(name)
    assert find_dataset(name).obtain in str(raised.value)


def test_a_folder_that_cannot_be_written_is_told(data: Path) -> None:
    data.write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be written"):
        data_files.write(data / "mnist" / "a", b"x")
