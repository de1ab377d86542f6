"""`certboard verify` as it is typed: VNN-COMP's words, formats and tables."""

import re
import signal
import time
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from evaluators.onnx.runtime import Runtime
from leaderboard.common.project import Project
from leaderboard.vnncomp import answering, deadline
from leaderboard.vnncomp.deadline import Verifier
from leaderboard.vnncomp.instance import Answer, Instance, Word
from leaderboard.vnncomp.instances import ResultsFile, read_instances
from leaderboard.vnncomp.subject import subject_of
from tests.fixtures.project import finish, start, until
from tests.fixtures.properties import UNIT, difference, model_file, tent
from tests.leaderboard.conftest import Certboard

SAFE, UNSAFE = UNIT + "(assert (>= Y_0 2.1))", UNIT + "(assert (>= Y_0 1.9))"


@pytest.fixture
def files(project: Project) -> Path:
    """A folder with a network and properties; its parent is the working directory."""
    folder = project.root / "bench"
    folder.mkdir()
    model_file(difference(), folder / "m.onnx")
    model_file(tent(), folder / "packed.onnx", packed=True)
    (folder / "safe.vnnlib").write_text(SAFE)
    (folder / "unsafe.vnnlib").write_text(UNSAFE)
    return folder


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What verifies is forked from a process that has its libraries, as it is for a table."""
    monkeypatch.setattr(answering, "Verifier", partial(Verifier, restarts=True))


def replayed(text: str, model: Path) -> tuple[list[Fraction], bool]:
    """The inputs of a counterexample, and whether the runtime's outputs are those written."""
    assert text.startswith("((X_0 ")
    assert text.rstrip().endswith("))")
    pairs = re.findall(r"\(([XY])_(\d+) ([-0-9.]+)\)", text)
    assert [int(index) for _, index, _ in pairs] == [0, 1, 0, 1]
    x, y = ([float(v) for kind, _, v in pairs if kind == letter] for letter in "XY")
    outputs = Runtime(model.read_bytes())(np.array(x, dtype=np.float32))
    return [Fraction(v) for kind, _, v in pairs if kind == "X"], outputs.reshape(-1).tolist() == y


def test_unsat_is_one_word(certboard: Certboard, files: Path) -> None:
    outcome = certboard("verify", "bench/m.onnx", "bench/safe.vnnlib")
    assert (outcome.code, outcome.out, outcome.err) == (0, "unsat\n", "")


@pytest.mark.usefixtures("forked")
def test_sat_comes_with_a_counterexample_that_others_can_replay(
    certboard: Certboard, files: Path
) -> None:
    outcome = certboard(
        "verify", "bench/m.onnx", "bench/unsafe.vnnlib", "--output", "out/answer.txt"
    )
    assert outcome.code == 0
    word, _, counterexample = outcome.out.partition("\n")
    assert word == "sat"
    inputs, same = replayed(counterexample, files / "m.onnx")
    assert same
    assert all(0 <= value <= 1 for value in inputs)
    assert sum(inputs) >= Fraction(19, 10)
    assert Path("out/answer.txt").read_text() == outcome.out


@pytest.mark.usefixtures("forked")
def test_packed_files_are_read(certboard: Certboard, files: Path) -> None:
    """By their own name, and by the name without .gz that tables give them."""
    for name in ("packed.onnx.gz", "packed.onnx"):
        outcome = certboard("verify", f"bench/{name}", "bench/safe.vnnlib")
        assert outcome.out == "unsat\n"


@pytest.mark.usefixtures("forked")
def test_an_incomplete_method_says_unknown(certboard: Certboard, files: Path) -> None:
    outcome = certboard("verify", "bench/m.onnx", "bench/unsafe.vnnlib", "--evaluator", "ibp")
    assert (outcome.code, outcome.out) == (0, "unknown\n")


def test_time_is_kept_over_everything(certboard: Certboard, files: Path) -> None:
    """A hundredth of a second is not enough to start: the answer comes nevertheless."""
    outcome = certboard("verify", "bench/m.onnx", "bench/safe.vnnlib", "--seconds", "0.01")
    assert (outcome.code, outcome.out) == (0, "timeout\n")


