"""`certboard compare`: a file a cell, computed once, and a table that counts them."""

import csv
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from leaderboard.common.errors import BugError, InputError
from leaderboard.common.project import Project
from leaderboard.evaluation import comparison, execution, workers
from leaderboard.evaluation.comparison import CompareOptions, compare_evaluators
from leaderboard.evaluation.shard import evaluate
from leaderboard.evaluation.workers import run_shards
from leaderboard.results.store import read
from leaderboard.settings.question import Shard
from tests.fixtures.project import LINF, MODEL, NOISY, PLAIN, digest
from tests.leaderboard.conftest import Certboard

Calls = list[tuple[str | None, float, int]]


def asked(model: str = MODEL, *more: str, radius: str = "0.1", examples: int = 6) -> list[str]:
    words = ["compare", model, "--dataset", "digits", "--norm", "linf", "--radius", radius]
    return [*words, "--examples", str(examples), *more]


def by(*evaluators: str) -> list[str]:
    return [word for name in evaluators for word in ("--evaluator", name)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The evaluator, the seconds and the number of examples of every shard that is computed."""
    found: Calls = []

    def counted(shard: Shard) -> pd.DataFrame:
        question = shard.question
        found.append((question.evaluator, question.seconds, len(shard.examples)))
        return evaluate(shard)

    monkeypatch.setattr(workers, "evaluate", counted)
    return found


def test_a_cell_that_is_there_is_not_computed_again(
    certboard: Certboard, project: Project, calls: Calls
) -> None:
    first = certboard(*asked(MODEL, *by("ibp")))
    assert first.code == 0, first.err
    again = certboard(*asked(MODEL, *by("ibp", "crown")))
    assert [name for name, *_ in calls] == ["ibp", "crown"]
    assert first.out.splitlines()[2].split() == again.out.splitlines()[2].split()
    certboard(*asked(MODEL, *by("ibp"), "--fresh"))
    assert [name for name, *_ in calls] == ["ibp", "crown", "ibp"]


def test_all_cells_are_in_one_queue_and_one_that_fails_stops_no_other(
    certboard: Certboard, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues: list[int] = []

    def watched(shards: Sequence[Shard], *more: Any) -> Any:
        queues.append(len(shards))
        return run_shards(shards, *more)

    def failing(shard: Shard) -> pd.DataFrame:
        question = shard.question
        if (question.evaluator, question.radius) == ("crown", Fraction(1, 5)):
            error = InputError("The disk is gone.")
            vars(error)["shard"] = shard
            raise error
        return evaluate(shard)

    monkeypatch.setattr(execution, "run_shards", watched)
    monkeypatch.setattr(workers, "evaluate", failing)
    outcome = certboard(*asked(MODEL, *by("ibp", "crown"), "--radius", "0.2"))
    assert outcome.code == 0, outcome.err
    assert queues[0] == 4
    assert sorted(line.split()[1:3] for line in outcome.out.splitlines()[2:]) == [
        ["0.1", "crown"], ["0.1", "ibp"], ["0.2", "ibp"]
    ]  # fmt: skip
    assert "linf 0.2 · crown: The disk is gone." in outcome.err


def test_another_time_limit_or_more_examples_is_another_question(
    certboard: Certboard, project: Project, calls: Calls
) -> None:
    certboard(*asked(MODEL, *by("ibp")))
    certboard(*asked(MODEL, *by("ibp"), "--seconds", "3"))
    certboard(*asked(MODEL, *by("ibp"), "--seconds", "3", examples=8))
    assert calls == [("ibp", 10.0, 6), ("ibp", 3.0, 6), ("ibp", 3.0, 8)]
    fewer = certboard(*asked(MODEL, *by("ibp"), "--seconds", "3"))
    assert fewer.code == 1
    assert "has 8 examples, and this run on 6 would replace them" in fewer.err


def test_the_rows_have_the_provenance_of_a_stored_evaluation(
    certboard: Certboard, project: Project
) -> None:
    sha256 = digest(project.root / MODEL)
    certboard(*asked(PLAIN, *by("ibp"), "--publish"))
    stored = read(project.comparison / LINF / f"{PLAIN}-{sha256[:8]}.ibp.parquet")
    assert stored.provenance.model_sha256 == sha256
    assert stored.provenance.examples == "first 6 of the test set"
    assert stored.rows["example"].tolist() == [*range(6)]


def test_a_network_of_the_same_name_and_other_content_has_a_cell_of_its_own(
    certboard: Certboard, project: Project, calls: Calls
) -> None:
    (project.root / "other").mkdir()
    copy = project.root / "other" / "model.onnx"
    copy.write_bytes((project.submissions / NOISY / "model.onnx").read_bytes())
    outcome = certboard(*asked(MODEL, str(copy), *by("ibp")))
    assert outcome.code == 0, outcome.err
    assert len(calls) == 2
    assert len([*project.root.glob(f"comparison/{LINF}/model-*.ibp.parquet")]) == 2


def test_the_table_counts_the_rows(
    certboard: Certboard, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certified 2, falsified 1 and unknown 1 of 4; the seconds 1, 2, 3 and 10."""

    def decided(shard: Shard) -> pd.DataFrame:
        rows = evaluate(shard)
        rows["status"] = ["certified", "certified", "falsified", "unknown"]
        return rows.assign(seconds=[1.0, 2.0, 3.0, 10.0])

    monkeypatch.setattr(workers, "evaluate", decided)
    (project.root / "sources.csv").write_text(
        "sha256,source_repo,source_path,source_commit\n"
        f"{digest(project.root / MODEL)},some/where,net.pth,abc\n"
    )
    table = ["--sources", "sources.csv", "--table", "table.csv"]
    outcome = certboard(*asked(MODEL, *by("ibp"), *table, examples=4))
    shown = ["model", "0.1", "ibp", "50.0%", "25.0%", "4", "2.5"]
    assert outcome.out.splitlines()[2].split() == shown
    with (project.root / "table.csv").open() as file:
        (line,) = csv.DictReader(file)
    counts = [line[name] for name in ("examples", "certified", "falsified", "unknown")]
    assert counts == ["4", "2", "1", "1"]
    assert (line["mean_seconds"], line["median_seconds"]) == ("4.0", "2.5")
    assert line["source"] == "some/where@abc: net.pth"


def test_the_average_radius_counts_examples_without_a_certificate_as_zero(
    certboard: Certboard, project: Project, monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    def found(question: object, rows: pd.DataFrame, *_more: object) -> pd.DataFrame:
        return rows.assign(radius=pd.Series(["0.1", "0.05", None, None]))

    monkeypatch.setattr(comparison, "largest_radii", found)
    table = ["--max-radius", "--table", "table.parquet"]
    outcome = certboard(*asked(MODEL, *by("ibp"), *table, examples=4))
    assert outcome.out.splitlines()[2].split()[-1] == "0.0375"
    assert pd.read_parquet("table.parquet")["mean_radius"].tolist() == [0.0375]

    def never(*_all: object) -> pd.DataFrame:
        raise AssertionError

    monkeypatch.setattr(comparison, "largest_radii", never)
    again = certboard(*asked(MODEL, *by("ibp"), "--max-radius", examples=4))
    assert again.out == outcome.out
    assert len(calls) == 1
    plain = certboard(*asked(MODEL, *by("ibp"), examples=4))
    assert "radius" not in plain.out.splitlines()[0].split()[-1]


def test_evaluators_that_contradict_each_other_are_a_bug(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opposed(shard: Shard) -> pd.DataFrame:
        status = "certified" if shard.question.evaluator == "ibp" else "falsified"
        return evaluate(shard).assign(status=status)

    monkeypatch.setattr(workers, "evaluate", opposed)
    typed = CompareOptions(
        models=[MODEL], dataset="digits", norm="linf", radii=["0.1"],
        evaluators=["ibp", "crown"], examples=2,
    )  # fmt: skip
    with pytest.raises(
        BugError, match=r"example 0, linf 0[.]1: 'crown' says falsified, 'ibp' says"
    ):
        compare_evaluators(typed)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (asked("gone.onnx"), "gone.onnx: there is no such file."),
        (asked("gone"), "There is no submission 'gone'."),
        (asked(NOISY), f"The submission '{NOISY}' is smoothed; compare takes plain networks."),
        (asked(radius="nan"), "--radius is 'nan', but"),
        (asked(MODEL, *by("crwn")), "There is no evaluator 'crwn'. Did you mean 'crown'"),
        (asked(MODEL, "--seconds", "0"), "--seconds is 0; it must be positive and finite."),
        (asked(MODEL, "--table", "a.txt"), "--table is a.txt; its name must end in .parquet or"),
        (asked(MODEL, "--table", "no/a.csv"), "--table: there is no folder no."),
        (asked(MODEL, "--sources", "gone.csv"), "--sources: gone.csv cannot be read as a CSV"),
        (asked(MODEL, "--sources", "few.csv"), "--sources: few.csv has no column 'sha256'."),
        (asked(MODEL, *by("pgd"), "--max-radius"), "--max-radius needs a proof, but 'pgd' only"),
    ],
)
def test_a_value_that_is_not_allowed_is_told_before_any_work(
    certboard: Certboard, project: Project, calls: Calls, arguments: list[str], sentence: str
) -> None:
    Path("few.csv").write_text("a,b\n1,2\n")
    outcome = certboard(*arguments)
    assert outcome.code == 1
    assert outcome.sentence.startswith(sentence)
    assert not calls
    assert not (project.root / "comparison").exists()
