"""The pages of settings: their index and one table each."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leaderboard.board.board import Board
from leaderboard.board.ranking import Standing, asked, leader
from leaderboard.results.metrics import METRICS
from leaderboard.settings.setting import LEAST_EXAMPLES, NORM_SIGNS, Setting
from leaderboard.website.kept_page import BoardParts, KeptPage, parts_of
from leaderboard.website.pages import smoothing
from leaderboard.website.plan import PagePlan, View, drawn
from leaderboard.website.publishing import places
from leaderboard.website.setting_table import Row, leaders, rows

if TYPE_CHECKING:
    from leaderboard.results.store import Results


MOST_NAMED = 3
"""Rows that a note names one by one."""

_MISSING = re.compile(r", without [\d, ]+$")


def plans(board: Board) -> list[PagePlan | KeptPage]:
    """The index, and a page for each setting."""
    parts = parts_of(board)
    return [
        PagePlan("settings/index", "settings", settings_index(board)),
        *(_page(parts, name) for name in board.settings),
    ]


def _page(parts: BoardParts, name: str) -> KeptPage:
    part = parts.around(name)
    key = parts.digest(part, f"settings/{name}")
    return KeptPage(f"settings/{name}", key, lambda: page(part, name))


def page(board: Board, name: str) -> PagePlan:
    """The page of one setting."""
    charts = drawn(board, "setting", name)
    return PagePlan(f"settings/{name}", "setting", setting(board, name), charts)


@dataclass(frozen=True)
class Leader:
    """One setting at a glance: the leaders of each tier, one a kind, and how many lines it has."""

    setting: Setting
    norm_sign: str
    ours: Sequence[Standing]
    paper: Sequence[Standing]
    n_ours: int
    n_paper: int


def at_a_glance(board: Board, name: str) -> Leader:
    """The setting called `name` at a glance."""
    ours, paper = board.re_evaluated(name), board.reported(name)
    place = board.settings[name]
    return Leader(
        setting=place,
        norm_sign=NORM_SIGNS[place.norm],
        ours=_first_of_each_kind(ours),
        paper=_first_of_each_kind(paper),
        n_ours=len(ours),
        n_paper=sum(line.certified is not None for line in paper),
    )


def _first_of_each_kind(lines: Sequence[Standing]) -> list[Standing]:
    return [line for line in lines if line.rank == 1 and line is first_of(lines, line.kind)]


def first_of(lines: Sequence[Standing], kind: str) -> Standing | None:
    """The leader among the lines of a kind."""
    return leader(line for line in lines if line.kind == kind)


def settings_index(board: Board) -> View:
    """Settings by dataset; datasets whose settings have re-evaluated leaders first."""
    groups: dict[str, list[Leader]] = {}
    for name, setting in board.settings.items():
        groups.setdefault(setting.dataset, []).append(at_a_glance(board, name))
    ordered = sorted(groups.items(), key=lambda group: -sum(len(row.ours) for row in group[1]))
    return {"groups": [(board.datasets[name], rows) for name, rows in ordered]}


def setting(board: Board, name: str) -> View:
    """One setting's table, both tiers, and what is missing from it."""
    subject = board.settings[name]
    ours, paper = rows(board, board.re_evaluated(name)), rows(board, board.reported(name))
    disputed = rows(board, board.disputed.get(name, ()))
    results = [row.line.result for row in ours if row.line.result]
    return {
        "setting": subject,
        "norm_sign": NORM_SIGNS[subject.norm],
        "selection": _selection(subject),
        "siblings": _siblings(board, subject),
        "ours": ours,
        "paper": paper,
        "disputed": disputed,
        "groups": _groups(ours, disputed, paper),
        "leaders": leaders(ours, paper),
        "columns": COLUMNS,
        "notes": [*_too_small(subject), *shortened(incomplete(board, results))],
        "missing": missing(subject, ours, paper),
        "smoothed": smoothing.table(board, name),
        "how_sure": smoothing.how_sure(results),
        "places": places,
    }


_TITLES = {
    "ours": "Re-evaluated by certboard",
    "disputed": "Disputed: measured, but taken out of the ranking",
    "paper": "Reported by papers, not checked",
}


def _groups(
    ours: Sequence[Row], disputed: Sequence[Row], paper: Sequence[Row]
) -> list[tuple[str, str, list[Row]]]:
    """The bodies of the table: heading, tier and rows, each of one tier and kind."""
    found = []
    for (tier, title), tiered in zip(_TITLES.items(), (ours, disputed, paper), strict=True):
        kinds = dict.fromkeys(row.line.kind for row in tiered)
        for kind in kinds:
            alike = [row for row in tiered if row.line.kind == kind]
            found.append((f"{title}: {kind}", tier, alike))
    return found


