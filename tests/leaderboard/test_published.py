"""Networks of others: their authors' own file, by address and hash, fetched only where it must."""

import hashlib
import os
from datetime import date
from pathlib import Path

import pytest

from evaluators.onnx.adapter import InputAdapter, adapt
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.datasets import files
from leaderboard.evaluation.networks import check_model
from leaderboard.recheck import nightly
from leaderboard.submissions import weights
from leaderboard.submissions.catalogue import chosen_submissions, read_catalogue
from leaderboard.submissions.manifest import (
    Submission,
    load_submission,
    model_path,
    read_submission,
)
from leaderboard.submissions.published import adapted_path
from leaderboard.website.citation import bibtex
from tests.fixtures.onnx_models import classifier_model
from tests.fixtures.project import CHECKOUT, LINF, problems_of_submission
from tests.leaderboard.conftest import Certboard

OWN = Project(CHECKOUT)
THEIRS = [
    slug for slug, one in read_catalogue(OWN).submissions.items() if one.published is not None
]
FILE = bytes(classifier_model((8, 8, 1), classes=10).SerializeToString())
SHA256 = hashlib.sha256(FILE).hexdigest()
WITH_ADAPTER = hashlib.sha256(adapt(FILE, InputAdapter(channels_last=True), (1, 8, 8))).hexdigest()
HEAD = 'title = "Theirs"\nauthors = ["A. Author"]\nlicence = "none stated"\n'
MODEL = f"""
[model]
url = "https://example.com/theirs.onnx"
size = {len(FILE)}
sha256 = "{SHA256}"
dataset = "digits"
"""
PUBLISHED = '[published]\narchitecture = "2 dense layers"\nsource = "https://example.com/theirs"\n'
ADAPTER = f'[adapter]\nchannels_last = true\nsha256 = "{WITH_ADAPTER}"\n'
TRAINING = '[training]\nnode = "training/standard"\nextra_data = "none"\n'
WHOLE = HEAD + MODEL + PUBLISHED + ADAPTER + TRAINING


@pytest.fixture
def folder(project: Project, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a submission of others; nothing is at hand, and nothing can be fetched."""

    def never(url: str, size: int) -> bytes:
        raise InputError(f"{url}: was asked for")

    monkeypatch.setattr(weights, "_read", never)
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    made = project.submissions / "theirs"
    made.mkdir()
    (made / "submission.toml").write_text(WHOLE, encoding="utf-8")
    return made


@pytest.fixture
def at_hand(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with their file, under another name."""
    place = tmp_path / "models" / "deep" / "called otherwise.onnx"
    place.parent.mkdir(parents=True)
    place.write_bytes(FILE)
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "models"))
    return place


def _kept(submission: Submission) -> Path:
    assert submission.adapter is not None
    return adapted_path(submission.adapter, submission.model.sha256, submission.model.dataset)


def test_the_hash_that_rows_carry_has_the_adapter_in_it_and_needs_no_file(
    project: Project, folder: Path
) -> None:
    assert load_submission(project, "theirs").model_hash == WITH_ADAPTER
    (folder / "submission.toml").write_text(WHOLE.replace(ADAPTER, ""))
    assert load_submission(project, "theirs").model_hash == SHA256


def test_a_file_at_hand_is_taken_by_its_hash_and_nothing_is_fetched(
    project: Project, at_hand: Path
) -> None:
    submission = load_submission(project, "theirs")
    assert submission.at_hand
    path = model_path(project, submission)
    assert path == _kept(submission)
    assert files.sha256_of(path) == WITH_ADAPTER
    assert check_model(path, "digits") == []
    at_hand.unlink()
    # What it was made into is kept.
    assert submission.at_hand
    assert model_path(project, submission) == path


def test_another_file_of_that_size_is_not_taken(project: Project, at_hand: Path) -> None:
    at_hand.write_bytes(FILE[:-1] + b"x")
    assert not load_submission(project, "theirs").at_hand
    with pytest.raises(InputError, match="was asked for"):
        model_path(project, load_submission(project, "theirs"))


def test_an_adapter_with_another_hash_is_refused_and_nothing_is_kept(
    project: Project, folder: Path, at_hand: Path
) -> None:
    changed = WHOLE.replace("channels_last = true", "shape = [8, 8, 1]")
    (folder / "submission.toml").write_text(changed)
    submission = load_submission(project, "theirs")
    with pytest.raises(InputError, match=f"'adapter.sha256' says {WITH_ADAPTER}"):
        model_path(project, submission)
    assert not _kept(submission).exists()