@pytest.mark.parametrize(
    ("typed", "code", "sentence"),
    [
        ([], 2, "Give either a model and a property, or --instances"),
        (["m.onnx"], 2, "Give either a model and a property, or --instances"),
        (["m.onnx", "p.vnnlib", "--instances", "i.csv"], 2, "Give either a model"),
        (["m.onnx", "p.vnnlib", "--seconds", "0"], 1, "--seconds is 0; it must be positive and"),
        (["m.onnx", "p.vnnlib", "--seconds", "nan"], 1, "--seconds is nan; it must be positive"),
        (["--instances", "none.csv"], 1, "none.csv cannot be read: No such file"),
        (["p.vnnlib.gz", "m.onnx"], 2, "The model comes first, then the property"),
        (["m.onnx", "p.vnnlib", "--seconds", "5s"], 2, "'--seconds': not a number. Help: "),
    ],
)
def test_wrong_usage_is_told_in_a_sentence(
    typed: list[str], code: int, sentence: str, certboard: Certboard, project: Project
) -> None:
    outcome = certboard("verify", *typed)
    assert outcome.code == code
    assert sentence in outcome.sentence


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize(
    ("model", "property_", "sentence"),
    [
        ("none.onnx", "safe.vnnlib", "bench/none.onnx cannot be read: No such file"),
        ("m.onnx", "none.vnnlib", "bench/none.vnnlib cannot be read: No such file"),
        ("safe.vnnlib", "safe.vnnlib", "not a readable ONNX model"),
        ("m.onnx", "m.onnx", "is not a text file; a VNN-LIB property is needed."),
    ],
)
def test_what_cannot_be_read_is_an_error(
    model: str, property_: str, sentence: str, certboard: Certboard, files: Path
) -> None:
    outcome = certboard("verify", f"bench/{model}", f"bench/{property_}", "--output", "a.txt")
    assert (outcome.code, outcome.out) == (1, "error\n")
    assert sentence in outcome.err
    assert Path("a.txt").read_text() == "error\n"


def test_a_table_is_answered_row_by_row(certboard: Certboard, files: Path) -> None:
    table = files / "instances.csv"
    table.write_text(
        "m.onnx,safe.vnnlib,600\nm.onnx,unsafe.vnnlib,600\nm.onnx,none.vnnlib,600\n"
        "packed.onnx,safe.vnnlib,600\nm.onnx,safe.vnnlib,0.01\n"
    )
    outcome = certboard("verify", "--instances", str(table))
    assert outcome.code == 1
    assert outcome.out.startswith("5 instances: 2 unsat, 1 sat, 0 unknown, 1 timeout, 1 error, ")
    assert "3/5 m.onnx none.vnnlib: error in " in outcome.err
    assert "1 of 5 instances could not be answered" in outcome.err
    lines = [line.split(",") for line in Path("results.csv").read_text().splitlines()]
    assert [line[4] for line in lines] == ["unsat", "sat", "error", "unsat", "timeout"]
    assert {line[0] for line in lines} == {"bench"}
    assert [line[2] for line in lines[:3]] == ["safe.vnnlib", "unsafe.vnnlib", "none.vnnlib"]
    text = Path("counterexamples/m_unsafe.counterexample").read_text()
    assert replayed(text, files / "m.onnx")[1]


def kept_timeout(table: Path, path: Path) -> None:
    """A result of the table's first row, and a line that was cut off."""
    rows = read_instances(table, None)
    found = ResultsFile(
        path, "bench", lambda row: subject_of(answering.instance_of(table, row, None))
    )
    found.remaining(rows)
    found.add(rows[0], "timeout", 20.0)
    with path.open("a") as file:
        file.write("bench,m.onnx,uns")


