"""Whatever is wrong with what a user gives: a sentence, the right exit code, nothing written."""

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
import torch
from onnx import numpy_helper

from evaluators.onnx_export import export_onnx
from leaderboard.project import Project
from leaderboard.run import load_split
from tests.fixtures.networks import Graph
from tests.fixtures.project import LINF, NOISY, PLAIN, digest
from tests.leaderboard.conftest import Certboard

MODEL = f"submissions/{PLAIN}/model.onnx"
GOOD = {"--dataset": "digits", "--norm": "linf", "--radius": "0.1", "--examples": "2"}


@pytest.fixture(autouse=True)
def nothing_is_written(project: Project, request: pytest.FixtureRequest) -> object:
    """The project's files are the same before and after."""

    def files() -> list[Path]:
        return sorted(path for path in project.root.rglob("*") if path.is_file())

    before = request.getfixturevalue("monkeypatch") and files()
    yield
    added = [path for path in files() if path not in before]
    assert [path for path in added if path.suffix in (".parquet", ".tmp", ".json")] == []


def certify(model: str = MODEL, /, **changed: str | None) -> list[str]:
    options = GOOD | {f"--{key.replace('_', '-')}": value for key, value in changed.items()}
    typed = [word for key, value in options.items() if value is not None for word in (key, value)]
    return ["certify", model, *typed]


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file is empty."),
        (b"\n\n", "not a readable ONNX model; the file is damaged or truncated."),
        (pickle.dumps({"weight": 1}), "this is a Python pickle, not an ONNX model; export the"),
        (zipped(), "this is a zip archive (a PyTorch checkpoint?), not an ONNX model; export it"),
        (b"<!DOCTYPE html><html></html>", "this is HTML or XML, not an ONNX model (was an error"),
        (b"  <html>", "this is HTML or XML, not an ONNX model (was an error page downloaded?)."),
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


def other_network(project: Project, shape: tuple[int, int, int], classes: int) -> None:
    graph = Graph(shape)
    graph.flatten()
    graph.dense(classes)
    export_onnx(graph.network(), project.root / "x.onnx")


