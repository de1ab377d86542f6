"""A setting's table to take home: LaTeX for a paper, CSV for a spreadsheet, BibTeX for both.

Lines that certboard measured and lines that papers reported stay apart, as on the page.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from leaderboard.board.board import Board
from leaderboard.common.formatting import percent
from leaderboard.settings.setting import Setting
from leaderboard.website.citation import bibtex, bibtex_board, bibtex_reported, own_key
from leaderboard.website.downloads import inert
from leaderboard.website.publishing.licence import SPDX
from leaderboard.website.publishing.places import absolute
from leaderboard.website.publishing.tex import one_line, tex

if TYPE_CHECKING:
    from leaderboard.board.ranking import Standing

_TIERS = {
    "re-evaluated": "Re-evaluated by certboard, example by example",
    "reported": "Reported by the papers, not checked",
}
_HEADINGS = ("", "Model", "Certified by", r"Certified\,\%", r"Clean\,\%", r"Attack\,\%")


def newest(board: Board, setting: str) -> str:
    """The day of the newest result in a setting; empty where there is none."""
    made = (line.result.provenance.created for line in board.re_evaluated(setting) if line.result)
    return max(made, default="")[:10]


def latex(board: Board, setting: str) -> str:
    """The table of a setting with booktabs, its source, day and licence in a comment above.

    Shares are percentages. An interval stands in brackets where a subset was evaluated.
    """
    subject = board.settings[setting]
    lines = (*board.re_evaluated(setting), *board.reported(setting))
    body = [row for _, alike in groupby(lines, _tier_and_kind) for row in _block(list(alike))]
    return "\n".join(
        [
            *(f"% {one_line(line)}" for line in _comments(board, subject)),
            r"\begin{tabular}{rllrrr}",
            r"\toprule",
            " & ".join(_HEADINGS) + r" \\",
            *(body or [r"\midrule", _across("Nothing has been measured or reported yet")]),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _comments(board: Board, subject: Setting) -> Iterable[str]:
    day = newest(board, subject.id)
    yield f"{subject.title}: {absolute(f'settings/{subject.id}/')} of certboard"
    yield f"Newest result: {day or 'none'}. Licence of re-evaluated rows: {SPDX}."
    yield r"Needs \usepackage{booktabs}. Entries to cite: the .bib file of the same name."
    for line in board.disputed.get(subject.id, ()):
        yield f"Left out as disputed: {line.title}."
    yield "Attack: an upper bound on robust accuracy. Brackets: 95 % Clopper-Pearson intervals."


def _tier_and_kind(line: "Standing") -> tuple[str, str]:
    """What lines that are ranked together have in common."""
    return line.tier, line.kind


def _block(lines: Sequence["Standing"]) -> Iterable[str]:
    yield r"\midrule"
    yield _across(f"{_TIERS[lines[0].tier]}: {lines[0].kind}")
    for line in lines:
        cells = (
            _of(line.rank),
            tex(line.title),
            tex(line.how) or "--",
            _certified(line),
            _share(line.clean),
            _share(line.attack),
        )
        yield " & ".join(cells) + rf" \\ % cite: {_key(line)}"


def _across(text: str) -> str:
    return rf"\multicolumn{{{len(_HEADINGS)}}}{{l}}{{\emph{{{tex(text)}}}}} \\"


def _of(rank: int | None) -> str:
    return "" if rank is None else str(rank)


def _share(value: float | None) -> str:
    return "--" if value is None else percent(value)


def _certified(line: "Standing") -> str:
    if line.interval is None:
        return _share(line.certified)
    return (
        f"{percent(line.certified)} [{percent(line.interval.low)}, {percent(line.interval.high)}]"
    )


def _key(line: "Standing") -> str:
    entry = bibtex_reported(line.reported) if line.reported else ""
    return own_key(line.slug) if line.slug else entry.partition("{")[2].partition(",")[0]


def bibliography(board: Board, setting: str) -> str:
    """The entries of everything in a setting's table and of the board, each once."""
    entries = [bibtex_board()]
    entries += [
        bibtex(board.submissions[line.slug], board.results_of[line.slug])
        for line in board.re_evaluated(setting)
        if line.slug
    ]
    entries += [bibtex_reported(line.reported) for line in board.reported(setting) if line.reported]
    by_key = {entry.partition(",")[0]: entry for entry in reversed(entries)}
    return "\n".join(by_key[key] for key in dict.fromkeys(e.partition(",")[0] for e in entries))


def spreadsheet(board: Board, setting: str) -> bytes:
    """The table of a setting as CSV, shares in [0, 1]; no cell runs as a formula."""
    disputed = board.disputed.get(setting, ())
    lines = (*board.re_evaluated(setting), *disputed, *board.reported(setting))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["setting", *_COLUMNS])
    for line in lines:
        cells = (setting, *(column(line) for column in _COLUMNS.values()))
        writer.writerow(inert(cell) if isinstance(cell, str) else cell for cell in cells)
    return text.getvalue().encode()


_COLUMNS: Mapping[str, Callable[["Standing"], object]] = {
    "tier": lambda line: line.tier,
    "rank": lambda line: line.rank,
    "submission": lambda line: line.slug,
    "title": lambda line: line.title,
    "kind": lambda line: line.kind,
    "certified_by": lambda line: line.how,
    "certified": lambda line: line.certified,
    "certified_low": lambda line: line.interval and line.interval.low,
    "certified_high": lambda line: line.interval and line.interval.high,
    "clean": lambda line: line.clean,
    "attack": lambda line: line.attack,
    "unknown": lambda line: line.unknown,
    "extra_data": lambda line: line.extra_data,
    "date": lambda line: line.date,
    "url": lambda line: line.url,
    "disputed": lambda line: line.disputed and line.disputed.told,
    "examples": lambda line: line.examples,
    "not_ranked": lambda line: line.short,
}
"""The columns of a spreadsheet after the setting; what is None is written as nothing."""
