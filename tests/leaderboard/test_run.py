import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluators.evaluator import Evaluator
from evaluators.onnx.writer import export_onnx
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Deployment, Status, Verdict
from leaderboard.common.errors import BugError, InputError
from leaderboard.datasets.files import sha256_of
from leaderboard.evaluation import shard as run
from leaderboard.evaluation.forecast import cut
from leaderboard.evaluation.shard import evaluate, fingerprint
from leaderboard.results.columns import FLOAT32, REAL
from leaderboard.settings.question import Question, Shard, shards
from leaderboard.settings.setting import exact_fraction, exact_text
from tests.fixtures.evaluators import let_be_made
from tests.fixtures.networks import linear as two_logits
from tests.fixtures.project import bent, digest, linear, question_about

Solve = Callable[[Problem], list[Verdict]]


@pytest.fixture
def question(tmp_path: Path) -> Question:
    return question_about(linear(), tmp_path, "ibp", Fraction(1, 100))


@pytest.fixture
def evaluator(monkeypatch: pytest.MonkeyPatch, question: Question) -> Callable[[Solve], Shard]:
    """Makes an evaluator of a function; returns a shard of six rightly classified examples."""

    def make(solve: Solve) -> Shard:
        @dataclass(frozen=True)
        class Made(Evaluator):
            title = "Made up"
            version = "1"

            def solve(self, problem: Problem) -> list[Verdict]:
                return solve(problem)

        let_be_made(monkeypatch, Made)
        return Shard(replace(question, evaluator="made"), (0, 1, 2, 3, 5, 6))

    return make


def proofs(problem: Problem) -> list[Verdict]:
    labels = problem.labels.tolist()
    radius = problem.region.radius
    return [Verdict(Status.CERTIFIED, label, radius, margin=1e-9) for label in labels]


def test_out_of_memory_halves_the_batch_and_goes_on(
    evaluator: Callable[[Solve], Shard],
) -> None:
    sizes = []

    def greedy(problem: Problem) -> list[Verdict]:
        sizes.append(len(problem))
        if len(problem) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return proofs(problem)

    rows = evaluate(evaluator(greedy))
    assert sizes == [6, 3, 1, 2, 3, 1, 2]
    assert set(rows["status"]) == {"certified"}
    assert rows["example"].tolist() == [0, 1, 2, 3, 5, 6]


@pytest.mark.parametrize("error", [ValueError("singular [/matrix]"), MemoryError(), KeyError(1)])
def test_one_examples_failure_is_its_own_unknown(
    evaluator: Callable[[Solve], Shard], error: Exception
) -> None:
    def fails_on_three(problem: Problem) -> list[Verdict]:
        if 3 in problem.examples:
            raise error
        return proofs(problem)

    rows = evaluate(evaluator(fails_on_three)).set_index("example")
    assert rows.loc[3, "status"] == "unknown"
    assert str(rows.loc[3, "note"]).startswith("failed: ")
    assert set(rows.drop(3)["status"]) == {"certified"}


@pytest.mark.parametrize("margin", [math.nan, math.inf, -1.0, 0.0, None])
def test_a_certificate_without_a_positive_finite_margin_is_unknown(
    evaluator: Callable[[Solve], Shard], margin: float | None
) -> None:
    rows = evaluate(evaluator(lambda p: [replace(v, margin=margin) for v in proofs(p)]))
    assert set(rows["status"]) == {"unknown"}
    assert rows["margin"].isna().all()


@pytest.mark.parametrize("margin", [math.nan, math.inf, -math.inf])
def test_a_bound_that_is_not_finite_is_not_stored(
    evaluator: Callable[[Solve], Shard], margin: float
) -> None:
    def unsure(problem: Problem) -> list[Verdict]:
        return [Verdict(Status.UNKNOWN, None, margin=margin) for _ in problem.examples]

    assert evaluate(evaluator(unsure))["margin"].isna().all()


def test_a_contradiction_is_loud(evaluator: Callable[[Solve], Shard]) -> None:
    def both(problem: Problem) -> list[Verdict]:
        return [
            replace(verdict, witness=x)
            for verdict, x in zip(proofs(problem), problem.x, strict=True)
        ]

    with pytest.raises(BugError, match="certified and gave a witness"):
        evaluate(evaluator(both))


