"""Output that is closed, full or of few characters, and places that cannot be written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from leaderboard.common import progress, streams
from leaderboard.common.errors import InputError
from leaderboard.common.places import alone, check_writable
from leaderboard.common.project import Project
from tests.fixtures.effort import first_alone
from tests.fixtures.project import CHECKOUT, LINF, MODEL, PLAIN, certify
from tests.leaderboard.conftest import Certboard

FULL = Path("/dev/full")


def shell(
    redirection: str, arguments: str = "list datasets", **environment: str
) -> tuple[int, str, str]:
    """The exit code and what was printed, of a command with a redirection."""
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m leaderboard {arguments} {redirection}"],
        cwd=CHECKOUT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("encoding", first_alone(["ascii", "utf-8"]))
@pytest.mark.parametrize("arguments", ["list datasets", "list datasets --json", "certify --help"])
def test_a_full_standard_output_is_one_sentence(arguments: str, encoding: str) -> None:
    code, _, told = shell(f"> {FULL}", arguments, PYTHONIOENCODING=encoding)
    assert code == 1
    assert told.count("\n") == 1
    assert "no space left" in told or "disk is full" in told


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_standard_error_is_told_on_standard_output() -> None:
    arguments = "data fetch digits"
    assert shell("", arguments)[0] == 1
    code, out, told = shell(f"2> {FULL}", arguments)
    assert (code, told) == (1, "")
    assert out.startswith("certboard: Digits cannot be downloaded")


@pytest.mark.parametrize(
    ("redirection", "code", "sentence"),
    [
        (">&-", 1, "certboard: standard output is closed; to see nothing of it, use /dev/null."),
        ("2>&-", 1, "certboard: standard error is closed; to see nothing of it, use /dev/null."),
        (">&- 2>&-", 1, ""),
        ("<&-", 0, ""),
    ],
)
def test_a_closed_stream_is_one_sentence(redirection: str, code: int, sentence: str) -> None:
    found, out, told = shell(redirection)
    assert found == code
    assert (out + told).strip() == sentence or code == 0
    assert "mnist" in out or code == 1


@pytest.mark.parametrize("encoding", first_alone(["ascii", "cp1252", "latin-1"]))
def test_what_an_encoding_lacks_is_replaced(encoding: str) -> None:
    code, out, told = shell("", "list taxonomy", PYTHONIOENCODING=encoding)
    assert (code, told) == (0, "")
    assert "verification/deterministic" in out


def test_a_terminal_obeys_nothing_that_a_stranger_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    wild = "\x1b[2J\x9b1m\u202e\r\n::set-output name=x::y"
    streams.say(wild)
    progress.tell(wild)
    progress.show_table([{"note": wild}])
    told = capsys.readouterr()
    shown = r"\x1b[2J\x9b1m\u202e\r\n::set-output name=x::y"
    assert told.err.splitlines() == [shown, shown]
    assert shown in told.out


def test_a_folder_is_no_model(project: Project, certboard: Certboard) -> None:
    outcome = certboard(*certify(str(Path(MODEL).parent)))
    assert outcome.code == 1
    assert outcome.sentence == f"{Path(MODEL).parent}: is a folder; name the file in it."


def test_too_few_samples_are_refused_before_any_is_drawn(
    project: Project, certboard: Certboard
) -> None:
    outcome = certboard(*certify(norm="l2", sigma="1/4", samples="9"))
    assert outcome.code == 1
    assert outcome.sentence == (
        "With 9 samples nothing can be certified at a failure probability of 0.001; at least 10"
        " are needed."
    )
    ran = certboard("run", "noisy", "--samples", "9")
    assert ran.code == 1
    assert "at least 10 are needed." in ran.err


def test_results_that_cannot_be_stored_are_told_before_any_work(
    project: Project, certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    def work(*_: object, **__: object) -> None:
        raise AssertionError("it works")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("leaderboard.evaluation.workers.evaluate", work)
    for typed in (
        [*certify(), "--output", "rows.parquet"],
        ["run", PLAIN, "--setting", LINF],
        ["compare", MODEL, *certify()[2:8], "--evaluator", "ibp"],
    ):
        outcome = certboard(*typed)
        assert outcome.code == 1, outcome.err
        assert "cannot be written (Read-only file system)." in outcome.err


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder, where a file would be written"):
        check_writable(tmp_path)
    check_writable(tmp_path / "not" / "yet" / "there")
    assert list(tmp_path.iterdir()) == []


def test_two_runs_do_not_write_one_result(project: Project, certboard: Certboard) -> None:
    target = project.results / LINF / f"{PLAIN}.parquet"
    typed = ("run", PLAIN, "--setting", LINF, "--examples", "2", "--evaluator", "ibp")
    with alone(target.with_name(f"{PLAIN}.ibp.parquet")):
        outcome = certboard(*typed)
        assert outcome.code == 1
        assert "another run is writing it now" in outcome.err
    assert certboard(*typed).code == 0


def test_two_runs_do_not_write_one_table(tmp_path: Path, certboard: Certboard) -> None:
    table, output = tmp_path / "instances.csv", tmp_path / "results.csv"
    table.write_text("none.onnx,none.vnnlib,1\n")
    typed = ("verify", "--instances", str(table), "--output", str(output))
    with alone(output):
        outcome = certboard(*typed)
        assert outcome.code == 1
        assert "another run is writing it now" in outcome.sentence
        assert not output.exists()