def _too_small(place: Setting) -> list[str]:
    """A sentence where a whole setting has too few examples for a leader."""
    size = asked(place, "deterministic")
    if size >= LEAST_EXAMPLES:
        return []
    return [
        f"This setting has {size} examples, fewer than the {LEAST_EXAMPLES} that a rank takes: it"
        " is for learning and testing, its rows are listed by certified accuracy, and none leads."
    ]


@dataclass(frozen=True)
class Header:
    """A column of the table: its key in addresses, its heading, and how it is sorted.

    `shown` tells whether it is there before a reader chooses columns; `about` explains it.
    """

    key: str
    title: str
    sort: str
    about: str = ""
    shown: bool = True


COLUMNS = (
    Header("certified", "Certified %", "number", METRICS["certified"].description),
    Header("bar", "", "", "Certified, unknown and falsified"),
    Header("clean", "Clean %", "number", METRICS["clean"].description),
    Header("attack", "Attack % ≤", "number", METRICS["attack"].description),
    Header("unknown", "Unknown %", "number", METRICS["unknown"].description),
    Header("kind", "Kind", "text", "Proved, or sampled with a stated failure probability."),
    Header("how", "How certified", "text", "What proved the certificates, most productive first."),
    Header("extra", "Extra data", "text", "Whether more than the training set was learned from."),
    Header(
        "parameters",
        "Parameters",
        "number",
        "Floating-point numbers in the model's ONNX files.",
    ),
    Header("seconds", "Time each", "number", METRICS["median-seconds"].description),
    Header("total", "Time in all", "number", METRICS["total-seconds"].description, shown=False),
    Header("date", "Date", "text", "Of the evaluation, or of the paper.", shown=False),
)
"""The columns behind rank and name, in the order of the template's cells."""


def _siblings(board: Board, place: Setting) -> list[Setting]:
    """The settings of the same dataset and norm, by radius; this one among them."""
    return [
        other
        for other in board.settings.values()
        if (other.dataset, other.norm) == (place.dataset, place.norm)
    ]


def missing(place: Setting, ours: Sequence[Row], paper: Sequence[Row]) -> list[str]:
    """What one might look for on a setting's page and not find, a sentence each."""
    lines = [row.line for row in (*ours, *paper)]
    measured = {row.line.kind for row in ours}
    kinds = ("deterministic", "probabilistic") if place.smoothing else ("deterministic",)
    told = [
        f"No {kind} certificate has been re-evaluated here."
        for kind in kinds
        if ours and kind not in measured
    ]
    if place.smoothing is None:
        told.append("Smoothed models do not compete here: the setting has no sampling protocol.")
    if ours and not paper:
        told.append("No published number for exactly this dataset, norm and radius is known.")
    if lines and sum(line.clean is not None and bool(line.certified) for line in lines) < 2:
        told.append("Fewer than two results give a clean and a certified accuracy to plot.")
    if lines and len({line.date for line in lines if line.date}) < 2:
        told.append("There is no progress to draw yet: all results are of one date.")
    return told


def _selection(place: Setting) -> str:
    """Which examples are measured, as the beginning of a sentence."""
    plain, noisy = place.selection(False).label, place.selection(True).label
    text = "All test examples" if plain == "all" else f"{plain.capitalize()} of the test set"
    return text if noisy == plain else f"{text} ({noisy} for smoothed models)"


MOST_NOTES = 4


def shortened(notes: list[str]) -> list[str]:
    """The first few of many sentences, and how many more there are."""
    if len(notes) <= MOST_NOTES:
        return notes
    more = len(notes) - MOST_NOTES
    return [*notes[:MOST_NOTES], f"And {more:,} more like these; each row's details say it."]


def incomplete(board: Board, results: "list[Results]") -> list[str]:
    """What a reader must know of results that cover or show less than their setting asks for."""
    about: dict[str, list[str]] = defaultdict(list)
    # Of a setting's results each is known by its submission, and of a submission's by its setting.
    together = len({result.provenance.setting for result in results}) == 1
    for result in results:
        origin = result.provenance
        place = board.settings[origin.setting]
        subject = board.submissions[origin.submission].title if together else place.title
        wanted = place.selection(result.tally.smoothed).size(origin.total)
        if not origin.data_complete:
            # Which ones are missing stands in the provenance of each result.
            note = _MISSING.sub("", origin.data_note)
            told = (
                f"only {note.rstrip('.')} were available; the others are left out of every share."
            )
            about[told].append(subject)
        if origin.model_note:
            about[origin.model_note].append(subject)
        if origin.unchecked:
            about[f"not checked here: {origin.unchecked}."].append(subject)
        if result.tally.examples < wanted:
            seen = f"{result.tally.examples:,} of {wanted:,} examples are evaluated."
            about[seen].append(subject)
    return [f"{_those(subjects)}: {note}" for note, subjects in about.items()]


def _those(subjects: Sequence[str]) -> str:
    """Rows by name, or, of many, how many."""
    return "; ".join(subjects) if len(subjects) <= MOST_NAMED else f"{len(subjects):,} rows"
