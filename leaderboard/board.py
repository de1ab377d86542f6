"""Everything the pages show, loaded and grouped once, so that building them stays linear."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from leaderboard.dataset import Dataset, load_datasets
from leaderboard.literature import Reported, load_literature
from leaderboard.project import Project
from leaderboard.ranking import Standing, standings
from leaderboard.setting import Setting, load_settings
from leaderboard.submission import Submission, load_submissions
from leaderboard.taxonomy import Taxonomy, load_taxonomy

if TYPE_CHECKING:
    from leaderboard.results import Results


@dataclass(frozen=True)
class Board:
    """The leaderboard as data.

    `standings` has every setting's lines, in the order they are shown; `results_of` a submission's
    results in the order of the settings; `named_of` those of evaluators that were named instead of
    the settings' protocol, which are never ranked.
    """

    settings: Mapping[str, Setting]
    datasets: Mapping[str, Dataset]
    submissions: Mapping[str, Submission]
    literature: Sequence[Reported]
    taxonomy: Taxonomy
    standings: Mapping[str, Sequence[Standing]]
    results_of: Mapping[str, Sequence["Results"]]
    _lines: Mapping[tuple[str, str], Standing]
    named_of: Mapping[str, Sequence["Results"]] = field(default_factory=dict)

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


def assemble(
    settings: Mapping[str, Setting],
    datasets: Mapping[str, Dataset],
    submissions: Mapping[str, Submission],
    results: Iterable["Results"],
    literature: Sequence[Reported],
    taxonomy: Taxonomy,
    named: Iterable["Results"] = (),
) -> Board:
    """Group results and literature by setting and submission, each in one pass."""
    order = {name: position for position, name in enumerate(settings)}
    by_setting: dict[str, list[Results]] = defaultdict(list)
    by_submission: dict[str, list[Results]] = defaultdict(list)
    named_of: dict[str, list[Results]] = defaultdict(list)
    for result in results:
        origin = result.provenance
        if origin.setting in settings and origin.submission in submissions:
            by_setting[origin.setting].append(result)
            by_submission[origin.submission].append(result)
    for result in named:
        origin = result.provenance
        if origin.setting in settings and origin.submission in submissions:
            named_of[origin.submission].append(result)
    for found in (*by_submission.values(), *named_of.values()):
        found.sort(key=lambda result: order[result.provenance.setting])
    published: dict[tuple[object, ...], list[Reported]] = defaultdict(list)
    for row in literature:
        published[row.dataset, row.norm, row.radius].append(row)
    lines = {
        name: standings(
            setting,
            by_setting[name],
            published[setting.dataset, setting.norm, setting.radius],
            submissions,
        )
        for name, setting in settings.items()
    }
    own = {(name, line.slug): line for name in lines for line in lines[name] if line.slug}
    return Board(
        settings,
        datasets,
        submissions,
        literature,
        taxonomy,
        lines,
        dict(by_submission),
        own,
        dict(named_of),
    )


def load_board(project: Project) -> Board:
    """The board of one checkout; every problem with its files is an `InputError`."""
    from leaderboard.results import read_all, read_named

    return assemble(
        load_settings(),
        load_datasets(),
        load_submissions(project),
        read_all(project),
        load_literature(),
        load_taxonomy(),
        read_named(project),
    )
