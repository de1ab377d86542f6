"""Which submissions, results and published rows lie under each node of the taxonomy.

Everything is counted in one pass over the results and one over the literature.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from leaderboard.board.board import Board
from leaderboard.board.ranking import GuaranteeKind, Standing, too_few
from leaderboard.field.literature import Reported
from leaderboard.settings.setting import Setting

if TYPE_CHECKING:
    from leaderboard.results.store import Results
    from leaderboard.submissions.manifest import Submission


_PROVED = {"verification": "certified", "falsification": "falsified"}
"""What an evaluator of a tree says of an example; who trained it says nothing."""


@dataclass
class Below:
    """What lies under one node, nodes below it included.

    `lines` are settings' lines with the share of their examples that verifiers under the node
    certified, or attacks falsified (None for training); `proved` has, by evaluator, how many
    examples that are, in how many evaluations; `own` are the published rows of the node itself.
    """

    submissions: list["Submission"] = field(default_factory=list)
    lines: list[tuple[Standing, float | None]] = field(default_factory=list)
    proved: dict[str, tuple[int, int]] = field(default_factory=dict)
    reported: list[Reported] = field(default_factory=list)
    own: list[Reported] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """The best of a node in one setting and kind, of each tier, and how many there are."""

    setting: Setting
    kind: str
    ours: Standing | None
    share: float | None
    n_ours: int
    paper: Reported | None
    n_paper: int


def below(board: Board) -> dict[str, Below]:
    """Collect what lies under each node of the taxonomy, by path."""
    found = {path: Below() for path in board.taxonomy.nodes}
    known: dict[str, set[str]] = defaultdict(set)
    for slug, submission in sorted(board.submissions.items()):
        places = {path: None for path in upwards(submission.training.node) if path in found}
        for result in filter(board.in_table, board.results_of.get(slug, ())):
            line = board.line_of(result)
            for path in places:
                found[path].lines.append((line, None))
            for path, share in _proved(board, result, found).items():
                found[path].lines.append((line, share))
                known[path].add(slug)
        for path in {**places, **dict.fromkeys(p for p in found if slug in known[p])}:
            found[path].submissions.append(submission)
    _add_literature(board, found)
    return found


def upwards(path: str) -> list[str]:
    """List the path and all above it, the root first."""
    parts = path.split("/")
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]


def _proved(board: Board, result: "Results", found: dict[str, Below]) -> dict[str, float]:
    """By node: the share of a result's examples that its verifiers certified, its attacks broke."""
    tally = result.tally
    shares: dict[str, float] = defaultdict(float)
    for (status, stage), count in sorted(tally.decided.items()):
        node = board.taxonomy.of_evaluator(stage)
        if node is None or status != _PROVED.get(node.root):
            continue
        before, evaluations = found[node.path].proved.get(stage, (0, 0))
        found[node.path].proved[stage] = (before + count, evaluations + 1)
        for path in upwards(node.path):
            shares[path] += count / tally.examples
    return shares


def _add_literature(board: Board, found: dict[str, Below]) -> None:
    ordered = sorted(board.literature, key=lambda row: (-_value(row), row.title))
    for row in ordered:
        places = board.taxonomy.places(row.approach, row.title, empirical=row.kind == "empirical")
        for place in places:
            found[place].own.append(row)
            for path in upwards(place):
                found[path].reported.append(row)


def _value(row: Reported) -> float:
    value = row.attack if row.kind == "empirical" else row.certified
    return -1.0 if value is None else value


def rows_below(board: Board, inside: Below) -> list[Found]:
    """List the best of a node in each setting and kind where it has anything, in their order.

    Empirical rows, which certify nothing, count where a setting has no others.
    """
    ours: dict[tuple[object, ...], list[tuple[Standing, float | None]]] = defaultdict(list)
    for line, share in inside.lines:
        if line.result is not None:
            ours[line.result.provenance.setting, line.kind].append((line, share))
    papers: dict[tuple[object, ...], list[Reported]] = defaultdict(list)
    for row in inside.reported:
        papers[row.dataset, row.norm, row.radius, row.kind].append(row)
    listed: list[Found] = []
    for name, setting in board.settings.items():
        here: list[Found] = []
        for kind in get_args(GuaranteeKind):
            own = ours.get((name, kind), [])
            rows = papers.get((setting.dataset, setting.norm, setting.radius, kind), [])
            if (own or rows) and (kind != "empirical" or not here):
                best: tuple[Standing | None, float | None] = (None, None)
                if own:
                    best = min(own, key=_order)
                paper = _leader(rows, setting)
                here.append(Found(setting, kind, *best, len(own), paper, len(rows)))
        listed += here
    return listed


def _leader(rows: Iterable[Reported], setting: Setting) -> Reported | None:
    """The best published row; one on too few examples for a rank comes after the others."""
    return min(rows, key=lambda row: (too_few(row, setting), -_value(row)), default=None)


def _order(pair: tuple[Standing, float | None]) -> tuple[bool, float, str]:
    return bool(pair[0].short), -(pair[0].certified or 0.0), pair[0].title
