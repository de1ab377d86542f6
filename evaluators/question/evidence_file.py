"""Evidence as files: what every kind of it says, and how its arrays are written and read."""

import io
import json
import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from evaluators.numerics.arrays import Array
from evaluators.numerics.errors import CertificateError

FORMAT = 2
BOX = "box"
NORMS = ("linf", "l2", "l1", BOX)
BOX_ENDS = ("box_lower", "box_upper")

MAX_BYTES = 2**31
"""Of all arrays together, unpacked."""
_MAX_META = 2**16
EPOCH = (1980, 1, 1, 0, 0, 0)

Kinds = dict[str, tuple[str, int | None]]
"""Type and rank of arrays."""


EvidenceKind = TypeVar("EvidenceKind", bound="Evidence")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write, and rename it to `path` when it is whole; else it goes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """A claim about one class in one region of a network's inputs, as a file makes it.

    Attributes:
        norm: of the ball around `x`, or "box" for the box between `box_lower` and `box_upper`.
        radius: of the ball, exact; zero for a box.
        low, high: what each entry of an input is limited to (of no meaning for a box).
        label, classes: the right class, and how many there are.
        x: float32 example; None for a box.
        box_lower, box_upper: float64; None for a ball.
        model_sha256: of the model's file, where it is known.
    """

    norm: str
    radius: Fraction
    low: float = 0.0
    high: float = 1.0
    label: int
    classes: int
    x: Array | None = None
    box_lower: Array | None = None
    box_upper: Array | None = None
    model_sha256: str | None = None

    def arrays(self) -> dict[str, Array]:
        """Name the file's arrays."""
        meta = {
            "format": FORMAT,
            "model_sha256": self.model_sha256,
            "norm": self.norm,
            "radius": str(self.radius),
            "low": float(self.low),
            "high": float(self.high),
            "label": int(self.label),
            "classes": int(self.classes),
        }
        arrays = {"meta": np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)}
        for name in ("x", *BOX_ENDS):
            if (value := getattr(self, name)) is not None:
                arrays[name] = value
        return arrays

    @classmethod
    def from_arrays(cls: type[EvidenceKind], arrays: dict[str, Array]) -> EvidenceKind:
        """Read the evidence that these arrays hold.

        Raises:
            CertificateError: an array is missing, additional, of another type or rank, not finite,
                or does not fit the others.
        """
        raise NotImplementedError

    def content(self) -> bytes:
        """Write the bytes of the file; the same evidence has the same bytes."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in self.arrays().items():
                info = zipfile.ZipInfo(f"{name}.npy", EPOCH)
                info.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
        return file.getvalue()

    def save(self, path: Path) -> None:
        """Write the file; it is whole or not there."""
        with replacing(path) as temporary:
            temporary.write_bytes(self.content())

    @classmethod
    def load(cls: type[EvidenceKind], path: Path | io.BytesIO) -> EvidenceKind:
        """Read a file from anywhere, or one that is in memory.

        Raises:
            CertificateError: it is not such a file; what its arrays say may still be wrong.
        """
        try:
            return cls.from_arrays(read_arrays(path))
        except CertificateError as error:
            where = f"{path}: " if isinstance(path, Path) else ""
            raise CertificateError(f"{where}{error}") from error


def claim_of(arrays: dict[str, Array], kinds: Kinds) -> dict[str, Any]:
    """Read the attributes of `Evidence`, and check that the arrays are its own and these."""
    meta = _meta(arrays)
    ball = meta["norm"] != BOX
    own: Kinds = {"meta": ("uint8", 1)}
    for name in ("x",) if ball else BOX_ENDS:
        own[name] = ("float32" if ball else "float64", None)
    _check(arrays, own | kinds)
    return meta | {name: arrays.get(name) for name in ("x", *BOX_ENDS)}


def _check(arrays: dict[str, Array], kinds: Kinds) -> None:
    for name in sorted(kinds.keys() ^ arrays.keys()):
        what = "is missing" if name in kinds else "has no place in a certificate"
        raise CertificateError(f"the array '{name}' {what}.")
    for name, (kind, rank) in kinds.items():
        array = arrays[name]
        if array.dtype != np.dtype(kind):
            raise CertificateError(f"the array '{name}' is of type {array.dtype}, not {kind}.")
        if rank is not None and array.ndim != rank:
            raise CertificateError(f"the array '{name}' has {array.ndim} dimensions, not {rank}.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise CertificateError(f"the array '{name}' holds numbers that are not finite.")


def _meta(arrays: dict[str, Array]) -> dict[str, Any]:
    """Read and check the fields of `meta`."""
    array = arrays.get("meta")
    if array is None or array.dtype != np.uint8 or array.ndim != 1 or array.size > _MAX_META:
        raise CertificateError("'meta' is missing, or is not a short text.")
    try:
        meta = json.loads(array.tobytes().decode())
        huge = isinstance(meta, dict) and any(
            type(value) is int and abs(value) >= 2**31 for value in meta.values()
        )
    except (ValueError, RecursionError) as error:
        raise CertificateError("'meta' is not JSON.") from error
    keys = {"format", "model_sha256", "norm", "radius", "low", "high", "label", "classes"}
    if not isinstance(meta, dict) or meta.keys() != keys or huge:
        raise CertificateError(
            f"'meta' must have exactly the keys {', '.join(sorted(keys))}, and no huge numbers."
        )
    if type(meta["format"]) is not int or meta.pop("format") != FORMAT:
        raise CertificateError(f"'meta' is of another format than {FORMAT}.")
    for key in ("label", "classes"):
        if type(meta[key]) is not int or meta[key] < 0:
            raise CertificateError(f"'{key}' in 'meta' is not a number of classes.")
    for key in ("low", "high"):
        if type(meta[key]) not in (int, float) or not math.isfinite(float(meta[key])):
            raise CertificateError(f"'{key}' in 'meta' is not a finite number.")
        meta[key] = float(meta[key])
    sha256 = meta["model_sha256"]
    if sha256 is not None and not (isinstance(sha256, str) and len(sha256) == 64):
        raise CertificateError("'model_sha256' in 'meta' is not a SHA-256.")
    if meta["norm"] not in NORMS:
        raise CertificateError(f"'norm' in 'meta' must be one of {', '.join(NORMS)}.")
    meta["radius"] = exact_radius(meta["radius"])
    return meta


def exact_radius(text: Any) -> Fraction:
    """Read a radius as `save` writes it: digits, or digits/digits."""
    parts = text.split("/") if isinstance(text, str) and len(text) < 200 else []
    numbers = all(part.isascii() and part.isdecimal() for part in parts)
    if len(parts) not in (1, 2) or not numbers or (len(parts) == 2 and int(parts[1]) == 0):
        raise CertificateError("'radius' in 'meta' is not an exact fraction such as \"3/10\".")
    return Fraction(*map(int, parts))


def read_arrays(path: Path | io.BytesIO) -> dict[str, Array]:
    """Read the arrays of an `.npz` file; nothing is unpacked before its size is known."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > MAX_BYTES:
                raise CertificateError(f"it unpacks to more than {MAX_BYTES // 2**20} MB.")
            names = [member.filename for member in members]
            if len(set(names)) < len(names) or not all(name.endswith(".npy") for name in names):
                raise CertificateError("its members are not one array of each name.")
            arrays = {}
            for member in members:
                arrays[member.filename.removesuffix(".npy")] = _array(unpacked(archive, member))
            return arrays
    except CertificateError:
        raise
    except OSError as error:
        raise CertificateError(f"it cannot be read ({error.strerror or error}).") from error
    except Exception as error:  # a damaged archive breaks the reader in many ways
        raise CertificateError("it is not a whole .npz file of plain arrays.") from error


def unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Unpack a member, and no more of it than the size that it states."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CertificateError("a member is packed in another way than by deflate.")
    with archive.open(member) as file:
        content = file.read(member.file_size)
    if len(content) != member.file_size:
        raise CertificateError("a member is shorter than it says.")
    return content


def _array(content: bytes) -> Array:
    """One array, which must fill its member exactly."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise CertificateError(f"an array is of NumPy format {version}, not (1, 0).")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject or dtype.kind not in "fiu" or not dtype.isnative or fortran:
        raise CertificateError("an array holds something else than plain numbers in C order.")
    needed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or needed != len(content) - file.tell():
        raise CertificateError("an array is shorter or longer than its shape says.")
    return np.frombuffer(file.read(), dtype=dtype).reshape(shape)
