"""`certboard new`: what is given stands in the manifest, and what is not is asked for."""

import hashlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.datasets import files
from leaderboard.submissions import weights
from leaderboard.submissions.manifest import load_submission
from leaderboard.submissions.placeholders import EXAMPLES
from leaderboard.submissions.prompts import ask
from leaderboard.submissions.scaffold import Answers, scaffold
from tests.fixtures.project import MODEL, digest
from tests.leaderboard.conftest import Certboard


def test_a_new_submission_with_all_answers_passes_the_check(
    project: Project, certboard: Certboard
) -> None:
    model = project.root / MODEL
    made = certboard(
        *("new", "my-net", "--model", str(model), "--dataset", "digits", "--title", "My net"),
        *("--author", "A. One", "--author", "B. Two", "--licence", "MIT"),
        *("--node", "training/standard", "--sigma", "1/4", "--noise", "laplace"),
        *("--claim", "digits-l2-0.25=80.5/90"),
    )
    assert made.code == 0
    folder = project.submissions / "my-net"
    text = (folder / "submission.toml").read_text().replace("laplace", "gaussian")
    (folder / "submission.toml").write_text(text)
    assert certboard("check", "my-net").err.count("still the example") == 3
    (folder / "README.md").write_text("Ours.")
    text = text.replace(EXAMPLES["owner"], "octocat").replace(EXAMPLES["description"], "Trained.")
    (folder / "submission.toml").write_text(text)
    assert certboard("check", "my-net").code == 0
    found = load_submission(project, "my-net")
    assert (found.title, found.authors, found.licence) == ("My net", ("A. One", "B. Two"), "MIT")
    assert found.smoothing is not None
    assert found.smoothing.sigma == "1/4"
    assert (found.claims[0].certified, found.claims[0].clean) == (80.5, 90)
    assert found.model.sha256 == digest(model)


def test_a_large_model_stays_where_it_is(project: Project, certboard: Certboard) -> None:
    model = project.root / MODEL
    url = "https://example.org/m.onnx"
    made = certboard("new", "my-net", "--model", str(model), "--url", url, "--dataset", "digits")
    assert made.code == 0
    folder = project.submissions / "my-net"
    assert not (folder / "model.onnx").exists()
    told = tomllib.loads((folder / "submission.toml").read_text())["model"]
    assert told == {
        "url": url,
        "size": model.stat().st_size,
        "sha256": digest(model),
        "dataset": "digits",
    }


def test_a_model_that_has_only_an_address_is_fetched_measured_and_hashed(
    project: Project, certboard: Certboard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(weights, "_read", lambda *_: b"a network")
    url = "https://example.org/m.onnx"
    assert certboard("new", "my-net", "--url", url, "--dataset", "digits").code == 0
    text = (project.submissions / "my-net" / "submission.toml").read_text()
    told = tomllib.loads(text)["model"]
    sha256 = hashlib.sha256(b"a network").hexdigest()
    assert told == {"url": url, "size": 9, "sha256": sha256, "dataset": "digits"}
    assert weights.at_hand(sha256, 9) is not None


def test_a_model_at_an_address_that_anyone_may_alter_on_the_way_is_refused(
    project: Project, certboard: Certboard
) -> None:
    outcome = certboard("new", "my-net", "--url", "http://example.org/m.onnx")
    assert outcome.code == 1
    assert "must begin with https://" in outcome.sentence
    assert not (project.submissions / "my-net").exists()


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("--claim", "digits-l2-0.25"), "SETTING=CERTIFIED"),
        (("--claim", "digits-l2-0.2=5"), "Did you mean"),
        (("--claim", "digits-l2-0.25=a"), "SETTING=CERTIFIED"),
        (("--claim", "digits-l2-0.25=1.2.3"), "SETTING=CERTIFIED"),
        (("--model", "nowhere.onnx"), "nowhere.onnx"),
    ],
)
def test_a_wrong_answer_makes_no_folder(
    project: Project, certboard: Certboard, typed: tuple[str, str], told: str
) -> None:
    outcome = certboard("new", "my-net", *typed)
    assert outcome.code == 1
    assert told in outcome.sentence
    assert not (project.submissions / "my-net").exists()


visible = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=40)


@given(visible, visible)
def test_any_title_and_author_make_a_manifest_that_says_them(
    tmp_path_factory: pytest.TempPathFactory, title: str, author: str
) -> None:
    project = Project(tmp_path_factory.mktemp("new"))
    made = scaffold(project, "my-net", Answers(title=title, authors=(author,)))
    told = tomllib.loads((made.folder / "submission.toml").read_text("utf-8"))
    assert (told["title"], told["authors"]) == (title, [author])


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the user types, answer by answer; all of it must be asked for."""
    answers: list[str] = []
    monkeypatch.setattr(typer, "prompt", lambda *_, **__: answers.pop(0))
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: answers.pop(0) == "y")
    yield answers
    assert not answers


def test_what_is_not_given_is_asked_until_it_fits(
    project: Project, typed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    typed += ["", "My net", "A, B", "MIT", "minst", "mnist", "training/stndard"]
    typed += ["training/standard", "nowhere.onnx", str(project.root / MODEL), "y", "nan", "0.25"]
    found = ask(project, "my-net", Answers())
    assert found == Answers(
        project.root / MODEL,
        None,
        "mnist",
        "My net",
        ("A", "B"),
        "MIT",
        "training/standard",
        "0.25",
    )
    shown = capsys.readouterr()
    assert "Did you mean 'mnist'?" in shown.err
    assert "Did you mean 'training/standard'?" in shown.err
    assert "There is no file nowhere.onnx." in shown.err
    assert "tinyimagenet" in shown.out


def test_what_is_given_is_not_asked(project: Project, typed: list[str]) -> None:
    given = Answers(Path(MODEL), None, "mnist", "T", ("A",), "MIT", "training/standard", "0.5")
    assert ask(project, "my-net", given) == given
    with pytest.raises(InputError, match="already a submissions/plain"):
        ask(project, "plain", Answers())
