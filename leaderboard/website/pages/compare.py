"""The page that compares: all evaluators on the same networks, submissions example by example.

What is compared is chosen in the browser, which loads one small JSON file a setting, with a line an
evaluation, and one an evaluation that was chosen, with its verdicts as one letter an example.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from leaderboard.board.board import Board
from leaderboard.board.ranking import Standing
from leaderboard.board.smoothed import steps
from leaderboard.results.highlights import MEANING
from leaderboard.results.metrics import METRICS, certified_interval
from leaderboard.results.paired import Paired, paired
from leaderboard.results.store import evaluator_named
from leaderboard.settings.setting import Setting
from leaderboard.website.downloads import StoredDownload, download_of
from leaderboard.website.matrix import matrix, matrix_file
from leaderboard.website.plan import Files, PagePlan, View

if TYPE_CHECKING:
    from leaderboard.results.store import Results

VERSION = 1
"""Of the files: a change that a reader of the old ones would not understand raises it."""

MOST_COMPARED_STEPS = 120
"""Of a smoothed model's curve: more are not visible beside five others."""


def plans(board: Board) -> list[PagePlan]:
    """The page, and the files that it loads."""
    by_setting: dict[str, list[Results]] = defaultdict(list)
    for result in [*board.results, *board.named]:
        by_setting[result.provenance.setting].append(result)
    view: View = {
        "settings": [board.settings[name] for name in board.settings if name in by_setting],
        "worked": sorted(
            (pair for name in board.settings for pair in worked(board, name)), key=_size
        ),
        "models": models(board),
        "matrix": matrix(board),
        "meaning": MEANING,
    }
    return [PagePlan("compare/index", "compare", view, beside=partial(_files, board, by_setting))]


@dataclass(frozen=True)
class Worked:
    """The first two of a setting and of one kind of certificate beside each other."""

    setting: Setting
    first: Standing
    second: Standing
    counts: Paired
    downloads: tuple[StoredDownload, StoredDownload]


def worked(board: Board, setting: str) -> Iterator[Worked]:
    """The comparisons of a setting's first two submissions, of each kind that has two.

    A proof and a certificate that holds with high probability are not ranked against each other, so
    there are no "two best" of both.
    """
    for _, alike in groupby(board.re_evaluated(setting), lambda line: line.kind):
        first, second, *_ = [*alike, None, None]
        if first and second and first.result and second.result:
            yield Worked(
                board.settings[setting],
                first,
                second,
                paired(first.result.highlights, second.result.highlights),
                (download_of(first.result, first.title), download_of(second.result, second.title)),
            )


def _size(pair: Worked) -> int:
    """Settings of the largest test sets come first: the page opens with what matters most."""
    assert pair.first.result is not None
    return -pair.first.result.provenance.total


@dataclass(frozen=True)
class Timed:
    """What one evaluator reached on a model, and in what time."""

    name: str
    ranked: bool
    certified: float
    median: float
    total: float


@dataclass(frozen=True)
class ComparedModel:
    """A model in one setting, with all evaluators that were asked about it, quickest first."""

    setting: Setting
    slug: str
    title: str
    evaluators: Sequence[Timed]


def models(board: Board) -> list[ComparedModel]:
    """Models that named evaluators were asked about, beside the setting's own protocol."""
    groups: dict[tuple[str, str], list[Results]] = {}
    for result in board.named:
        origin = result.provenance
        groups.setdefault((origin.setting, origin.submission), []).append(result)
    for result in board.results:
        origin = result.provenance
        if (origin.setting, origin.submission) in groups:
            groups[origin.setting, origin.submission].append(result)
    return [
        ComparedModel(
            board.settings[setting],
            slug,
            board.submissions[slug].title,
            sorted((_timed(board, one) for one in found), key=lambda one: (one.total, one.name)),
        )
        for (setting, slug), found in groups.items()
    ]


