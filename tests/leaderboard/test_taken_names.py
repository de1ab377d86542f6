"""No submission takes the place of a page or folder of the website's own."""

import pytest

from leaderboard.common.errors import InputError
from leaderboard.submissions.folder import check_slug


@pytest.mark.parametrize(
    "slug", ["index", "certboard", "matrix", "data", "build", "dist", "public"]
)
def test_a_submission_that_is_called_like_a_page_or_folder_is_refused(slug: str) -> None:
    with pytest.raises(InputError, match="must be called otherwise"):
        check_slug(slug)
    check_slug(f"{slug}-net")
