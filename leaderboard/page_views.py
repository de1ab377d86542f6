"""What each page shows, as plain values for its template: chosen here, escaped there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leaderboard import page_smoothing
from leaderboard.board import Board
from leaderboard.charts import Chart, Page, catalogue
from leaderboard.downloads import download_of
from leaderboard.formatting import DASH
from leaderboard.literature import Reported
from leaderboard.metrics import METRICS, is_smoothed
from leaderboard.ranking import Standing
from leaderboard.setting import NORM_SIGNS, Setting
from leaderboard.submission import Submission

if TYPE_CHECKING:
    from leaderboard.results import Results

View = dict[str, object]


@dataclass(frozen=True)
class Drawn:
    """A chart on a page: where its JSON lies, its height in pixels and its data as a table."""

    chart: Chart
    heading: str
    path: str
    height: int
    json: str
    columns: tuple[str, ...]
    table: tuple[tuple[str, ...], ...]


def drawn(board: Board, page: Page, subject: str) -> list[Drawn]:
    """All charts of one page that have something to show."""
    found = []
    for chart in catalogue().values():
        drawing = chart.draw(board, subject) if page in chart.pages else None
        if drawing is None:
            continue
        found.append(
            Drawn(
                chart=chart,
                heading="How far are we?" if page == "home" and chart.name == "progress" else "",
                path=f"charts/{page}/{f'{subject}/' if subject else ''}{chart.name}.json",
                height=int(drawing.figure.layout.height or 360),
                json=drawing.json(),
                columns=tuple(drawing.columns),
                table=tuple(tuple(row) for row in drawing.table),
            )
        )
    return found


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


def home(board: Board) -> View:
    """The leaders of every setting, counts, and the taxonomy's roots."""
    results = board.results
    leaders = [leader(board, name) for name in board.settings]
    return {
        "leaders": sorted(leaders, key=lambda row: (row.ours is None, row.paper is None)),
        "facts": {
            "submissions": len(board.results_of),
            "verdicts": sum(len(result.rows) for result in results),
            "certified": sum(_certified(result) for result in results),
            "settings": len(board.settings),
            "literature": len(board.literature),
        },
        "roots": [
            {"node": node, "children": board.taxonomy.children(node.path)}
            for node in board.taxonomy.children()
        ],
    }


def _certified(result: "Results") -> int:
    return int((result.rows["status"] == "certified").sum())


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
        "downloads": [download_of(line.result, line.title) for line in ours if line.result],
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
        wanted = len(place.selection(is_smoothed(result.rows)).indices(origin.total))
        if not origin.data_complete:
            notes.append(f"{title}, {place.title}: the data were incomplete. {origin.data_note}")
        if len(result.rows) < wanted:
            seen = f"{len(result.rows):,} of {wanted:,} examples are evaluated"
            notes.append(f"{title}, {place.title}: {seen}.")
    return notes


def submissions_index(board: Board) -> View:
    """One line a submission."""
    return {"rows": [_index_row(board, submission) for submission in board.submissions.values()]}


def _index_row(board: Board, submission: Submission) -> View:
    results = board.results_of.get(submission.slug, ())
    ranks = [(board.line_of(result).rank or 0, result.provenance.setting) for result in results]
    best = min(ranks, default=None)
    node = board.taxonomy.nodes.get(submission.training.node)
    return {
        "submission": submission,
        "training": node.title if node else submission.training.node,
        "kind": "probabilistic" if submission.smoothing else "deterministic",
        "settings": len(results),
        "verdicts": sum(len(result.rows) for result in results),
        "best": best and {"rank": best[0], "setting": board.settings[best[1]]},
    }


def submission(board: Board, slug: str) -> View:
    """One submission's results, each with its claim and its provenance."""
    subject = board.submissions[slug]
    results = list(board.results_of.get(slug, ()))
    return {
        "submission": subject,
        "node": board.taxonomy.nodes.get(subject.training.node),
        "entries": [_entry(board, subject, result) for result in results],
        "notes": incomplete(board, results),
        "how_sure": page_smoothing.how_sure(results),
    }


def _entry(board: Board, subject: Submission, result: "Results") -> View:
    place = board.settings[result.provenance.setting]
    claim = next((claim for claim in subject.claims if claim.setting == place.id), None)
    line = board.line_of(result)
    return {
        "setting": place,
        "line": line,
        "of": len(board.re_evaluated(place.id)),
        "rows": len(result.rows),
        "claimed_certified": _claimed(claim.certified if claim else None),
        "claimed_clean": _claimed(claim.clean if claim else None),
        "median_seconds": line.measured["median-seconds"],
        "total_seconds": line.measured["total-seconds"],
        "download": download_of(result, subject.title),
        "provenance": provenance(result),
    }


def _claimed(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"


def provenance(result: "Results") -> list[tuple[str, str]]:
    """Everything recorded about how the rows came to be, in the order it was recorded."""
    fields = result.provenance.model_dump(mode="json")
    smoothed = is_smoothed(result.rows)
    confidence = f"{float(result.rows['confidence'].min()):.6g} per example"
    shown = [(name.replace("_", " "), _told(value)) for name, value in fields.items()]
    return [*shown, ("confidence", confidence)] if smoothed else shown


def _told(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {inner}" for key, inner in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return DASH if value in (None, "") else str(value)


def literature(board: Board) -> View:
    """Every number of the literature as published, by setting and best first."""
    by_question = {(s.dataset, s.norm, s.radius): s for s in board.settings.values()}
    order = {name: position for position, name in enumerate(board.settings)}

    def place_of(row: Reported) -> tuple[int, float]:
        known = by_question.get((row.dataset, row.norm, row.radius))
        return order[known.id] if known else len(order), -(row.certified or 0)

    rows = []
    for row in sorted(board.literature, key=place_of):
        place = by_question.get((row.dataset, row.norm, row.radius))
        elsewhere = f"{row.dataset} · {NORM_SIGNS[row.norm]} · {row.radius_text}"
        rows.append(
            {
                "setting": place,
                "where": place.title if place else elsewhere,
                "certified": _published(row.certified),
                "clean": _published(row.clean),
                "attack": _published(row.attack),
                **{name: getattr(row, name) for name in _PUBLISHED_TEXTS},
            }
        )
    return {"rows": rows, "total": len(rows)}


_PUBLISHED_TEXTS = ("kind", "title", "url", "approach", "venue", "date", "note")


def _published(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
