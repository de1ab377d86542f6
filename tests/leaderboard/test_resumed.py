"""Rows that are there already: what cannot be an evaluation's own is not gone on with."""

from pathlib import Path
from typing import Any

import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.evaluation.plan import Request, make_plan
from leaderboard.results.store import read, write
from leaderboard.settings.setting import find_setting
from leaderboard.submissions.manifest import load_submission
from tests.fixtures.forged import Made
from tests.fixtures.project import LINF, MODEL, PLAIN
from tests.leaderboard.conftest import Certboard
from tests.leaderboard.test_comparison import asked, by

FORGED: list[tuple[str, dict[str, Any], str]] = [
    ("falsified", {"status": "certified"}, "it is certified, but"),
    ("certified", {"label": 9}, "its label is not the one of the data"),
    ("certified", {"prediction": None}, "it is certified, but its prediction is wrong"),
    ("certified", {"radius": "0.05"}, "it is certified, but not at the radius asked about"),
    ("certified", {"radius": "1e999999999"}, "a radius is what it cannot be"),
    ("certified", {"margin": 0.0}, "it is certified, but its margin is not positive"),
    ("certified", {"deployment": "real"}, "it is certified, but not for every float32 run"),
    ("certified", {"status": "proved"}, "a status is what it cannot be"),
    ("certified", {"note": "<b>"}, "a note is what it cannot be"),
    ("certified", {"seconds": -1.0}, "a seconds is out of its range"),
    ("certified", {"seconds": float("inf")}, "a seconds is out of its range"),
    ("certified", {"evaluator": "ibp"}, "its evaluator is not cascade"),
    ("certified", {"evaluator_version": "1"}, "its evaluator_version is not"),
    ("certified", {"setting": "digits-l2-0.25"}, "its setting is not"),
    ("certified", {"example": 10**9}, "there is no such example"),
    ("falsified", {"radius": "0.1"}, "it has a radius, but is not certified"),
]


def stored(made: Made) -> object:
    """The stored result that a run would go on with."""
    submission = load_submission(made.project, PLAIN)
    return make_plan(made.project, submission, find_setting(LINF), Request()).stored


def test_rows_that_no_evaluation_gives_are_refused_with_the_way_out(plain: Made) -> None:
    path, rows, origin = plain.result.path, plain.rows, plain.result.provenance
    assert stored(plain) is not None
    right = rows["prediction"] == rows["label"]
    for was, changed, sentence in FORGED:
        place = rows.index[(rows["status"] == was) & right][0]
        write(path, rows.assign(**{n: _set(rows[n], place, v) for n, v in changed.items()}), origin)
        with pytest.raises(InputError) as refused:
            stored(plain)
        assert sentence in refused.value.problems[0]
        assert refused.value.problems[1] == "To measure it again, add --fresh."


def _set(column: Any, place: int, value: object) -> Any:
    changed = column.copy()
    changed.loc[place] = value
    return changed


def test_rows_of_other_examples_are_refused(plain: Made) -> None:
    write(plain.result.path, plain.rows[::-1], plain.result.provenance)
    with pytest.raises(InputError, match="its examples are others"):
        stored(plain)


def test_the_rows_of_a_smoothed_model_are_gone_on_with(noisy: Made) -> None:
    submission, setting = load_submission(noisy.project, noisy.slug), find_setting(noisy.setting)
    request = Request(samples=noisy.result.provenance.options["n"])
    assert make_plan(noisy.project, submission, setting, request).stored is not None
    write(noisy.result.path, noisy.rows.assign(seed="1"), noisy.result.provenance)
    with pytest.raises(InputError, match="its seed is another"):
        make_plan(noisy.project, submission, setting, request)


def test_radii_that_a_search_cannot_have_found_are_sought_again(
    project: Project, certboard: Certboard
) -> None:
    typed = asked(MODEL, *by("ibp"), "--max-radius")
    first = certboard(*typed)
    (path,) = Path("comparison").glob("max-radius/*/*.parquet")
    honest = read(path)
    for changed in ({"radius": "9999"}, {"status": "certified"}):
        forged = honest.rows.assign(**changed)
        write(path, forged, honest.provenance)
        again = certboard(*typed)
        assert again.out.split()[-1] == first.out.split()[-1], changed


def test_a_forged_shard_is_made_again(project: Project, certboard: Certboard) -> None:
    typed = ("run", PLAIN, "--setting", LINF, "--evaluator", "ibp", "--examples", "9")
    assert certboard(*typed, "--shard", "1/1").code == 0
    (path,) = project.results.glob("*/*.parts/*/*.parquet")
    honest = read(path)
    write(path, honest.rows.assign(status="certified"), honest.provenance)
    outcome = certboard(*typed, "--shard", "1/1")
    assert "not of this evaluation, and will be made again" in outcome.err
    assert read(path).rows["status"].equals(honest.rows["status"])
