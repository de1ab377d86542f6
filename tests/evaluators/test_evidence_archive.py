"""The file of an evaluation's evidence: what it holds comes back; anything else is refused."""

import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.evidence import archive as module
from evaluators.evidence.archive import About, Archive, EvidenceLine, join_archives, write_archive
from evaluators.numerics.errors import CertificateError
from evaluators.question.certificate import Certificate
from tests.fixtures.effort import examples
from tests.fixtures.forgeries import THIRD, certificate

ABOUT = About("a" * 64, "digits", "b" * 64, "linf", Fraction(3, 10))
MADE = certificate([(1, [(0, 1, 0.5)], 0.5), (1, [(0, -1, 0.25)], 1.0), THIRD]).content()
LINES = (
    EvidenceLine(3, 1, "ibp"),
    EvidenceLine(20, 0, "certificate"),
    EvidenceLine(100, 2, "none"),
)


def written(folder: Path, lines: tuple[EvidenceLine, ...] = LINES, about: About = ABOUT) -> Path:
    path = folder / "a.evidence"
    files = [(x.example, MADE) for x in lines if x.method in ("certificate", "witness")]
    write_archive(path, about, lines, files)
    return path


def parts_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path: Path, parts: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def test_what_was_written_comes_back_and_has_the_same_bytes(tmp_path: Path) -> None:
    path = written(tmp_path)
    archive = Archive(path)
    assert archive.about == ABOUT
    assert tuple(archive.lines.values()) == LINES
    assert archive.counts == {"ibp": 1, "certificate": 1, "none": 1}
    assert archive.evidence(Certificate, 20).content() == MADE
    content = path.read_bytes()
    assert written(tmp_path).read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_parts_are_joined_in_the_order_of_the_examples(tmp_path: Path) -> None:
    places = []
    for name, lines in (("late", LINES[1:]), ("early", LINES[:1])):
        (tmp_path / name).mkdir()
        places.append(written(tmp_path / name, lines))
    joined = join_archives(tmp_path / "a.evidence", ABOUT, places)
    assert joined.path.read_bytes() == written(tmp_path).read_bytes()


