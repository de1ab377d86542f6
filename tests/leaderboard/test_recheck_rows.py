"""`certboard recheck rows.parquet`, as a user types it, and rows that claim too much."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from leaderboard.__main__ import run
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.recheck import rows as rechecking
from leaderboard.recheck.rows import recheck_results
from leaderboard.results.store import read, write
from tests.fixtures.effort import first_alone
from tests.fixtures.project import NOISY, PLAIN, new_project
from tests.leaderboard.conftest import Certboard

MODEL = f"submissions/{NOISY}/model.onnx"
ROWS = "rows.parquet"
Change = Callable[[pd.DataFrame], pd.DataFrame]


def measuring(*more: str, norm: str = "l2", examples: str = "12") -> tuple[str, ...]:
    """The command that measures a few rows."""
    return (
        "certify", MODEL, "--dataset", "digits", "--norm", norm, "--radius", "0.1",
        "--sigma", "0.25", "--samples", "1000", "--examples", examples, "--output", ROWS, *more,
    )  # fmt: skip


def measure(certboard: Certboard, *more: str, norm: str = "l2", examples: str = "12") -> str:
    outcome = certboard(*measuring(*more, norm=norm, examples=examples))
    assert outcome.code == 0, outcome.err
    return ROWS


def changed(path: str, row: int, **columns: Any) -> str:
    """The file with some values of one row replaced."""
    result = read(Path(path))
    rows = result.rows.copy()
    for name, value in columns.items():
        rows.loc[row, name] = value
    write(Path("changed.parquet"), rows, result.provenance)
    return "changed.parquet"


def entries(certboard: Certboard, path: str, code: int = 0) -> list[dict[str, Any]]:
    outcome = certboard("recheck", path, "--json")
    assert outcome.code == code, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    assert list(found) == ["results", "rows"]
    rows: list[dict[str, Any]] = found["rows"]
    return rows


@pytest.fixture(scope="module")
def measured_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rows")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(new_project(root).root)
        assert run(measuring()) == 0
    return root / ROWS


@pytest.fixture
def rows(project: Project, measured_once: Path) -> str:
    """Rows of the smoothed model, beside it in a project of this test's own."""
    shutil.copy(measured_once, project.root)
    return ROWS


@pytest.mark.parametrize("sides", first_alone(["2", "1"]))
@pytest.mark.parametrize("procedure", ["fixed", "curtailed", "sequential", "input-specific"])
def test_what_was_measured_is_accepted(
    project: Project, certboard: Certboard, procedure: str, sides: str
) -> None:
    path = measure(certboard, "--procedure", procedure, "--sides", sides)
    found = entries(certboard, path)
    assert [row["example"] for row in found] == list(range(12))
    assert all(row["accepted"] and not row["reason"] for row in found)
    proved = [row for row in found if row["radius"]]
    assert len(proved) > 6
    for row in proved:
        assert 0 < float(row["recomputed"]) - float(row["radius"]) < 1.1e-5


def test_classes_are_those_of_the_data(project: Project, certboard: Certboard) -> None:
    """Of two classes the one other would have nine shares of the failure probability."""
    path = measure(certboard, "--sides", "2")
    told = read(Path(path)).rows.loc[0, "statistics"]
    fewer = changed(path, 0, statistics=str(told).replace('"classes": 10', '"classes": 2'))
    assert "its classes are not the 10" in certboard("recheck", fewer).err


@pytest.mark.parametrize(
    ("noise", "norm"), [("laplace", "l1"), ("uniform", "l1"), ("gaussian", "linf")]
)
def test_other_noises_and_norms_are_accepted(
    project: Project, certboard: Certboard, noise: str, norm: str
) -> None:
    found = entries(certboard, measure(certboard, "--noise", noise, norm=norm))
    assert all(row["accepted"] for row in found)
    assert any(row["radius"] for row in found)


def test_old_files_are_rechecked_too(certboard: Certboard) -> None:
    folder = Path(__file__).parents[1] / "fixtures" / "results"
    for path in sorted(folder.glob("*-smoothing.parquet")):
        assert all(row["accepted"] for row in entries(certboard, str(path)))


