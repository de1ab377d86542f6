"""The evidence of one evaluation in one file: what proves each certified example.

A zip file of

- `meta.json`: what all of it is about, the attributes of `About`;
- `examples.csv`: a line `example,label,method` for each example, by example. A method of
  `recheck_methods.METHODS` needs nothing else: the checker derives the proof;
- `<example>.npz` for each line with the method `certificate` or `witness`: a `Certificate` or
  `Refutation` as `save` writes it.

`misread` says that the model does not read the example itself as its label; the checker runs it.
`none` says that an example was certified and nothing that the checker accepts was found. Inputs are
those of the dataset, which must be at hand. The same content has the same bytes.
"""

import io
import json
import math
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from evaluators.numerics.errors import CertificateError
from evaluators.question.evidence_file import (
    EPOCH,
    MAX_BYTES,
    Evidence,
    exact_radius,
    replacing,
    unpacked,
)
from evaluators.recheck.methods import METHODS

SUFFIX = ".evidence"
CERTIFICATE, WITNESS, MISREAD, NONE = "certificate", "witness", "misread", "none"
REFUTING = (WITNESS, MISREAD)
_FILES = (CERTIFICATE, WITNESS)
_KNOWN = (*METHODS, *_FILES, MISREAD, NONE)
_FORMAT = 1
_META, _TABLE = "meta.json", "examples.csv"
_MAX_META, _MAX_TABLE = 2**16, 2**24
_HEADER = "example,label,method"
_LINE = re.compile(r"(0|[1-9][0-9]{0,8}),(0|[1-9][0-9]{0,8}),([a-z-]{1,20})")
_SHA256 = re.compile(r"[0-9a-f]{64}")

StoredEvidence = TypeVar("StoredEvidence", bound=Evidence)


@dataclass(frozen=True)
class About:
    """What all evidence of a file is about: a model's file, a dataset's split, a ball.

    Each entry of an input is limited to [`low`, `high`].
    """

    model_sha256: str
    dataset: str
    data_sha256: str
    norm: str
    radius: Fraction
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True, order=True)
class EvidenceLine:
    """What the table says of one example, and how that is proved."""

    example: int
    label: int
    method: str


class Archive:
    """A file of evidence from anywhere; single certificates are read when they are asked for.

    Raises:
        CertificateError: it is not such a file, or a part of it is missing, additional or wrong;
            what certificates say may still be wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sizes = self._listed()
        self.about = _about(self._read(_META, _MAX_META))
        self.lines = {line.example: line for line in _lines(self._read(_TABLE, _MAX_TABLE))}
        needed = {f"{line.example}.npz" for line in self.lines.values() if line.method in _FILES}
        for name in sorted((needed | {_META, _TABLE}) ^ self._sizes.keys()):
            what = "is missing" if name in needed else "has no place in it"
            raise self._error(f"'{name[:40]}' {what}.")

    @cached_property
    def counts(self) -> Counter[str]:
        """How many lines have each method."""
        return Counter(line.method for line in self.lines.values())

    def content(self, example: int) -> bytes:
        """Read the bytes of an example's own certificate or witness."""
        return self._read(f"{example}.npz", MAX_BYTES)

    def evidence(self, kind: type[StoredEvidence], example: int) -> StoredEvidence:
        """Read an example's own certificate or witness.

        Raises:
            CertificateError: it is none.
        """
        return kind.load(io.BytesIO(self.content(example)))

    def _error(self, reason: str) -> CertificateError:
        return CertificateError(f"{self.path}: {reason}")

    def _listed(self) -> dict[str, int]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = archive.infolist()
        except OSError as error:
            raise self._error(f"it cannot be read ({error.strerror or error}).") from error
        except Exception as error:  # a damaged archive breaks the reader in many ways
            raise self._error("it is not a file of evidence, or is damaged.") from error
        sizes = {member.filename: member.file_size for member in members}
        if len(sizes) < len(members):
            raise self._error("two of its parts have the same name.")
        return sizes

    def _read(self, name: str, most: int) -> bytes:
        size = self._sizes.get(name)
        if size is None:
            raise self._error(f"it is not a file of evidence: '{name}' is missing.")
        if size > most:
            raise self._error(f"'{name}' unpacks to more than {most:,} bytes.")
        try:
            with zipfile.ZipFile(self.path) as archive:
                return unpacked(archive, archive.getinfo(name))
        except Exception as error:  # as above
            raise self._error(f"'{name}' is damaged.") from error


