import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.core import TyperGroup
from typer.main import get_command

from evaluators.listing import catalogue, recipes
from leaderboard.__main__ import run
from leaderboard.commands import application, verbs
from leaderboard.common.errors import BugError
from leaderboard.common.progress import RunProgress
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import load_datasets
from leaderboard.evaluation import execution, workers
from leaderboard.evaluation.shard import evaluate
from leaderboard.field.taxonomy import load_taxonomy
from leaderboard.results.store import read
from leaderboard.settings.question import Shard
from leaderboard.settings.setting import load_settings
from tests.fixtures.project import CHECKOUT, L2, LINF, NOISY, PLAIN
from tests.leaderboard.conftest import Certboard


def test_without_a_command_it_shows_what_there_is(certboard: Certboard) -> None:
    outcome = certboard()
    assert outcome.code == 2
    asked = certboard("--help")
    assert asked.code == 0
    for command in ("demo", "check", "run", "certify", "build", "serve", "new", "list", "data"):
        assert f"\n  {command} " in outcome.err
        assert f"\n  {command} " in asked.out


@pytest.mark.parametrize(
    "command", ["run", "certify", "check", "list", "new", "build", "serve", "demo", "train"]
)
def test_every_command_explains_itself_in_eighty_columns(
    certboard: Certboard, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = certboard(command, "--help")
    assert outcome.code == 0
    assert outcome.err == ""
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("name", "key", "expected"),
    [
        ("evaluators", "name", [*catalogue()]),
        ("settings", "id", [*load_settings()]),
        ("datasets", "name", [*load_datasets()]),
        ("taxonomy", "node", [*load_taxonomy().nodes]),
        ("recipes", "name", [*recipes()]),
    ],
)
def test_catalogues_are_listed_for_people_and_for_programs(
    certboard: Certboard, name: str, key: str, expected: list[str]
) -> None:
    outcome = certboard("list", name, "--json")
    assert outcome.code == 0
    assert outcome.err == ""
    assert [entry[key] for entry in json.loads(outcome.out)] == expected
    table = certboard("list", name)
    assert table.code == 0
    for entry in expected:
        assert entry in table.out


def test_check_is_content_with_good_submissions(project: Project, certboard: Certboard) -> None:
    outcome = certboard("check")
    assert (outcome.code, outcome.err) == (0, "")
    assert re.fullmatch(
        r"2 submissions, \d+ datasets, \d+ settings, \d+ taxonomy nodes, \d+ published results,"
        r" \d+ papers, \d+ literature changes, [\d,]+ authors' curves checked, no problem found\n",
        outcome.out,
    )
    assert certboard("check", PLAIN).out == "1 submission checked, no problem found\n"


def test_a_new_submission_is_what_check_then_asks_for(
    project: Project, certboard: Certboard
) -> None:
    outcome = certboard("new", "my-net")
    assert outcome.code == 0
    folder = project.submissions / "my-net"
    assert outcome.out == (
        f"{folder}: fill in submission.toml and README.md, add model.onnx,"
        " then: certboard check my-net\n"
    )
    problems = certboard("check", "my-net")
    assert problems.code == 1
    assert "sha256sum" in problems.err
    again = certboard("new", "my-net")
    assert again.code == 1
    assert "There is already a submissions/my-net" in again.sentence