def test_the_wrong_input_size_and_class_count_are_told_together(
    project: Project, certboard: Certboard
) -> None:
    other_network(project, (1, 28, 28), 7)
    outcome = certboard(*certify("x.onnx"))
    assert outcome.code == 1
    assert outcome.err.splitlines() == [
        "certboard: x.onnx: its input has shape [batch, 1, 28, 28]; [batch, 1, 8, 8] is needed.",
        "certboard: x.onnx: it has 7 classes; 10 are needed.",
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
    assert outcome.sentence.endswith("has weights that are not finite.")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"radius": "0,3"}, "--radius is '0,3', but must be a positive decimal or fraction"),
        ({"radius": "nan"}, "--radius is 'nan', but must be a positive decimal or fraction"),
        ({"radius": "-1"}, "--radius is '-1', but must be a positive decimal or fraction"),
        ({"radius": "1e999"}, "--radius is '1e999', but must be a positive decimal or fraction"),
        ({"radius": "0"}, "--radius is '0', but must be"),
        ({"radius": ""}, "--radius is '', but must be"),
        ({"radius": "1/0"}, "--radius is '1/0', but must be"),
        ({"radius": "٣"}, "--radius is '٣', but must be"),
        ({"norm": "l3"}, "--norm is 'l3'; it must be one of linf, l2, l1."),
        ({"norm": "Linf"}, "--norm is 'Linf'; it must be one of linf, l2, l1."),
        ({"dataset": "digit"}, "There is no dataset 'digit'. Did you mean 'digits'? Known: "),
        ({"dataset": "../x"}, "There is no dataset '../x'. Known: "),
        ({"evaluator": "crwn"}, "There is no evaluator 'crwn'. Did you mean 'crown'? Known: "),
        ({"evaluator": "smoothing-gaussian"}, "The evaluator 'smoothing-gaussian' needs a smoot"),
        ({"evaluator": "crown", "sigma": "1"}, "The evaluator 'crown' needs a plain network (no"),
        ({"evaluator": "cascade", "sigma": "1"}, "The cascade is for plain networks; leave --eval"),
        ({"sigma": "-1"}, "--sigma is '-1', but must be a positive decimal"),
        ({"sigma": "0"}, "--sigma is '0', but must be a positive decimal"),
        ({"sigma": "1", "samples": "0"}, "--samples is 0; it must be from 1 to 1,000,000,000."),
        ({"sigma": "1", "failure_probability": "1"}, "--failure-probability is 1; it must lie"),
        ({"sigma": "1", "failure_probability": "nan"}, "--failure-probability is nan; it must"),
        ({"samples": "100"}, "--samples and --failure-probability are for a smoothed model: give"),
        ({"seconds": "0"}, "--seconds is 0; it must be positive and finite."),
        ({"seconds": "-3"}, "--seconds is -3; it must be positive and finite."),
        ({"seconds": "nan"}, "--seconds is nan; it must be positive and finite."),
        ({"seconds": "inf"}, "--seconds is inf; it must be positive and finite."),
        ({"device": "gpu"}, "--device is 'gpu'; it must be cpu, cuda or cuda:N."),
        ({"device": "cpu:1"}, "--device is 'cpu:1'; it must be cpu, cuda or cuda:N."),
        ({"workers": "0"}, "--workers is '0'; it must be 'ray' or a number from 1 to 1024."),
        ({"output": "rows.csv"}, "--output is rows.csv; its name must end in .parquet."),
        ({"output": "no/rows.parquet"}, "--output: there is no folder no."),
        ({"indices": "1,2"}, "Give --examples or --indices, not both."),
        ({"examples": None, "indices": ""}, "--indices names no example."),
        ({"examples": None, "indices": "1,x"}, "--indices: 'x' is not an example; they are 0 to"),
        ({"examples": None, "indices": "449"}, "--indices: '449' is not an example; they are 0 to"),
        ({"examples": None, "indices": "-1"}, "--indices: '-1' is not an example; they are 0 to"),
        ({"examples": None, "indices": "1.5"}, "--indices: '1.5' is not an example; they are 0"),
        ({"examples": None, "indices": "٣"}, "--indices: '٣' is not an example; they are 0 to"),
        ({"examples": None, "indices": "9" * 5000}, "--indices: '999"),
        ({"examples": None, "indices": "3,1,3"}, "--indices names 3 2 times; once is enough."),
        ({"examples": None, "indices": "@gone"}, "--indices: gone cannot be read as a text file."),
        ({"examples": None, "indices": f"@{MODEL}"}, "--indices: "),
    ],
)  # fmt: skip
def test_a_value_that_is_not_allowed(
    certboard: Certboard, changed: dict[str, str | None], sentence: str
) -> None:
    outcome = certboard(*certify(**changed))
    assert outcome.code == 1
    assert outcome.sentence.startswith(sentence)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_cuda_where_there_is_none(certboard: Certboard, device: str) -> None:
    outcome = certboard(*certify(device=device))
    assert (outcome.code, outcome.sentence) == (
        1, f"--device is {device}, but PyTorch finds no CUDA device here; use cpu.",
    )  # fmt: skip


