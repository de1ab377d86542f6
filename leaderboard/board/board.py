"""Everything the pages show, loaded and grouped once, so that building them stays linear."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from leaderboard.board.decisions import Decision, disputes
from leaderboard.board.fingerprints import Checks, Twin
from leaderboard.board.ranking import Standing, standings
from leaderboard.board.twins import twins_of
from leaderboard.datasets.catalogue import Dataset
from leaderboard.field.literature import Reported
from leaderboard.field.taxonomy import Taxonomy
from leaderboard.results.cells import Cell
from leaderboard.results.tally import stored_fraction
from leaderboard.settings.setting import Setting
from leaderboard.submissions.manifest import Submission

if TYPE_CHECKING:
    from leaderboard.results.store import Results


@dataclass(frozen=True)
class Board:
    """The leaderboard as data.

    `standings` has every setting's lines, in the order they are shown; `results_of` a submission's
    results in the order of the settings, also of one that is retired and in no table; `named_of`
    those of evaluators that were named instead of the settings' protocol, which are never ranked;
    `former` those of a submission's earlier model, which say nothing of the present one. `disputed`
    has the lines that maintainers took out of their setting's ranking. `checks` are what is kept of
    networks to recognise them, `twins` for each submission the earlier ones with the same network,
    `decisions` what maintainers said of flags and rows, `cells` what evaluators reached on networks
    that need not be submitted.
    """

    settings: Mapping[str, Setting]
    datasets: Mapping[str, Dataset]
    submissions: Mapping[str, Submission]
    literature: Sequence[Reported]
    taxonomy: Taxonomy
    standings: Mapping[str, Sequence[Standing]]
    results_of: Mapping[str, Sequence["Results"]]
    former: Mapping[str, Sequence["Results"]]
    _lines: Mapping[tuple[str, str], Standing]
    named_of: Mapping[str, Sequence["Results"]] = field(default_factory=dict)
    checks: Mapping[str, Checks] = field(default_factory=dict)
    decisions: Sequence[Decision] = ()
    disputed: Mapping[str, Sequence[Standing]] = field(default_factory=dict)
    cells: Sequence[Cell] = ()
    twins: Mapping[str, Sequence[Twin]] = field(default_factory=dict)

    @property
    def named(self) -> list["Results"]:
        """All results of named evaluators, by submission and setting."""
        return [result for slug in sorted(self.named_of) for result in self.named_of[slug]]

    @property
    def results(self) -> list["Results"]:
        """All results of known submissions, by submission and setting."""
        return [result for slug in sorted(self.results_of) for result in self.results_of[slug]]

    def re_evaluated(self, setting: str) -> list[Standing]:
        """List the lines of a setting that certboard measured."""
        return [line for line in self.standings[setting] if line.tier == "re-evaluated"]

    def reported(self, setting: str) -> list[Standing]:
        """List the lines of a setting that papers reported."""
        return [line for line in self.standings[setting] if line.tier == "reported"]

    def has_row(self, slug: str, setting: str) -> bool:
        """Say whether a submission's present model was evaluated by the setting's own protocol."""
        return (setting, slug) in self._lines

    def in_table(self, result: "Results") -> bool:
        """Say whether a result is in its setting's table: neither retired nor disputed."""
        line = self.line_of(result)
        return line.disputed is None and not self.submissions[str(line.slug)].retired

    def line_of(self, result: "Results") -> Standing:
        """Return the line of the setting's table that shows this result."""
        return self._lines[result.provenance.setting, result.provenance.submission]


_Lists = dict[str, list["Results"]]


class _Groups(NamedTuple):
    """Results by setting (ranked, retired, disputed ones) and by submission (see `Board`)."""

    by_setting: _Lists
    retired: _Lists
    disputed: _Lists
    by_submission: _Lists
    named_of: _Lists
    former: _Lists


def _lists() -> _Lists:
    return defaultdict(list)