def test_a_full_disk_leaves_no_half_submission(
    project: Project, certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    outcome = certboard("new", "my-net")
    assert outcome.code == 1
    assert outcome.sentence == "submissions/my-net cannot be written: No space left on device."
    assert not (project.submissions / "my-net").exists()


def test_run_measures_every_submission_in_its_settings(
    project: Project, certboard: Certboard
) -> None:
    arguments = ("run", "--setting", LINF, "--setting", L2, "--examples", "8")
    outcome = certboard(*arguments)
    assert outcome.code == 0
    assert outcome.out.splitlines()[0] == f"24 verdicts in {project.results}"
    measured = [f"{NOISY} · {L2}", f"{PLAIN} · {LINF}", f"{PLAIN} · {L2}"]
    said = [line for line in outcome.err.splitlines() if "·" in line]
    assert sorted(said) == sorted(f"{title}: measured" for title in measured)
    assert len(read(project.results / L2 / f"{NOISY}.parquet").rows) == 8
    again = certboard(*arguments)
    assert again.code == 0
    assert again.err.splitlines() == [
        f"{title}: already measured; --fresh repeats it" for title in measured
    ]


def test_a_name_that_looks_like_markup_is_printed_as_it_is(
    project: Project, certboard: Certboard
) -> None:
    model = project.root / "net[red].onnx"
    model.write_bytes((project.submissions / PLAIN / "model.onnx").read_bytes())
    outcome = certboard(
        "certify", model.name, "--dataset", "digits", "--norm", "linf", "--radius", "0.1",
        "--examples", "2",
    )  # fmt: skip
    assert outcome.code == 0
    assert outcome.err.splitlines()[0] == "net[red].onnx · linf 0.1"


def test_data_that_need_no_download_say_so(certboard: Certboard) -> None:
    outcome = certboard("data", "fetch", "digits")
    assert outcome.code == 1
    assert outcome.sentence == (
        "Digits cannot be downloaded by certboard: it is embedded, and needs no download."
    )


def test_fetching_without_a_network_is_one_sentence(
    certboard: Certboard, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("pooch.HTTPDownloader", lambda **_: unreachable)
    outcome = certboard("data", "fetch", "mnist")
    assert outcome.code == 1
    assert "could not be downloaded from https://" in outcome.sentence
    assert "(no answer: ConnectionError)" in outcome.sentence
    assert not data.exists()


def test_fetching_tells_where_the_data_are(
    certboard: Certboard, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaderboard.datasets.files.present", lambda *_: True)
    outcome = certboard("data", "fetch", "mnist")
    assert (outcome.code, outcome.out) == (0, f"mnist is in {data / 'mnist'}\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_error(project: Project, unbuffered: str) -> None:
    certboard = f"{sys.executable} -m leaderboard list taxonomy; echo $? >&2"
    done = subprocess.run(
        ["bash", "-c", f"( {certboard} ) | true"],
        cwd=project.root,
        env={"PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "0\n"


def test_a_bug_is_told_without_a_traceback_unless_it_is_asked_for(
    certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaderboard.evaluation.choices.load_settings", lambda: 1 / 0)
    outcome = certboard("list", "settings")
    assert outcome.code == 3
    assert outcome.sentence.startswith("bug (ZeroDivisionError): division by zero. No result was")
    monkeypatch.setenv("CERTBOARD_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(["list", "settings"])


def rows(*statuses: str) -> pd.DataFrame:
    return pd.DataFrame({"status": statuses})


def test_the_progress_bar_counts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with RunProgress("title", 10_000) as progress:
        progress.advance(rows(*["certified"] * 9000), True)
        progress.advance(rows("falsified", "unknown", *["certified"] * 998), False)
    line = capsys.readouterr().err.splitlines()[-1]
    assert "10000/10000 9998 certified 1 falsified 1 unknown in 0:00" in line
    assert len(line) <= 80


def test_shards_that_were_there_say_nothing_about_the_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with RunProgress("title", 1000) as progress:
        for _ in range(9):
            progress.advance(rows(*["certified"] * 100), True)
    assert "900/1000 900 certified 0 falsified 0 unknown -:-- left" in capsys.readouterr().err


def files(project: Project) -> list[str]:
    """All that lies in the folder of results."""
    folder = project.results
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_contradiction_leaves_nothing_and_exits_with_3(
    project: Project, certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contradict(shard: Shard) -> pd.DataFrame:
        if 200 in shard.examples:
            raise BugError("'ibp' certified and gave a witness.")
        return evaluate(shard)

    monkeypatch.setattr(workers, "evaluate", contradict)
    outcome = certboard("run", PLAIN, "--setting", LINF)
    assert outcome.code == 3
    assert "certboard: contradiction: 'ibp' certified and gave a witness." in outcome.err
    assert files(project) == []


def test_a_bug_writes_no_result_and_exits_with_3(
    project: Project, certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "describe", lambda *_, **__: 1 / 0)
    outcome = certboard("run", PLAIN, "--setting", LINF)
    assert outcome.code == 3
    assert "certboard: bug (ZeroDivisionError): division by zero. No result was" in outcome.err
    assert files(project) == []


def test_the_other_evaluations_still_run_when_one_cannot(
    project: Project, certboard: Certboard
) -> None:
    outcome = certboard(
        "run", "--evaluator", "ibp", "--setting", LINF, "--setting", "digits-l2-0.25"
    )
    assert outcome.code == 1
    assert f"certboard: {NOISY} · digits-l2-0.25: The evaluator 'ibp' needs" in outcome.err
    assert files(project) == [f"digits-l2-0.25/{PLAIN}.ibp.parquet", f"{LINF}/{PLAIN}.ibp.parquet"]


HELPS = ("--help", "verify --help", "certify --help", "run --help")

LIGHT = (
    "list settings",
    "list datasets",
    "list taxonomy",
    "new --help",
    "data imagenet",
    "intake scope a b --author c",
    "intake take a b",
    "intake prepare a",
    "verify none.onnx none.vnnlib",
    "verify --instances none.csv",
)

ONE_AFTER_THE_OTHER = """
import sys
from leaderboard.__main__ import run
heavy, *commands = sys.argv[1:]
for typed in commands:
    run(typed.split())
    print("imported:", typed, [name for name in heavy.split() if name in sys.modules])
"""


def imported(heavy: str, commands: tuple[str, ...]) -> list[str]:
    """What commands that a fresh process runs one after the other have imported of it."""
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER, heavy, *commands],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if line.startswith("imported: ")]


def test_help_waits_for_nothing_heavy() -> None:
    expected = [f"imported: {typed} []" for typed in HELPS]
    assert imported("torch pandas numpy pyarrow", HELPS) == expected


def test_these_verbs_import_no_pytorch(project: Project) -> None:
    """`verify` leaves it to the process that it starts; all others that are missing need it."""
    assert imported("torch pandas scipy", LIGHT) == [f"imported: {typed} []" for typed in LIGHT]


@pytest.mark.slow
def test_certify_imports_no_method_but_its_own() -> None:
    code = (
        "import sys; from leaderboard.__main__ import run; run(sys.argv[1:]);"
        " heavy = ('scipy.sparse', 'scipy.special', 'highspy', 'onnx.reference',"
        " 'evaluators.smoothing.evaluator', 'evaluators.branching.search');"
        " print([m for m in heavy if m in sys.modules])"
    )
    typed = "certify submissions/digits-ibp/model.onnx --dataset digits --norm linf --radius 0.05"
    command = [sys.executable, "-c", code, *typed.split(), "--evaluator", "ibp", "--examples", "3"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert "3 of 3 certified" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_nothing_slow_is_imported_before_the_first_bound(project: Project) -> None:
    slow = (
        *("pandas", "pyarrow", "pooch", "scipy.optimize", "scipy.stats", "sklearn", "plotly"),
        *("concurrent.futures.process", "leaderboard.evaluation.executors.cluster"),
    )
    code = (
        "import sys; from leaderboard.__main__ import run; from evaluators.evaluator import"
        " Evaluator as E; call = E.__call__\n"
        f"def told(self, problem): print([m for m in {slow} if m in sys.modules]);"
        " return call(self, problem)\n"
        "E.__call__ = told; run(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "certify", f"submissions/{PLAIN}/model.onnx"]
    command += ["--dataset", "digits", "--norm", "linf", "--radius", "0.05", "--examples", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "[]"


def test_a_verb_is_a_file_of_its_name() -> None:
    group = get_command(application())
    assert isinstance(group, TyperGroup)
    assert sorted(group.commands) == verbs()
    assert {"certify", "run", "list", "data", "intake"} <= {*verbs()}
