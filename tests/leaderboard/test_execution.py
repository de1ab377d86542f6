"""One queue: cheap methods of many examples, complete ones of few; the rows are always the same."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from leaderboard.common.errors import BugError, InputError
from leaderboard.common.project import Project
from leaderboard.evaluation import execution, forecast, workers
from leaderboard.evaluation.evidence import beside
from leaderboard.evaluation.plan import Plan, Request, make_plan
from leaderboard.evaluation.shard import evaluate
from leaderboard.results.store import read, results_path
from leaderboard.settings import question
from leaderboard.settings.question import Open, Shard
from leaderboard.settings.setting import find_setting
from leaderboard.submissions.manifest import load_submission
from tests.fixtures.executed import execute
from tests.fixtures.project import LINF, PLAIN, bent, linear, submit
from tests.fixtures.stopped import ignore, stop
from tests.leaderboard.conftest import Certboard

EXAMPLES = 60
"""Of which the complete method is asked about three."""
OTHER = "other"


def planned(project: Project, evidence: bool = False) -> Plan:
    request = Request(examples=EXAMPLES, evidence=evidence)
    setting = find_setting(LINF).model_copy(update={"complete": True})
    return make_plan(project, load_submission(project, PLAIN), setting, request)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, list[str]]:
    """The rows of the whole cascade in one shard, and the names in its file of evidence."""
    project = Project(tmp_path_factory.mktemp("whole"))
    submit(project, PLAIN, bent())
    plan = planned(project, evidence=True)
    assert [shard.stages for shard in plan.missing()] == ["all"]
    rows = execute(plan, "1", False, ignore).rows
    return rows, names(plan.target)


def names(target: Path) -> list[str]:
    import zipfile

    with zipfile.ZipFile(beside(target)) as archive:
        return sorted(archive.namelist())


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Shard]:
    """The shards that are computed: cheap ones of 20 examples, complete ones of one."""
    done: list[Shard] = []

    def counted(shard: Shard) -> pd.DataFrame:
        done.append(shard)
        return evaluate(shard)

    monkeypatch.setattr(question, "LARGEST_SHARD", 20)
    monkeypatch.setattr(forecast, "LONGEST_SHARD", 10.0)
    monkeypatch.setattr(forecast, "LONGEST_OPEN", 10.0)
    monkeypatch.setattr(workers, "evaluate", counted)
    return done


def assert_same(rows: pd.DataFrame, whole: pd.DataFrame) -> None:
    assert rows["example"].tolist() == [*range(EXAMPLES)]
    exact = [name for name in rows if name not in ("seconds", "margin")]
    pd.testing.assert_frame_equal(rows[exact], whole[exact])
    pd.testing.assert_series_equal(rows["margin"], whole["margin"], rtol=1e-6)


@pytest.mark.slow
def test_halves_give_the_rows_of_the_whole_cascade(
    project: Project, computed: list[Shard], whole: tuple[pd.DataFrame, list[str]]
) -> None:
    plan = planned(project, evidence=True)
    result = execute(plan, "1", False, ignore)
    assert_same(result.rows, whole[0])
    assert names(plan.target) == whole[1]
    assert [shard.stages for shard in computed] == ["cheap"] * 3 + ["complete"] * 3
    assert {len(shard.examples) for shard in computed[3:]} == {1}
    # What an example cost before is part of its seconds.
    for shard in computed[3:]:
        assert result.rows["seconds"].iloc[shard.examples[0]] > shard.opened[0].seconds > 0


@pytest.mark.slow
def test_the_hardest_examples_come_first_and_last_where_time_may_end(
    project: Project, computed: list[Shard]
) -> None:
    for until in (float("inf"), 1e12):
        computed.clear()
        execute(planned(project), "1", True, ignore, until)
        margins = [shard.opened[0].margin or 0.0 for shard in computed[3:]]
        assert len(set(margins)) == 3
        assert margins == sorted(margins, reverse=until < float("inf"))


def test_an_example_without_any_bound_is_the_hardest() -> None:
    def least(margin: float | None) -> float:
        shard = Shard(None, (0,), "complete", (Open(0, 1.0, margin),))  # type: ignore[arg-type]
        return execution._least(shard)

    assert least(None) < least(-5.0) < least(-1.0)


def test_where_time_may_end_the_evaluation_that_has_the_least_left_comes_first(
    project: Project,
) -> None:
    question = planned(project).question
    easy, hard = (
        [Shard(question, (n,), "complete", (Open(n, 1.0, margin + n),)) for n in range(count)]
        for margin, count in ((-9.0, 2), (-1.0, 3))
    )
    owners: dict[Shard, Any] = dict.fromkeys(easy, "few") | dict.fromkeys(hard, "many")
    owners[Shard(question, (9,), "cheap")] = "many"
    limited, free = (execution._in_order(owners, limited) for limited in (True, False))
    assert [owners[one] for one in limited] == ["many", *["few"] * 2, *["many"] * 3]
    assert limited[1:] == [*reversed(easy), *reversed(hard)]
    assert free[1:] == [*easy, *hard]


def truncated(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def flipped(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content))
    return content[:at] + bytes([content[at] ^ draw.randrange(1, 256)]) + content[at + 1 :]


def zeroed(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content))
    return content[:at] + bytes(min(512, len(content) - at)) + content[at + 512 :]


@pytest.mark.slow
def test_whatever_happens_to_its_shards_a_run_ends_with_the_same_rows(
    project: Project,
    computed: list[Shard],
    whole: tuple[pd.DataFrame, list[str]],
) -> None:
    """Twenty corruptions: bytes flipped, zeroed, cut off, and shards under another's name."""
    draw = random.Random(19)
    plan = planned(project)
    stop(plan, 5)
    kept = {path: path.read_bytes() for path in plan.parts.iterdir()}
    assert len(kept) == 5
    # Counterexamples become shorter when all are there.
    before = pd.concat([one.rows for one in plan.finished()])
    expected = before.set_index("example")[["status", "stage", "witness"]]
    for number in range(20):
        path, other = draw.choice([*kept]), draw.choice([*kept.values()])
        change = (truncated, flipped, zeroed)[number % 3]
        path.write_bytes(other if number % 5 == 4 else change(kept[path], draw))
        unharmed = readable(path)
        said: list[str] = []
        found = pd.concat([one.rows for one in plan.finished(said.append)]).set_index("example")
        assert found.index.is_unique
        assert found[expected.columns].equals(expected.loc[found.index])
        assert unharmed or any(path.name in one for one in said)
        if number % 5 != 3:
            path.write_bytes(kept[path])
    computed.clear()
    assert_same(execute(planned(project), "1", False, ignore).rows, whole[0])
    assert len(computed) >= 2