def _group(
    settings: Mapping[str, Setting],
    submissions: Mapping[str, Submission],
    results: Iterable["Results"],
    named: Iterable["Results"],
    disputed: Collection[tuple[str, str]],
) -> _Groups:
    groups = _Groups(*(_lists() for _ in _Groups._fields))

    def present(result: "Results") -> bool:
        """Say whether it is about a setting and a model that there are."""
        origin = result.provenance
        if origin.setting not in settings or origin.submission not in submissions:
            return False
        if not _is_of(result, submissions[origin.submission]):
            groups.former[origin.submission].append(result)
            return False
        return True

    for result in filter(present, results):
        slug, setting = result.provenance.submission, result.provenance.setting
        groups.by_submission[slug].append(result)
        if submissions[slug].retired:
            groups.retired[setting].append(result)
        elif (slug, setting) in disputed:
            groups.disputed[setting].append(result)
        else:
            groups.by_setting[setting].append(result)
    for result in filter(present, named):
        groups.named_of[result.provenance.submission].append(result)
    order = {name: position for position, name in enumerate(settings)}
    for found in (*groups.by_submission.values(), *groups.named_of.values()):
        found.sort(key=lambda result: order[result.provenance.setting])
    return groups


def _is_of(result: "Results", submission: Submission) -> bool:
    """Say whether rows are of a submission's model as it is now, and of its noise."""
    origin, smoothing = result.provenance, submission.smoothing
    if origin.model_sha256 != submission.model_hash:
        return False
    # What costs most is asked last: the rows may have to be read.
    if smoothing is None:
        return origin.distribution is None and not result.tally.smoothed
    if (origin.distribution or "gaussian") != smoothing.distribution:
        return False
    return result.tally.smoothed and stored_fraction(result.tally.sigma) == smoothing.scale


def assemble(
    settings: Mapping[str, Setting],
    datasets: Mapping[str, Dataset],
    submissions: Mapping[str, Submission],
    results: Iterable["Results"],
    literature: Sequence[Reported],
    taxonomy: Taxonomy,
    named: Iterable["Results"] = (),
    checks: Mapping[str, Checks] | None = None,
    decisions: Sequence[Decision] = (),
    cells: Sequence[Cell] = (),
) -> Board:
    """Group results and literature by setting and submission, each in one pass."""
    against = disputes(decisions)
    known = _present(checks or {}, submissions)
    alike = twins_of(submissions, known)
    ranking = partial(
        standings,
        submissions=submissions,
        first_seen={slug: one.first_seen for slug, one in known.items()},
        copies=dict(_copies(alike, submissions, decisions)),
    )
    groups = _group(settings, submissions, results, named, against)
    published: dict[tuple[object, ...], list[Reported]] = defaultdict(list)
    for row in literature:
        published[row.dataset, row.norm, row.radius].append(row)
    lines = {
        name: ranking(
            setting,
            groups.by_setting[name],
            published[setting.dataset, setting.norm, setting.radius],
        )
        for name, setting in settings.items()
    }
    shown = [(name, line) for name in lines for line in lines[name]]
    unranked = [
        (name, replace(line, rank=None, disputed=against.get((str(line.slug), name))))
        for gone in (groups.retired, groups.disputed)
        for name, found in gone.items()
        for line in ranking(settings[name], found, ())
    ]
    shown += unranked
    disputed: dict[str, list[Standing]] = defaultdict(list)
    for name, line in unranked:
        if line.disputed and not submissions[str(line.slug)].retired:
            disputed[name].append(line)
    own = {(name, line.slug): line for name, line in shown if line.slug}
    return Board(
        settings=settings,
        datasets=datasets,
        submissions=submissions,
        literature=literature,
        taxonomy=taxonomy,
        standings=lines,
        results_of=dict(groups.by_submission),
        former=dict(groups.former),
        _lines=own,
        named_of=dict(groups.named_of),
        checks=known,
        decisions=decisions,
        disputed=dict(disputed),
        cells=cells,
        twins=alike,
    )


def _copies(
    alike: Mapping[str, Sequence[Twin]],
    submissions: Mapping[str, Submission],
    decisions: Iterable[Decision],
) -> Iterator[tuple[str, str]]:
    """Yield each submission whose answers are an earlier one's, with that one.

    Not where a maintainer dismissed the flag.
    """
    fine = {
        (one.slug, one.model, one.other)
        for one in decisions
        if (one.rule, one.decision) == _DISMISSED
    }
    for slug, twins in alike.items():
        for twin in twins:
            if twin.answers and (slug, submissions[slug].model_hash, twin.other) not in fine:
                yield slug, twin.other


_DISMISSED = ("same-model", "dismissed")


def _present(
    checks: Mapping[str, Checks], submissions: Mapping[str, Submission]
) -> dict[str, Checks]:
    """What is kept of the networks that there are; not of a submission's earlier one."""
    return {
        slug: one
        for slug, one in checks.items()
        if slug in submissions and one.model_sha256 == submissions[slug].model_hash
    }
