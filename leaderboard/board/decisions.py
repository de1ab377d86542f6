"""What maintainers decided about flags and rows: `site/data/decisions.toml`, strictly read.

[[decision]]
slug = "my-model"
model = "0123…"            # its SHA-256: the decision does not outlive the model
rule = "same-model"
other = "their-model"      # of a rule about two submissions, the other one
decision = "dismissed"     # or "upheld"
reason = "Both entries are ours; the other one is superseded."
date = "2026-05-07"
by = "A. Maintainer"

[[decision]]
slug = "my-model"
setting = "mnist-linf-0.1" # the row of this setting, which then has no rank
decision = "disputed"
reason = "A counterexample to example 17 was reported; it is being looked into."
date = "2026-05-09"
by = "A. Maintainer"

Each entry is read by itself: one that is wrong, or is about nothing that there is, is told by
`certboard check` and costs the website nothing but itself.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple, Self

from pydantic import model_validator

from leaderboard.common.errors import InputError, Problems
from leaderboard.common.project import Project
from leaderboard.common.strict_toml import Strict, parse, read_toml, shown
from leaderboard.common.text import Date, OneLine, Paragraph, Sha256

FILE = "decisions.toml"
OF_TWO = ("same-model", "same-weights")
"""Rules about a submission and another one."""


class Decision(Strict):
    """One decision, about a flag (`rule`) or about a submission's row in a setting (`setting`).

    A flag is `dismissed` if nothing is wrong, `upheld` if something is; a row is `disputed`. What
    was decided of a flag is about one model, and about one other submission where two are alike.
    """

    slug: str
    rule: str | None = None
    model: Sha256 | None = None
    other: str | None = None
    setting: str | None = None
    decision: Literal["dismissed", "upheld", "disputed"]
    reason: Paragraph
    date: Date
    by: OneLine

    @model_validator(mode="after")
    def _about_one_thing(self) -> Self:
        if (self.rule is None) == (self.setting is None):
            raise ValueError("must have a rule, of a flag, or a setting, of a row")
        if (self.decision == "disputed") != (self.setting is not None):
            raise ValueError("must be 'dismissed' or 'upheld' for a flag, 'disputed' for a row")
        if (self.rule is None) != (self.model is None):
            raise ValueError("must have the 'model' of a flag, and none of a row")
        if (self.rule in OF_TWO) != (self.other is not None):
            names = " and ".join(f"'{rule}'" for rule in OF_TWO)
            raise ValueError(f"must have the 'other' submission by the rules {names} alone")
        return self

    def is_about(self, model: str, rule: str, other: str | None) -> bool:
        """Whether it decides on this flag of a submission with this model."""
        return (self.model, self.rule, self.other) == (model, rule, other)

    @property
    def told(self) -> str:
        """The reason, and who decided so when, in two sentences."""
        end = "" if self.reason.endswith((".", "!", "?")) else "."
        return f"{self.reason}{end} Decided on {self.date} by {self.by}."


class Decisions(NamedTuple):
    """The decisions that can be read, in their order, and what is wrong with the others."""

    decisions: tuple[Decision, ...]
    problems: tuple[str, ...]


def read_decisions(project: Project) -> Decisions:
    """Read all decisions; none where there is no file.

    Raises:
        InputError: the file as a whole cannot be read. It is the maintainers' own, and what it
            disputes must not come back into the ranking unseen.
    """
    path = project.site / "data" / FILE
    if not path.exists():
        return Decisions((), ())
    table = read_toml(path, FILE)
    entries = table.pop("decision", [])
    if table or not isinstance(entries, list):
        raise InputError(f"{FILE}: has {shown(table)}, but only [[decision]] is allowed there.")
    found: list[Decision] = []
    problems = Problems()
    for number, entry in enumerate(entries, start=1):
        where = f"{FILE}: decision #{number}"
        with problems.gathered():
            found.append(parse(Decision, entry if isinstance(entry, dict) else {}, where))
    return Decisions(tuple(found), tuple(problems))


def disputes(decisions: Iterable[Decision]) -> dict[tuple[str, str], Decision]:
    """Index the decisions that dispute a row by slug and setting; the last one counts."""
    return {(one.slug, one.setting): one for one in decisions if one.setting is not None}
