"""What is asked about a model, and how the work is cut into shards."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any

LARGEST_SHARD = 100
"""Examples: what a killed run loses at most."""
_SHARD_PIXELS = 4_000_000


@dataclass(frozen=True)
class Question:
    """What is asked about a model; everything that its rows depend on besides the model.

    Attributes:
        dataset: name of the dataset, whose test split is used.
        norm, radius: the region.
        seconds: time budget of an example.
        evaluator: a name of the catalogue, or None for the protocol: the cascade for a plain
            network, smoothing for a smoothed one.
        options: the evaluator's options that differ from its defaults.
        sigma: scale of the Gaussian noise if the model is a smoothed one, as an exact fraction.
        model, model_sha256: the ONNX file, and the content that is asked about.
        device: cpu, cuda or cuda:N.
    """

    dataset: str
    norm: str
    radius: Fraction
    seconds: float
    evaluator: str | None
    options: tuple[tuple[str, Any], ...]
    distribution: str | None
    sigma: Fraction | None
    model: Path
    model_sha256: str
    device: str = "cpu"

    @property
    def seed(self) -> int:
        """Of the random streams: from the model and the setting, so that nobody can choose it."""
        asked = f"{self.model_sha256} {self.dataset} {self.norm} {self.radius}"
        key = hashlib.sha256(asked.encode()).digest()
        return int.from_bytes(key[:8], "little") >> 1


@dataclass(frozen=True)
class Shard:
    """Some examples of one question."""

    question: Question
    examples: tuple[int, ...]


def shards(question: Question, examples: Sequence[int], shape: tuple[int, ...]) -> Iterator[Shard]:
    """Cut examples into shards whose size depends on nothing but the shape of an image."""
    size = max(1, min(LARGEST_SHARD, _SHARD_PIXELS // prod(shape)))
    for first in range(0, len(examples), size):
        yield Shard(question, tuple(examples[first : first + size]))
