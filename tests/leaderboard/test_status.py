"""`certboard status` reads how far evaluations are off their finished shards."""

import json
from contextlib import nullcontext

import pytest

from leaderboard.common.places import alone
from leaderboard.common.project import Project
from leaderboard.evaluation import status, workers
from leaderboard.evaluation.shard import evaluate
from leaderboard.evaluation.shares import Share
from leaderboard.settings import question
from tests.fixtures.project import LINF, PLAIN
from tests.leaderboard.conftest import Certboard

COMMAND = ("run", PLAIN, "--setting", LINF, "--evaluator", "ibp")


@pytest.fixture
def interrupted(
    project: Project, certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> dict[str, object]:
    """What is said of a run that was killed when it had done 100 of 449 examples."""
    monkeypatch.setattr(question, "LARGEST_SHARD", 50)
    count = iter(range(2))

    def killed(shard: question.Shard) -> object:
        if next(count, None) is None:
            raise KeyboardInterrupt
        return evaluate(shard)

    with monkeypatch.context() as patch:
        patch.setattr(workers, "evaluate", killed)
        assert certboard(*COMMAND).code == 130
    (told,) = json.loads(certboard("status", "--json").out)
    assert isinstance(told, dict)
    return told


def test_an_interrupted_run_goes_on_where_status_says(
    interrupted: dict[str, object], project: Project, certboard: Certboard
) -> None:
    assert (interrupted["state"], interrupted["done"]) == ("interrupted", 100)
    assert (interrupted["examples"], interrupted["evaluator"]) == (449, "ibp")
    assert isinstance(interrupted["seconds_left"], float)
    with alone(project.results / LINF / f"{PLAIN}.ibp.parquet"):
        assert " running " in certboard("status").out
    assert certboard(*COMMAND).code == 0
    (told,) = json.loads(certboard("status", "--json").out)
    assert (told["state"], told["done"]) == ("complete", 449)
    assert told["certified"] + told["falsified"] + told["unknown"] == 449
    assert certboard("status").out.startswith("1 evaluation complete")


def test_what_a_cheap_shard_left_open_is_not_done(
    interrupted: dict[str, object], project: Project, certboard: Certboard
) -> None:
    for part in project.results.glob("*/*.parts/*/*.parquet"):
        part.rename(part.with_suffix(".cheap.parquet"))
    (told,) = json.loads(certboard("status", "--json").out)
    assert told["unknown"] == 0
    assert told["certified"] == interrupted["certified"]
    assert told["done"] == told["certified"] + told["falsified"] < 100


def test_a_share_that_is_computed_now_is_running(project: Project, certboard: Certboard) -> None:
    command = ("run", PLAIN, "--setting", LINF, "--evaluator", "ibp", "--shard", "2/3")
    assert certboard(*command).code == 0
    states = []
    target = project.results / LINF / f"{PLAIN}.ibp.parquet"
    for held in (None, Share(2, 3), Share(1, 3)):
        with alone(held.lock(target)) if held else nullcontext():
            (told,) = json.loads(certboard("status", "--json").out)
        states.append((told["state"], told["done"]))
    done = len(Share(2, 3).of(range(449)))
    assert states == [("interrupted", done), ("running", done), ("interrupted", done)]


def test_nothing_begun_is_said(project: Project, certboard: Certboard) -> None:
    assert certboard("status").out == "No evaluation was begun.\n"


def test_the_time_left_follows_the_latest_shards() -> None:
    slow = [(0.0, 10), (1000.0, 10)]
    quick = [(1000.0 + second, 10) for second in range(1, 21)]
    assert status._left(slow + quick, 50) == 5.0
    assert status._left([(0.0, 10)], 50) is None
