"""An evaluation in the time given: it stops between shards, and goes on where it stopped."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.common.project import Project
from leaderboard.evaluation import run, workers
from leaderboard.evaluation.executors import processes, shared
from leaderboard.evaluation.shard import evaluate
from leaderboard.evaluation.workers import run_shards
from leaderboard.intake import confinement
from leaderboard.intake.sandbox import Limits, Outcome
from leaderboard.results.store import read, results_path
from leaderboard.settings import question
from leaderboard.settings.question import Shard
from tests.fixtures.project import LINF, PLAIN
from tests.leaderboard.conftest import Certboard

SIZE, SHARDS = 50, 9
COMMAND = ("run", PLAIN, "--setting", LINF)


@dataclass
class Clock:
    """A clock that shards move, by `seconds` each, and hardly anything else."""

    seconds: float
    now: float = 0.0

    def monotonic(self) -> float:
        self.now += 1e-6
        return self.now

    def evaluate(self, shard: Shard) -> pd.DataFrame:
        self.now += self.seconds
        return evaluate(shard)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Shards of 50 examples that take a minute each."""
    made = Clock(60.0)
    for module in (shared, run):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=made.monotonic))
    monkeypatch.setattr(workers, "evaluate", made.evaluate)
    monkeypatch.setattr(question, "LARGEST_SHARD", SIZE)
    return made


def parts(project: Project) -> list[Path]:
    return sorted((project.results / LINF).glob(f"{PLAIN}.parts/*/*.parquet"))


@pytest.mark.slow
def test_several_runs_make_what_one_would(
    project: Project, certboard: Certboard, clock: Clock
) -> None:
    target = results_path(project, LINF, PLAIN)
    assert certboard(*COMMAND).code == 0
    whole = read(target)
    target.unlink()
    for part in (1, 2):
        outcome = certboard(*COMMAND, "--hours", "0.075")
        assert outcome.code == 4
        assert outcome.err.splitlines()[-1] == (
            f"certboard: time is up: {PLAIN} · {LINF}: {part * 4 * SIZE} of 449 examples are"
            " measured; what was finished is kept, run again to go on."
        )
        assert len(parts(project)) == 4 * part
        assert not target.exists()
    assert certboard(*COMMAND, "--hours", "0.075").code == 0
    assert parts(project) == []
    again = read(target)
    assert again.rows.drop(columns="seconds").equals(whole.rows.drop(columns="seconds"))
    assert again.provenance.fingerprint == whole.provenance.fingerprint


@pytest.mark.slow
def test_settings_that_are_done_stay_done(
    project: Project, certboard: Certboard, clock: Clock
) -> None:
    typed = (*COMMAND, "--setting", "digits-linf-0.2", "--hours", "0.216667")
    assert [certboard(*typed).code for _ in range(2)] == [4, 0]
    assert round(clock.now) == 2 * SHARDS * 60


def test_time_for_nothing_is_an_error_and_no_endless_story(
    project: Project, certboard: Certboard, clock: Clock
) -> None:
    assert certboard(*COMMAND, "--hours", "0.0416667").code == 4
    outcome = certboard(*COMMAND, "--hours", "1.66667e-11")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].endswith(
        "100 of 449 examples are measured, and no more could be in the time given: give more"
        " --hours."
    )


@pytest.mark.slow
def test_finished_shards_are_used_however_the_rest_is_cut(
    project: Project, certboard: Certboard, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of a smoothed model's shards follows from the machine's speed."""
    assert certboard(*COMMAND, "--hours", "0.075").code == 4
    parts(project)[1].unlink()
    monkeypatch.setattr(question, "LARGEST_SHARD", 30)
    assert certboard(*COMMAND, "--hours", "0.0583333").code == 4
    names = [path.stem.replace("00000", "") for path in parts(project)]
    assert names == ["000-049", "050-079", "080-099", "100-149", "150-199", "200-229"]
    assert certboard(*COMMAND).code == 0
    assert read(results_path(project, LINF, PLAIN)).rows["example"].tolist() == [*range(449)]


@given(st.floats(0.01, 10), st.floats(0, 100), st.integers(1, 30))
def test_no_shard_is_begun_that_would_end_too_late(
    seconds: float, until: float, count: int
) -> None:
    ends = [0.0]

    def slow(shard: Shard) -> pd.DataFrame:
        ends.append(ends[-1] + seconds)
        return pd.DataFrame()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "time", SimpleNamespace(monotonic=lambda: ends[-1]))
        patch.setattr(workers, "evaluate", slow)
        asked = [Shard(None, (number,)) for number in range(count)]  # type: ignore[arg-type]
        done = [shard for shard, _ in run_shards(asked, "1", until)]
    # The first shard's time is not known beforehand.
    assert done == asked[: len(done)]
    assert ends[-1] < until or len(done) <= 1
    assert len(done) == count or ends[-1] + (seconds if done else 0) >= until


def test_processes_are_given_no_more_than_they_can_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, now = [], [0.0]

    def slow(shard: Shard) -> pd.DataFrame:
        begun.append(shard)
        now[0] += 0.2
        return pd.DataFrame()

    monkeypatch.setattr(shared, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(workers, "evaluate", slow)
    monkeypatch.setattr(processes, "_pool", lambda n, _: ThreadPoolExecutor(n))
    question: Any = SimpleNamespace(device="cpu")
    asked = [Shard(question, (number,)) for number in range(40)]
    done = [shard for shard, _ in run_shards(asked, "2", 0.7)]
    assert 2 <= len(done) == len(begun) < len(asked)


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf"])
def test_hours_that_are_no_time_are_refused(
    project: Project, certboard: Certboard, hours: str
) -> None:
    outcome = certboard(*COMMAND, "--hours", hours)
    assert outcome.code == 1
    assert "it must be positive and finite" in outcome.sentence


@pytest.fixture
def confined(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[tuple[list[str], Limits]]]:
    """Makes confined processes end with a code; the arguments and limits that they had."""

    def make(code: int) -> list[tuple[list[str], Limits]]:
        seen: list[tuple[list[str], Limits]] = []

        def ended(arguments: Sequence[str], limits: Limits, _: Path) -> Outcome:
            seen.append(([*arguments], limits))
            return Outcome(code, "")

        monkeypatch.setattr(confinement, "run_confined", ended)
        return seen

    return make


def test_a_confined_run_keeps_to_the_time_and_says_that_it_is_up(
    project: Project,
    certboard: Certboard,
    confined: Callable[[int], list[tuple[list[str], Limits]]],
) -> None:
    seen = confined(4)
    outcome = certboard(*COMMAND, "--sandbox", "best", "--hours", "0.166667")
    assert outcome.code == 4
    assert outcome.err.splitlines()[-1].startswith(f"certboard: time is up: {PLAIN}: ")
    ((arguments, limits),) = seen
    given = 3600 * float(arguments[arguments.index("--hours") + 1])
    assert 540 < given <= 600.1
    assert limits.seconds <= given + 1800 + 1