def test_refuted_examples_may_be_left_out_of_what_is_joined(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    refuted = EvidenceLine(4, 1, "witness"), EvidenceLine(5, 1, "misread")
    place = written(tmp_path / "part", (EvidenceLine(3, 1, "ibp"), *refuted))
    joined = join_archives(tmp_path / "a.evidence", ABOUT, [place], refuted=False)
    assert list(joined.lines) == [3]
    assert "4.npz" not in parts_of(joined.path)


def test_evidence_of_something_else_is_not_joined(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    place = written(tmp_path / "part", about=replace(ABOUT, radius=Fraction(1, 10)))
    with pytest.raises(CertificateError, match="something else"):
        join_archives(tmp_path / "a.evidence", ABOUT, [place])
    assert not (tmp_path / "a.evidence").exists()


Change = Callable[[dict[str, bytes]], Any]


def meta(**changed: Any) -> Change:
    def change(parts: dict[str, bytes]) -> None:
        told = json.loads(parts["meta.json"]) | changed
        parts["meta.json"] = json.dumps({k: v for k, v in told.items() if v is not None}).encode()

    return change


def table(*lines: str, header: str = "example,label,method", end: str = "\n") -> Change:
    return lambda parts: parts.update(
        {"examples.csv": "\n".join((header, *lines)).encode() + end.encode()}
    )


CHANGES: dict[str, tuple[Change, str]] = {
    "no meta": (lambda p: p.pop("meta.json"), "'meta.json' is missing"),
    "no table": (lambda p: p.pop("examples.csv"), "'examples.csv' is missing"),
    "no certificate": (lambda p: p.pop("20.npz"), "'20.npz' is missing"),
    "another certificate": (lambda p: p.update({"3.npz": MADE}), "'3.npz' has no place in it"),
    "a path": (lambda p: p.update({"../../20.npz": MADE}), "has no place in it"),
    "an absolute path": (lambda p: p.update({"/etc/passwd": b""}), "has no place in it"),
    "a program": (lambda p: p.update({"run.py": b""}), "has no place in it"),
    "no json": (lambda p: p.update({"meta.json": b"{"}), "not JSON"),
    "deep json": (lambda p: p.update({"meta.json": b"[" * 60_000}), "not JSON"),
    "a list": (lambda p: p.update({"meta.json": b"[]"}), "exactly the keys"),
    "a key less": (meta(dataset=None), "exactly the keys"),
    "a key more": (meta(author="me"), "exactly the keys"),
    "a newer format": (meta(format=2), "another format than 1"),
    "a format that is true": (meta(format=True), "another format than 1"),
    "no model": (meta(model_sha256=""), "'model_sha256' in 'meta.json' is not a SHA-256"),
    "another hash": (meta(data_sha256="B" * 64), "'data_sha256' in 'meta.json' is not a SHA-256"),
    "a hash with a line": (meta(data_sha256="b" * 64 + "\n"), "is not a SHA-256"),
    "a dataset that is a list": (meta(dataset=["digits"]), "not a name"),
    "a radius in digits": (meta(radius=0.3), "exact fraction"),
    "a radius over zero": (meta(radius="1/0"), "exact fraction"),
    "low is no number": (meta(low=float("nan")), "'low' in 'meta.json' is not a finite number"),
    "high is text": (meta(high="1"), "'high' in 'meta.json' is not a finite number"),
    "another header": (table(header="example;label;method"), "does not begin with"),
    "cut off": (table("3,1,ibp", end=""), "cut off"),
    "an unknown method": (table("3,1,magic"), "line 2 of 'examples.csv' is not an example"),
    "a negative example": (table("-3,1,ibp"), "line 2"),
    "an example with zeros before it": (table("03,1,ibp"), "line 2"),
    "a huge example": (table("9999999999,1,ibp"), "line 2"),
    "a label that is no number": (table("3,x,ibp"), "line 2"),
    "digits of another script": (table("٣,1,ibp"), "line 2"),
    "twice": (table("3,1,ibp", "3,1,ibp"), "line 3 of 'examples.csv' is not in order, or repeated"),
    "not in order": (table("3,1,ibp", "2,1,ibp"), "line 3 of 'examples.csv' is not in order"),
    "an empty line": (table("3,1,ibp", "", "4,1,ibp"), "line 3"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_says_something_else_is_refused(name: str, tmp_path: Path) -> None:
    change, reason = CHANGES[name]
    parts = parts_of(written(tmp_path))
    change(parts)
    path = packed(tmp_path / "changed.evidence", parts)
    with pytest.raises(CertificateError) as caught:
        Archive(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_that_come_twice_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("20.npz", MADE)
    with pytest.raises(CertificateError, match="same name"):
        Archive(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.evidence"
    for content in (b"", b"no zip", b"PK\x03\x04" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(CertificateError, match="not a file of evidence"):
            Archive(path)
    with pytest.raises(CertificateError, match="cannot be read"):
        Archive(tmp_path / "missing.evidence")


def test_what_says_that_it_unpacks_to_too_much_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = parts_of(written(tmp_path)) | {"20.npz": bytes(5000)}
    path = packed(tmp_path / "bomb.evidence", parts)
    monkeypatch.setattr(module, "MAX_BYTES", 4000)
    with pytest.raises(CertificateError, match="unpacks to more than"):
        Archive(path).content(20)
    for limit in ("_MAX_META", "_MAX_TABLE"):
        with monkeypatch.context() as patch:
            patch.setattr(module, limit, 10)
            with pytest.raises(CertificateError, match="more than"):
                Archive(path)


def test_what_unpacks_to_more_than_it_says_takes_no_memory(tmp_path: Path) -> None:
    """A certificate of 100 MB that says it has 1,000 bytes."""
    parts = parts_of(written(tmp_path)) | {"20.npz": bytes(100 * 2**20)}
    path = packed(tmp_path / "bomb.evidence", parts)
    size, content = (100 * 2**20).to_bytes(4, "little"), path.read_bytes()
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, (1000).to_bytes(4, "little")))
    del parts, content
    archive = Archive(path)
    tracemalloc.start()
    with pytest.raises(CertificateError, match="damaged"):
        archive.content(20)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused(compression: int, tmp_path: Path) -> None:
    """Their readers unpack all at once."""
    path = packed(tmp_path / "a.evidence", parts_of(written(tmp_path)), compression)
    with pytest.raises(CertificateError, match="damaged"):
        Archive(path)
    inner = packed(tmp_path / "a.npz", parts_of_bytes(MADE), compression)
    with pytest.raises(CertificateError, match="another way than by deflate"):
        Certificate.load(inner)


def parts_of_bytes(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@settings(max_examples=examples(100), deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans())
def test_no_damage_makes_anything_but_a_refusal(
    place: float, value: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = written(tmp_path_factory.mktemp("damage"))
    content = bytearray(path.read_bytes())
    at = int(place * len(content))
    if cut:
        del content[at:]
    else:
        content[at] = value
    path.write_bytes(bytes(content))
    with suppress(CertificateError):
        Archive(path).evidence(Certificate, 20)


def test_nothing_is_left_where_a_file_cannot_be_written(tmp_path: Path) -> None:
    def broken() -> Any:
        yield 20, MADE
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        write_archive(tmp_path / "a.evidence", ABOUT, LINES, broken())
    assert not list(tmp_path.iterdir())
