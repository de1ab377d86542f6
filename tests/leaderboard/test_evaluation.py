from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from evaluators.onnx.writer import export_onnx
from evaluators.question.problem import Problem
from leaderboard.common.errors import InputError, WithdrawnError
from leaderboard.common.project import Project
from leaderboard.evaluation import plan as evaluation
from leaderboard.evaluation import shard as run
from leaderboard.evaluation import workers
from leaderboard.evaluation.plan import Plan, Request, make_plan
from leaderboard.evaluation.shard import PREDICTION, evaluate
from leaderboard.results.store import Results, read
from leaderboard.settings import question
from leaderboard.settings.question import Shard
from leaderboard.settings.setting import find_setting
from leaderboard.submissions.manifest import load_submission
from tests.fixtures.effort import first_few
from tests.fixtures.executed import execute
from tests.fixtures.operations import counted_operations
from tests.fixtures.project import LINF, PLAIN, digest, linear
from tests.fixtures.stopped import ignore, stop
from tests.leaderboard.conftest import Certboard

Counting = Callable[[], list[tuple[int, ...]]]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shards computed so far, which are small."""
    done: list[tuple[int, ...]] = []

    def counted(shard: Shard) -> pd.DataFrame:
        done.append(shard.examples)
        return evaluate(shard)

    monkeypatch.setattr(question, "LARGEST_SHARD", 10)
    monkeypatch.setattr(workers, "evaluate", counted)
    return done


def plan(project: Project, request: Request | None = None, slug: str = PLAIN) -> Plan:
    request = request or Request(examples=30)
    return make_plan(project, load_submission(project, slug), find_setting(LINF), request)


def measure(project: Project, request: Request | None = None) -> Results:
    request = request or Request(examples=30)
    return execute(plan(project, request), "1", request.fresh, ignore)


def interrupted(project: Project, count: int, request: Request | None = None) -> None:
    """A run that is stopped after `count` shards."""
    request = request or Request(examples=30)
    stop(plan(project, request), count, request.fresh)


def files(project: Project) -> list[str]:
    """All that lies in the folder of results."""
    folder = project.results
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def same(one: Results, other: Results) -> bool:
    return one.rows.drop(columns="seconds").equals(other.rows.drop(columns="seconds"))


def test_an_evaluation_is_stored_with_its_provenance(project: Project) -> None:
    result = measure(project)
    stored = read(project.results / LINF / f"{PLAIN}.parquet")
    assert stored.rows.equals(result.rows)
    assert stored.rows["example"].tolist() == [*range(30)]
    assert set(stored.rows["submission"]) == {PLAIN}
    assert set(stored.rows["setting"]) == {LINF}
    origin = stored.provenance
    assert origin.model_sha256 == digest(project.submissions / PLAIN / "model.onnx")
    assert (origin.examples, origin.total, origin.evaluator) == ("first 30 of all", 449, "cascade")
    assert origin.options["seconds"] == 10
    assert list(origin.options)[:4] == ["ibp", "lipschitz-margin", "pgd", "crown-ibp"]
    assert "branch-and-bound" not in origin.options
    assert int(origin.seed or 0) > 0
    assert files(project) == [f"{LINF}/{PLAIN}.parquet"]


def test_the_seconds_of_its_rows_sum_to_what_a_shard_took(project: Project) -> None:
    """With what is done besides the evaluators: spot checks, and bounds in real arithmetic."""
    (shard,) = plan(project).missing()
    evaluate(shard)  # what is read and computed once
    with counted_operations() as clock:
        rows = evaluate(shard)
    assert rows["seconds"].sum() == pytest.approx(clock.now, rel=0.05)
    certified, wrong = rows["status"] == "certified", rows["stage"] == PREDICTION
    assert rows["seconds"][wrong].max() < rows["seconds"][certified].min()


def test_the_setting_says_whether_the_complete_methods_are_asked(project: Project) -> None:
    submission = load_submission(project, PLAIN)
    for complete in (True, False):
        setting = find_setting(LINF).model_copy(update={"complete": complete})
        made = make_plan(project, submission, setting, Request())
        assert made.question.complete is complete
        assert {one.stages for one in made.missing()} == {"cheap" if complete else "all"}


def test_a_stopped_run_goes_on_where_it_stopped(
    project: Project, computed: list[tuple[int, ...]], tmp_path: Path
) -> None:
    whole = measure(replace(project, results_folder=tmp_path / "whole"))
    interrupted(project, 2)
    computed.clear()
    assert not (project.results / LINF / f"{PLAIN}.parquet").exists()
    resumed: list[int] = []
    result = execute(
        plan(project), "1", False, lambda rows, known: resumed.extend([len(rows)] * known)
    )
    assert resumed == [10, 10]
    assert [shard[0] for shard in computed] == [20]
    assert same(result, whole)
    assert files(project) == [f"{LINF}/{PLAIN}.parquet"]


def test_a_complete_result_is_not_measured_again(
    project: Project, computed: list[tuple[int, ...]]
) -> None:
    measure(project)
    before = plan(project).target.read_bytes()
    computed.clear()
    found = plan(project).stored
    assert found is not None
    assert len(found.rows) == 30
    measure(project, Request(examples=30, fresh=True))
    assert len(computed) == 3
    assert plan(project).target.read_bytes() != before


def test_a_stopped_repetition_goes_on_without_asking_for_it_again(
    project: Project, computed: list[tuple[int, ...]]
) -> None:
    measure(project)
    interrupted(project, 1, Request(examples=30, fresh=True))
    computed.clear()
    assert plan(project).stored is None
    measure(project)
    assert [shard[0] for shard in computed] == [10, 20]
    assert plan(project).stored is not None


@pytest.mark.parametrize("damage", first_few(["holes", "other", "truncate", "empty"], 2))
def test_a_damaged_shard_is_computed_again(
    project: Project, computed: list[tuple[int, ...]], damage: str
) -> None:
    interrupted(project, 2)
    first, second = sorted(plan(project).parts.glob("*.parquet"))
    content = first.read_bytes()
    middle = len(content) // 2
    changed = {
        "truncate": content[:-20],
        "holes": content[:middle] + bytes(40) + content[middle + 40 :],
        "empty": b"",
        "other": second.read_bytes(),
    }
    first.write_bytes(changed[damage])
    computed.clear()
    result = measure(project)
    assert [shard[0] for shard in computed] == [0, 20]
    assert result.rows["example"].tolist() == [*range(30)]


def change_model(project: Project) -> Request:
    folder = project.submissions / PLAIN
    before = digest(folder / "model.onnx")
    export_onnx(linear(), folder / "model.onnx")
    manifest = folder / "submission.toml"
    manifest.write_text(manifest.read_text().replace(before, digest(folder / "model.onnx")))
    return Request(examples=30)


def change_version(project: Project) -> Request:
    return Request(examples=30)


def change_seconds(project: Project) -> Request:
    return Request(examples=30, seconds=5.0)


def change_code(project: Project) -> Request:
    return Request(examples=30)


@pytest.mark.parametrize(
    "change", first_few([change_model, change_code, change_version, change_seconds], 2)
)
def test_shards_of_another_question_are_not_used(
    project: Project,
    computed: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Project], Request],
) -> None:
    interrupted(project, 2)
    computed.clear()
    request = change(project)
    if change is change_version:
        monkeypatch.setattr("evaluators.deterministic.ibp.IBP.version", "0")
    if change is change_code:
        for module in (evaluation, run):
            monkeypatch.setattr(module, "code_digest", lambda _: "f" * 64)
    measure(project, request)
    assert len(computed) == 3


def test_a_result_for_another_model_is_replaced(project: Project) -> None:
    before = measure(project)
    request = change_model(project)
    assert plan(project, request).stored is None
    after = measure(project, request)
    assert before.provenance.model_sha256 != after.provenance.model_sha256
    assert not same(before, after)


def test_few_examples_never_replace_many(project: Project) -> None:
    measure(project)
    with pytest.raises(InputError, match=r"has 30 examples, and this run on 7 would replace them"):
        plan(project, Request(examples=7))
    assert len(measure(project, Request(examples=7, fresh=True)).rows) == 7
    assert len(measure(project, Request(examples=9)).rows) == 9


@pytest.mark.slow
def test_a_look_at_a_few_examples_leaves_a_stopped_run_alone(
    project: Project, computed: list[tuple[int, ...]]
) -> None:
    interrupted(project, 3, Request(evaluator="ibp"))
    measure(project, Request(evaluator="ibp", examples=5))
    computed.clear()
    result = measure(project, Request(evaluator="ibp"))
    assert computed[0][0] == 30
    assert len(result.rows) == 449
    assert files(project) == [f"{LINF}/{PLAIN}.ibp.parquet"]


def test_a_named_evaluator_is_kept_beside(project: Project) -> None:
    measure(project)
    measure(project, Request(examples=30, evaluator="ibp"))
    assert files(project) == [f"{LINF}/{PLAIN}.ibp.parquet", f"{LINF}/{PLAIN}.parquet"]


def test_a_damaged_result_is_a_sentence_and_can_be_measured_again(
    project: Project, certboard: Certboard
) -> None:
    measure(project)
    target = plan(project).target
    target.write_bytes(target.read_bytes()[:-9])
    outcome = certboard("run", PLAIN, "--setting", LINF, "--examples", "30")
    assert outcome.code == 1
    assert outcome.err.splitlines() == [
        f"certboard: {target}: is not a result file, or is damaged.",
        "certboard: To measure it again, add --fresh.",
    ]
    assert certboard("run", PLAIN, "--setting", LINF, "--examples", "30", "--fresh").code == 0
    assert len(read(target).rows) == 30


def test_what_killed_runs_left_is_removed(project: Project) -> None:
    result = measure(project)
    leftover = result.path.with_suffix(".parts")
    for name in ("0" * 33, "1" * 33 + ".removed"):
        (leftover / name).mkdir(parents=True)
        (leftover / name / "00000000-00000009.parquet").write_bytes(b"half")
    (result.path.parent / f".{result.path.name}.77.tmp").write_bytes(b"half")
    measure(project, Request())
    assert files(project) == [f"{LINF}/{PLAIN}.parquet"]
    assert not leftover.exists()


def test_killed_between_the_result_and_the_cleaning_up(
    project: Project, computed: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Plan, "clear", lambda _: None)
        before = measure(project)
    computed.clear()
    after = measure(project)
    assert computed == []
    assert after.rows.equals(before.rows)
    assert files(project) == [f"{LINF}/{PLAIN}.parquet"]


def test_one_disagreement_withdraws_the_whole_evaluation(
    project: Project, computed: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the second shard; the first one's rows, which agreed, are not kept either."""
    before = files(project)

    def found(problem: Problem, verdicts: object, salt: str) -> str:
        return "example 15: no" if 15 in problem.examples else ""

    monkeypatch.setattr(run, "disagreement", found)
    with pytest.raises(WithdrawnError, match="the evaluation is withdrawn: example 15: no"):
        measure(project)
    assert len(computed) == 2
    assert files(project) == before


def test_an_evaluation_that_goes_on_keeps_its_salt_and_a_fresh_one_draws_another(
    project: Project, computed: list[tuple[int, ...]]
) -> None:
    interrupted(project, 1)
    (part,) = project.results.rglob("*.parts/*/*.parquet")
    begun = read(part).provenance.salt
    assert begun
    assert measure(project).provenance.salt == begun
    assert measure(project, Request(examples=30, fresh=True)).provenance.salt != begun
