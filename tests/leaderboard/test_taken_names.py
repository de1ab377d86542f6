"""No submission takes the place of a page or folder of the website's own."""

from pathlib import Path

import pytest

from leaderboard.common.errors import InputError
from leaderboard.submissions.folder import check_slug
from leaderboard.website import build
from leaderboard.website.build import plan
from leaderboard.website.pages import methods
from tests.fixtures.board import board


@pytest.mark.parametrize(
    "slug", ["index", "certboard", "matrix", "data", "build", "dist", "public"]
)
def test_a_submission_that_is_called_like_a_page_or_folder_is_refused(slug: str) -> None:
    with pytest.raises(InputError, match="must be called otherwise"):
        check_slug(slug)
    check_slug(f"{slug}-net")


def test_two_pages_of_one_path_stop_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = board(tmp_path)
    assert len(plan(made)) > 10
    monkeypatch.setattr(build, "SECTIONS", (methods, methods))
    with pytest.raises(InputError, match="2 pages of the website have the path"):
        plan(made)
