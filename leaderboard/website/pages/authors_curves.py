"""The page of what was counted from authors' files: the third tier, ranked with neither other."""

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction

from leaderboard.board.board import Board
from leaderboard.common.formatting import percent
from leaderboard.field.authors_curves import AuthorsCurve, load_authors_curves
from leaderboard.field.literature import dataset_title
from leaderboard.settings.setting import exact_text
from leaderboard.website.plan import PagePlan, View
from leaderboard.website.publishing import places

COURSE = tuple(map(Fraction, ("0", "0.5", "1", "1.5", "2", "2.5", "3")))
"""Radii of the table that lectures on smoothing show, as far as they were counted."""


def plans(_: Board) -> list[PagePlan]:
    """The one page."""
    return [PagePlan("literature/counts", "counts", counts(load_authors_curves()))]


def counts(found: Sequence[AuthorsCurve]) -> View:
    """The course's table, and a row for each dataset, method, noise and number of examples."""
    first = [
        curve
        for curve in found
        if (curve.repository, curve.dataset) == ("locuslab/smoothing", "imagenet") and curve.usual
    ]
    groups: dict[str, dict[tuple[str, Fraction, int], list[AuthorsCurve]]] = defaultdict(dict)
    for curve in (one for one in found if one.usual):
        key = curve.method, curve.sigma, curve.examples
        groups[curve.dataset].setdefault(key, []).append(curve)
    radii = list(found[0].counts)
    return {
        "total": len(found),
        "shown": sum(len(files) for rows in groups.values() for files in rows.values()),
        "repositories": sorted({curve.repository for curve in found}),
        "course_radii": [exact_text(radius) for radius in COURSE],
        "course": [
            (curve, f"{float(curve.sigma):g}", [percent(curve.share(r)) for r in COURSE])
            for curve in sorted(first, key=lambda one: one.sigma)
        ],
        "radii": [exact_text(radius) for radius in radii],
        "groups": [
            (dataset_title(name), [_row(*item, radii) for item in sorted(rows.items())])
            for name, rows in sorted(groups.items())
        ],
        "places": places,
    }


def _row(
    key: tuple[str, Fraction, int], files: Sequence[AuthorsCurve], radii: Sequence[Fraction]
) -> View:
    method, sigma, examples = key
    return {
        "method": method,
        "sigma": f"{float(sigma):g}",
        "examples": examples,
        "files": len(files),
        "shares": [_range([curve.share(radius) for curve in files]) for radius in radii],
    }


def _range(shares: Sequence[float]) -> str:
    """`34.0–38.2`, or one number where all are the same."""
    low, high = (f"{100 * value:.1f}" for value in (min(shares), max(shares)))
    return low if low == high else f"{low}–{high}"
