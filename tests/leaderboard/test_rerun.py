"""The command that is printed beside a row, against the commands that there are."""

import shlex
from pathlib import Path

import pytest

from leaderboard.common.project import Project, find_project
from leaderboard.evaluation.plan import Request, make_plan
from leaderboard.results.rerun import command, from_nothing, recheck
from leaderboard.results.store import (
    Results,
    evaluator_named,
    read,
    results_path,
    scan,
    stored_paths,
)
from leaderboard.settings.setting import find_setting
from leaderboard.submissions.manifest import load_submission
from tests.fixtures.board import provenance, rows
from tests.fixtures.effort import first_alone
from tests.fixtures.executed import execute
from tests.fixtures.project import LINF, NOISY, PLAIN
from tests.leaderboard.conftest import Certboard


def stored(name: str = "mnist-ibp.parquet", **changed: object) -> Results:
    table = rows("mnist-ibp", "mnist-linf-0.1", {("certified", "ibp"): 3})
    return Results(Path(name), table, provenance(table).model_copy(update=changed))


PLAINLY = "certboard run mnist-ibp --setting mnist-linf-0.1"


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, ""),
        ({"options": {"seconds": 60.0, "workers": "2"}}, ""),
        ({"options": {"seconds": 0.5}}, " --seconds 0.5"),
        ({"examples": "first 20 of all"}, " --examples 20"),
        ({"examples": "first 3 of every 20th"}, " --examples 3"),
        ({"examples": "first 500"}, ""),
        ({"device": "NVIDIA H200"}, " --device cuda"),
        (
            {"name": "mnist-ibp.crown.parquet", "examples": "first 7 of all", "device": "GPU"},
            " --evaluator crown --examples 7 --device cuda",
        ),
    ],
)
def test_what_differs_from_the_protocol_is_in_the_command(
    changed: dict[str, object], wanted: str
) -> None:
    name = str(changed.pop("name", "mnist-ibp.parquet"))
    assert command(stored(name, **changed)) == f"{PLAINLY}{wanted} --fresh"


def test_from_nothing_it_takes_the_repository_the_commit_and_the_data() -> None:
    result = stored(commit="0123abc" * 5)
    lines = from_nothing(result, "https://example.org/a b;c", "mnist").splitlines()
    assert lines == [
        "git clone 'https://example.org/a b;c' certboard && cd certboard",
        f"git checkout {'0123abc' * 5}",
        "make .venv/.installed && . .venv/bin/activate",
        "certboard data fetch mnist",
        command(result),
        recheck(result),
    ]
    assert "git" not in from_nothing(stored(commit="$(rm -r .)"), "", "")


def test_stored_verdicts_are_rechecked_by_their_file() -> None:
    file = "site/data/results/mnist-linf-0.1/mnist-ibp.crown.parquet"
    assert recheck(stored("mnist-ibp.crown.parquet")) == f"certboard recheck {file}"


def test_foreign_names_cannot_leave_their_word() -> None:
    assert len(shlex.split(recheck(stored("x.parquet", setting="$(x); y")))) == 3
    made = command(stored(submission="a; rm -rf ~", setting="$(x)"))
    assert shlex.split(made)[2:5] == ["a; rm -rf ~", "--setting", "$(x)"]


def test_every_stored_row_has_a_command_that_the_program_accepts(certboard: Certboard) -> None:
    results = [scan(path) for path in stored_paths(find_project())]
    assert results
    for result in results:
        program, verb, *words = shlex.split(command(result))
        assert (program, verb, words[-1]) == ("certboard", "run", "--fresh")
        assert certboard(verb, *words, "--help").code == 0
    assert certboard("run", "--no-such-option", "--help").code == 2


@pytest.mark.parametrize("slug", [PLAIN, NOISY])
@pytest.mark.parametrize("evaluator", first_alone([None, "named"]))
def test_running_the_command_measures_the_same_rows_again(
    project: Project, certboard: Certboard, slug: str, evaluator: str | None
) -> None:
    setting = LINF if slug == PLAIN else "digits-l2-0.25"
    name = evaluator and ("ibp" if slug == PLAIN else "smoothing-gaussian")
    request = Request(evaluator=name, examples=3, seconds=9.0, fresh=True)
    plan = make_plan(project, load_submission(project, slug), find_setting(setting), request)
    execute(plan, "1", True, lambda _rows, _found: None)
    target = results_path(project, setting, slug, name)
    before = read(target)
    assert evaluator_named(before.path) == name
    target.unlink()
    words = shlex.split(command(before))
    assert certboard(*words[1:]).code == 0
    after = read(target)
    assert after.provenance.fingerprint == before.provenance.fingerprint
    assert after.rows.drop(columns="seconds").equals(before.rows.drop(columns="seconds"))
