from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest

from evaluators.evaluator import Evaluator
from evaluators.falsification.pgd import PGD
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from leaderboard.common.errors import BugError
from leaderboard.common.progress import RunProgress
from leaderboard.evaluation import shard as run
from leaderboard.evaluation import workers
from leaderboard.evaluation.radius_bracket import RadiusScale
from leaderboard.evaluation.radius_search import largest_radii
from leaderboard.evaluation.shard import evaluate
from leaderboard.settings.question import Question, Shard
from tests.fixtures.evaluators import let_be_made
from tests.fixtures.project import bent, question_about

Solve = Callable[[Problem], list[Verdict]]
EXAMPLES = tuple(range(12))


@pytest.fixture
def question(tmp_path: Path) -> Question:
    return question_about(bent(), tmp_path, "crown", Fraction(1, 4))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Question]]:
    """Each example that an evaluator was asked about, and the question."""
    calls: list[tuple[int, Question]] = []

    def counted(shard: Shard) -> pd.DataFrame:
        calls.extend((example, shard.question) for example in shard.examples)
        return evaluate(shard)

    monkeypatch.setattr(workers, "evaluate", counted)
    return calls


def made(monkeypatch: pytest.MonkeyPatch, solve: Solve) -> None:
    """Let a function be the evaluator 'made', which may use up its time."""

    @dataclass(frozen=True)
    class Made(Evaluator):
        title = "Made up"
        version = "1"
        complete = True

        def solve(self, problem: Problem) -> list[Verdict]:
            return solve(problem)

    let_be_made(monkeypatch, Made)


def search(question: Question, examples: tuple[int, ...] = EXAMPLES) -> pd.DataFrame:
    rows = evaluate(Shard(question, examples))
    with RunProgress("radii", len(rows)) as progress:
        return largest_radii(question, rows, "1", progress).set_index("example")


SCALE = RadiusScale()


def number_of(radius: str | None) -> int:
    """The number of a radius of the scale; 0 for none."""
    if radius is None:
        return 0
    k = SCALE.number(Fraction(radius))
    assert SCALE.radius(k) == Fraction(radius)
    return k


def bisected(question: Question, example: int) -> tuple[int, int]:
    """What plain bisection certifies, and how often it asks."""
    low, high, calls = 0, SCALE.number(question.radius), 0
    while high - low > 1:
        middle, calls = (low + high) // 2, calls + 1
        rows = evaluate(Shard(replace(question, radius=SCALE.radius(middle)), (example,)))
        if rows["status"][0] == "certified":
            low = middle
        else:
            high = middle
    return low, calls


@pytest.mark.slow
@pytest.mark.parametrize(("evaluator", "norm"), [("ibp", "linf"), ("crown", "l2")])
def test_it_finds_what_bisection_finds_and_asks_less(
    question: Question, asked: list[tuple[int, Question]], evaluator: str, norm: str
) -> None:
    largest = Fraction(1, 2) if norm == "linf" else Fraction(2)
    question = replace(question, evaluator=evaluator, norm=norm, radius=largest)
    found = search(question)
    calls, before = len(asked), 0
    searched = found[(found["stage"] != "prediction") & (found["status"] == "unknown")]
    assert len(searched) > 6
    for example, radius in searched["radius"].items():
        k, more = bisected(question, int(str(example)))
        before += more
        assert abs(number_of(radius) - k) <= 1
    assert calls <= before * 0.75
    for example, radius in searched["radius"].dropna().items():
        at = replace(question, radius=Fraction(radius))
        assert (int(str(example)), at) in [(e, replace(q, seconds=60.0)) for e, q in asked]
        assert evaluate(Shard(at, (int(str(example)),)))["status"][0] == "certified"


@pytest.mark.slow
def test_no_radius_is_asked_about_that_reaches_a_witness(
    question: Question, asked: list[tuple[int, Question]]
) -> None:
    question = replace(question, evaluator=None, complete=False, radius=Fraction(9, 10))
    rows = evaluate(Shard(question, EXAMPLES)).set_index("example")
    search(question)
    reached = 0
    for example, row in rows[rows["stage"] == "pgd"].iterrows():
        limit = run.smallest_ball(question, int(str(example)), row["witness"], SCALE)
        reached += SCALE.radius(limit) < question.radius
        radii = [q.radius for e, q in asked if e == example]
        assert radii
        assert max(radii) < SCALE.radius(limit)
    assert reached > 3


@pytest.mark.slow
def test_the_cheap_methods_are_asked_before_the_complete_one(
    question: Question, asked: list[tuple[int, Question]]
) -> None:
    question = replace(question, evaluator=None, norm="l2", radius=Fraction(2), seconds=2.0)
    cheap = search(replace(question, complete=False), (0, 1))
    asked.clear()
    found = search(question, (0, 1))
    assert set(found["evaluator"]) == {"cascade"}
    for example in (0, 1):
        names = [q.evaluator or "cheap" for e, q in asked if e == example]
        assert names == sorted(names, key=lambda name: name != "cheap")
        radii = [number_of(table["radius"][example]) for table in (found, cheap)]
        assert radii[0] >= radii[1]
    assert "branch-and-bound" in [q.evaluator for _, q in asked]


def test_one_time_budget_is_shared_by_all_steps(
    question: Question, asked: list[tuple[int, Question]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a method that uses up whatever it is given and proves small radii only."""
    limit = question.radius * 3 / 10

    def slow(problem: Problem) -> list[Verdict]:
        radius = problem.region.radius
        proofs = [
            Verdict(Status.CERTIFIED, label, radius, margin=1e-9, seconds=problem.seconds / 100)
            for label in problem.labels.tolist()
        ]
        unknown = Verdict(Status.UNKNOWN, None, seconds=problem.seconds, note="timeout")
        return proofs if radius <= limit else [unknown] * len(problem)

    made(monkeypatch, slow)
    found = search(replace(question, evaluator="made", seconds=8.0), (0, 1))
    assert (found["seconds"] <= 8.0 + 8.0 + 0.5).all()
    assert all(0 < number_of(r) <= SCALE.number(limit) for r in found["radius"])
    given = [q.seconds for example, q in asked if example == 0]
    assert given[0] == pytest.approx(8 / 3)
    assert given[:-1] == sorted(given[:-1], reverse=True)


def test_a_witness_within_a_certified_radius_is_loud(
    question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [0]

    def lying(problem: Problem) -> list[Verdict]:
        calls[0] += 1
        if calls[0] == 1:
            return [Verdict(Status.UNKNOWN, None)]
        if problem.region.radius < Fraction(8, 10):
            (label,) = problem.labels.tolist()
            return [Verdict(Status.CERTIFIED, label, problem.region.radius, margin=1e-9)]
        return PGD(step=0.05).solve(problem)

    made(monkeypatch, lying)
    # It would find the lie first.
    monkeypatch.setattr(run, "disagreement", lambda *_: "")
    with pytest.raises(
        BugError, match="a radius was certified, and 'test-radius-search' has a witness"
    ):
        search(replace(question, evaluator="made", radius=Fraction(9, 10)), (0,))
