"""The pages of settings: their index and one table each."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from leaderboard import page_smoothing
from leaderboard.board import Board
from leaderboard.metrics import METRICS
from leaderboard.page_plan import PagePlan, View, drawn
from leaderboard.publishing import places
from leaderboard.ranking import Standing
from leaderboard.setting import NORM_SIGNS, Setting

if TYPE_CHECKING:
    from leaderboard.results import Results


def plans(board: Board) -> list[PagePlan]:
    """The index, and a page for each setting."""
    return [
        PagePlan("settings/index", "settings", settings_index(board)),
        *(
            PagePlan(
                f"settings/{name}", "setting", setting(board, name), drawn(board, "setting", name)
            )
            for name in board.settings
        ),
    ]


@dataclass(frozen=True)
class Leader:
    """One setting at a glance: the best line of each tier, or None, and how many there are."""

    setting: Setting
    norm_sign: str
    ours: Standing | None
    paper: Standing | None
    n_ours: int
    n_paper: int


def leader(board: Board, name: str) -> Leader:
    """The setting called `name` at a glance."""
    ours, paper = board.re_evaluated(name), board.reported(name)
    ranked = [line for line in paper if line.rank]
    place = board.settings[name]
    return Leader(
        setting=place,
        norm_sign=NORM_SIGNS[place.norm],
        ours=ours[0] if ours else None,
        paper=ranked[0] if ranked else None,
        n_ours=len(ours),
        n_paper=len(ranked),
    )


def settings_index(board: Board) -> View:
    """Settings by dataset; datasets with re-evaluated results first."""
    groups: dict[str, list[Leader]] = {}
    for name, setting in board.settings.items():
        groups.setdefault(setting.dataset, []).append(leader(board, name))
    ordered = sorted(groups.items(), key=lambda group: -sum(row.n_ours for row in group[1]))
    return {"groups": [(board.datasets[name], rows) for name, rows in ordered]}


def setting(board: Board, name: str) -> View:
    """One setting's table, both tiers, and what is missing from it."""
    subject = board.settings[name]
    ours, paper = board.re_evaluated(name), board.reported(name)
    results = [line.result for line in ours if line.result]
    return {
        "setting": subject,
        "norm_sign": NORM_SIGNS[subject.norm],
        "selection": _selection(subject),
        "lines": [*ours, *paper],
        "ours": ours,
        "paper": paper,
        "metrics": METRICS,
        "notes": incomplete(board, results),
        "smoothed": page_smoothing.table(board, name),
        "how_sure": page_smoothing.how_sure(results),
        "places": places,
    }


def _selection(place: Setting) -> str:
    """Which examples are measured, as the beginning of a sentence."""
    plain, noisy = place.selection(False).label, place.selection(True).label
    text = "All test examples" if plain == "all" else f"{plain.capitalize()} of the test set"
    return text if noisy == plain else f"{text} ({noisy} for smoothed models)"


def incomplete(board: Board, results: "list[Results]") -> list[str]:
    """One sentence for each result that does not cover what its setting asks for."""
    notes = []
    for result in results:
        origin = result.provenance
        title = board.submissions[origin.submission].title
        place = board.settings[origin.setting]
        wanted = place.selection(result.tally.smoothed).size(origin.total)
        if not origin.data_complete:
            notes.append(f"{title}, {place.title}: the data were incomplete. {origin.data_note}")
        if result.tally.examples < wanted:
            seen = f"{result.tally.examples:,} of {wanted:,} examples are evaluated"
            notes.append(f"{title}, {place.title}: {seen}.")
    return notes
