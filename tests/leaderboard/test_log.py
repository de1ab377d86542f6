"""What a run says of itself: its cost beforehand, a log for programs, and where the time went."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from leaderboard.common.errors import BugError
from leaderboard.common.progress import tell
from leaderboard.common.project import Project
from leaderboard.evaluation import forecast, log, run, workers
from leaderboard.evaluation.plan import Plan, Request, make_plan
from leaderboard.evaluation.shard import evaluate
from leaderboard.results.store import read
from leaderboard.settings import question
from leaderboard.settings.question import Shard
from leaderboard.settings.setting import find_setting
from leaderboard.submissions.manifest import load_submission
from tests.fixtures.project import LINF, PLAIN
from tests.leaderboard.conftest import Certboard

COMMAND = ("run", PLAIN, "--setting", LINF, "--examples", "40", "--log", "run.jsonl")


def logged() -> list[dict[str, Any]]:
    """The lines of the log, but for what a terminal shows."""
    lines = [json.loads(line) for line in Path("run.jsonl").read_text().splitlines()]
    return [one for one in lines if one["event"] != "message"]


def test_the_log_has_a_line_of_json_for_all_that_happens(
    project: Project, certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question, "LARGEST_SHARD", 20)
    monkeypatch.setattr(log, "LONG", 0.0)
    outcome = certboard(*COMMAND)
    assert outcome.code == 0
    events = logged()
    assert [one["event"] for one in events] == ["begin", "shard", "shard", "complete", "end"]
    assert {one.get("evaluation") for one in events[:-1]} == {f"{PLAIN} · {LINF}"}
    assert [(one["first"], one["last"]) for one in events[1:3]] == [(0, 19), (20, 39)]
    rows = read(project.results / LINF / f"{PLAIN}.parquet").rows
    for status, count in rows["status"].value_counts().items():
        assert sum(one.get(str(status), 0) for one in events[1:3]) == count
    stages = events[-1]["stages"]
    assert sum(one["examples"] for one in stages.values()) == 40
    # Each is told to a millisecond.
    assert sum(one["seconds"] for one in stages.values()) == pytest.approx(
        rows["seconds"].sum(), abs=0.001 * len(stages)
    )
    for stage, count in rows[rows["status"] != "unknown"]["stage"].value_counts().items():
        assert stages[stage]["examples"] == count
    last = outcome.err.splitlines()[-1]
    assert last.startswith("where the time went: ")
    assert all(f"{stage} " in last for stage in stages)


def test_the_log_of_a_run_that_goes_on_is_continued(
    project: Project, certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(shard: Shard) -> object:
        if shard.examples[0]:
            raise BugError("two evaluators contradict each other")
        return evaluate(shard)

    monkeypatch.setattr(question, "LARGEST_SHARD", 20)
    with monkeypatch.context() as patch:
        patch.setattr(workers, "evaluate", failing)
        assert certboard(*COMMAND).code == 3
    first = logged()
    assert [one["event"] for one in first] == ["begin", "shard", "failed", "end"]
    assert first[2]["problem"] == "two evaluators contradict each other"
    assert certboard(*COMMAND).code == 0
    assert logged()[: len(first)] == first
    assert len(logged()) > len(first)


def test_what_a_terminal_shows_is_logged(tmp_path: Path) -> None:
    with log.logged(tmp_path / "log"):
        tell("its worker process was killed; tried again")
    tell("not this")
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["text"] == "its worker process was killed; tried again"


def test_a_log_that_cannot_be_written_is_one_sentence(
    project: Project, certboard: Certboard
) -> None:
    outcome = certboard(*COMMAND[:-1], "no/such/folder.jsonl")
    assert outcome.code == 1
    assert outcome.sentence.startswith("--log: no/such/folder.jsonl cannot be written")


def planned(project: Project, complete: bool) -> Plan:
    setting = find_setting(LINF).model_copy(update={"complete": complete})
    return make_plan(project, load_submission(project, PLAIN), setting, Request(examples=200))


@pytest.mark.parametrize(
    ("complete", "evaluator", "told"),
    [
        (False, None, r"about \S+ \S+ for cheap methods on 200 examples$"),
        (False, "ibp", r"about \S+ \S+ for cheap methods on 200 examples$"),
        (True, None, r"these left \d+ of 16 undecided, and .* take up to \S+ \S+ more$"),
        (True, "branch-and-bound", r"at most 10 s for each of 200 examples: up to 17 min$"),
    ],
)
def test_what_a_plain_network_will_cost_is_said_before(
    project: Project, monkeypatch: pytest.MonkeyPatch, complete: bool, evaluator: str, told: str
) -> None:
    plan = planned(project, complete)
    asked = replace(plan.question, evaluator=evaluator, radius=2 * plan.question.radius)
    said: list[str] = []
    monkeypatch.setattr(forecast, "tell", said.append)
    monkeypatch.setattr(forecast, "LONG", 0.0)
    forecast.announce("this", asked, plan.examples, "2")
    (sentence,) = said
    assert re.search(told, sentence), sentence


def test_a_short_run_is_not_announced(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(project, complete=False)
    monkeypatch.setattr(forecast, "tell", pytest.fail)
    forecast.announce("this", plan.question, plan.examples, "1")


@pytest.mark.parametrize(("correct", "told"), [(3, True), (4, False)])
def test_a_first_look_asks_for_normalisation_where_a_model_only_guesses(
    project: Project, monkeypatch: pytest.MonkeyPatch, correct: int, told: bool
) -> None:
    tally = SimpleNamespace(
        examples=20, correct=correct, certified=lambda _: 0, of_status=lambda _: 0
    )
    monkeypatch.setattr(run, "read", lambda _: SimpleNamespace(tally=tally))
    pairs = [(load_submission(project, PLAIN), find_setting(LINF))]
    _, sentences = run.first_look(project, pairs, None)
    said = f"{PLAIN} · {LINF}: {correct} of 20 are right, hardly more than by guessing."
    assert [one for one in sentences if "guessing" in one and said in one] == sentences * told
    assert any("is normalisation inside the graph" in one for one in sentences) == told
