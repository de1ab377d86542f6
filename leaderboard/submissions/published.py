"""Networks of others: named by their authors' own file, fetched by address and hash, never copied.

Such a file may want another input than the board's. What its authors do to an image first is
declared, is put in front of the graph, and has its part in the hash that rows carry.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from leaderboard.common.errors import InputError
from leaderboard.common.strict_toml import Entries, Strict
from leaderboard.common.text import OneLine, Sha256, Url
from leaderboard.datasets import files
from leaderboard.datasets.catalogue import find_dataset

_MOST_AXES = 4
_Size = Annotated[int, Field(ge=1, le=10**7)]
_Scale = Annotated[float, Field(gt=0, le=1000)]
_Mean = Annotated[float, Field(ge=-1000, le=1000)]


class Published(Strict):
    """What is said of a network that others published: its layers, and where one reads of it."""

    architecture: OneLine
    source: Url


class Adapter(Strict):
    """What the authors do to pixels first: `mean` and `deviation` a channel, layout, shape.

    `shape` is the file's input behind its batch dimension, if it is no image; `sha256` is of the
    file with all that in front of its graph.
    """

    mean: Entries[_Mean] = Field(default=(), max_length=_MOST_AXES)
    deviation: Entries[_Scale] = Field(default=(), max_length=_MOST_AXES)
    channels_last: bool = False
    shape: Entries[_Size] = Field(default=(), max_length=_MOST_AXES)
    sha256: Sha256

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if len(self.mean) != len(self.deviation):
            raise ValueError("must have a mean and a deviation of each channel, or neither")
        if not (self.mean or self.channels_last or self.shape):
            raise ValueError("does nothing: leave it out")
        return self


def adapted_path(adapter: Adapter, sha256: str, dataset: str) -> Path:
    """Return where the authors' file of this hash is kept with an adapter for a dataset's images.

    The place is that of all that it is made from: by the announced hash alone, another network
    that was kept before could pass for this one.
    """
    told = json.dumps([sha256, dataset, adapter.model_dump()], sort_keys=True)
    name = hashlib.sha256(told.encode()).hexdigest()
    return files.cache_folder() / "models" / "adapted" / f"{name}.onnx"


def is_adapted(adapter: Adapter, sha256: str, dataset: str) -> bool:
    """Say whether the file with this adapter is at hand, and is the right one."""
    path = adapted_path(adapter, sha256, dataset)
    return path.is_file() and files.sha256_of(path) == adapter.sha256


def adapted(source: Path, adapter: Adapter, sha256: str, dataset: str) -> Path:
    """Put an adapter in front of the authors' file, and keep what comes out in the cache.

    Raises:
        InputError: that cannot be done, or what comes out has not the announced hash.
    """
    from evaluators.numerics.errors import UnsupportedModelError
    from evaluators.onnx.adapter import InputAdapter, adapt

    channels, height, width = find_dataset(dataset).shape
    if len(adapter.mean) not in (0, channels):
        raise InputError(
            f"[adapter] has {len(adapter.mean)} means, but images {channels} channels."
        )
    made = InputAdapter(
        adapter.mean, adapter.deviation, adapter.channels_last, adapter.shape or None
    )
    try:
        theirs = source.read_bytes()
        if hashlib.sha256(theirs).hexdigest() != sha256:
            raise InputError(f"{source.name}: the file was changed; its SHA-256 is not {sha256}.")
        content = adapt(theirs, made, (channels, height, width))
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror}).") from error
    except UnsupportedModelError as error:
        raise InputError(*(f"{source.name}: {problem}" for problem in error.problems)) from error
    if (found := hashlib.sha256(content).hexdigest()) != adapter.sha256:
        raise InputError(
            f"{source.name}: with its adapter the file has the SHA-256 {found}, but"
            f" 'adapter.sha256' says {adapter.sha256}."
        )
    path = adapted_path(adapter, sha256, dataset)
    files.write(path, content)
    return path