def test_all_bad_values_are_told_in_one_go(certboard: Certboard) -> None:
    outcome = certboard(*certify("gone.onnx", radius="nan", norm="l3", seconds="0", sigma="x"))
    assert outcome.code == 1
    assert [line.split()[1] for line in outcome.err.splitlines()] == [
        "gone.onnx:", "--norm", "--seconds", "--radius", "--sigma",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["certify"], "Missing argument 'model'."),
        (["certify", MODEL], "Missing option '--dataset'. Help: certboard certify --help"),
        (
            ["certify", MODEL, "--datset", "x"],
            "No such option: --datset (Possible options: --dataset). Help: ",
        ),
        (certify(examples="0"), "Invalid value for '--examples': "),
        (certify(examples="many"), "Invalid value for '--examples': "),
        (certify(samples="1.5"), "Invalid value for '--samples': "),
        (["run", "--examples", "0"], "Invalid value for '--examples': "),
        (["list", "evaluator"], "Invalid value for 'catalogue': "),
        (["list"], "Missing argument 'catalogue'. Choose from: evaluators, settings, datasets,"),
        (["certfy"], "No such command 'certfy'. Did you mean 'certify'? Help: "),
    ],
)
def test_wrong_usage_exits_with_2(
    certboard: Certboard, arguments: list[str], sentence: str
) -> None:
    outcome = certboard(*arguments)
    assert outcome.code == 2
    assert outcome.sentence.startswith(sentence)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "../plain"], "The submission '../plain' must be called by small letters, digits"),
        (["check", "../../etc"], "The submission '../../etc' must be called by small letters"),
        (["new", "../x"], "The submission '../x' must be called by small letters, digits"),
        (["run", "pian"], "There is no submission 'pian'. Did you mean 'plain'? Known: noisy, pl"),
        (["run", "--setting", "digits-linf-.1"], "There is no setting 'digits-linf-.1'. Did you"),
        (["run", PLAIN, "--setting", "mnist-linf-0.1"], "The submission 'plain' is not for mnist"),
        (["run", NOISY, "--setting", LINF], f"The submission 'noisy' is not for {LINF}; its sett"),
        (["run", PLAIN, "--setting", LINF, "--evaluator", "idp"], "There is no evaluator 'idp'."),
        (["run", PLAIN, "--evaluator", "../../x", "--setting", LINF], "There is no evaluator '../"),
        (["run", "--seconds", "0"], "--seconds is 0; it must be positive and finite."),
        (["run", "--seconds", "nan"], "--seconds is nan; it must be positive and finite."),
        (["run", "--workers", "x"], "--workers is 'x'; it must be 'ray' or a number from 1 to"),
        (["run", "--device", "tpu"], "--device is 'tpu'; it must be cpu, cuda or cuda:N."),
        (["data", "fetch", "mnits"], "There is no dataset 'mnits'. Did you mean 'mnist'? Known: "),
    ],
)  # fmt: skip
def test_a_name_that_does_not_exist(
    certboard: Certboard, arguments: list[str], sentence: str
) -> None:
    outcome = certboard(*arguments)
    assert outcome.code == 1
    assert outcome.sentence.startswith(sentence)


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
    other_network(project, (3, 32, 32), 10)
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
        " between them, at most 64 characters, such as 'cnn7-sabr'.",
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
    address = 'url = "http://127.0.0.1:9/model.onnx"\nsize = 5'
    manifest.write_text(manifest.read_text().replace('file = "model.onnx"', address))
    (project.submissions / PLAIN / "model.onnx").write_bytes(b"<html>")
    monkeypatch.setattr("leaderboard.data_files.cache_folder", lambda: project.root / "cache")
    outcome = certboard("check")
    assert outcome.code == 1
    first, second = outcome.err.splitlines()
    assert "could not be downloaded from http://127.0.0.1:9/model.onnx" in first
    assert "but 'model.sha256' says" in second


def test_data_with_another_checksum(certboard: Certboard, data: Path, project: Project) -> None:
    load_split.cache_clear()
    (data / "mnist").mkdir(parents=True)
    name = "t10k-images-idx3-ubyte"
    (data / "mnist" / f"{name}.gz").write_bytes(gzip.compress(b"other pixels"))
    (data / "mnist" / "t10k-labels-idx1-ubyte").write_bytes(b"other labels")
    other_network(project, (1, 28, 28), 10)
    outcome = certboard(*certify("x.onnx", dataset="mnist"))
    assert outcome.code == 1
    assert f"{name}.gz is not the official file: the SHA-256 of its content is" in outcome.sentence


def test_data_that_are_missing(certboard: Certboard, data: Path, project: Project) -> None:
    load_split.cache_clear()
    outcome = certboard(*certify(dataset="mnist"))
    assert outcome.code == 1
    assert "get it with `certboard data fetch mnist`, or set CERTBOARD_DATA" in outcome.sentence


def test_nothing_but_the_sentence_is_printed_by_a_real_process(project: Project) -> None:
    (project.root / "x.onnx").write_bytes(b"<html>")
    command = [sys.executable, "-m", "leaderboard", *certify("x.onnx"), "--json"]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "certboard: x.onnx: this is HTML or XML, not an ONNX model"
        " (was an error page downloaded?).\n"
    )