def readable(path: Path) -> bool:
    """Whether it reads as a result file, as one does that is another shard's."""
    try:
        read(path)
    except InputError:
        return False
    return True


def test_one_of_several_that_fails_does_not_stop_the_others(
    project: Project, certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(project, OTHER, linear())
    good, bad = (results_path(project, LINF, slug) for slug in (PLAIN, OTHER))

    def failing(shard: Shard) -> pd.DataFrame:
        if OTHER in str(shard.question.model):
            error = BugError("two evaluators contradict each other")
            vars(error)["shard"] = shard
            raise error
        return evaluate(shard)

    monkeypatch.setattr(workers, "evaluate", failing)
    command = ("run", OTHER, PLAIN, "--setting", LINF, "--examples", "30")
    assert certboard(*command).code == 3
    assert len(read(good).rows) == 30
    assert not bad.exists()
    assert not bad.with_suffix(".parts").exists()


def test_all_evaluations_of_a_command_share_their_workers(
    project: Project, certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(project, OTHER, linear())
    queues: list[set[str]] = []
    run: Callable[..., Iterator[tuple[Shard, pd.DataFrame]]] = workers.run_shards

    def watched(shards: list[Shard], *rest: object) -> Iterator[tuple[Shard, pd.DataFrame]]:
        queues.append({shard.question.model.parent.name for shard in shards})
        yield from run(shards, *rest)

    monkeypatch.setattr(execution, "run_shards", watched)
    outcome = certboard("run", OTHER, PLAIN, "--setting", LINF, "--examples", "30")
    assert outcome.code == 0, outcome.err
    assert queues == [{OTHER, PLAIN}]
    for slug in (PLAIN, OTHER):
        assert set(read(results_path(project, LINF, slug)).rows["submission"]) == {slug}