def test_a_wrong_prediction_is_falsified_by_the_example_itself_which_is_not_stored(
    question: Question,
) -> None:
    rows = evaluate(Shard(question, tuple(range(60))))
    wrong = rows[rows["prediction"] != rows["label"]]
    assert len(wrong) > 0
    assert set(wrong["status"]) == {"falsified"}
    assert set(wrong["stage"]) == {"prediction"}
    assert wrong["witness"].isna().all()


def test_rows_do_not_depend_on_the_shard(question: Question) -> None:
    asked = replace(question, evaluator=None, radius=Fraction(1, 10))
    together = evaluate(Shard(asked, tuple(range(40))))
    apart = [evaluate(Shard(asked, tuple(range(k, k + 8)))) for k in (32, 0, 24, 8, 16)]
    for rows in apart:
        same = together[together["example"].isin(rows["example"])].reset_index(drop=True)
        assert rows["status"].tolist() == same["status"].tolist()
        assert rows["stage"].tolist() == same["stage"].tolist()
        assert rows["margin"].astype(float).to_numpy() == pytest.approx(
            same["margin"].astype(float).to_numpy(), rel=1e-9, nan_ok=True
        )


def test_noise_does_not_depend_on_the_shard(question: Question) -> None:
    options = (("failure_probability", 0.01), ("n", 150), ("n0", 20))
    asked = replace(question, evaluator=None, norm="l2", options=options)
    asked = replace(asked, distribution="gaussian", sigma=Fraction(1, 4))
    together = evaluate(Shard(asked, (3, 4, 5))).set_index("example")
    alone = evaluate(Shard(asked, (4,))).set_index("example")
    evidence = ["status", "radius", "count", "p_lower", "seed", "n0", "n", "sigma"]
    assert together.loc[[4], evidence].equals(alone.loc[[4], evidence])


def test_the_seed_follows_from_the_model_and_the_setting_alone(question: Question) -> None:
    assert question.seed == replace(question, seconds=1.0, device="cuda", options=(("n", 5),)).seed
    others = [
        replace(question, model_sha256="0" * 64),
        replace(question, dataset="mnist"),
        replace(question, norm="l2"),
        replace(question, radius=Fraction(1, 101)),
    ]
    seeds = {question.seed, *(other.seed for other in others)}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_fingerprint_tells_every_difference(question: Question, tmp_path: Path) -> None:
    export_onnx(bent(), tmp_path / "other.onnx")
    other = tmp_path / "other.onnx"
    changed = [
        replace(question, model=other, model_sha256=digest(other)),
        replace(question, norm="l1"),
        replace(question, radius=Fraction(1, 101)),
        replace(question, seconds=61.0),
        replace(question, evaluator="crown"),
        replace(question, evaluator=None),
    ]
    prints = {fingerprint(one, [1, 2], "d") for one in [question, *changed]}
    prints |= {fingerprint(question, [1], "d"), fingerprint(question, [1, 2], "e")}
    assert len(prints) == 9


def test_shards_are_cut_by_the_shape_of_an_image(question: Question) -> None:
    cut = list(shards(question, range(449), (1, 8, 8), 0.0))
    assert [len(shard.examples) for shard in cut] == [100, 100, 100, 100, 49]
    assert [e for shard in cut for e in shard.examples] == [*range(449)]
    assert [s.examples for s in shards(question, range(449), (3, 32, 32), 0.0)] == [
        s.examples for s in cut
    ]
    assert len(next(shards(question, range(449), (3, 224, 224), 0.0)).examples) == 26


