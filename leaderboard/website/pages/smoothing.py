"""What pages tell about smoothed models: accuracy by scale and radius, and how sure it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leaderboard.board.board import Board
from leaderboard.board.smoothed import RadiusCurve, columns, curves, foremost, sureness
from leaderboard.common.formatting import plural
from leaderboard.settings.setting import exact_text

if TYPE_CHECKING:
    from leaderboard.results.store import Results


@dataclass(frozen=True)
class CurveLine:
    """One model's row: certified shares by radius, and which are the best of their column."""

    curve: RadiusCurve
    shares: tuple[float, ...]
    best: tuple[bool, ...]


@dataclass(frozen=True)
class Table:
    """Certified accuracy by noise and radius; `radii` are the headings.

    Of many models the foremost at the setting's radius are shown; `total` is how many there are.
    """

    radii: tuple[str, ...]
    asked: tuple[bool, ...]
    lines: tuple[CurveLine, ...]
    total: int


MOST_LISTED = 24


def table(board: Board, setting: str) -> Table | None:
    """The smoothed models of a setting's dataset and norm; None where there is none."""
    everyone = curves(board, setting)
    if not everyone:
        return None
    found = foremost(everyone, board.settings[setting].radius, MOST_LISTED)
    radii = columns(board, setting, found)
    shares = [[curve.certified(radius) for radius in radii] for curve in found]
    # What was measured on few examples is best by luck, so it is never set in bold.
    enough = [curve.leads for curve in found]
    most = [
        max((share for share, led in zip(column, enough, strict=True) if led), default=0.0)
        for column in zip(*shares, strict=True)
    ]
    lines = [
        CurveLine(
            curve,
            tuple(row),
            tuple(
                sum(enough) > 1 and curve.leads and share == top > 0
                for share, top in zip(row, most, strict=True)
            ),
        )
        for curve, row in zip(found, shares, strict=True)
    ]
    wanted = board.settings[setting].radius
    asked = tuple(radius == wanted for radius in radii)
    return Table(tuple(map(exact_text, radii)), asked, tuple(lines), len(everyone))


def how_sure(results: Iterable["Results"]) -> str:
    """How many certificates of a page may be wrong, in a sentence or two; empty without any."""
    found = sureness(results)
    if found is None:
        return ""
    expected = float(found.expected)
    at_most = "none" if found.most == 0 else f"at most {found.most:,}"
    return (
        f"{plural(found.statements, 'example')} sampled for this page, each with its own failure"
        f" probability: at most {expected:.3g} wrong certificates are expected altogether, and"
        f" {at_most} with 95 % confidence. Both numbers are sums and Markov's inequality. They"
        " assume nothing about how errors go together: examples may share their noise, and then"
        " their errors are not independent."
    )