def write_archive(
    path: Path, about: About, lines: Sequence[EvidenceLine], contents: Iterable[tuple[int, bytes]]
) -> None:
    """Write a file; it is whole or not there.

    Contents are the bytes of certificates and witnesses, by example in the order of lines.
    """
    table = "".join(f"{x.example},{x.label},{x.method}\n" for x in sorted(lines))
    meta = {"format": _FORMAT, **asdict(about), "radius": str(about.radius)}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _add(archive, _META, json.dumps(meta).encode(), zipfile.ZIP_DEFLATED)
        _add(archive, _TABLE, f"{_HEADER}\n{table}".encode(), zipfile.ZIP_DEFLATED)
        for example, content in contents:  # packed already
            _add(archive, f"{example}.npz", content, zipfile.ZIP_STORED)


def join_archives(path: Path, about: About, parts: Sequence[Path], refuted: bool = True) -> Archive:
    """Join the evidence of several files about the same, perhaps without the `refuted` examples.

    Raises:
        CertificateError: one of them is about something else, or damaged.
    """
    archives = [Archive(part) for part in parts]
    for archive in archives:
        if archive.about != about:
            raise CertificateError(f"{archive.path}: it is about something else.")
    where = {example: archive for archive in archives for example in archive.lines}
    lines = [archive.lines[example] for example, archive in sorted(where.items())]
    lines = [line for line in lines if refuted or line.method not in REFUTING]
    kept = (line.example for line in lines if line.method in _FILES)
    write_archive(path, about, lines, ((x, where[x].content(x)) for x in kept))
    return Archive(path)


def _add(archive: zipfile.ZipFile, name: str, content: bytes, compression: int) -> None:
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type, info.create_system = compression, 3
    archive.writestr(info, content)


def _about(content: bytes) -> About:
    try:
        meta: Any = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise CertificateError(f"'{_META}' is not JSON.") from error
    keys = {"format", *About.__dataclass_fields__}
    if not isinstance(meta, dict) or meta.keys() != keys:
        raise CertificateError(f"'{_META}' must have exactly the keys {', '.join(sorted(keys))}.")
    if type(meta["format"]) is not int or meta.pop("format") != _FORMAT:
        raise CertificateError(f"'{_META}' is of another format than {_FORMAT}.")
    for key in ("model_sha256", "data_sha256"):
        if not isinstance(meta[key], str) or not _SHA256.fullmatch(meta[key]):
            raise CertificateError(f"'{key}' in '{_META}' is not a SHA-256.")
    for key in ("dataset", "norm"):
        if not isinstance(meta[key], str) or len(meta[key]) > 100:
            raise CertificateError(f"'{key}' in '{_META}' is not a name.")
    for key in ("low", "high"):
        if type(meta[key]) is not float or not math.isfinite(meta[key]):
            raise CertificateError(f"'{key}' in '{_META}' is not a finite number.")
    return About(**{**meta, "radius": exact_radius(meta["radius"])})


def _lines(content: bytes) -> list[EvidenceLine]:
    header, *rest = content.decode("ascii", "replace").split("\n")
    if header != _HEADER or not rest or rest.pop():
        raise CertificateError(f"'{_TABLE}' does not begin with {_HEADER}, or is cut off.")
    lines, last = list[EvidenceLine](), -1
    for number, text in enumerate(rest, start=2):
        match = _LINE.fullmatch(text)
        if match is None or match[3] not in _KNOWN:
            raise CertificateError(
                f"line {number} of '{_TABLE}' is not an example, its label and one of"
                f" {', '.join(_KNOWN)}."
            )
        line = EvidenceLine(int(match[1]), int(match[2]), match[3])
        if line.example <= last:
            raise CertificateError(f"line {number} of '{_TABLE}' is not in order, or repeated.")
        last = line.example
        lines.append(line)
    return lines