def test_an_answer_about_another_network_of_the_same_name_is_not_kept(
    certboard: Certboard, files: Path
) -> None:
    table, asked = files / "instances.csv", ("verify", "--instances")
    table.write_text("m.onnx,safe.vnnlib,600\nm.onnx,unsafe.vnnlib,600\n")
    assert certboard(*asked, str(table)).out.startswith("2 instances: 1 unsat, 1 sat")
    again = certboard(*asked, str(table))
    assert "2 of 2 are in results.csv already" in again.err
    (files / "safe.vnnlib").write_text(UNSAFE)
    outcome = certboard(*asked, str(table))
    assert "1 result of other files or code will be answered again" in outcome.err
    assert outcome.out.startswith("2 instances: 0 unsat, 2 sat")


def test_a_table_goes_on_where_it_stopped(certboard: Certboard, files: Path) -> None:
    table = files / "instances.csv"
    table.write_text("m.onnx,safe.vnnlib,600\nm.onnx,unsafe.vnnlib,600\n")
    kept_timeout(table, Path("r.csv"))
    outcome = certboard("verify", "--instances", str(table), "--output", "r.csv")
    assert outcome.code == 0
    assert "1 of 2 are in r.csv already" in outcome.err
    assert outcome.out.startswith("2 instances: 0 unsat, 1 sat, 0 unknown, 1 timeout, 0 error, ")
    assert [line.split(",")[4] for line in Path("r.csv").read_text().splitlines()] == [
        "timeout",
        "sat",
    ]


@pytest.mark.slow
def test_an_interrupted_table_keeps_what_was_finished(project: Project, files: Path) -> None:
    rows = "m.onnx,safe.vnnlib,600\n" * 500
    (files / "instances.csv").write_text(rows)
    process = start(project, "verify", "--instances", "bench/instances.csv")
    results = project.root / "results.csv"
    until(lambda: results.exists() and results.read_text().count("\n") >= 3, process)
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130
    assert "Traceback" not in outcome.err
    assert outcome.err.endswith("stopped; what was finished is kept, run again to go on.\n")
    assert all(line.count(",") == 5 for line in results.read_text().splitlines())


def test_a_process_that_dies_is_an_error_and_the_next_question_is_answered(files: Path) -> None:
    instance = Instance(files / "m.onnx", files / "safe.vnnlib")
    with Verifier() as verifier:
        verifier._start()
        assert verifier._process is not None
        verifier._process.kill()
        verifier._process.join()
        assert verifier.ask(instance, time.monotonic() + 600) == deadline.DIED
        assert verifier.ask(instance, time.monotonic() + 600).word is Word.UNSAT
        process = verifier._process
    assert process is not None
    assert not process.is_alive()


def test_the_start_of_the_process_is_no_rows_time(
    monkeypatch: pytest.MonkeyPatch, project: Project, files: Path
) -> None:
    """Each row has the whole of its own, however long the process takes to be there."""
    now, left = [0.0], list[float]()

    class Slow(Verifier):
        def ready(self) -> None:
            now[0] += 100.0

        def ask(self, instance: Instance, deadline: float) -> Answer:
            left.append(deadline - now[0])
            now[0] += 2.0
            return Answer(Word.TIMEOUT)

    monkeypatch.setattr(answering, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(answering, "Verifier", Slow)
    (files / "instances.csv").write_text("m.onnx,safe.vnnlib,5\nm.onnx,unsafe.vnnlib,7\n")
    answering.verify_table(files / "instances.csv", None, None, Path("r.csv"))
    assert left == [5.0, 7.0]
    assert [line.split(",")[5] for line in Path("r.csv").read_text().split()] == ["2.000"] * 2


def test_after_a_timeout_the_process_is_there_again(files: Path) -> None:
    instance = Instance(files / "m.onnx", files / "safe.vnnlib")
    with Verifier(restarts=True) as verifier:
        for _ in range(3):
            verifier.ready()
            first = verifier._process
            assert verifier.ask(instance, time.monotonic()).word is Word.TIMEOUT
            assert first is not None
            assert not first.is_alive()
            verifier.ready()
            assert verifier.ask(instance, time.monotonic() + 600).word is Word.UNSAT
