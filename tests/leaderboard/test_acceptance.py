"""Results from elsewhere: every change that makes a row claim more is refused."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from leaderboard.__main__ import run
from leaderboard.acceptance import accepted
from leaderboard.errors import InputError
from leaderboard.project import Project
from leaderboard.results import Provenance, Results, read, results_path, write
from leaderboard.setting import find_setting
from leaderboard.submission import load_submission
from tests.fixtures.project import L2, LINF, NOISY, PLAIN, new_project
from tests.leaderboard.conftest import Certboard


@dataclass
class Made:
    """A real result in a file that a test may change."""

    project: Project
    result: Results
    slug: str
    setting: str

    def refusal(self, rows: pd.DataFrame | None = None, **provenance: Any) -> str:
        """Why it is refused with these changes; fails if it is not."""
        path = self.project.root / "changed.parquet"
        told = self.result.provenance.model_copy(update=provenance)
        write(path, self.result.rows if rows is None else rows, told)
        with pytest.raises(InputError) as error:
            self.accepted(path)
        return str(error.value)

    def accepted(self, path: Path) -> Results:
        submission = load_submission(self.project, self.slug)
        return accepted(path, submission, find_setting(self.setting))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose submissions are evaluated, once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        project = new_project(tmp_path_factory.mktemp("measured"))
        patch.chdir(project.root)
        assert run(["run", PLAIN, "--setting", LINF]) == 0
        assert run(["run", NOISY, "--setting", L2, "--samples", "100"]) == 0
    return project


@pytest.fixture
def made(measured: Project, tmp_path: Path) -> Callable[[str, str], Made]:
    """Real results in a copy of the project, which is the working directory."""
    root = Path(shutil.copytree(measured.root, tmp_path / "copy"))

    def make(slug: str, setting: str) -> Made:
        project = Project(root)
        return Made(project, read(results_path(project, setting, slug)), slug, setting)

    return make


def changed(rows: pd.DataFrame, where: "pd.Series[bool]", **values: Any) -> pd.DataFrame:
    """The rows with some columns of the first fitting one changed."""
    rows = rows.copy()
    row = int(where.to_numpy().argmax())
    assert where.iloc[row]
    for name, value in values.items():
        rows[name] = rows[name].astype(object)
        rows.at[rows.index[row], name] = value
    return rows.infer_objects()


@pytest.fixture
def plain(made: Callable[[str, str], Made]) -> Made:
    return made(PLAIN, LINF)


def test_what_certboard_made_is_accepted(made: Callable[[str, str], Made]) -> None:
    for slug, setting in ((PLAIN, LINF), (NOISY, L2)):
        found = made(slug, setting)
        assert len(found.accepted(found.result.path).rows) == 449


def test_rows_that_claim_more_than_they_carry_are_refused(plain: Made) -> None:
    rows = plain.result.rows
    right = rows["prediction"] == rows["label"]
    certified, falsified = rows["status"] == "certified", (rows["status"] == "falsified") & right
    open_ = rows["status"] != "certified"
    whole = {
        "not at the setting's radius": changed(rows, open_, status="certified"),
        "not at the setting's radius ": changed(rows, certified, radius="0.0999"),
        "no exact positive number": changed(rows, certified, radius="nan"),
        "its prediction is wrong": changed(rows, certified, prediction=None),
        "has a witness": changed(rows, certified, witness=bytes(256)),
        "has the wrong size": changed(rows, falsified, witness=bytes(8)),
        "has no witness": changed(rows, falsified, witness=None),
        "its status is not one of": changed(rows, certified, status="proved"),
        "its label is no class": changed(rows, certified, label=10),
        "confidence is not": changed(rows, certified, confidence=0.0),
        "seconds are no time": changed(rows, certified, seconds=-1.0),
        "margin is not finite": changed(rows, certified, margin=float("inf")),
        "its note is too long": changed(rows, certified, note="x" * 2000),
        "about another submission": changed(rows, certified, submission="other"),
    }
    for told, forged in whole.items():
        assert told.strip() in plain.refusal(forged), told


def test_examples_that_were_not_asked_about_or_are_missing_are_refused(plain: Made) -> None:
    rows = plain.result.rows
    assert "448 of the 449" in plain.refusal(rows.iloc[1:])
    assert "each once and in order" in plain.refusal(rows.iloc[::-1])
    assert "each once and in order" in plain.refusal(pd.concat([rows, rows.iloc[-1:]]))
    assert "no rows" in plain.refusal(rows.iloc[:0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("submission", "other"),
        ("setting", "digits-linf-0.2"),
        ("model_sha256", "0" * 64),
        ("data_sha256", "0" * 64),
        ("seed", "1"),
        ("total", 10),
        ("created", "2999-01-01T00:00:00+00:00"),
        ("created", "2026-01-01"),
        ("created", "yesterday"),
        ("machine", "x\x1b[2J"),
        ("machine", "x" * 2000),
        ("options", {"a": "b\n" * 3}),
    ],
)
def test_a_provenance_that_does_not_fit_is_refused(plain: Made, name: str, value: Any) -> None:
    assert name in plain.refusal(**{name: value}) or "time" in plain.refusal(**{name: value})


def test_rows_of_a_plain_model_are_not_those_of_a_smoothed_one(plain: Made) -> None:
    forged = plain.result.rows.assign(sigma="0.25")
    assert "those of a smoothed model" in plain.refusal(forged)


def test_provenance_has_no_field_that_is_not_looked_at() -> None:
    """A new field of text is shown on pages; this list says that somebody thought of it."""
    texts = {name for name, field in Provenance.model_fields.items() if field.annotation is str}
    assert texts <= {
        *("submission", "setting", "evaluator", "evaluator_version", "model_sha256"),
        *("data_sha256", "data_note", "examples", "code_version", "commit", "machine"),
        *("python", "torch", "device", "fingerprint", "created"),
    }


def test_accept_takes_files_of_one_submission_only(
    plain: Made, certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(plain.project.root)
    folder = plain.project.root / "artifact"
    target = results_path(plain.project, LINF, PLAIN)
    content = target.read_bytes()
    (folder / LINF).mkdir(parents=True)
    (folder / LINF / f"{PLAIN}.parquet").write_bytes(content)
    target.unlink()
    (folder / "evil.py").write_text("x")
    (folder / LINF / "noisy.parquet").symlink_to(target)
    refused = certboard("intake", "accept", PLAIN, str(folder))
    assert refused.code == 1
    assert refused.err.count("are accepted") == 2
    assert not target.exists()
    (folder / "evil.py").unlink()
    (folder / LINF / "noisy.parquet").unlink()
    assert certboard("intake", "accept", PLAIN, str(folder)).code == 0
    assert target.read_bytes() == content


def test_an_empty_artifact_is_refused(project: Project, certboard: Certboard) -> None:
    (project.root / "artifact").mkdir()
    assert "has no results" in certboard("intake", "accept", PLAIN, "artifact").sentence
