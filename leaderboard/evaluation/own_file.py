"""The user's own model file, in whichever form it was saved, as one file that the board could take.

This runs in the user's own process, for `certify` and `export`; a submission is one file already.
"""

import hashlib
from pathlib import Path

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.adapter import InputAdapter
from evaluators.onnx.file import MAX_BYTES
from evaluators.onnx.one_file import Settled, settle
from leaderboard.common.errors import InputError
from leaderboard.common.packed import read_packed
from leaderboard.common.progress import tell
from leaderboard.datasets import files
from leaderboard.datasets.catalogue import find_dataset


def layout_of(channels_last: bool, shape: str | None) -> InputAdapter:
    """Return the layout of a file's input that was typed, such as "784" or "28,28".

    Raises:
        InputError: the shape is no list of sizes.
    """
    words = [] if shape is None else shape.replace("x", ",").strip("[]() ").split(",")
    words = [word.strip() for word in words if word.strip()]
    sizes = tuple(int(word) for word in words if word.isascii() and word.isdigit())
    if len(sizes) < len(words) or 0 in sizes or (shape is not None and not sizes):
        raise InputError(f"--input-shape is '{shape}'; it must be sizes such as 784 or 28,28.")
    return InputAdapter(channels_last=channels_last, shape=sizes or None)


def settled(path: Path, dataset: str, layout: InputAdapter) -> Settled:
    """Read a model file as one ordinary file of a dataset's images.

    Raises:
        InputError: with every reason why it cannot be.
    """
    try:
        return settle(read_packed(path, MAX_BYTES), path, find_dataset(dataset).shape, layout)
    except UnsupportedModelError as error:
        raise InputError(*error.problems) from error


def own_file(path: Path, dataset: str, layout: InputAdapter) -> Path:
    """Return a model file that is one ordinary file: this one, or another in the cache.

    Raises:
        InputError: it cannot be made into one.
    """
    made = settled(path, dataset, layout)
    if not made.notes and files.sha256_of(path) == files.digest(made.data):
        return path
    name = path.name.removesuffix(".gz")
    place = files.cache_folder() / "models" / hashlib.sha256(made.data).hexdigest()[:16] / name
    files.write(place, made.data)
    for note in made.notes:
        tell(f"{path.name}: {note}.")
    tell(f"{path.name}: every result is about this changed copy: {place}.")
    return place
