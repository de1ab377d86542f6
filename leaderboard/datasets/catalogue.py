"""The catalogue of datasets: one file in `leaderboard/datasets/` each."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from leaderboard import datasets
from leaderboard.common.errors import InputError, unknown_name
from leaderboard.datasets import files
from leaderboard.datasets.files import DataFile, Download
from leaderboard.datasets.split import Split


@dataclass(frozen=True)
class Dataset:
    """What a dataset is, where it comes from, and how its splits are loaded.

    `shape` is one image's `(channel, height, width)`; `splits` has what reads the split `test` and,
    where there is one, `train`, or raises `InputError`. `downloads` is where certboard gets the
    files; where it cannot, `obtain` tells a user what to do, as part of a sentence. `may_be_shown`
    is whether its terms let the website show some of its images.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    test_size: int
    source: str
    licence: str
    citation: str
    splits: Mapping[str, Callable[[], Split]] = field(hash=False)
    obtain: str = ""
    downloads: tuple[Download, ...] = ()
    may_be_shown: bool = True

    def load(self, split: str) -> Split:
        """Read a split.

        Raises:
            InputError: there is none of this name, or its files are missing, broken or others.
        """
        if split not in self.splits:
            known = ", ".join(self.splits)
            raise InputError(f"There is no split '{split}' of {self.name}. Known: {known}.")
        return self.splits[split]()


NO_DATASETS = {"catalogue", "files", "split"}
"""The files of the folder that are about all datasets; each of the others is one."""


@cache
def load_datasets() -> dict[str, Dataset]:
    """The datasets by name, in alphabetical order.

    Raises:
        TypeError: a file of the folder does not define a `DATASET` with the file's name.
    """
    found: dict[str, Dataset] = {}
    files = {module.name for module in pkgutil.iter_modules(datasets.__path__)}
    for name in sorted(files - NO_DATASETS):
        module = importlib.import_module(f"{datasets.__name__}.{name}")
        dataset = getattr(module, "DATASET", None)
        if not isinstance(dataset, Dataset) or dataset.name != name:
            raise TypeError(f"leaderboard/datasets/{name}.py must define DATASET, named '{name}'")
        found[name] = dataset
    return found


def find_dataset(name: str) -> Dataset:
    """The dataset called `name`.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    if name not in load_datasets():
        raise unknown_name("dataset", name, load_datasets())
    return load_datasets()[name]


_lent = dict[str, Split]()


@cache
def load_split(name: str) -> Split:
    """The test split of a dataset, once a process."""
    return _lent[name] if name in _lent else find_dataset(name).load("test")


def lend(name: str, split: Split) -> None:
    """Let this process use a test split that came from another machine."""
    _lent[name] = split
    load_split.cache_clear()


def find_file(name: str, candidates: tuple[str, ...]) -> Path:
    """The first of `candidates` in the folders of the dataset `name`.

    Raises:
        InputError: none is there, and what to do.
    """
    if (path := files.find(name, candidates)) is not None:
        return path
    places = " or ".join(map(str, files.folders(name)))
    how = find_dataset(name).obtain or f"get it with `certboard data fetch {name}`"
    advice = f"{how}, or set {files.VARIABLE} to the folder that has {name}/."
    raise InputError(f"There is no {candidates[0]} in {places}: {advice}")


def read_file(name: str, file: DataFile) -> bytes:
    """The verified content of a dataset's file, which may lie there packed or plain.

    Raises:
        InputError: it is missing, broken, or another file.
    """
    path = find_file(name, (file.path, f"{file.path}.gz"))
    return files.read_verified(path, file.sha256)


def fetch(name: str) -> Path:
    """Download what is missing of the dataset `name`; returns its folder.

    Raises:
        InputError: it cannot be downloaded at all, or no mirror answers with the right files.
    """
    dataset = find_dataset(name)
    if not dataset.downloads:
        raise InputError(f"{dataset.title} cannot be downloaded by certboard: {dataset.obtain}.")
    folder = next(files.folders(name))
    for source in dataset.downloads:
        if not all(files.present(folder, file) for file in source.files):
            files.download(source, folder)
    return folder