@pytest.mark.parametrize(
    ("asked", "seconds", "size"),
    [
        ({"evaluator": None}, 60.0, 10),
        ({"evaluator": None}, 300.0, 2),
        ({"evaluator": None}, 3000.0, 1),
        ({"evaluator": None}, 1.0, 100),
        ({"evaluator": None, "complete": False}, 60.0, 100),
        ({"evaluator": "branch-and-bound"}, 60.0, 10),
        ({"evaluator": "branch-and-bound", "complete": False}, 60.0, 10),
        ({"evaluator": "crown"}, 60.0, 100),
    ],
)
def test_a_shard_takes_ten_minutes_where_each_example_may_take_all_its_time(
    question: Question, asked: dict[str, Any], seconds: float, size: int
) -> None:
    made = cut(replace(question, seconds=seconds, **asked), range(101))
    assert {len(shard.examples) for shard in made[:-1]} == {size}
    assert [e for shard in made for e in shard.examples] == [*range(101)]


def test_a_question_without_complete_methods_is_another_question(question: Question) -> None:
    cascade = replace(question, evaluator=None)
    cheap = replace(cascade, complete=False)
    assert fingerprint(cascade, [1], "d") != fingerprint(cheap, [1], "d")
    assert fingerprint(question, [1], "d") == fingerprint(
        replace(question, complete=False), [1], "d"
    )
    versions = [evaluate(Shard(one, (0,)))["evaluator_version"][0] for one in (cascade, cheap)]
    assert ["branch-and-bound" in version for version in versions] == [True, False]


def test_a_changed_file_is_read_again_and_never_mixed(question: Question) -> None:
    before = evaluate(Shard(question, (0, 1)))
    export_onnx(bent(), question.model)
    with pytest.raises(InputError, match="was changed while it was being evaluated"):
        evaluate(Shard(replace(question, model_sha256="0" * 64), (0, 1)))
    after = evaluate(Shard(replace(question, model_sha256=sha256_of(question.model)), (0, 1)))
    assert before["margin"].tolist() != after["margin"].tolist()


def test_a_file_that_is_another_one_only_while_it_is_read_is_refused(
    question: Question, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may write to a shared cache could change it back before it is hashed."""
    model, read = question.model, Path.read_bytes
    export_onnx(bent(), other := model.with_name("other.onnx"))
    given = iter([other])

    def read_bytes(path: Path) -> bytes:
        return read(next(given, path) if path == model else path)

    asked = replace(question, model_sha256=sha256_of(model), salt="1" * 32)
    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(InputError, match="was changed while it was being evaluated"):
        evaluate(Shard(asked, (0,)))


@given(st.fractions(min_value=0, max_denominator=10**15))
def test_an_exact_text_reads_back_as_the_same_number(number: Fraction) -> None:
    text = exact_text(number)
    assert Fraction(text) == number
    if number > 0 and len(text) <= 32:
        assert exact_fraction(text) == number


def test_exact_texts_are_decimals_where_these_are_short() -> None:
    cases = {"0.3": "3/10", "0.05": "1/20", "8/255": "8/255", "2": "2", "0.0009765625": "1/1024"}
    assert {exact_text(Fraction(text)) for text in cases.values()} == set(cases)
    assert exact_text(Fraction(1, 2**40)) == "1/1099511627776"
    assert exact_text(Fraction(-1, 8)) == "-0.125"
    assert exact_text(Fraction(98765432109876543210123, 10**12)) == "98765432109.876543210123"


def test_the_columns_words_are_the_evaluators() -> None:
    assert {FLOAT32, REAL} == {kind.value for kind in Deployment}


def test_what_only_real_arithmetic_proves_is_marked_and_unknown() -> None:
    """Logits x + 2^22 and 2^22, of which float32 keeps halves; a failure keeps its note."""
    network = two_logits([[1.0], [0.0]], [2.0**22, 2.0**22])
    region = Ball(Norm.LINF, Fraction(1, 4))
    x, labels = torch.full((2, 1), 0.5), torch.zeros(2, dtype=torch.long)
    problem = Problem(network, x, labels, region)
    bounded = Verdict(Status.UNKNOWN, 0, margin=-1.0, note="bound too loose")
    failed = Verdict(Status.UNKNOWN, 0, note="failed: no memory")
    marked, kept = run.in_real_arithmetic(problem, [bounded, failed])
    assert (marked.status, marked.deployment) == (Status.UNKNOWN, Deployment.REAL)
    assert marked.note == run.ROUNDING
    assert kept == failed
