"""The board from the files of a checkout, each read by itself: what is broken costs itself only.

A submission's manifest, results, fingerprints and the decisions about it are left out when they
cannot be read, with a sentence that names them; the rest of the board is made without them.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from leaderboard.board.board import Board, assemble
from leaderboard.board.decisions import Decisions, read_decisions
from leaderboard.board.fingerprints import Checks, read_checks
from leaderboard.board.flags import unfounded
from leaderboard.board.noise_salts import check_rows_salt
from leaderboard.common.errors import InputError, Problems
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import load_datasets
from leaderboard.field.literature import load_literature
from leaderboard.field.taxonomy import load_taxonomy
from leaderboard.results.cells import Cell, agreeing, read_cells
from leaderboard.settings.setting import load_settings
from leaderboard.submissions.catalogue import Catalogue, read_catalogue
from leaderboard.submissions.manifest import Submission

if TYPE_CHECKING:
    from leaderboard.results.kept import Kept
    from leaderboard.results.store import Results

FromFile = TypeVar("FromFile")


@dataclass(frozen=True)
class Sources:
    """What a checkout says of submissions, and a sentence for everything that was left out."""

    project: Project
    catalogue: Catalogue
    results: Sequence["Results"]
    named: Sequence["Results"]
    checks: dict[str, Checks]
    decisions: Decisions
    broken: tuple[str, ...]
    cells: Sequence[Cell] = ()

    def board(self, without: Collection[str] = ()) -> Board:
        """Return the board, without some submissions and all that is about them."""
        kept = {
            slug: one for slug, one in self.catalogue.submissions.items() if slug not in without
        }
        return assemble(
            settings=load_settings(),
            datasets=load_datasets(),
            submissions=kept,
            results=self.results,
            literature=load_literature(),
            taxonomy=load_taxonomy(),
            named=self.named,
            checks=self.checks,
            decisions=self.decisions.decisions,
            cells=self.cells,
        )

    def problems(self) -> list[str]:
        """List everything that is wrong with the files, a sentence each."""
        found = [*self.catalogue.problems, *self.broken, *self.decisions.problems]
        if self.decisions.decisions:
            found += unfounded(self.board())
        return list(dict.fromkeys(found))


def read_sources(project: Project, kept: "Kept | None" = None) -> Sources:
    """Read every file about submissions; of results what is `kept` of files that are the same.

    Raises:
        InputError: `decisions.toml` cannot be read as a whole.
    """
    from leaderboard.results.store import evaluator_named, stored_paths

    broken: list[str] = []
    catalogue = read_catalogue(project)
    found = _each(stored_paths(project), partial(_read_result, kept=kept), broken)
    results = list(_of_own_noise(project, catalogue.submissions, found, broken))
    checks = _each(sorted(project.checks.glob("*.json")), _read_checks, broken)
    tables = _each(sorted(project.comparison.glob("*.csv")), read_cells, broken)
    cells, contradictions = agreeing(cell for table in tables for cell in table)
    broken += contradictions
    return Sources(
        project=project,
        catalogue=catalogue,
        results=[one for one in results if evaluator_named(one.path) is None],
        named=[one for one in results if evaluator_named(one.path) is not None],
        checks=dict(checks),
        decisions=read_decisions(project),
        broken=tuple(broken),
        cells=cells,
    )


def board_of(
    project: Project, submissions: Mapping[str, Submission], checks: dict[str, Checks]
) -> Board:
    """Make a board of some submissions and their results alone, without what is broken."""
    paths = [path for slug in submissions for path in results_of(project, slug)]
    decided = read_decisions(project)
    catalogue = Catalogue(submissions, ())
    results = list(_each(paths, _read_result, []))
    return Sources(
        project=project,
        catalogue=catalogue,
        results=results,
        named=(),
        checks=checks,
        decisions=decided,
        broken=(),
    ).board()


def results_of(project: Project, slug: str) -> list[Path]:
    """List the stored results of a submission by the settings' own protocols."""
    return sorted(project.results.glob(f"*/{slug}.parquet"))


