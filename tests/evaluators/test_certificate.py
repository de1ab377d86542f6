"""Certificates as files: the same after a round trip, and anything else refused in a sentence."""

import io
import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.numerics.errors import CertificateError
from evaluators.question import evidence_file as module
from evaluators.question.certificate import BOX, Certificate
from tests.fixtures.effort import examples
from tests.fixtures.forgeries import THIRD, certificate

Arrays = dict[str, Any]


@pytest.fixture
def made() -> Certificate:
    leaves = [(1, [(0, 1, 0.5)], 0.5), (1, [(0, -1, 0.25)], 1.0), THIRD]
    return certificate(leaves, model_sha256="a" * 64, radius=Fraction(3, 10))


def bytes_of(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def test_a_file_holds_everything_and_always_the_same_bytes(
    made: Certificate, tmp_path: Path
) -> None:
    made.save(tmp_path / "a.npz")
    again = Certificate.load(tmp_path / "a.npz")
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]
    for field in fields(Certificate):
        if field.name not in ("x", "layers", "leaves", "cuts"):
            assert getattr(again, field.name) == getattr(made, field.name)
    before, after = made.arrays(), again.arrays()
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert array.dtype == after[name].dtype
        np.testing.assert_array_equal(array, after[name])


def test_a_box_is_kept_in_float64(tmp_path: Path) -> None:
    ends = np.array([0.1]), np.array([0.3])
    box: Arrays = {"x": None, "box_lower": ends[0], "box_upper": ends[1], "radius": Fraction(0)}
    certificate([THIRD], norm=BOX, **box).save(tmp_path / "a.npz")
    again = Certificate.load(tmp_path / "a.npz")
    assert (again.x, again.box_lower, again.box_upper) == (None, *ends)


def test_numpy_reads_the_file_by_itself(made: Certificate, tmp_path: Path) -> None:
    made.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert json.loads(arrays["meta"].tobytes())["radius"] == "3/10"
        assert arrays["leaf.slopes"].shape == (3, 1)


def test_a_write_that_fails_leaves_nothing(made: Certificate, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"."):
        made.save(tmp_path / "missing" / "a.npz")
    assert not list(tmp_path.iterdir())


def meta(**changed: Any) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        text = {**json.loads(arrays["meta"].tobytes()), **changed}
        arrays["meta"] = np.frombuffer(json.dumps(text).encode(), dtype=np.uint8)

    return change


def put(name: str, value: Any) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = value

    return change


def scale(name: str, factor: float) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = arrays[name] * np.array(factor, dtype=arrays[name].dtype)

    return change


CHANGES: dict[str, tuple[Callable[[Arrays], Any], str]] = {
    "missing": (lambda a: a.pop("leaf.goal"), "'leaf.goal' is missing"),
    "additional": (put("code", np.zeros(1)), "'code' has no place"),
    "no example": (lambda a: a.pop("x"), "'x' is missing"),
    "type": (lambda a: put("leaf.goal", a["leaf.goal"].astype(np.int32))(a), "is of type int32"),
    "rank": (lambda a: put("leaf.goal", a["leaf.goal"][None])(a), "has 2 dimensions"),
    "not a number": (scale("leaf.slopes", np.nan), "'leaf.slopes' holds numbers that are not"),
    "infinite": (scale("upper.0", np.inf), "'upper.0' holds numbers that are not finite"),
    "short": (lambda a: put("leaf.split_sign", a["leaf.split_sign"][:1])(a), "differ in size"),
    "starts": (scale("leaf.split_start", 2), "does not cut"),
    "start is short": (lambda a: put("leaf.split_start", a["leaf.split_start"][:-1])(a), "not cut"),
    "rows": (lambda a: put("rows.0", np.array([1]))(a), "'rows.0' and the earlier units need"),
    "another layer": (put("lower.x", np.zeros(1)), "'lower.1' is missing"),
    "an old format": (meta(format=1), "another format than 2"),
    "norm": (meta(norm="l3"), "'norm' in 'meta' must be one of linf, l2, l1, box"),
    "radius as float": (meta(radius=0.3), "exact fraction"),
    "radius as text": (meta(radius="0.3"), "exact fraction"),
    "radius over zero": (meta(radius="1/0"), "exact fraction"),
    "radius below zero": (meta(radius="-1/3"), "exact fraction"),
    "label": (meta(label=True), "'label'"),
    "huge label": (meta(label=10**30), "no huge numbers"),
    "low": (meta(low="0"), "'low'"),
    "infinite low": (meta(low=float("inf")), "'low'"),
    "hash": (meta(model_sha256="abc"), "SHA-256"),
    "key": (meta(author="me"), "exactly the keys"),
    "no json": (put("meta", np.frombuffer(b"{", dtype=np.uint8)), "not JSON"),
    "no text": (put("meta", np.zeros(3)), "'meta' is missing, or is not a short text"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_says_something_else_is_refused(
    name: str, made: Certificate, tmp_path: Path
) -> None:
    change, reason = CHANGES[name]
    arrays = dict(made.arrays())
    change(arrays)
    path = tmp_path / "changed.npz"
    path.write_bytes(bytes_of(arrays))
    with pytest.raises(CertificateError) as caught:
        Certificate.load(path)
    assert reason in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_pickles_are_never_loaded(made: Certificate, tmp_path: Path) -> None:
    arrays = {**made.arrays(), "goal": np.array([print], dtype=object)}
    path = tmp_path / "pickle.npz"
    path.write_bytes(bytes_of(arrays))
    with pytest.raises(CertificateError, match="plain numbers"):
        Certificate.load(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for content in (b"", b"no zip", b"PK\x03\x04" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(CertificateError, match=r"not a whole \.npz file"):
            Certificate.load(path)
    with pytest.raises(CertificateError, match="cannot be read"):
        Certificate.load(tmp_path / "missing.npz")


def test_what_unpacks_to_too_much_is_refused_unread(
    made: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    path = tmp_path / "bomb.npz"
    path.write_bytes(bytes_of({**made.arrays(), "leaf.goal": np.zeros(5000, dtype=np.int64)}))
    assert path.stat().st_size < 10_000
    with pytest.raises(CertificateError, match="unpacks to more than"):
        Certificate.load(path)


@pytest.mark.parametrize("shape", ["(10**12,)", "(1000000000000,)", "(-3,)", "(2,)"])
def test_a_shape_that_its_member_does_not_fill_is_refused(
    shape: str, made: Certificate, tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    made.save(path)
    header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"leaf.goal.npy": magic + header + bytes(24)}).items():
            archive.writestr(name, content)
    with pytest.raises(CertificateError, match=r"than its shape says|not a whole \.npz"):
        Certificate.load(path)


@settings(max_examples=examples(150), deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans())
def test_no_damage_makes_anything_but_a_refusal(
    place: float, value: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damage") / "a.npz"
    certificate([(1, [(0, 1, 0.5)], 0.5), (1, [(0, -1, 0.25)], 1.0), THIRD]).save(path)
    content = bytearray(path.read_bytes())
    at = int(place * len(content))
    if cut:
        del content[at:]
    else:
        content[at] = value
    path.write_bytes(bytes(content))
    with suppress(CertificateError):
        Certificate.load(path)
