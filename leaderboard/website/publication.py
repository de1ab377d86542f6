"""The folder of the published website: only what differs is written, and what is stale vanishes."""

import os
from collections.abc import Iterator
from pathlib import Path

FIRST_PAGE = "index.html"


class Publication:
    """The regular files below a folder, by path, and which of them a build has left as they are.

    Names at the top that start with a dot are not ours. Links are followed nowhere: they count as
    stale. Contents are compared byte for byte, so a file that was damaged or cut off is replaced.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unchanged: set[str] = set()
        self._sizes = dict(_regular(folder, ""))

    def has(self, path: str, content: bytes) -> bool:
        """Whether the file is there with this content, and therefore need not be written."""
        if self._sizes.get(path) != len(content):
            return False
        # Of tens of thousands of files: what a `Path` does besides takes longer than reading.
        with open(f"{self.folder}/{path}", "rb") as file:  # noqa: PTH123
            if file.read() != content:
                return False
        self.unchanged.add(path)
        return True

    def replace(self, *made: Path) -> None:
        """Move all files below the folders `made` here, and remove what is neither new nor `has`.

        The first page is taken away before anything else, and comes last: what an interrupted
        build leaves has none. Until here, the website is what it was.
        """
        for root in made:
            for path, _ in list(_regular(root, "")):
                if self.has(path, (root / path).read_bytes()):
                    (root / path).unlink()
        first, waiting = self.folder / FIRST_PAGE, self.folder / f".{FIRST_PAGE}"
        self.folder.mkdir(parents=True, exist_ok=True)
        waiting.unlink(missing_ok=True)
        if FIRST_PAGE in self.unchanged:
            first.replace(waiting)
        else:
            first.unlink(missing_ok=True)
        _remove_others(self.folder, "", self.unchanged)
        for root in made:
            if (root / FIRST_PAGE).is_file():
                (root / FIRST_PAGE).replace(waiting)
            place_files(root, self.folder)
        if waiting.exists():
            waiting.replace(first)


def place_files(source: Path, target: Path) -> None:
    """Move everything below one folder to the same place below another."""
    for entry in sorted(source.iterdir()):
        there = target / entry.name
        if entry.is_dir() and there.is_dir():
            place_files(entry, there)
        else:
            entry.replace(there)
    source.rmdir()


def _regular(root: Path, below: str) -> Iterator[tuple[str, int]]:
    if not root.is_dir():
        return
    with os.scandir(root) as entries:
        for entry in entries:
            if below or not entry.name.startswith("."):
                if entry.is_dir(follow_symlinks=False):
                    yield from _regular(root / entry.name, f"{below}{entry.name}/")
                elif entry.is_file(follow_symlinks=False):
                    yield f"{below}{entry.name}", entry.stat().st_size


def _remove_others(folder: Path, below: str, kept: set[str]) -> bool:
    """Remove all that is not kept, and folders with nothing in them; whether anything is left."""
    left = False
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{below}{entry.name}"
            if not below and entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if _remove_others(folder / entry.name, f"{path}/", kept):
                    left = True
                else:
                    (folder / entry.name).rmdir()
            elif path in kept:
                left = True
            else:
                (folder / entry.name).unlink()
    return left
