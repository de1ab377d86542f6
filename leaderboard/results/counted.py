"""Tally and highlights as text that is kept, so that a file that did not change is not read."""

import base64
import json
from array import array
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from leaderboard.common.errors import InputError
from leaderboard.datasets.files import sha256_of
from leaderboard.results.highlights import Group, Highlights, Shown, Times
from leaderboard.results.kept import Kept, key_of
from leaderboard.results.store import Provenance, Results, scan
from leaderboard.results.tally import Tally


def counted(path: Path, kept: Kept) -> Results:
    """`scan(path)`, or what it gave for a file with these bytes, by this code, at another time.

    Raises:
        InputError: as for `scan`.
    """
    try:
        sha256 = sha256_of(path)
    except InputError:
        return scan(path)
    key = key_of("counted", [sha256])
    known = kept.get(key)
    result = scan(path) if known is None else _unpacked(path, known)
    # Not what was counted of another file that came in between.
    if known is None and sha256 == sha256_of(path):
        kept.put(key, _packed(result))
        result.sha256 = sha256
    elif known is not None:
        result.sha256 = sha256
    return result


def _packed(result: Results) -> bytes:
    tally, found = result.tally, result.highlights
    told = {
        "provenance": result.provenance.model_dump(mode="json"),
        "tally": {
            **vars(tally),
            "decided": [[*pair, number] for pair, number in tally.decided.items()],
            "reached": [str(radius) for radius in tally.reached],
            "predicted": list(tally.predicted.items()),
        },
        "letters": found.letters,
        "examples": _indices(found.examples),
        "times": {status: vars(times) for status, times in found.times.items()},
        "groups": [
            [group.title, group.measure, [_shown(one) for one in group.examples]]
            for group in found.groups
        ],
    }
    return json.dumps(told).encode()


def _indices(examples: Sequence[int]) -> list[int] | dict[str, int]:
    if isinstance(examples, range):
        return {"start": examples.start, "stop": examples.stop, "step": examples.step}
    return list(examples)


def _shown(one: Shown) -> dict[str, Any]:
    witness = None if one.witness is None else base64.b64encode(one.witness).decode()
    return {**vars(one), "witness": witness}


def _unpacked(path: Path, text: bytes) -> Results:
    told = json.loads(text)
    result = Results(path, None, Provenance.model_validate(told["provenance"]))
    tally, examples = told["tally"], told["examples"]
    result.__dict__["tally"] = Tally(
        **{
            **tally,
            "decided": {(status, stage): number for status, stage, number in tally["decided"]},
            "reached": tuple(map(Fraction, tally["reached"])),
            "reaching_each": tuple(tally["reaching_each"]),
            "predicted": dict(tally["predicted"]),
        }
    )
    result.__dict__["highlights"] = Highlights(
        letters=told["letters"],
        examples=range(*examples.values()) if isinstance(examples, dict) else array("q", examples),
        times={
            status: Times(**{**times, "parts": tuple(times["parts"])})
            for status, times in told["times"].items()
        },
        groups=tuple(
            Group(title, measure, tuple(map(_seen, some)))
            for title, measure, some in told["groups"]
        ),
    )
    return result


def _seen(told: dict[str, Any]) -> Shown:
    witness = told["witness"]
    return Shown(**{**told, "witness": None if witness is None else base64.b64decode(witness)})
