"""The board's own files, checked: datasets, settings, taxonomy and published results."""

import re
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from leaderboard.common.errors import InputError
from leaderboard.common.formatting import plural
from leaderboard.common.lookalikes import alike
from leaderboard.datasets.catalogue import load_datasets
from leaderboard.field import literature, taxonomy
from leaderboard.field.authors_curves import load_authors_curves
from leaderboard.field.methods import methods
from leaderboard.field.sources import load_changes
from leaderboard.settings import setting

Several = TypeVar("Several", bound=Sized)


@dataclass(frozen=True)
class BoardCheck:
    """What was checked, counted in words, and every problem, a sentence each."""

    counts: list[str]
    problems: list[str]

    def read(self, noun: str, reader: Callable[[], Several]) -> Several | None:
        """Call `reader`, and count what it gives under `noun`; None, with problems, if it fails."""
        try:
            items = reader()
        except InputError as error:
            self.problems.extend(_with_line(problem) for problem in error.problems)
        except TypeError as error:
            self.problems.append(f"{error}.")
        else:
            self.counts.append(plural(len(items), noun))
            return items
        return None


def check_board() -> BoardCheck:
    """Read every file of the board that is data, all of them whatever is wrong with one."""
    report = BoardCheck([], [])
    report.read("dataset", load_datasets)
    report.read("setting", lambda: setting.read_settings(setting.FOLDER))
    tree = report.read(
        "taxonomy node", lambda: taxonomy.read_taxonomy(taxonomy.FILE, methods().values())
    )
    rows = report.read("published result", lambda: literature.read_literature(literature.FILE))
    report.read("paper", literature.load_papers)
    report.read("literature change", load_changes)
    report.read("authors' curve", load_authors_curves)
    if rows is not None:
        report.problems.extend(_doubtful(rows))
    if tree is not None and rows is not None and not report.problems:
        report.problems.extend(_unplaced(tree, rows))
    return report


def _unplaced(tree: taxonomy.Taxonomy, rows: Iterable[literature.Reported]) -> list[str]:
    """A sentence for each paper whose numbers no node of the tree says it certified or attacked."""
    outside = {taxonomy.key_of(title) for title in tree.outside}
    lost: dict[str, None] = {}
    for row in rows:
        places = tree.places(row.approach, row.title, empirical=row.kind == "empirical")
        trained_only = all(path.startswith("training") for path in places)
        if trained_only and taxonomy.key_of(row.title) not in outside:
            lost[row.title] = None
    return [
        f"{literature.FILE.name}: '{title}' has no place in the taxonomy. Add the title, or the"
        f" approach, to 'approaches' of a node in {taxonomy.FILE.name} that tells how it was"
        " certified or attacked."
        for title in lost
    ]


def _doubtful(rows: Iterable[literature.Reported]) -> Iterable[str]:
    """A sentence for each paper of the future, and for each title that imitates another one."""
    titles: dict[str, str] = {}
    late: dict[str, None] = {}
    # Somewhere it is tomorrow already.
    today = str((datetime.now(UTC) + timedelta(days=1)).date())
    for row in rows:
        titles.setdefault(row.paper, row.title)
        if row.date > today[: len(row.date)]:
            late[f"{literature.FILE.name}: {row.title!a} has a date in the future, {row.date}."] = (
                None
            )
    yield from late
    for key, other in alike(titles):
        yield (
            f"{literature.FILE.name}: the title {titles[key]!a} can be mistaken for"
            f" {titles[other]!a}; write it as that paper does, or as its rows do."
        )


def _with_line(problem: str) -> str:
    """The problem of the tree's n-th entry, with the line where that entry begins."""
    name = taxonomy.FILE.name
    counted = re.match(rf"{re.escape(name)}: .*?\bnode #([0-9]+)", problem)
    named = re.match(rf"{re.escape(name)}: .*?'([a-z0-9/-]+)'", problem)
    line = None
    if counted:
        line = _line_of(taxonomy.FILE, r"\[\[node\]\]", int(counted[1]))
    elif named:
        line = _line_of(taxonomy.FILE, rf'path *= *"{re.escape(named[1])}"', -1)
    return problem if line is None else problem.replace(name, f"{name}, line {line}", 1)


def _line_of(path: Path, pattern: str, position: int) -> int | None:
    """The line of the n-th match from 1 on, or of the last one for -1."""
    lines = path.read_text(encoding="utf-8").splitlines()
    matches = [number for number, line in enumerate(lines, start=1) if re.match(pattern, line)]
    at = position - 1 if position > 0 else position
    return matches[at] if -len(matches) <= at < len(matches) else None
