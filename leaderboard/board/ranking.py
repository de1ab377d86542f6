"""Who stands where in a setting: pure functions of rows and of what papers reported.

Ranks are given within a tier and a kind of guarantee. A number that a paper reported never
outranks, nor is outranked by, one that certboard measured: the two answer different questions. Nor
do a proof and a certificate that holds with high probability.

A number on too few examples has no rank. For one that certboard measured, `LEAST_EXAMPLES` are
enough: its interval says the rest. A reported one has no interval, so it must be measured on all
that the setting asks for, where it says on how many; of smoothed models `LEAST_EXAMPLES` are
enough, as in nearly all papers.

Equal lines share a rank, and who was here first is shown first. A copy of a network that was here
before has no rank: a number is nobody's lead because somebody else's file was sent again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

from leaderboard.board.decisions import Decision
from leaderboard.common.formatting import whole_percent
from leaderboard.datasets.catalogue import load_datasets
from leaderboard.field.literature import Reported
from leaderboard.results.metrics import METRICS, ConfidenceInterval, certified_interval
from leaderboard.settings.setting import LEAST_EXAMPLES, Setting
from leaderboard.submissions.manifest import Submission

if TYPE_CHECKING:
    from leaderboard.results.store import Results

_NOTHING: Mapping[str, str] = MappingProxyType({})

Tier = Literal["re-evaluated", "reported"]
GuaranteeKind = Literal["deterministic", "probabilistic", "empirical"]


@dataclass(frozen=True)
class Standing:
    """One line of a setting's table; every share is in [0, 1], None where it is not known.

    A re-evaluated line has its `result` and, in `measured`, every metric by name; a reported one
    has the published row. `rank` is among the `of` ranked lines of its tier and kind. One measured
    on too few `examples` has none, and in `short` the reason; nor has a copy of the submission
    `copy_of`, nor one that maintainers dispute, with what they decided. `since` is when it was
    first here, of a paper its date.
    """

    rank: int | None
    tier: Tier
    kind: GuaranteeKind
    title: str
    how: str
    certified: float | None
    interval: ConfidenceInterval | None
    clean: float | None
    attack: float | None
    unknown: float | None
    date: str
    url: str
    extra_data: str
    slug: str | None = None
    result: "Results | None" = None
    measured: Mapping[str, float | None] = field(default_factory=dict)
    reported: Reported | None = None
    disputed: Decision | None = None
    examples: int | None = None
    of: int = 0
    short: str = ""
    copy_of: str = ""
    since: str = ""


def standings(
    setting: Setting,
    results: Iterable["Results"],
    literature: Iterable[Reported],
    submissions: Mapping[str, Submission],
    least: int = LEAST_EXAMPLES,
    first_seen: Mapping[str, str] = _NOTHING,
    copies: Mapping[str, str] = _NOTHING,
) -> list[Standing]:
    """List the lines of one setting: re-evaluated ones first, in each tier the deterministic ones.

    Within a kind they are ordered by certified accuracy, those without a rank last. Rows of other
    settings, and results whose submission is gone, are left out. Of a submission, `first_seen` is
    the time when its network was (else its rows' own counts) and `copies` whose network it has.
    """
    measured = [
        _re_evaluated(setting, result, submissions[result.provenance.submission])
        for result in results
        if result.provenance.setting == setting.id and result.provenance.submission in submissions
    ]
    published = [_from_paper(row) for row in literature if matches(row, setting)]
    known = [
        replace(
            line,
            since=first_seen.get(str(line.slug), line.since),
            copy_of=copies.get(str(line.slug), ""),
        )
        for line in measured
    ]
    judged = [_judged(line, setting, least) for line in (*known, *published)]
    return [
        line
        for tier in get_args(Tier)
        for kind in get_args(GuaranteeKind)
        for line in _ranked([one for one in judged if (one.tier, one.kind) == (tier, kind)])
    ]


def leader(lines: Iterable[Standing]) -> Standing | None:
    """Return the first of these lines, of one tier and kind, that has a rank."""
    return next((line for line in lines if line.rank is not None), None)


class Neighbours:
    """The first lines of a setting's table, to find whom one would compare another with."""

    def __init__(self, lines: Sequence[Standing]) -> None:
        self._first: dict[str, list[Standing]] = {}
        for line in lines:
            # Two, for one of them may be the line that asks.
            if len(alike := self._first.setdefault(line.kind, [])) < 2:
                alike.append(line)
        self._any = list(lines[:2])

    def rival(self, line: Standing) -> Standing | None:
        """Return the first other line of its kind; where there is none of it, of any kind."""
        alike = self._first.get(line.kind) or self._any
        return next((other for other in alike if other.slug != line.slug), None)


def asked(setting: Setting, kind: GuaranteeKind) -> int:
    """Return how many examples a setting asks for."""
    total = load_datasets()[setting.dataset].test_size
    return setting.selection(kind == "probabilistic").size(total)


def needed(setting: Setting, tier: Tier, kind: GuaranteeKind, least: int = LEAST_EXAMPLES) -> int:
    """Return how many examples a rank takes."""
    size = asked(setting, kind)
    if tier == "re-evaluated":
        return least
    return min(size, least) if kind == "probabilistic" else size


def too_few(row: Reported, setting: Setting) -> bool:
    """Say whether a published row was measured on too few examples for a rank."""
    return row.examples is not None and row.examples < needed(setting, "reported", row.kind)


def _judged(line: Standing, setting: Setting, least: int) -> Standing:
    """Return the line with why it has no rank: a copy, or measured on too few examples."""
    why = [f"same network as '{line.copy_of}', which was here before"] if line.copy_of else []
    wanted = needed(setting, line.tier, line.kind, least)
    if line.examples is not None and line.examples < wanted:
        why.append(f"{line.examples:,} examples; a rank takes {wanted:,}")
    return replace(line, short="; ".join(why)) if why else line


def matches(row: Reported, setting: Setting) -> bool:
    """Say whether a published row is about exactly this dataset, norm and radius."""
    return (
        row.dataset == setting.dataset and row.norm == setting.norm and row.radius == setting.radius
    )


def how_certified(result: "Results") -> str:
    """Say what proved the certificates, most productive first: `crown 71 %, ibp 29 %`."""
    proved = result.tally.stages("certified")
    if len(proved) == 1:
        return proved[0][0]
    total = sum(count for _, count in proved)
    return ", ".join(f"{stage} {whole_percent(count, total)}" for stage, count in proved)


def _re_evaluated(setting: Setting, result: "Results", submission: Submission) -> Standing:
    tally, radius = result.tally, setting.radius
    values = {name: metric.value(tally, radius) for name, metric in METRICS.items()}
    return Standing(
        rank=None,
        tier="re-evaluated",
        kind="probabilistic" if tally.probabilistic else "deterministic",
        title=submission.title,
        how=how_certified(result),
        certified=values["certified"],
        interval=certified_interval(tally, radius, result.provenance.total),
        clean=values["clean"],
        attack=values["attack"],
        unknown=values["unknown"],
        date=result.provenance.created[:10],
        url=submission.paper.link if submission.paper else "",
        extra_data=_extra_data(submission.training.extra_data),
        slug=submission.slug,
        examples=tally.examples,
        since=result.provenance.created,
        result=result,
        measured=values,
    )


def _extra_data(told: str) -> str:
    return "" if told == "none" else told


def _from_paper(row: Reported) -> Standing:
    return Standing(
        rank=None,
        tier="reported",
        kind=row.kind,
        title=row.title,
        how=row.approach,
        certified=_of_percent(row.certified),
        interval=None,
        clean=_of_percent(row.clean),
        attack=_of_percent(row.attack),
        unknown=None,
        date=row.date,
        url=row.url,
        extra_data=_extra_data(row.extra_data),
        examples=row.examples,
        since=row.date,
        reported=row,
    )


def _of_percent(value: float | None) -> float | None:
    # Not 0.9843000000000001, which readers of the exports would see.
    return None if value is None else round(value / 100, 12)


def _ranked(lines: Sequence[Standing]) -> list[Standing]:
    """Sort by certified accuracy, then by age; equal ones share a rank, and the next is skipped."""
    ordered = sorted(
        lines,
        key=lambda line: (
            not _has_rank(line),
            -_or_below_all(line.certified),
            # Else a title made for it, "AAA", would take the lead from whom it only equals.
            line.since or _NO_DATE,
            line.title,
            line.how,
        ),
    )
    of = sum(map(_has_rank, ordered))
    ranked: list[Standing] = []
    for position, line in enumerate(ordered, start=1):
        tied = bool(ranked) and ranked[-1].certified == line.certified
        rank = ranked[-1].rank if tied else position
        ranked.append(replace(line, rank=rank if _has_rank(line) else None, of=of))
    return ranked


_NO_DATE = "9999"
"""Later than all: what has no date was not there before what has one."""


def _has_rank(line: Standing) -> bool:
    return line.certified is not None and not line.short


def _or_below_all(certified: float | None) -> float:
    return -1.0 if certified is None else certified
