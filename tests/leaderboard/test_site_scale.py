"""What a website of many submissions costs, counted instead of timed, and how much a row weighs.

`tests/benchmarks/test_site_speed.py` has the seconds.
"""

import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leaderboard.board.files import read_sources
from leaderboard.results import store
from leaderboard.website import build as pages
from tests.fixtures.thousand import Made, thousand
from tests.fixtures.website import whole

pytestmark = pytest.mark.slow

CROWDED = "cifar10-linf-8_255"
FEW, MORE = 15, 30


def build(root: Path, count: int, only: str | None = None) -> Made:
    made = thousand(root, count, examples=20, only=only)
    pages.generate(made.project, read_sources(made.project).board())
    return made


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Made]:
    """Two projects whose submissions are all in one setting."""
    root = tmp_path_factory.mktemp("crowded")
    few, more = (build(root / str(count), count, CROWDED) for count in (FEW, MORE))
    return few, more


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often files are read and pages are rendered."""
    counts: Counter[str] = Counter()

    def counting(module: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(module, name)

        def count(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, count)

    counting(store, "_read")
    counting(pages, "_render")
    return counts


def work(root: Path, count: int, counts: Counter[str]) -> tuple[Made, Counter[str]]:
    made = thousand(root, count, examples=20)
    counts.clear()
    pages.generate(made.project, read_sources(made.project).board())
    return made, Counter(counts)


def test_work_grows_with_the_number_of_submissions_and_no_faster(
    tmp_path: Path, counted: Counter[str]
) -> None:
    few, first = work(tmp_path / "few", FEW, counted)
    more, second = work(tmp_path / "more", MORE, counted)
    assert second["_render"] - first["_render"] == MORE - FEW
    added = more.results - few.results
    assert added > MORE - FEW
    # Once for the counts, once for the downloads, and once for the page of its submission.
    assert second["_read"] - first["_read"] <= 3 * added
    assert second["_read"] <= 3 * more.results


def weight(made: Made, page: str) -> int:
    """Bytes of a page's own part, compressed."""
    return len(gzip.compress(whole(made.project.pages, page).encode(), mtime=0))


def test_a_row_of_a_setting_weighs_little(crowded: tuple[Made, Made]) -> None:
    few, more = (weight(made, f"settings/{CROWDED}") for made in crowded)
    each = (more - few) / (MORE - FEW)
    assert each < 300  # bytes: a thousand of them leave a quarter of 400 kB to all else
    assert few < 40_000


def test_a_page_of_one_submission_does_not_grow_with_the_others(
    crowded: tuple[Made, Made],
) -> None:
    few, more = (weight(made, "submissions/network-0000") for made in crowded)
    assert abs(more - few) < 400


def test_a_figure_of_a_setting_grows_by_little_for_each_model(crowded: tuple[Made, Made]) -> None:
    sizes = []
    for made in crowded:
        figures = made.project.pages / "charts" / "setting" / CROWDED
        sizes.append(sum(len(gzip.compress(path.read_bytes())) for path in figures.iterdir()))
    assert (sizes[1] - sizes[0]) / (MORE - FEW) < 120


def test_what_markdown_and_the_search_read_of_a_setting_has_no_rows(
    crowded: tuple[Made, Made],
) -> None:
    tops = [
        (made.project.pages / "settings" / f"{CROWDED}.md").read_text(encoding="utf-8")
        for made in crowded
    ]
    assert tops[0] == tops[1]
    assert "<tr" not in tops[0]


def test_the_made_up_project_is_a_project_without_problems(crowded: tuple[Made, Made]) -> None:
    few, _ = crowded
    board = read_sources(few.project).board()
    assert len(board.submissions) == len(board.results) == few.results == FEW
    assert len(board.re_evaluated(CROWDED)) == FEW
    shares = [line.certified or 0 for line in board.re_evaluated(CROWDED)]
    assert shares == sorted(shares, reverse=True)
