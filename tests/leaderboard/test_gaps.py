"""Test data that are not all there: the others keep their official index, and none is forgotten."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.datasets import catalogue
from leaderboard.datasets.catalogue import find_dataset, load_datasets, load_split
from leaderboard.datasets.split import ArraySplit, without
from leaderboard.evaluation.plan import Plan, Request, make_plan
from leaderboard.intake.acceptance.accept import accepted
from leaderboard.results.store import Results, write
from leaderboard.settings.setting import Selection, Setting, find_setting
from leaderboard.submissions.manifest import load_submission
from tests.fixtures.executed import execute
from tests.fixtures.project import LINF, PLAIN, certify
from tests.leaderboard.conftest import Certboard

MISSING = [1, 40, 41, 400]
EVERY = 20
LABELS = find_dataset("digits").load("test").labels


def gapped() -> ArraySplit:
    """The test set of the digits, of which four are missing."""
    whole = WHOLE.load("test")
    assert isinstance(whole, ArraySplit)
    kept = np.setdiff1d(np.arange(len(whole)), MISSING)
    numbers = tuple(kept.tolist())
    note = f"{len(kept)} of the {len(whole)} digits, {without(numbers, len(whole))}"
    return ArraySplit(whole.pixels[kept], whole.labels[kept], 16, note, numbers)


WHOLE = load_datasets()["digits"]


@pytest.fixture(autouse=True)
def gaps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes the gapped digits the ones that there are."""
    known = {
        **load_datasets(),
        "digits": dataclasses.replace(WHOLE, splits={**WHOLE.splits, "test": gapped}),
    }
    monkeypatch.setattr(catalogue, "load_datasets", lambda: known)
    load_split.cache_clear()
    yield
    load_split.cache_clear()


@pytest.fixture
def setting() -> Setting:
    return find_setting(LINF).model_copy(update={"examples": Selection(every=EVERY)})


def planned(project: Project, setting: Setting, request: Request | None = None) -> Plan:
    submission = load_submission(project, PLAIN)
    return make_plan(project, submission, setting, request or Request())


@pytest.fixture
def measured(project: Project, setting: Setting) -> Results:
    return execute(planned(project, setting), "1", False, lambda rows, resumed: None)


def test_a_setting_selects_by_official_index_and_leaves_out_what_is_missing(
    project: Project, setting: Setting, measured: Results
) -> None:
    wanted = [index for index in range(0, len(LABELS), EVERY) if index not in MISSING]
    assert measured.rows["example"].tolist() == wanted
    assert measured.rows["label"].tolist() == LABELS[wanted].tolist()
    assert not measured.provenance.data_complete
    assert measured.provenance.data_note == "445 of the 449 digits, without 1, 40 to 41, 400"
    few = planned(project, setting, Request(examples=3, fresh=True))
    assert few.examples == [0, 20, 60]
    assert not few.whole


def test_an_example_has_its_own_verdict_whatever_is_missing_before_it(
    measured: Results, project: Project, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(project.root)
    load_split.cache_clear()
    plan = planned(project, setting, Request(fresh=True))
    whole = execute(plan, "1", True, lambda rows, resumed: None).rows.set_index("example")
    columns = ["label", "prediction", "status", "radius", "witness"]
    same = whole.loc[measured.rows["example"], columns].reset_index()
    pd.testing.assert_frame_equal(same, measured.rows[["example", *columns]])


@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        (60, "has 20 rows, but 21 examples were asked about"),
        (None, None),
        (40, "not the setting's"),
    ],
)
def test_results_from_elsewhere_lack_what_the_data_lack_and_no_more(
    measured: Results,
    project: Project,
    setting: Setting,
    tmp_path: Path,
    left_out: int | None,
    told: str | None,
) -> None:
    rows = measured.rows
    if left_out in MISSING:  # It is there although nobody can have measured it.
        rows = rows.assign(example=rows["example"].replace(60, left_out)).sort_values("example")
    else:
        rows = rows[rows["example"] != left_out]
    path = tmp_path / "sent.parquet"
    write(path, rows, measured.provenance)
    submission = load_submission(project, PLAIN)
    if told is None:
        assert len(accepted(path, project, submission, setting).rows) == len(measured.rows)
        return
    with pytest.raises(InputError, match=told):
        accepted(path, project, submission, setting)


@pytest.mark.parametrize(
    ("indices", "told"),
    [
        (
            "40",
            "--indices: 40 is missing; here are 445 of the 449 digits, without 1, 40 to 41, 400.",
        ),
        ("3,400,1", "--indices: 1 is missing; here are 445"),
        ("449", "--indices: '449' is not an example; they are 0 to 448."),
    ],
)
def test_indices_that_are_missing_or_unknown_are_told(
    project: Project, certboard: Certboard, indices: str, told: str
) -> None:
    outcome = certboard(*certify(examples=None, indices=indices))
    assert outcome.code == 1
    assert outcome.sentence.startswith(told)


def test_certify_calls_examples_by_their_official_index(
    project: Project, certboard: Certboard, tmp_path: Path
) -> None:
    for chosen, expected in (
        ({"indices": "448,42"}, [448, 42]),
        ({"examples": "3"}, [0, 2, 3]),
    ):
        output = tmp_path / "rows.parquet"
        typed = {"examples": None, **chosen, "output": str(output)}
        assert certboard(*certify(**typed)).code == 0
        rows = pd.read_parquet(output)
        assert rows["example"].tolist() == expected
        assert rows["label"].tolist() == LABELS[expected].tolist()