def read_fingerprints(project: Project) -> dict[str, Checks]:
    """Return what is kept of every network; not what is broken."""
    return dict(_each(sorted(project.checks.glob("*.json")), _read_checks, []))


def check_stored(project: Project) -> list[str]:
    """List what a build of the website would leave out, and why, a sentence each.

    Manifests, results, fingerprints, and the maintainers' decisions about flags and rows.
    """
    problems = Problems()
    with problems.gathered():
        problems += read_sources(project).problems()
    return problems


def problems_of(project: Project, slug: str) -> list[str]:
    """List what is wrong with the stored results and fingerprints of one submission."""
    from leaderboard.results.store import stored_paths

    broken: list[str] = []
    own = [path for path in stored_paths(project) if path.name.split(".")[0] == slug]
    # That a model's noise has another salt by now hinders nobody who submits it again.
    list(_each(own, _read_result, broken))
    checks = [path for path in project.checks.glob("*.json") if path.stem == slug]
    list(_each(checks, _read_checks, broken))
    return broken


def _each(
    paths: Collection[Path] | Iterator[Path], reader: Callable[[Path], FromFile], broken: list[str]
) -> Iterator[FromFile]:
    """What is read from each path; of those that cannot be read, the sentences go to `broken`."""
    for path in paths:
        try:
            yield reader(path)
        except InputError as error:
            broken += error.problems
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # Values that no evaluation writes, on which counting stumbled.
            broken.append(f"{path}: is damaged ({type(error).__name__}).")


def _of_own_noise(
    project: Project,
    submissions: Mapping[str, Submission],
    results: Iterable["Results"],
    broken: list[str],
) -> Iterator["Results"]:
    """Results whose noise had the salt that was drawn for the model; of others, the sentences."""
    for result in results:
        submission = submissions.get(result.provenance.submission)
        try:
            if submission is not None:
                check_rows_salt(project, submission, result.path, result.provenance)
        except InputError as error:
            broken += error.problems
        else:
            yield result


def _read_checks(path: Path) -> tuple[str, Checks]:
    return path.stem, read_checks(path)


def _counted(path: Path, kept: "Kept") -> "Results":
    from leaderboard.results.counted import counted

    return counted(path, kept)


_WHEN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T.*")
_LARGEST_TEST_SET = 10**9
_STATUSES = {"certified", "falsified", "unknown"}


def _read_result(path: Path, kept: "Kept | None" = None) -> "Results":
    """A stored evaluation that says what its place says, and counts what can be counted.

    Raises:
        InputError: it does not.
    """
    from leaderboard.results.highlights import repeated
    from leaderboard.results.rerun import command
    from leaderboard.results.store import evaluator_named, scan

    result = scan(path) if kept is None else _counted(path, kept)
    origin, tally = result.provenance, result.tally
    place = (path.parent.name, path.name.split(".")[0])
    if (origin.setting, origin.submission) != place:
        told = f"{origin.setting}/{origin.submission}"
        raise InputError(f"{path}: says that it is the result of {told[:150]!r}.")
    named = evaluator_named(path)
    if named is not None and origin.evaluator != named:
        raise InputError(f"{path}: says that its evaluator is {origin.evaluator[:80]!r}.")
    if not _WHEN.fullmatch(origin.created) or datetime.fromisoformat(origin.created).tzinfo is None:
        raise InputError(f"{path}: says no day on which it was made: {origin.created[:80]!r}.")
    if not 0 < tally.examples <= origin.total <= _LARGEST_TEST_SET:
        counted = f"{tally.examples:,} examples of a test set of {origin.total:,}"
        raise InputError(f"{path}: has {counted}.")
    if unknown := {status for status, _ in tally.decided} - _STATUSES:
        raise InputError(f"{path}: has the status {min(unknown)[:80]!r}.")
    if (index := repeated(result.highlights.examples)) is not None:
        raise InputError(f"{path}: has example {index} more than once.")
    command(result)  # is published too, and made from what the provenance says
    return result
