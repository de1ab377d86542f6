"""Withdrawn, superseded and replaced models: out of the tables, never out of the records."""

from pathlib import Path

import pytest

from leaderboard.board.board import Board, assemble
from leaderboard.common.project import Project
from leaderboard.results.store import Results
from leaderboard.submissions.catalogue import problems_between, read_catalogue
from leaderboard.submissions.manifest import read_submission
from leaderboard.website.pages.home import newest_results
from leaderboard.website.pages.submission import SubmissionPages
from leaderboard.website.pages.submissions import submissions_index
from leaderboard.website.publishing.feed import feed
from tests.fixtures.board import board
from tests.fixtures.project import PLAIN, linear, submit
from tests.fixtures.website import text_of


@pytest.fixture
def example(tmp_path: Path) -> Board:
    return board(tmp_path)


def again(example: Board, **changed: object) -> Board:
    """The board with a first submission that was changed."""
    slug, _ = first(example)
    submissions = dict(example.submissions)
    submissions[slug] = submissions[slug].model_copy(update=changed)
    rest = example.results, example.literature, example.taxonomy
    return assemble(example.settings, example.datasets, submissions, *rest)


def first(example: Board) -> tuple[str, Results]:
    slug = next(iter(example.results_of))
    return slug, example.results_of[slug][0]


@pytest.mark.parametrize("key", ["withdrawn", "superseded_by"])
def test_a_retired_submission_is_in_no_table_but_keeps_its_rows(example: Board, key: str) -> None:
    slug, result = first(example)
    setting = result.provenance.setting
    assert slug in {line.slug for line in example.re_evaluated(setting)}
    retired = again(example, **{key: "another"})
    assert slug not in {line.slug for lines in retired.standings.values() for line in lines}
    ranks = [line.rank for line in retired.re_evaluated(setting)]
    assert ranks[:1] in ([1], [])
    line = retired.line_of(retired.results_of[slug][0])
    assert line.rank is None
    assert line.certified == example.line_of(result).certified
    assert slug not in {new.line.slug for new in newest_results(retired)}
    rows = submissions_index(retired)["rows"]
    assert isinstance(rows, list)
    (row,) = (row for row in rows if row["submission"].slug == slug)
    assert row["best"] is None
    assert "Rank None" not in feed(retired).decode()


def test_rows_of_another_model_say_nothing_of_the_present_one(example: Board) -> None:
    """A submitter who exchanges the file must not keep the old file's certificates."""
    slug, _ = first(example)
    model = example.submissions[slug].model.model_copy(update={"sha256": "f" * 64})
    changed = again(example, model=model)
    assert slug not in {line.slug for lines in changed.standings.values() for line in lines}
    assert slug not in changed.results_of
    assert len(changed.former[slug]) == len(example.results_of[slug])


@pytest.mark.parametrize(
    "changed",
    [{"sigma": "0.375"}, {"distribution": "uniform"}, None],
    ids=["scale", "noise", "none"],
)
def test_rows_of_another_noise_say_nothing_of_the_present_one(
    example: Board, changed: dict[str, str] | None
) -> None:
    """A submitter who edits the noise alone must not keep the rows of the former one."""
    slug = next(slug for slug, one in example.submissions.items() if one.smoothing is not None)
    before = example.submissions[slug].smoothing
    assert before is not None
    after = None if changed is None else before.model_copy(update=changed)
    submissions = dict(example.submissions)
    submissions[slug] = submissions[slug].model_copy(update={"smoothing": after})
    rest = example.results, example.literature, example.taxonomy
    then = assemble(example.settings, example.datasets, submissions, *rest)
    assert slug not in then.results_of
    assert len(then.former[slug]) == len(example.results_of[slug]) > 0


def manifest(project: Project, slug: str, line: str) -> None:
    path = project.submissions / slug / "submission.toml"
    path.write_text(f"{line}\n{path.read_text()}")


@pytest.mark.parametrize(
    ("successor", "told"),
    [
        ("nosy", "there is no such submission. Did you mean 'noisy'?"),
        (PLAIN, "itself superseded"),
        ("chain", "itself superseded"),
    ],
)
def test_a_successor_must_be_there_and_stay(project: Project, successor: str, told: str) -> None:
    submit(project, "chain", linear())
    manifest(project, "chain", 'superseded_by = "noisy"')
    manifest(project, PLAIN, f'superseded_by = "{successor}"')
    (problem,) = read_catalogue(project).problems
    assert told in problem
    own = read_submission(project, PLAIN)
    assert problems_between(project, {PLAIN: own}) == [problem]


def test_a_successor_is_read(project: Project) -> None:
    manifest(project, PLAIN, 'superseded_by = "noisy"')
    manifest(project, "noisy", 'withdrawn = "A bug in training."')
    found = read_catalogue(project).submissions
    assert found[PLAIN].retired
    assert found["noisy"].withdrawn == "A bug in training."


def test_the_page_of_a_retired_submission_says_so(example: Board) -> None:
    slug, _ = first(example)
    other = next(name for name in example.submissions if name != slug)
    model = example.submissions[slug].model.model_copy(update={"sha256": "f" * 64})
    told_of: list[tuple[dict[str, object], str]] = [
        ({"withdrawn": "A <b>bug</b>."}, "Withdrawn by its authors"),
        ({"superseded_by": other}, f">{other}</a>"),
        ({"model": model}, "do not count"),
    ]
    for changed, told in told_of:
        text = text_of(SubmissionPages(again(example, **changed)).plan(slug))
        assert told in text
        assert "<b>bug" not in text
        assert "None of" not in text
