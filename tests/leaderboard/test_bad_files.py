"""Whatever is wrong with the files a user gives: a sentence each, and nothing written."""

import gzip
import io
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import load_split
from tests.fixtures.project import MODEL, NOISY, PLAIN, certify, digest, other_network
from tests.leaderboard.conftest import Certboard

pytestmark = pytest.mark.usefixtures("nothing_is_written")


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file is empty (rule onnx-file)."),
        (b"\n\n", "not a readable ONNX model; the file is damaged or truncated (rule onnx-file)."),
        (pickle.dumps({"weight": 1}), "this is a Python pickle, not an ONNX model; export the"),
        (zipped(), "this is a zip archive (a PyTorch checkpoint?), not an ONNX model; export it"),
        (b"<!DOCTYPE html><html></html>", "this is HTML or XML, not an ONNX model (was an error"),
        (
            b"  <html>",
            "this is HTML or XML, not an ONNX model (was an error page downloaded?)"
            " (rule onnx-file).",
        ),
        (b"version https://git-lfs.github.com/spec/v1\n", "this is a Git LFS pointer, not an"),
        (b"hello, world", "not a"),
    ],
)
def test_a_file_that_is_no_onnx_model(
    project: Project, certboard: Certboard, content: bytes, sentence: str
) -> None:
    (project.root / "x.onnx").write_bytes(content)
    outcome = certboard(*certify("x.onnx"))
    assert outcome.code == 1
    assert outcome.sentence.startswith(f"x.onnx: {sentence}")


def test_a_truncated_model(project: Project, certboard: Certboard) -> None:
    content = (project.root / MODEL).read_bytes()
    for size in (1, 7, 100, len(content) // 2, len(content) - 1):
        (project.root / "x.onnx").write_bytes(content[:size])
        outcome = certboard(*certify("x.onnx"))
        assert outcome.code == 1
        assert outcome.sentence.startswith("x.onnx: ")


def test_the_wrong_input_size_and_class_count_are_told_together(
    project: Project, certboard: Certboard
) -> None:
    other_network(project.root / "x.onnx", (1, 28, 28), 7)
    outcome = certboard(*certify("x.onnx"))
    assert outcome.code == 1
    assert outcome.err.splitlines() == [
        "certboard: x.onnx: its input has shape [batch, 1, 28, 28]; [batch, 1, 8, 8] is needed"
        " (rule onnx-input).",
        "certboard: x.onnx: it has 7 classes; 10 are needed (rule onnx-output).",
    ]


def test_weights_that_are_not_finite(project: Project, certboard: Certboard) -> None:
    model = onnx.load(project.root / MODEL)
    weight = next(t for t in model.graph.initializer if t.name.endswith("weight"))
    array = numpy_helper.to_array(weight).copy()
    array[0, 0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(model, project.root / "x.onnx")
    outcome = certboard(*certify("x.onnx"))
    assert outcome.code == 1
    assert outcome.sentence.endswith("has weights that are not finite (rule onnx-finite).")


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("licence", "lisence", "there is no key 'lisence'. Did you mean 'licence'? Allowed here"),
        ('title = "plain"', 'title = "a"\ntitle = "b"', "Cannot overwrite a value (at line 2"),
        ('dataset = "digits"', 'dataset = "digit"', "Did you mean 'digits'?"),
        ("[training]", "[smoothing]\nsigma = '0,3'\n[training]", "write 0.3 or 3/10, with a decim"),
        ("[training]", "[smoothing]\nsigma = 'nan'\n[training]", "'smoothing.sigma' is 'nan', but"),
        ("[training]", "[smoothing]\nsigma = '-1'\n[training]", "'smoothing.sigma' is '-1', but"),
        ("[training]", "[smoothing]\nsigma = '1e999'\n[training]", "'smoothing.sigma' is '1e999'"),
        ('file = "model.onnx"', 'file = "../model.onnx"', "'model.file' is '../model.onnx', but"),
        ('sha256 = "', 'sha256 = "f', "'model.sha256' is '"),
    ],
)
def test_a_manifest_with_a_mistake(
    project: Project, certboard: Certboard, command: str, before: str, after: str, sentence: str
) -> None:
    manifest = project.submissions / PLAIN / "submission.toml"
    text = manifest.read_text()
    assert before in text
    manifest.write_text(text.replace(before, after))
    outcome = certboard(command, PLAIN)
    assert outcome.code == 1
    assert sentence in outcome.err
    assert all(
        line.startswith(f"certboard: submissions/{PLAIN}/submission.toml")
        for line in outcome.err.splitlines()
    )


