"""The salt of a smoothed model's noise: nobody chooses it, and nobody knows it beforehand."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from leaderboard.board import noise_salts
from leaderboard.board.files import read_sources
from leaderboard.board.noise_salts import check_rows_salt, draw_salt, read_salt, salt_path
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.evaluation.plan import Request, make_question
from leaderboard.intake.acceptance.accept import accepted
from leaderboard.recheck.rows import asked_by
from leaderboard.results.store import read, read_provenance, results_path, stored_paths, write
from leaderboard.settings.question import seed_of
from leaderboard.settings.setting import find_setting
from leaderboard.submissions.catalogue import read_catalogue
from leaderboard.submissions.manifest import load_submission
from tests.fixtures.project import (
    CHECKOUT,
    L2,
    NOISY,
    PLAIN,
    SALT,
    keep_salt,
    linear,
    submit,
)
from tests.leaderboard.conftest import Certboard

FEW = ("--setting", L2, "--examples", "3", "--samples", "20")


def record(project: Project, slug: str = NOISY) -> Path:
    return salt_path(project, load_submission(project, slug))


def drawn(project: Project, slug: str = NOISY) -> str:
    found = draw_salt(project, load_submission(project, slug))
    assert found is not None
    return found.salt


@pytest.fixture
def unsalted(project: Project) -> Project:
    """A project whose smoothed submission has no salt yet."""
    record(project).unlink()
    return project


def test_the_seed_is_what_the_guides_say() -> None:
    """And what it always was where there is no salt: stored rows depend on it."""
    asked = "0" * 64, "mnist", "l2", Fraction(1, 2)
    assert seed_of(*asked) == 2_468_887_908_541_223_187
    assert seed_of(*asked, SALT) == 2_552_609_177_878_234_430


def test_every_stored_row_of_the_board_has_the_noise_that_was_drawn_for_it() -> None:
    project = Project(CHECKOUT)
    submissions = read_catalogue(project).submissions
    smoothed = {slug: one for slug, one in submissions.items() if one.smoothing is not None}
    assert smoothed
    for path in stored_paths(project):
        origin = read_provenance(path)
        if (submission := smoothed.get(origin.submission)) is not None:
            check_rows_salt(project, submission, path, origin)
            asked = asked_by(origin, path)[:3]
            assert origin.seed == str(seed_of(origin.model_sha256, *asked, origin.noise_salt))


def test_rows_that_an_author_could_foresee_are_refused(
    unsalted: Project, certboard: Certboard
) -> None:
    """Rows of K files can be computed before one is submitted: with what seed, nobody knows."""
    trial = certboard("run", NOISY, *FEW, "--results", "trial")
    assert trial.code == 0
    assert "these rows are a trial" in trial.err
    path = unsalted.root / "trial" / L2 / f"{NOISY}.parquet"
    submission, request = load_submission(unsalted, NOISY), Request(examples=3, samples=20)
    assert accepted(path, unsalted, submission, find_setting(L2), request)
    drawn(unsalted)
    with pytest.raises(InputError) as error:
        accepted(path, unsalted, submission, find_setting(L2), request)
    assert "its seed is" in str(error.value)
    assert "its noise_salt is ''" in str(error.value)


def test_rows_with_a_salt_of_ones_own_are_refused(project: Project, certboard: Certboard) -> None:
    """Also by a folder that brings the record of it."""
    honest = record(project).read_text()
    keep_salt(project, NOISY, "0" * 64)
    assert certboard("run", NOISY, *FEW, "--results", "forged").code == 0
    assert certboard("intake", "salt", NOISY).code == 0
    path = project.root / "forged" / L2 / f"{NOISY}.parquet"
    shutil.copytree(project.salts, project.root / "forged" / "salts")
    record(project).write_text(honest)
    submission, request = load_submission(project, NOISY), Request(examples=3, samples=20)
    with pytest.raises(InputError, match="its noise_salt is '0000"):
        accepted(path, project, submission, find_setting(L2), request)
    told = certboard("intake", "accept", NOISY, "forged").err
    assert f"salts/{record(project).name}: only <setting>/{NOISY}.parquet" in told
    assert record(project).read_text() == honest


def test_nothing_is_accepted_or_merged_before_the_salt_is_drawn(
    unsalted: Project, certboard: Certboard
) -> None:
    told = "noisy: the salt of its noise was not drawn yet"
    assert certboard("run", NOISY, *FEW, "--results", "trial").code == 0
    assert certboard("intake", "accept", NOISY, "trial").sentence.startswith(told)
    # Each machine would draw another.
    assert certboard("run", NOISY, *FEW, "--shard", "1/2").sentence.startswith(told)
    assert not record(unsalted).exists()
    drawn(unsalted)
    for number in (1, 2):
        assert certboard("run", NOISY, *FEW, "--shard", f"{number}/2").code == 0
    held = record(unsalted).read_text()
    record(unsalted).unlink()
    assert told in certboard("merge").err
    record(unsalted).write_text(held)
    assert certboard("merge").code == 0


def test_a_first_look_draws_no_salt_and_a_run_does(unsalted: Project, certboard: Certboard) -> None:
    assert certboard("run", NOISY, "--setting", L2, "--quick").code == 0
    assert not unsalted.salts.exists() or not any(unsalted.salts.iterdir())
    ran = certboard("run", *FEW)
    assert ran.code == 0
    assert f"the salt of its noise was drawn: keep {record(unsalted)}" in ran.err
    assert [path.name for path in unsalted.salts.iterdir()] == [record(unsalted).name]
    stored = read(results_path(unsalted, L2, NOISY))
    question = make_question(
        unsalted, load_submission(unsalted, NOISY), find_setting(L2), Request()
    )
    assert len(question.noise_salt) == 64
    assert stored.provenance.noise_salt == question.noise_salt
    assert set(stored.rows["seed"]) == {str(question.seed)}
    assert read(results_path(unsalted, L2, PLAIN)).provenance.noise_salt == ""
    assert "already measured" in certboard("run", NOISY, *FEW).err


def test_of_one_file_the_first_salt_is_kept_whatever_becomes_of_the_submission(
    unsalted: Project,
) -> None:
    first = drawn(unsalted)
    assert len(first) == 64
    assert drawn(unsalted) == first
    submit(unsalted, "copy", linear(), sigma="0.250")
    assert drawn(unsalted, "copy") == first
    shutil.rmtree(unsalted.submissions / NOISY)
    shutil.rmtree(unsalted.site / "data" / "results", ignore_errors=True)
    submit(unsalted, NOISY, linear(), sigma="0.25")
    assert drawn(unsalted) == first


def test_another_file_scale_or_noise_has_another_salt(unsalted: Project) -> None:
    """Who knows a salt could else choose what it is used for."""
    manifest = unsalted.submissions / NOISY / "submission.toml"
    text, salts = manifest.read_text(), {drawn(unsalted)}
    for old, new in (("0.25", "0.250000001"), ("gaussian", "laplace")):
        manifest.write_text(text.replace(f'"{old}"', f'"{new}"'))
        salts.add(drawn(unsalted))
    submit(unsalted, "changed", linear(1.0001), sigma="0.25")
    salts.add(drawn(unsalted, "changed"))
    assert len(salts) == 4


def test_of_two_that_draw_at_once_both_get_the_first(
    unsalted: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission, path = load_submission(unsalted, NOISY), record(unsalted)

    def meanwhile(project: Project, submission: object) -> bool:
        monkeypatch.undo()
        keep_salt(project, NOISY, SALT)
        return False

    monkeypatch.setattr(noise_salts, "_was_measured_without", meanwhile)
    found = draw_salt(unsalted, submission)
    assert found is not None
    assert found.salt == SALT
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_what_was_measured_before_there_were_salts_keeps_its_seed(
    unsalted: Project, certboard: Certboard
) -> None:
    assert certboard("run", NOISY, *FEW, "--results", "old").code == 0
    (unsalted.root / "old" / L2).rename(_made(unsalted.results) / L2)
    before = read(results_path(unsalted, L2, NOISY))
    assert "keeps its seeds" in certboard("intake", "salt", NOISY).out
    assert "already measured" in certboard("run", NOISY, *FEW).err
    assert certboard("run", NOISY, *FEW, "--fresh").code == 0
    again = read(results_path(unsalted, L2, NOISY))
    assert again.rows["seed"].tolist() == before.rows["seed"].tolist()
    assert again.rows["count"].tolist() == before.rows["count"].tolist()
    # Another scale is another model, of which nothing was measured.
    manifest = unsalted.submissions / NOISY / "submission.toml"
    manifest.write_text(manifest.read_text().replace('"0.25"', '"0.26"'))
    assert len(drawn(unsalted)) == 64


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_reader_draws_the_same_noise_from_the_rows_and_the_model_alone(
    project: Project, certboard: Certboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert certboard("run", NOISY, *FEW).code == 0
    away = tmp_path / "away"
    away.mkdir()
    for path in (results_path(project, L2, NOISY), project.submissions / NOISY / "model.onnx"):
        shutil.move(path, away)
    monkeypatch.chdir(away)
    asked = ("recheck", f"{NOISY}.parquet", "--model", "model.onnx", "--redraw", "2")
    assert "2 of 2 drawn again with the same counts" in certboard(*asked).out


def test_the_board_leaves_out_rows_of_another_salt(project: Project, certboard: Certboard) -> None:
    assert certboard("run", NOISY, *FEW).code == 0
    assert read_sources(project).broken == ()
    assert certboard("recheck", NOISY).code == 0
    path = results_path(project, L2, NOISY)
    stored = read(path)
    write(path, stored.rows, stored.provenance.model_copy(update={"noise_salt": ""}))
    for told in (*read_sources(project).broken, certboard("recheck", NOISY).err):
        assert "the salt of its noise is none, but the one drawn for this model is 5a5a" in told
    assert read_sources(project).results == []
    # A deleted record takes its rows with it.
    write(path, stored.rows, stored.provenance)
    record(project).unlink()
    assert "the one drawn for this model is none" in " ".join(read_sources(project).broken)


def test_a_record_is_of_its_own_model_and_whole(project: Project) -> None:
    path, submission = record(project), load_submission(project, NOISY)
    honest = json.loads(path.read_text())
    for changed, told in (
        ({"sigma": "0.5"}, "is the record of another model"),
        ({"model_sha256": "0" * 64}, "is the record of another model"),
        ({"salt": "5a"}, "is damaged at 'salt'"),
        ({"salt": SALT + "\n"}, "is damaged at 'salt'"),
        ({"drawn": None}, "is damaged at 'drawn'"),
    ):
        path.write_text(json.dumps({**honest, **changed}))
        with pytest.raises(InputError, match=told):
            read_salt(project, submission)
    path.write_text("")
    with pytest.raises(InputError, match="is damaged"):
        draw_salt(project, submission)


def test_the_salt_of_noise_is_not_the_one_of_the_comparison_with_onnxruntime(
    project: Project,
) -> None:
    """One decides rows, the other none."""
    submission, setting = load_submission(project, NOISY), find_setting(L2)
    question = make_question(project, submission, setting, Request())
    assert question.noise_salt == SALT != question.salt
    assert replace(question, salt="0" * 32).seed == question.seed
    assert replace(question, noise_salt="0" * 64).seed != question.seed
    plain = make_question(project, load_submission(project, PLAIN), setting, Request())
    assert plain.noise_salt == ""
    assert draw_salt(project, load_submission(project, PLAIN)) is None