def _timed(board: Board, result: "Results") -> Timed:
    tally, name = result.tally, evaluator_named(result.path)
    radius = board.settings[result.provenance.setting].radius
    return Timed(
        name or result.provenance.evaluator,
        name is None,
        tally.certified(radius) / max(1, tally.examples),
        tally.median_seconds or 0.0,
        tally.total_seconds or 0.0,
    )


def _files(board: Board, by_setting: "Mapping[str, Sequence[Results]]") -> Files:
    if board.cells:
        yield "compare/matrix.csv", matrix_file(board)
    for setting, results in by_setting.items():
        lines = sorted((_line(board, result) for result in results), key=_by_rank)
        content = {"version": VERSION, "setting": setting, "lines": lines}
        yield f"compare/{setting}.json", _json(content)
    curves = dict(_curves(board, by_setting))
    for setting, results in by_setting.items():
        for result in results:
            content = _verdicts(result, curves[_family(board, result)])
            yield f"compare/{setting}/{result.path.stem}.json", _json(content)


def _json(content: Mapping[str, object]) -> bytes:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


def _by_rank(line: Mapping[str, object]) -> tuple[float, str]:
    return float(str(line["rank"] or "inf")), str(line["id"])


def _line(board: Board, result: "Results") -> dict[str, object]:
    """One evaluation in the list of its setting; shares are in [0, 1]."""
    origin, tally = result.provenance, result.tally
    radius = board.settings[origin.setting].radius
    ranked = evaluator_named(result.path) is None
    interval = certified_interval(tally, radius, origin.total)
    return {
        "id": result.path.stem,
        "slug": origin.submission,
        "title": board.submissions[origin.submission].title,
        "evaluator": origin.evaluator,
        "rank": board.line_of(result).rank if ranked else None,
        "named": not ranked,
        "disputed": ranked and board.line_of(result).disputed is not None,
        "kind": "probabilistic" if tally.probabilistic else "deterministic",
        "examples": tally.examples,
        "certified": METRICS["certified"].value(tally, radius),
        "interval": [interval.low, interval.high] if interval else None,
    }


def _verdicts(result: "Results", curve: Sequence[Sequence[float]]) -> dict[str, object]:
    """The verdicts of one evaluation, and its certified accuracy by radius."""
    found = result.highlights
    examples = found.examples
    regular = isinstance(examples, range)
    return {
        "version": VERSION,
        "id": result.path.stem,
        "setting": result.provenance.setting,
        "first": examples[0] if regular and examples else 0,
        "step": examples.step if isinstance(examples, range) else 1,
        "examples": None if regular else list(examples),
        "verdicts": found.letters,
        "stairs": result.tally.smoothed,
        "curve": curve,
    }


ProtocolFamily = tuple[str, str, str]


def _family(board: Board, result: "Results") -> ProtocolFamily:
    """Evaluations that are points of one curve: of one model, by one evaluator, in one norm.

    A smoothed model's evaluation has a curve of its own.
    """
    place = board.settings[result.provenance.setting]
    if result.tally.smoothed:
        return (place.id, result.path.stem, "")
    return (place.dataset, place.norm, result.path.stem)


def _curves(
    board: Board, by_setting: "Mapping[str, Sequence[Results]]"
) -> Iterator[tuple[ProtocolFamily, list[list[float]]]]:
    """Points [radius, share certified], in ascending order of the radius."""
    families: dict[ProtocolFamily, list[Results]] = defaultdict(list)
    for results in by_setting.values():
        for result in results:
            families[_family(board, result)].append(result)
    for key, found in families.items():
        tally = found[0].tally
        points = [[0.0, tally.correct / max(1, tally.examples)]]
        if tally.smoothed:
            falls = steps(tally, MOST_COMPARED_STEPS)
            points += [[float(radius), round(share, 6)] for radius, share in falls]
        else:
            radii = {board.settings[one.provenance.setting].radius: one for one in found}
            points += [
                [float(radius), one.tally.certified(radius) / max(1, one.tally.examples)]
                for radius, one in sorted(radii.items(), key=lambda pair: pair[0])
            ]
        yield key, points