def test_check_tells_the_problems_of_all_submissions_and_their_models(
    project: Project, certboard: Certboard
) -> None:
    manifest = project.submissions / NOISY / "submission.toml"
    manifest.write_text(manifest.read_text().replace("title", "titel").replace("0.25", "0,25"))
    other_network(project.root / "x.onnx", (3, 32, 32), 10)
    path = project.submissions / PLAIN / "model.onnx"
    before = digest(path)
    (project.root / "x.onnx").rename(path)
    plain = project.submissions / PLAIN / "submission.toml"
    plain.write_text(plain.read_text().replace(before, digest(path)))
    (project.submissions / "Bad_Name").mkdir()
    outcome = certboard("check")
    assert outcome.code == 1
    assert [line.split(":")[1].strip() for line in outcome.err.splitlines()] == [
        "The submission 'Bad_Name' must be called by small letters, digits and single dashes"
        " between them, at most 64 characters, such as 'cnn7-sabr' (rule folder-name).",
        "submissions/noisy/submission.toml",
        "submissions/noisy/submission.toml",
        "submissions/noisy/submission.toml",
        PLAIN,
    ]
    assert "[batch, 3, 32, 32]; [batch, 1, 8, 8] is needed" in outcome.err


def test_a_model_that_cannot_be_downloaded_hides_no_other_problem(
    project: Project, certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = project.submissions / NOISY / "submission.toml"
    address = 'url = "https://127.0.0.1:9/model.onnx"\nsize = 5'
    manifest.write_text(manifest.read_text().replace('file = "model.onnx"', address))
    (manifest.parent / "model.onnx").unlink()
    (project.submissions / PLAIN / "model.onnx").write_bytes(b"<html>")
    monkeypatch.setattr("leaderboard.datasets.files.cache_folder", lambda: project.root / "cache")
    outcome = certboard("check")
    assert outcome.code == 1
    first, second = outcome.err.splitlines()
    assert "https://127.0.0.1:9/model.onnx: 127.0.0.1 is not a public address" in first
    assert "but 'model.sha256' says" in second


def test_data_with_another_checksum(certboard: Certboard, data: Path, project: Project) -> None:
    load_split.cache_clear()
    (data / "mnist").mkdir(parents=True)
    name = "t10k-images-idx3-ubyte"
    (data / "mnist" / f"{name}.gz").write_bytes(gzip.compress(b"other pixels"))
    (data / "mnist" / "t10k-labels-idx1-ubyte").write_bytes(b"other labels")
    other_network(project.root / "x.onnx", (1, 28, 28), 10)
    outcome = certboard(*certify("x.onnx", dataset="mnist"))
    assert outcome.code == 1
    assert f"{name}.gz is not the official file: the SHA-256 of its content is" in outcome.sentence


def test_data_that_are_missing(certboard: Certboard, data: Path, project: Project) -> None:
    load_split.cache_clear()
    outcome = certboard(*certify(dataset="mnist"))
    assert outcome.code == 1
    assert "get it with `certboard data fetch mnist`, or set CERTBOARD_DATA" in outcome.sentence


@pytest.mark.slow
def test_nothing_but_the_sentence_is_printed_by_a_real_process(project: Project) -> None:
    (project.root / "x.onnx").write_bytes(b"<html>")
    command = [sys.executable, "-m", "leaderboard", *certify("x.onnx"), "--json"]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "certboard: x.onnx: this is HTML or XML, not an ONNX model"
        " (was an error page downloaded?) (rule onnx-file).\n"
    )
