"""The home page: how far the field is, who leads, what is new, and the ways in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leaderboard.board.board import Board
from leaderboard.board.ranking import Standing, leader
from leaderboard.settings.setting import LEAST_EXAMPLES, NORM_SIGNS, Setting
from leaderboard.website.papers import PublishedPaper, papers, signed
from leaderboard.website.plan import PagePlan, View, drawn
from leaderboard.website.publishing.places import repository_url

if TYPE_CHECKING:
    from leaderboard.results.store import Results

HEADLINES = ("mnist-linf-0.3", "cifar10-linf-2_255", "cifar10-linf-8_255", "imagenet-l2-2.0")
"""The settings by which the field measures itself; who leads them stands on the first screen."""

NEWEST = 5
"""How many of the newest results and papers the page names."""


def plans(board: Board) -> list[PagePlan]:
    """The home page, and the introduction that stands one click away from it."""
    return [
        PagePlan("index", "home", home(board), drawn(board, "home")),
        PagePlan("guides/five-minutes", "primer", {}),
    ]


@dataclass(frozen=True)
class Lead:
    """Who leads one setting in one tier and kind.

    `plain` is the best without extra data, where the leader has some, and `plain_told` what is
    known of its data; `sure` tells in words what the number rests on.
    """

    line: Standing
    plain: Standing | None
    plain_told: str
    sure: str

    @property
    def signed(self) -> str:
        """The paper of a reported number, short: `Cohen et al., 2019`."""
        return signed(self.line.reported) if self.line.reported else ""


@dataclass(frozen=True)
class SettingCard:
    """One setting and kind at a glance: the leaders of both tiers, None where there is none.

    `few` are the re-evaluated lines that have too few examples to lead.
    """

    setting: Setting
    norm_sign: str
    kind: str
    few: Sequence[Standing]
    ours: Lead | None
    paper: Lead | None


@dataclass(frozen=True)
class Headline:
    """One setting of the first screen: the leaders of each tier, one a kind.

    `above` is the best reported number that would lead if it rested on enough examples.
    """

    setting: Setting
    ours: Sequence[Lead]
    paper: Sequence[Lead]
    above: Lead | None


@dataclass(frozen=True)
class New:
    """A submission's newest evaluation: the day, its settings, and the first one's line."""

    day: str
    line: Standing
    setting: Setting
    others: int


def home(board: Board) -> View:
    """Leaders of every setting, what is new, counts, and the taxonomy's roots."""
    results = board.results
    places = [place(board, name, kind) for name in board.settings for kind in kinds_of(board, name)]
    return {
        "headlines": [headline(board, name) for name in HEADLINES if name in board.settings],
        "repository": repository_url(),
        "measured": sorted((one for one in places if one.ours), key=lambda one: one.paper is None),
        "open": [one for one in places if one.ours is None],
        "new": newest_results(board)[:NEWEST],
        "papers": newest_papers(board)[:NEWEST],
        "facts": {
            "submissions": len(board.results_of),
            "others": sum(
                board.submissions[slug].published is not None for slug in board.results_of
            ),
            "verdicts": sum(result.tally.examples for result in results),
            "certified": sum(_certified(r) for r in results if not board.line_of(r).disputed),
            "settings": len(board.settings),
            "literature": len(board.literature),
        },
        "least": LEAST_EXAMPLES,
        "roots": [
            {"node": node, "children": board.taxonomy.children(node.path)}
            for node in board.taxonomy.children()
        ],
    }


KINDS = ("deterministic", "probabilistic")


def kinds_of(board: Board, name: str) -> list[str]:
    """The kinds of certificate that a setting has lines of; one at least."""
    found = {line.kind for line in board.standings[name]}
    return [kind for kind in KINDS if kind in found] or [KINDS[0]]


def headline(board: Board, name: str) -> Headline:
    """The leaders of a setting, proofs first."""
    cards = [place(board, name, kind) for kind in kinds_of(board, name)]
    return Headline(
        board.settings[name],
        ours=[card.ours for card in cards if card.ours],
        paper=[card.paper for card in cards if card.paper],
        above=_above(board.reported(name)),
    )


def _above(lines: Sequence[Standing]) -> Lead | None:
    """The best number that has too few examples for a rank, where it is above all that have."""
    ranked = max((line.certified or 0 for line in lines if not line.short), default=0.0)
    short = [line for line in lines if line.short and (line.certified or 0) > ranked]
    best = max(short, key=lambda line: line.certified or 0, default=None)
    return Lead(best, None, "", how_sure(best)) if best else None


def place(board: Board, name: str, kind: str) -> SettingCard:
    """The setting called `name` at a glance, of one kind of certificate."""
    setting = board.settings[name]
    ours = [line for line in board.re_evaluated(name) if line.kind == kind]
    paper = [line for line in board.reported(name) if line.kind == kind]
    few = [line for line in ours if line.short and not line.copy_of]
    return SettingCard(setting, NORM_SIGNS[setting.norm], kind, few, _lead(ours), _lead(paper))


def _lead(lines: Sequence[Standing]) -> Lead | None:
    first = leader(lines)
    if first is None:
        return None
    plain = leader(line for line in lines if not line.extra_data)
    if plain is None or plain is first:
        return Lead(first, None, "", how_sure(first))
    unknown = plain.reported is not None and not plain.reported.extra_data
    told = "extra data not stated" if unknown else "no extra data"
    return Lead(first, plain, told, how_sure(first))


def how_sure(line: Standing) -> str:
    """What a number rests on: proof or samples, and how many examples; what is
    known of a reported one's protocol, and what its reader must know."""
    if line.result is None:
        told = line.reported
        if told is None:
            return ""
        second_hand = "read in a summary" if told.reliability == "secondary" else ""
        return "; ".join(filter(None, (told.protocol, told.note, second_hand)))
    tally, total = line.result.tally, line.result.provenance.total
    seen = f"all {total:,}" if tally.examples >= total else f"{tally.examples:,} of {total:,}"
    if line.kind == "deterministic":
        return f"proved by {line.how or 'nothing'}; {seen} examples"
    failure = 1 - tally.least_confidence
    return f"sampled, each wrong with probability ≤ {failure:.2g}; {seen} examples"


def newest_results(board: Board) -> list[New]:
    """Each submission's newest day of evaluation, the newest submission first."""
    found = []
    for slug, stored in board.results_of.items():
        results = [result for result in stored if board.in_table(result)]
        if not results:
            continue
        day = max(result.provenance.created[:10] for result in results)
        made = [result for result in results if result.provenance.created[:10] == day]
        best = max(made, key=lambda result: _shown_first(board.line_of(result)))
        setting = board.settings[best.provenance.setting]
        found.append((day, slug, New(day, board.line_of(best), setting, len(made) - 1)))
    found.sort(key=lambda one: one[1])
    return [new for _, _, new in sorted(found, key=lambda one: one[0], reverse=True)]


def _shown_first(line: Standing) -> tuple[bool, float]:
    return not line.short, line.certified or 0


def newest_papers(board: Board) -> list[PublishedPaper]:
    """Papers of the literature, the newest first."""
    return sorted(papers(board.literature), key=lambda paper: paper.month, reverse=True)


def _certified(result: "Results") -> int:
    return result.tally.of_status("certified")
