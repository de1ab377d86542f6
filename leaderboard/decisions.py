"""What maintainers decided about flags: `site/data/decisions.toml`, strictly read.

[[decision]]
slug = "my-model"
rule = "same-model"
decision = "dismissed"     # or "upheld"
reason = "Both entries are ours; the other one is superseded."
date = "2026-05-07"
by = "A. Maintainer"
"""

from typing import Literal

from leaderboard.project import Project
from leaderboard.strict_toml import Entries, Strict, parse, read_toml
from leaderboard.text import Date, Line, Paragraph

FILE = "decisions.toml"


class Decision(Strict):
    """One decision about one flag: `dismissed` if nothing is wrong, `upheld` if something is."""

    slug: str
    rule: str
    decision: Literal["dismissed", "upheld"]
    reason: Paragraph
    date: Date
    by: Line


class _File(Strict):
    decision: Entries[Decision] = ()


def load_decisions(project: Project) -> tuple[Decision, ...]:
    """All decisions, in the order they are written; none where there is no file.

    Raises:
        InputError: every problem of the file, a sentence each.
    """
    path = project.site / "data" / FILE
    if not path.exists():
        return ()
    return parse(_File, read_toml(path, FILE), FILE).decision


def unknown_decisions(
    decisions: tuple[Decision, ...], slugs: set[str], rules: set[str]
) -> list[str]:
    """Decisions about submissions or rules that there are not, a sentence each."""
    problems = []
    for number, one in enumerate(decisions, start=1):
        if one.slug not in slugs:
            problems.append(f"{FILE}: decision #{number} is about no submission: {one.slug!r}.")
        if one.rule not in rules:
            problems.append(f"{FILE}: decision #{number} is about no rule of flags: {one.rule!r}.")
    return problems
