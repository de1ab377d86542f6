"""What is kept of a network to recognise it again: `site/data/checks/<slug>.json`.

Two fingerprints. *Weights*: for each layer a hash of its sorted values, which renamed nodes, added
identities and permuted neurons leave as they are. *Answers*: the logits on fixed probe images, less
their mean per image and divided by their length, which any change of the network that keeps its
answers leaves as they are, a rescaling of neurons or of all logits too. Both are compared through
tables of hashes, so that a thousand submissions cost a thousand look-ups.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from pydantic import Field, ValidationError

from leaderboard.data_files import write
from leaderboard.errors import InputError
from leaderboard.project import Project
from leaderboard.strict_toml import Entries, Strict

VERSION = 1
SAME_ANSWERS = 0.01
"""Distance of two scaled vectors of logits; networks trained apart are further than 0.1."""
SAME_WEIGHTS = 0.5
"""Share of the weights in layers that are equal."""
_TABLES, _PER_TABLE, _GRID = 6, 2, 0.05


class Layer(Strict):
    """One layer: how many weights it has, and the hash of their sorted values."""

    weights: int = Field(ge=1)
    digest: str = Field(pattern="[0-9a-f]{16}")


class Lookup(Strict):
    """Accuracy on test images, on them with a little noise, on training images; flat slopes."""

    examples: int = Field(ge=1)
    clean: float = Field(ge=0, le=1)
    noisy: float = Field(ge=0, le=1)
    fresh: float | None = Field(default=None, ge=0, le=1)
    flat: float = Field(ge=0, le=1)


class Checks(Strict):
    """What is kept of one submission's network."""

    version: int = VERSION
    model_sha256: str = Field(pattern="[0-9a-f]{64}")
    first_seen: str
    answers: Entries[float] = Field(max_length=100_000)
    layers: Entries[Layer] = Field(max_length=10_000)
    lookup: Lookup | None = None


@dataclass(frozen=True)
class Twin:
    """Another submission's network that is the same, or nearly."""

    other: str
    distance: float
    shared: float

    @property
    def answers(self) -> bool:
        """Whether it gives the same answers, not only shares weights."""
        return self.distance <= SAME_ANSWERS


def twins(checks: Mapping[str, Checks]) -> Iterator[tuple[str, Twin]]:
    """Networks and the first earlier one each is the same as; linear in their number.

    Earlier is who was seen first, then who comes first in the alphabet.
    """
    seen: dict[tuple[object, ...], str] = {}
    for slug in sorted(checks, key=lambda slug: (checks[slug].first_seen, slug)):
        one = checks[slug]
        keys = list(_keys(one))
        for other in dict.fromkeys(seen[key] for key in keys if key in seen):
            twin = Twin(other, distance(one, checks[other]), shared(one, checks[other]))
            if twin.answers or twin.shared >= SAME_WEIGHTS:
                yield slug, twin
                break
        for key in keys:
            seen.setdefault(key, slug)


def _keys(checks: Checks) -> Iterator[tuple[object, ...]]:
    """Where to look for the same network: its layers, and coarse projections of its answers.

    Equal answers differ by a thousandth of a cell, so that one of the tables has them together.
    """
    for layer in checks.layers:
        if layer.weights >= 100:
            yield ("layer", layer.digest)
    values = checks.answers
    if not any(values):
        return
    for table in range(_TABLES):
        cell = []
        for place in range(_PER_TABLE):
            number = table * _PER_TABLE + place
            total = sum(_sign(number, i) * value for i, value in enumerate(values))
            cell.append(int((total / _GRID + table / _TABLES) // 1))
        yield ("answers", table, len(values), *cell)


def _sign(number: int, position: int) -> int:
    """A fixed pattern of signs, another for every number."""
    mixed = (position * 2654435761 + number * 40503 + 12345) & 0xFFFFFFFF
    mixed ^= mixed >> 15
    mixed = (mixed * 2246822519) & 0xFFFFFFFF
    return 1 if (mixed >> 16) & 1 else -1


def distance(one: Checks, other: Checks) -> float:
    """Of two networks' scaled answers: 0 for the same, about 1.4 for unrelated ones."""
    if len(one.answers) != len(other.answers) or not any(one.answers) or not any(other.answers):
        return 2.0
    pairs = zip(one.answers, other.answers, strict=True)
    return sqrt(sum((a - b) ** 2 for a, b in pairs))


def shared(one: Checks, other: Checks) -> float:
    """The share of the first network's weights that lie in layers of the second."""
    total = sum(layer.weights for layer in one.layers)
    theirs = {layer.digest for layer in other.layers}
    same = sum(layer.weights for layer in one.layers if layer.digest in theirs)
    return same / total if total else 0.0


def read_checks(path: Path) -> Checks:
    """What is kept of one network.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return Checks.model_validate_json(path.read_bytes())
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        sentence = f"{path}: is damaged at '{where}'; remove it and run `certboard run` again."
        raise InputError(sentence) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def store_checks(project: Project, slug: str, checks: Checks) -> None:
    """Keep what is needed to recognise a network.

    Raises:
        InputError: the place cannot be written.
    """
    text = json.dumps(checks.model_dump(mode="json"), indent=None, separators=(",", ":"))
    write(project.checks / f"{slug}.json", text.encode() + b"\n")
