"""What is kept of a network to recognise it again: `site/data/checks/<slug>.json`.

Two sketches, on probe images that never change, find in a moment the few of a thousand networks
that may be the same: *answers*, the logits less their mean per image, divided by their length; and
*units*, a hash for each hidden unit of what it computes, up to a factor and a constant. A copy can
be made to miss them, for the probes are public. So the few nearest are run beside the network on
images that nobody knew before, and what came of it is kept, too (`compared`; see `likeness.py`).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from leaderboard.board.likeness import directions
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.common.strict_toml import Entries, Strict
from leaderboard.datasets.files import write

VERSION = 2
SAME_ANSWERS = 0.01
"""Distance of two scaled vectors of logits; networks trained apart are further than 0.1."""
AGREED = 0.5
"""Share of fresh images with the same logits."""
SAME_UNITS = 0.4
"""Share of hidden units that are equal."""
CLOSEST = 32
"""How many others a network is compared with on fresh images."""
_TABLES, _PER_TABLE, _GRID = 6, 2, 0.05
_BITS, _KEPT = 24, 256
"""Of the hash of a unit, and how many hashes are kept: the least, of equal sets the same ones."""
_FEWEST = 4


class Compared(Strict):
    """Another network on the same fresh images: shares of equal answers and equal hidden units."""

    other: str
    model_sha256: str = Field(pattern="[0-9a-f]{64}")
    answers: float = Field(ge=0, le=1)
    units: float = Field(ge=0, le=1)
    salt: str = Field(pattern="[0-9]{1,20}")


class Lookup(Strict):
    """Accuracy on test images, on them with a little noise, on training images; flat slopes."""

    examples: int = Field(ge=1)
    clean: float = Field(ge=0, le=1)
    noisy: float = Field(ge=0, le=1)
    fresh: float | None = Field(default=None, ge=0, le=1)
    flat: float = Field(ge=0, le=1)


class Checks(Strict):
    """What is kept of one submission's network.

    `missed` names those most like it that it was not run beside, for they could not be read.
    """

    version: int = VERSION
    model_sha256: str = Field(pattern="[0-9a-f]{64}")
    first_seen: str
    answers: Entries[float] = Field(max_length=100_000)
    units: Entries[int] = Field(max_length=_KEPT)
    compared: Entries[Compared] = Field(default=(), max_length=CLOSEST)
    missed: Entries[str] = Field(default=(), max_length=1000)
    lookup: Lookup | None = None


@dataclass(frozen=True)
class Twin:
    """Another submission's network that is the same, or nearly.

    Attributes:
        other: its slug.
        distance: of the scaled answers on the probes.
        shared: share of equal hidden units.
        agreed: share of fresh images with the same answers; None where they were not compared.
    """

    other: str
    distance: float
    shared: float
    agreed: float | None = None

    @property
    def answers(self) -> bool:
        """Whether it gives the same answers, not only shares hidden units."""
        return self.distance <= SAME_ANSWERS or (self.agreed or 0) >= AGREED


def known_since(before: Checks | None, found: Checks) -> str:
    """When a submission's network was first seen, of which `before` was kept.

    An update that gives the former model's answers is as old as that: else whoever had copied the
    former one would be there before it.
    """
    if before is None:
        return found.first_seen
    same = before.model_sha256 == found.model_sha256 or _twin(found, "", before, None).answers
    return before.first_seen if same else found.first_seen


def twins(
    checks: Mapping[str, Checks], counts: Callable[[str, str], bool] = lambda *_: True
) -> Iterator[tuple[str, Twin]]:
    """Yield networks, each with the earlier one that it is most like, if it is the same; linear.

    Earlier is who was seen first, then who comes first in the alphabet. Of two names, `counts` says
    whether the first may be told as the twin of the second; one that may not hides no other.
    """
    seen: dict[tuple[object, ...], str] = {}
    before: dict[str, int] = {}
    compared = _compared(checks)
    for slug in sorted(checks, key=lambda slug: (checks[slug].first_seen, slug)):
        one, pairs = checks[slug], compared[slug]
        keys = list(_keys(one))
        others = {seen[key] for key in keys if key in seen} | (pairs.keys() & before.keys())
        asked = {
            other: checks[other]
            for other in sorted(others, key=before.__getitem__)
            if counts(slug, other)
        }
        if same := _same(one, asked, pairs):
            yield slug, max(same, key=lambda twin: (twin.answers, twin.shared))
        before[slug] = len(before)
        for key in keys:
            seen.setdefault(key, slug)


def like(slug: str, checks: Mapping[str, Checks]) -> list[str]:
    """List the networks that are the same as one, whether seen before or after it."""
    if slug not in checks:
        return []
    one, pairs = checks[slug], _compared(checks)[slug]
    keys = set(_keys(one))
    others = {
        other: found
        for other, found in checks.items()
        if other != slug and (other in pairs or not keys.isdisjoint(_keys(found)))
    }
    return [twin.other for twin in _same(one, others, pairs)]


def _same(one: Checks, others: Mapping[str, Checks], pairs: Mapping[str, Compared]) -> list[Twin]:
    """Those of the others that are the same network."""
    found = [_twin(one, slug, other, pairs.get(slug)) for slug, other in others.items()]
    return [twin for twin in found if twin.answers or twin.shared >= SAME_UNITS]


def _compared(checks: Mapping[str, Checks]) -> dict[str, dict[str, Compared]]:
    """What was found on fresh images about networks that are still there, in both directions."""
    found: dict[str, dict[str, Compared]] = {slug: {} for slug in checks}
    for slug, one in checks.items():
        for pair in one.compared:
            if pair.other in checks and checks[pair.other].model_sha256 == pair.model_sha256:
                found[slug][pair.other] = pair
                found[pair.other].setdefault(slug, pair)
    return found


def _twin(one: Checks, slug: str, other: Checks, pair: Compared | None) -> Twin:
    shared = overlap(one.units, other.units)
    if one.model_sha256 == other.model_sha256:
        return Twin(slug, 0.0, 1.0, 1.0)
    if pair is None:
        return Twin(slug, distance(one, other), shared)
    return Twin(slug, distance(one, other), max(shared, pair.units), pair.answers)


def closest(one: Checks, others: Mapping[str, Checks]) -> list[str]:
    """Sort the others by their sketches, those that are most like it first."""

    def likeness(slug: str) -> float:
        return overlap(one.units, others[slug].units) - distance(one, others[slug])

    return sorted(others, key=likeness, reverse=True)


def sketch(units: NDArray[np.floating]) -> tuple[int, ...]:
    """Hash hidden units `[units, probes]` by the side of some planes on which each lies.

    A factor, its sign too, and a constant change nothing; small changes only a few of them.
    """
    lines = directions(units).astype(np.float64)
    planes = np.random.Generator(np.random.Philox(key=9))
    sides = lines @ planes.standard_normal((units.shape[1], _BITS)) > 0
    codes = sides @ (1 << np.arange(_BITS))
    codes = np.unique(np.minimum(codes, (1 << _BITS) - 1 - codes).astype(np.int64))
    # Mixed, for the least of them are to be any of them; the factor is odd: none becomes another.
    return tuple(np.sort(codes * 0x9E3779B1 % (1 << _BITS))[:_KEPT].tolist())


def overlap(one: Sequence[int], other: Sequence[int]) -> float:
    """Estimate the share of the smaller set of hidden units that is in the other, by sketches."""
    # Beyond the end of a full sketch, nothing is known of that set.
    ends = [values[-1] for values in (one, other) if len(values) == _KEPT]
    first, second = ({v for v in values if v <= min(ends, default=v)} for values in (one, other))
    smaller = min(len(first), len(second))
    return len(first & second) / smaller if smaller >= _FEWEST else 0.0


def _keys(checks: Checks) -> Iterator[tuple[object, ...]]:
    """Where to look for the same network: its units, and coarse projections of its answers.

    Equal answers differ by a thousandth of a cell, so that one of the tables has them together.
    """
    yield from (("unit", code) for code in checks.units)
    yield ("model", checks.model_sha256)
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
    """Measure the distance of two networks' scaled answers: 0 if the same, about 1.4 if not."""
    if len(one.answers) != len(other.answers) or not any(one.answers) or not any(other.answers):
        return 2.0
    pairs = zip(one.answers, other.answers, strict=True)
    return sqrt(sum((a - b) ** 2 for a, b in pairs))


def read_checks(path: Path) -> Checks:
    """Return what is kept of one network.

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
