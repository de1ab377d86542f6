"""A small picture for the README of a paper: what certboard measured, in one setting.

One SVG file that needs no font, style or file beside it, readable on light and dark pages and by
a screen reader. Text is set to a computed length, so that it fits wherever it is drawn.
"""

from html import escape
from typing import TYPE_CHECKING

from leaderboard.board.ranking import Standing
from leaderboard.common.formatting import count, percent
from leaderboard.settings.setting import NORM_SIGNS, Setting

if TYPE_CHECKING:
    from leaderboard.results.store import Results

NAME = "certboard"
_HEIGHT, _PADDING, _SIZE = 20, 7, 11
_NAME_COLOUR, _COLOUR, _GONE_COLOUR = "#2f393b", "#12705a", "#5f6465"  # 5.9:1 on white or more

# Widths at 11 pixels in the sans-serif faces that README pages are shown in.
_NARROW, _WIDE = "ijl.,:;'|!·ℓ∞()/ ", "mwMW%@"


def badge(setting: Setting, line: Standing, result: "Results", gone: str = "") -> str:
    """The SVG of one re-evaluated line; `gone` is why it has left its table, in a word."""
    told = badge_text(setting, line, result, gone)
    title = f"{NAME}: {told}" + ("" if gone else f", {line.kind}, re-evaluated {line.date}")
    return _svg(told, title, _GONE_COLOUR if gone else _COLOUR)


def badge_text(setting: Setting, line: Standing, result: "Results", gone: str = "") -> str:
    """`86.64 % certified · Digits ℓ∞ 0.1`, and of how many examples where not of all."""
    some, total = result.tally.examples, result.provenance.total
    of = f" of {count(some)}" if some < total else ""
    dataset = setting.title.split(" · ")[0]
    where = f"{dataset} {NORM_SIGNS[setting.norm]} {setting.radius_text}"
    return f"{gone or f'{percent(line.certified)} %{of} certified'} · {where}"


def _width(text: str) -> int:
    """Pixels, near enough: `textLength` makes it fit."""
    each = (4.0 if sign in _NARROW else 10.0 if sign in _WIDE else 6.9 for sign in text)
    return round(sum(each))


def _svg(told: str, title: str, colour: str = _COLOUR) -> str:
    left, right = _width(NAME) + 2 * _PADDING, _width(told) + 2 * _PADDING
    texts = "".join(
        f'<text x="{start + _PADDING}" y="14" textLength="{width - 2 * _PADDING}"'
        f' lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
        for start, width, text in ((0, left, NAME), (left, right, told))
    )
    whole = left + right
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{_HEIGHT}"'
        f' viewBox="0 0 {whole} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>"
        f'<clipPath id="r"><rect width="{whole}" height="{_HEIGHT}" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{left}" height="{_HEIGHT}" fill="{_NAME_COLOUR}"/>'
        f'<rect x="{left}" width="{right}" height="{_HEIGHT}" fill="{colour}"/></g>'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,Geneva,sans-serif"'
        f' font-size="{_SIZE}">{texts}</g></svg>\n'
    )