def first_certified(path: str) -> int:
    return read(Path(path)).rows["status"].tolist().index("certified")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"count": 1000}, "p_lower is only"),
        ({"count": 600}, "p_lower is 0.98"),
        ({"count": 1001}, "its count is none of n samples."),
        ({"count": None}, "its count is none of n samples."),
        ({"p_lower": 0.9999}, "p_lower is 0.9999, but the counts give"),
        ({"p_lower": None}, "it has no p_lower."),
        ({"radius": "0.9"}, "its radius is 0.9, but its counts give"),
        ({"radius": "0.1"}, "its radius is only 0.1, while its counts give"),
        ({"radius": "nan"}, "it holds what is no number of its kind."),
        ({"radius": "5e-1"}, "it holds what is no number of its kind."),
        ({"radius": None}, "it is certified without a radius."),
        ({"status": "proved"}, "its status is 'proved'."),
        ({"sigma": "0.5"}, "its sigma is not 0.25, as of other rows."),
        ({"seed": "7"}, "its seed is not that of the model, the setting and the salt."),
        ({"n": 100_000}, "n is 100,000, but at most 1,000 samples were asked for."),
        ({"n": 999}, "n is 999 instead of 1,000."),
        ({"n": None}, "it has a radius but no counts."),
        ({"n0": 5}, "n0 is not that of the file."),
        ({"procedure": "sequential"}, "its procedure is sequential, not the one of the file."),
        ({"confidence": 0.99999}, "its confidence is more than it can be."),
        ({"statistics": "[" * 100_000}, "it holds what is no number of its kind."),
        ({"statistics": "{"}, "it holds what is no number of its kind."),
        ({"status": "falsified"}, "a smoothed model cannot be falsified."),
        ({"evaluator": "renyi"}, "its evaluator is not that of the file."),
    ],
    ids=lambda value: (
        next(f"{k}={v}"[:40] for k, v in value.items()) if isinstance(value, dict) else ""
    ),
)
def test_a_changed_row_is_refused_with_its_reason(
    certboard: Certboard, rows: str, columns: dict[str, Any], reason: str
) -> None:
    place = first_certified(rows)
    path = changed(rows, place, **columns)
    outcome = certboard("recheck", path, "--json")
    assert outcome.code == 1
    (line,) = outcome.err.strip().splitlines()
    assert f"refused: {reason}" in line
    refused = [row for row in json.loads(outcome.out)["rows"] if row["accepted"] is False]
    assert len(refused) == 1


