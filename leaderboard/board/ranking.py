"""Who stands where in a setting: pure functions of rows and of what papers reported.

Ranks are given within a tier. A number that a paper reported never outranks, nor is outranked by,
one that certboard measured: the two answer different questions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from leaderboard.board.decisions import Decision
from leaderboard.common.formatting import whole_percent
from leaderboard.field.literature import Reported
from leaderboard.results.metrics import METRICS, ConfidenceInterval, certified_interval
from leaderboard.settings.setting import Setting
from leaderboard.submissions.manifest import Submission

if TYPE_CHECKING:
    from leaderboard.results.store import Results

Tier = Literal["re-evaluated", "reported"]
GuaranteeKind = Literal["deterministic", "probabilistic", "empirical"]


@dataclass(frozen=True)
class Standing:
    """One line of a setting's table; every share is in [0, 1], None where it is not known.

    A re-evaluated line has its `result` and, in `measured`, every metric by name; a reported one
    has the published row. One that maintainers dispute has no rank, and what they decided.
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


def standings(
    setting: Setting,
    results: Iterable["Results"],
    literature: Iterable[Reported],
    submissions: Mapping[str, Submission],
) -> list[Standing]:
    """List the lines of one setting: re-evaluated ones first, each tier by certified accuracy.

    Rows of other settings, and results whose submission is gone, are left out.
    """
    measured = [
        _re_evaluated(setting, result, submissions[result.provenance.submission])
        for result in results
        if result.provenance.setting == setting.id and result.provenance.submission in submissions
    ]
    published = [_from_paper(row) for row in literature if matches(row, setting)]
    return _ranked(measured) + _ranked(published)


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
        reported=row,
    )


def _of_percent(value: float | None) -> float | None:
    # Not 0.9843000000000001, which readers of the exports would see.
    return None if value is None else round(value / 100, 12)


def _ranked(lines: Sequence[Standing]) -> list[Standing]:
    """Sorted by certified accuracy; equal ones share a rank and the next rank is skipped."""
    ordered = sorted(lines, key=lambda line: (-_or_below_all(line.certified), line.title, line.how))
    ranked: list[Standing] = []
    for position, line in enumerate(ordered, start=1):
        tied = bool(ranked) and ranked[-1].certified == line.certified
        rank = ranked[-1].rank if tied else position
        ranked.append(replace(line, rank=None if line.certified is None else rank))
    return ranked


def _or_below_all(certified: float | None) -> float:
    return -1.0 if certified is None else certified
