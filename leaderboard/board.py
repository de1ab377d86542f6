"""Everything the pages show, loaded and grouped once, so that building them stays linear."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from leaderboard.dataset import Dataset, load_datasets
from leaderboard.decisions import Decision, load_decisions
from leaderboard.fingerprints import Checks, Twin, load_checks
from leaderboard.literature import Reported, load_literature
from leaderboard.project import Project
from leaderboard.ranking import Standing, standings
from leaderboard.setting import Setting, load_settings
from leaderboard.submission import Submission, load_submissions
from leaderboard.submission_models import model_hash
from leaderboard.taxonomy import Taxonomy, load_taxonomy

if TYPE_CHECKING:
    from leaderboard.results import Results


@dataclass(frozen=True)
class Board:
    """The leaderboard as data.

    `standings` has every setting's lines, in the order they are shown; `results_of` a submission's
    results in the order of the settings, also of one that is retired and in no table; `named_of`
    those of evaluators that were named instead of the settings' protocol, which are never ranked;
    `former` those of a submission's earlier model, which say nothing of the present one. `checks`
    are what is kept of networks to recognise them, `decisions` what maintainers said of flags.
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
    parameters: Mapping[str, int] = field(default_factory=dict)
    """By slug: of models whose results do not say it, counted in the committed files."""
    checks: Mapping[str, Checks] = field(default_factory=dict)
    decisions: Sequence[Decision] = ()

    @cached_property
    def twins(self) -> Mapping[str, Sequence[Twin]]:
        """For each submission those that are the same network."""
        from leaderboard.flags import twins_of

        return twins_of(self.submissions, self.checks)

    @property
    def named(self) -> list["Results"]:
        """All results of named evaluators, by submission and setting."""
        return [result for slug in sorted(self.named_of) for result in self.named_of[slug]]

    @property
    def results(self) -> list["Results"]:
        """All results of known submissions, by submission and setting."""
        return [result for slug in sorted(self.results_of) for result in self.results_of[slug]]

    def re_evaluated(self, setting: str) -> list[Standing]:
        """The lines of a setting that certboard measured."""
        return [line for line in self.standings[setting] if line.tier == "re-evaluated"]

    def reported(self, setting: str) -> list[Standing]:
        """The lines of a setting that papers reported."""
        return [line for line in self.standings[setting] if line.tier == "reported"]

    def line_of(self, result: "Results") -> Standing:
        """The line of the setting's table that shows this result."""
        return self._lines[result.provenance.setting, result.provenance.submission]


_Lists = dict[str, list["Results"]]


class _Groups(NamedTuple):
    """Results by setting (ranked ones, retired ones) and by submission (see `Board`)."""

    by_setting: _Lists
    retired: _Lists
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
) -> _Groups:
    groups = _Groups(*(_lists() for _ in _Groups._fields))

    def present(result: "Results") -> bool:
        """Whether it is about a setting and a model that there are."""
        origin = result.provenance
        if origin.setting not in settings or origin.submission not in submissions:
            return False
        if origin.model_sha256 != model_hash(submissions[origin.submission]):
            groups.former[origin.submission].append(result)
            return False
        return True

    for result in filter(present, results):
        slug, setting = result.provenance.submission, result.provenance.setting
        groups.by_submission[slug].append(result)
        places = groups.retired if submissions[slug].retired else groups.by_setting
        places[setting].append(result)
    for result in filter(present, named):
        groups.named_of[result.provenance.submission].append(result)
    order = {name: position for position, name in enumerate(settings)}
    for found in (*groups.by_submission.values(), *groups.named_of.values()):
        found.sort(key=lambda result: order[result.provenance.setting])
    return groups


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
) -> Board:
    """Group results and literature by setting and submission, each in one pass."""
    groups = _group(settings, submissions, results, named)
    published: dict[tuple[object, ...], list[Reported]] = defaultdict(list)
    for row in literature:
        published[row.dataset, row.norm, row.radius].append(row)
    lines = {
        name: standings(
            setting,
            groups.by_setting[name],
            published[setting.dataset, setting.norm, setting.radius],
            submissions,
        )
        for name, setting in settings.items()
    }
    shown = [(name, line) for name in lines for line in lines[name]]
    for name, gone in groups.retired.items():
        unranked = standings(settings[name], gone, (), submissions)
        shown += [(name, replace(line, rank=None)) for line in unranked]
    own = {(name, line.slug): line for name, line in shown if line.slug}
    return Board(
        settings,
        datasets,
        submissions,
        literature,
        taxonomy,
        lines,
        dict(groups.by_submission),
        dict(groups.former),
        own,
        dict(groups.named_of),
        checks=_present(checks or {}, submissions),
        decisions=decisions,
    )


def _present(
    checks: Mapping[str, Checks], submissions: Mapping[str, Submission]
) -> dict[str, Checks]:
    """What is kept of the networks that there are; not of a submission's earlier one."""
    return {
        slug: one
        for slug, one in checks.items()
        if slug in submissions and one.model_sha256 == model_hash(submissions[slug])
    }


def load_board(project: Project) -> Board:
    """The board of one checkout; every problem with its files is an `InputError`."""
    from leaderboard.results import read_all, read_named

    board = assemble(
        load_settings(),
        load_datasets(),
        load_submissions(project),
        read_all(project),
        load_literature(),
        load_taxonomy(),
        read_named(project),
        load_checks(project),
        load_decisions(project),
    )
    return replace(board, parameters=_counted(project, board))


def _counted(project: Project, board: Board) -> dict[str, int]:
    """The parameters of models in the checkout whose results do not tell them.

    Only of a single file that is still the one that was evaluated.
    """
    counted = {}
    for slug, results in board.results_of.items():
        submission = board.submissions[slug]
        model = submission.model
        told = all(result.provenance.parameters is not None for result in results)
        same = all(result.provenance.model_sha256 == model.sha256 for result in results)
        if told or not same or submission.composed or model.file is None:
            continue
        # It takes seconds to import, and new results do not need it.
        from leaderboard.networks import parameters_of

        counted[slug] = parameters_of([project.submissions / slug / model.file])
    return counted