def test_a_kept_network_of_others_does_not_pass_for_this_one(
    project: Project, folder: Path, at_hand: Path
) -> None:
    model_path(project, load_submission(project, "theirs"))
    another = bytes(classifier_model((8, 8, 1), classes=10, hidden=9).SerializeToString())
    at_hand.write_bytes(another)
    sha256 = hashlib.sha256(another).hexdigest()
    # Its adapter announces the hash of the one that was kept.
    told = WHOLE.replace(SHA256, sha256).replace(f"size = {len(FILE)}", f"size = {len(another)}")
    (folder / "submission.toml").write_text(told)
    with pytest.raises(InputError, match=f"'adapter.sha256' says {WITH_ADAPTER}"):
        model_path(project, load_submission(project, "theirs"))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("https://example.com/theirs.onnx", "http://example.com/theirs.onnx", "with https://"),
        (PUBLISHED, "", "put it inside the graph"),
        ("channels_last = true\n", "", "does nothing"),
        ("channels_last = true", "mean = [0.5]", "a mean and a deviation of each channel"),
        ("channels_last = true", "mean = [0.5]\ndeviation = [0.0]", "more than 0"),
        ("channels_last = true", "shape = [0]", "at least 1"),
        (f"size = {len(FILE)}\n", "", "a size, in bytes, beside the url"),
        (ADAPTER, '[smoothing]\ndistribution = "gaussian"\nsigma = "1"\n', "must be one file"),
        (TRAINING, f'{TRAINING}[[claim]]\nsetting = "{LINF}"\n', "clean and certified"),
    ],
)
def test_a_wrong_entry_is_told(
    project: Project, folder: Path, old: str, new: str, told: str
) -> None:
    (folder / "submission.toml").write_text(WHOLE.replace(old, new))
    (problem,) = problems_of_submission(project, "theirs")
    assert told in problem


def test_no_copy_of_their_file_may_lie_in_the_folder(project: Project, folder: Path) -> None:
    (folder / "model.onnx").write_bytes(FILE)
    (problem,) = problems_of_submission(project, "theirs")
    assert "which submission.toml does not name" in problem


def test_a_check_of_all_passes_over_those_not_at_hand_and_names_them(
    folder: Path, certboard: Certboard
) -> None:
    outcome = certboard("check")
    assert outcome.code == 0
    assert "1 published network not read, whose weights are not at hand: theirs" in outcome.err
    assert "was asked for" in certboard("check", "theirs").err
    assert "theirs" not in chosen_submissions(Project(folder.parents[1]), ())
    assert "theirs" in chosen_submissions(Project(folder.parents[1]), ["theirs"])


def test_the_nightly_sample_passes_over_those_not_at_hand(
    project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch, certboard: Certboard
) -> None:
    submission = load_submission(project, "theirs")
    drawn = nightly.DrawnEvaluation(submission, None, None, (), ())  # type: ignore[arg-type]

    def fails(*_: object) -> object:
        return submission.parts(project)

    monkeypatch.setattr(nightly, "draw", lambda *_: [drawn])
    monkeypatch.setattr(nightly, "measure_again", fails)
    nightly.compare_samples(project, date(2026, 1, 1), 1, 1)


def test_the_paper_is_cited_with_its_own_authors(project: Project, folder: Path) -> None:
    paper = '[paper]\ntitle = "A paper"\nauthors = ["B. Writer"]\narxiv = "1711.00851"\n'
    (folder / "submission.toml").write_text(WHOLE.replace(TRAINING, paper + TRAINING))
    assert "{B. Writer}" in bibtex(load_submission(project, "theirs"))
    (folder / "submission.toml").write_text(WHOLE)
    assert "https://example.com/theirs" in bibtex(load_submission(project, "theirs"))


def test_no_weights_of_others_lie_in_the_project() -> None:
    assert THEIRS
    for slug in THEIRS:
        assert {path.name for path in (OWN.submissions / slug).iterdir()} <= {
            "submission.toml",
            "README.md",
        }


@pytest.mark.parametrize("slug", THEIRS)
def test_a_published_network_is_what_its_entry_says(
    slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = Path(os.environ.get("CERTBOARD_SHARED", CHECKOUT.parent / "shared"))
    if not os.environ.get(weights.VARIABLE):
        monkeypatch.setenv(weights.VARIABLE, str(beside / "models" / "published" / "unchanged"))
    submission = read_submission(OWN, slug)
    if weights.at_hand(submission.model.sha256, submission.model.size or 0) is None:
        # Files of others are never part of the project, and no test downloads them.
        pytest.skip(f"the file of {slug} is not at hand")
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path)
    path = model_path(OWN, submission)
    assert files.sha256_of(path) == submission.model_hash
    assert check_model(path, submission.model.dataset) == []