def test_more_samples_than_can_be_counted_again_are_not_rechecked(
    certboard: Certboard, rows: str
) -> None:
    """The bound of as many would take hours."""
    result, many = read(Path(rows)), rechecking._MOST_SAMPLES + 1
    table = result.rows.assign(n=many, count=many // 2)
    options = result.provenance.options | {"n": many}
    origin = result.provenance.model_copy(update={"options": options})
    write(Path("changed.parquet"), table, origin)
    found = entries(certboard, "changed.parquet", code=1)
    assert {row["accepted"] for row in found} == {None}
    assert "are counted again" in found[0]["reason"]


def test_a_larger_sigma_in_every_row_does_not_help(certboard: Certboard, rows: str) -> None:
    """The radii are then far below what their counts give."""
    result = read(Path(rows))
    write(Path("changed.parquet"), result.rows.assign(sigma="0.5"), result.provenance)
    outcome = certboard("recheck", "changed.parquet")
    assert outcome.code == 1
    assert "its radius is only" in outcome.err


def test_a_wrong_class_or_a_small_radius_is_not_certified(certboard: Certboard, rows: str) -> None:
    found = read(Path(rows)).rows
    place = first_certified(rows)
    wrong = changed(rows, place, prediction=(found["label"].tolist()[place] + 1) % 10)
    assert "it is certified for a wrong class." in certboard("recheck", wrong).err
    below = found[(found["status"] == "unknown") & found["radius"].notna()]
    if len(below):
        path = changed(rows, int(below.index[0]), status="certified")
        assert certboard("recheck", path).code == 1


def test_a_mixture_that_was_chosen_afterwards_is_refused(
    project: Project, certboard: Certboard
) -> None:
    path = measure(certboard, "--procedure", "sequential")
    place = first_certified(path)
    told = json.loads(read(Path(path)).rows["statistics"].tolist()[place])
    moved = json.dumps({**told, "needed": 0.9})
    assert (
        "its mixture does not lie"
        in certboard("recheck", changed(path, place, statistics=moved)).err
    )


def test_what_cannot_be_rechecked_is_said_and_is_no_success(
    project: Project, certboard: Certboard
) -> None:
    path = "rows.parquet"
    made = certboard(
        "certify", MODEL, "--dataset", "digits", "--norm", "l1", "--radius", "0.1",
        "--noise", "splitting", "--sigma", "1", "--examples", "3", "--output", path,
    )  # fmt: skip
    assert made.code == 0, made.err
    outcome = certboard("recheck", path)
    assert outcome.code == 1
    told = "3 not rechecked: the votes of splitting noise are not stored; --redraw counts all"
    assert told in outcome.out
    again = certboard("recheck", path, "--model", MODEL, "--redraw", "2")
    assert "2 of 2 drawn again with the same counts" in again.out
    assert "no row could be rechecked" in outcome.err
    assert [row["accepted"] for row in entries(certboard, path, code=1)] == [None] * 3


def test_an_example_is_there_once(certboard: Certboard, rows: str) -> None:
    first, again = read(Path(rows)).rows.loc[[0, 1]].to_dict("records")
    path = changed(rows, 1, **{str(name): first[name] for name in again})
    assert "its example is there twice" in certboard("recheck", path).err


def test_labels_are_those_of_the_data(certboard: Certboard, rows: str) -> None:
    """Else whoever writes them says what is right."""
    result = read(Path(rows))
    place = first_certified(rows)
    other = (result.rows["label"].tolist()[place] + 1) % 10
    outcome = certboard("recheck", changed(rows, place, label=other, prediction=other))
    assert outcome.code == 1
    assert f"its label is {other}, but the data say" in outcome.err
    away = changed(rows, place, example=449)
    assert "there is no such example in the data" in certboard("recheck", away).err


def test_without_the_data_it_says_that_labels_are_not_compared(
    certboard: Certboard, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise InputError(f"There is no {name} here.")

    monkeypatch.setattr(rechecking, "load_split", absent)
    outcome = certboard("recheck", rows)
    assert outcome.code == 0
    assert "the labels were not compared with the data: There is no digits here." in outcome.err


def test_rows_of_other_data_are_refused(
    certboard: Certboard, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = read(Path(rows))
    write(Path(rows), result.rows, result.provenance.model_copy(update={"data_sha256": "1" * 64}))
    assert "the data that were measured have the SHA-256 1111" in certboard("recheck", rows).err


def test_rows_of_a_plain_model_are_not_for_this(certboard: Certboard, project: Project) -> None:
    """They are proved again."""
    plain = f"submissions/{PLAIN}/model.onnx"
    outcome = certboard(
        "certify", plain, "--dataset", "digits", "--norm", "linf", "--radius", "0.01",
        "--evaluator", "ibp", "--examples", "12", "--output", "plain.parquet",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    with pytest.raises(InputError, match="has no rows of a smoothed model"):
        list(recheck_results(Path("plain.parquet")))
    certified = int((read(Path("plain.parquet")).rows["status"] == "certified").sum())
    told = f"{certified} of {certified} certified examples proved"
    assert certified
    assert told in certboard("recheck", "plain.parquet", "--model", plain).out


def test_examples_drawn_again_have_the_same_counts(certboard: Certboard, rows: str) -> None:
    arguments = ("recheck", rows, "--model", MODEL, "--redraw", "4")
    outcome = certboard(*arguments)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-1] == "4 of 4 drawn again with the same counts, bit for bit"
    seed = outcome.err.split("--seed ")[1].split()[0]
    again = json.loads(certboard(*arguments, "--seed", seed, "--json").out)["redrawn"]
    assert len({row["example"] for row in again["rows"]}) == 4
    assert again["seed"] == int(seed)
    assert all(row["accepted"] for row in again["rows"])


def test_a_count_that_is_not_drawn_again_is_told(certboard: Certboard, rows: str) -> None:
    result = read(Path(rows))
    place = first_certified(rows)
    # One vote less, and everything that follows from it: only drawing again can tell.
    other = result.rows[(result.rows["status"] == "certified") & (result.rows.index != place)]
    taken = other[other["count"] != result.rows.loc[place, "count"]].iloc[0]
    path = changed(rows, place, **{n: taken[n] for n in ("count", "p_lower", "radius")})
    assert certboard("recheck", path).code == 0
    outcome = certboard("recheck", path, "--model", MODEL, "--redraw", "12")
    assert outcome.code == 1
    assert f"example {place}: drawn again: count {taken['count']}, now " in outcome.err
    assert "11 of 12 drawn again with the same counts" in outcome.out


def test_a_gradient_that_is_not_summed_again_is_told(
    project: Project, certboard: Certboard
) -> None:
    path = measure(certboard, "--evaluator", "first-order", examples="3")
    arguments = ("--model", MODEL, "--redraw", "3")
    assert certboard("recheck", path, *arguments).code == 0
    told = json.loads(read(Path(path)).rows["statistics"].tolist()[1])
    longer = json.dumps({**told, "gradient_length": told["gradient_length"] * 0.999})
    outcome = certboard("recheck", changed(path, 1, statistics=longer), *arguments)
    assert "example 1: drawn again: gradient_length" in outcome.err


def test_another_model_is_not_drawn_from(certboard: Certboard, rows: str) -> None:
    outcome = certboard("recheck", rows, "--model", "submissions/plain/model.onnx", "--redraw", "1")
    assert outcome.code == 1
    assert "is not that of the model that was measured" in outcome.sentence


@pytest.mark.parametrize(
    "arguments",
    [("--redraw", "3"), ("--model", MODEL), (MODEL,), ("--model", MODEL, "--redraw", "0")],
)
def test_wrong_usage_is_told(certboard: Certboard, rows: str, arguments: tuple[str, ...]) -> None:
    assert certboard("recheck", rows, *arguments).code == 2


def test_an_onnx_file_alone_is_wrong_usage(certboard: Certboard, project: Project) -> None:
    assert certboard("recheck", MODEL).code == 2


def test_an_ensemble_is_drawn_again_from_its_files(project: Project, certboard: Certboard) -> None:
    members = ("--member", "submissions/plain/model.onnx")
    path = measure(certboard, *members)
    assert all(row["accepted"] for row in entries(certboard, path))
    outcome = certboard("recheck", path, "--model", MODEL, *members, "--redraw", "2")
    assert outcome.code == 0, outcome.err
    swapped = certboard("recheck", path, "--model", MODEL, "--redraw", "2")
    assert "is not that of the model that was measured" in swapped.sentence
