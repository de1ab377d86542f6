"""A sample of stored verdicts, another one every day, measured again and compared.

Every stored evaluation comes up in turn, and on each of its days other examples of it. Of those
that it left open some more are attacked: counterexamples may have been left out (`withstood`).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

import pandas as pd

from leaderboard.board.files import read_sources
from leaderboard.common.errors import BugError, InputError
from leaderboard.common.progress import tell
from leaderboard.common.project import Project
from leaderboard.evaluation.evaluator import evaluator_of, stages_of
from leaderboard.evaluation.forecast import cut
from leaderboard.evaluation.plan import Request, make_question
from leaderboard.evaluation.workers import run_shards
from leaderboard.recheck.withstood import ATTACK, hides
from leaderboard.results.store import Results
from leaderboard.settings.setting import Setting, load_settings
from leaderboard.submissions.catalogue import is_at_hand
from leaderboard.submissions.manifest import Submission

_OPEN = 50
"""Open examples of an evaluation that are attacked."""


@dataclass(frozen=True)
class DrawnEvaluation:
    """Some examples of a stored evaluation, and some of those that it left open."""

    submission: Submission
    setting: Setting
    stored: Results
    examples: tuple[int, ...]
    opened: tuple[int, ...]


@dataclass(frozen=True)
class Difference:
    """An example whose verdict is another than the stored one.

    Attributes:
        kind: "contradiction" where one is certified and the other falsified; "lost" where a
            certificate or counterexample was not found again, "late" if time ran out on it,
            "found" where there is one now; "misread" where the prediction alone is another.
    """

    submission: str
    setting: str
    example: int
    before: str
    now: str
    kind: str

    @property
    def sentence(self) -> str:
        """What differs, where."""
        return (
            f"{self.submission} · {self.setting} · example {self.example}: stored {self.before},"
            f" now {self.now} ({self.kind})."
        )


def draw(project: Project, day: date, evaluations: int, examples: int) -> list[DrawnEvaluation]:
    """The sample of a day: so many stored evaluations, and of each so many examples."""
    sources = read_sources(project)
    for problem in sources.catalogue.problems + sources.broken:
        tell(f"warning: {problem}")
    submissions, settings = sources.catalogue.submissions, load_settings()
    stored = [
        result
        for result in sources.results
        if result.provenance.submission in submissions and result.provenance.setting in settings
    ]
    if not stored:
        return []
    count = min(evaluations, len(stored))
    first = day.toordinal() * count
    chosen = [stored[(first + step) % len(stored)] for step in range(count)]
    return [
        DrawnEvaluation(
            submissions[result.provenance.submission],
            settings[result.provenance.setting],
            result,
            _examples(result.rows, day, examples),
            _examples(_opened(result.rows), day, _OPEN),
        )
        for result in chosen
    ]


def _opened(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["status"] == "unknown") & (rows["prediction"] == rows["label"])]


def _examples(rows: pd.DataFrame, day: date, count: int) -> tuple[int, ...]:
    """Examples in an order that is another every day, as if at random."""

    def key(example: int) -> bytes:
        return hashlib.sha256(f"{day.isoformat()} {example}".encode()).digest()

    return tuple(sorted(sorted(rows["example"].tolist(), key=key)[:count]))


def measure_again(project: Project, drawn: DrawnEvaluation) -> pd.DataFrame:
    """The rows of the drawn examples, by this machine and this code."""
    question = make_question(project, drawn.submission, drawn.setting, Request())
    # Those of the stored rows, should the setting have been changed since.
    question = replace(question, seconds=drawn.stored.provenance.options["seconds"])
    found = [rows for _, rows in run_shards(cut(question, drawn.examples), "1")]
    return pd.concat(found, ignore_index=True)


def hidden(project: Project, drawn: DrawnEvaluation) -> str:
    """Say whether counterexamples were left out; empty if the attack finds hardly any."""
    question = make_question(project, drawn.submission, drawn.setting, Request())
    if ATTACK not in stages_of(evaluator_of(question)) or not drawn.opened:
        return ""
    attack = cut(replace(question, evaluator=ATTACK), drawn.opened)
    fallen = [rows["status"] == "falsified" for _, rows in run_shards(attack, "1")]
    return hides(int(pd.concat(fallen).sum()), len(drawn.opened))


def compare(drawn: DrawnEvaluation, rows: pd.DataFrame) -> Iterator[Difference]:
    """Every example whose verdict, or else whose prediction, differs from the stored one."""
    stored = drawn.stored.rows.set_index("example")
    for row in rows.to_dict("records"):
        before = stored.loc[row["example"]]
        place = drawn.submission.slug, drawn.setting.id, int(row["example"])
        old, new = str(before["status"]), str(row["status"])
        said, found = before["prediction"], row["prediction"]
        if old != new:
            yield Difference(*place, old, new, _kind(old, new, str(row["note"])))
        elif not pd.isna(said) and not pd.isna(found) and said != found:
            yield Difference(*place, f"class {said}", f"class {found}", "misread")


def _kind(old: str, new: str, note: str) -> str:
    if "unknown" not in (old, new):
        return "contradiction"
    if old == "unknown":
        return "found"
    return "late" if "timeout" in note else "lost"


def compare_samples(project: Project, day: date, evaluations: int, examples: int) -> None:
    """Measure a day's sample again, and print what came of each evaluation.

    Raises:
        BugError: a stored verdict is contradicted.
        InputError: one was not found again, though there was time, or was left out.
    """
    differences: list[Difference] = []
    left_out: list[str] = []
    for drawn in draw(project, day, evaluations, examples):
        try:
            rows, reason = measure_again(project, drawn), hidden(project, drawn)
        except InputError as error:
            if is_at_hand(drawn.submission):
                raise
            tell(
                f"{drawn.submission.slug}: not measured again, its weights are not at hand: {error}"
            )
            continue
        found = list(compare(drawn, rows))
        differences += found
        if reason:
            left_out.append(f"{drawn.submission.slug} · {drawn.setting.id}: {reason}.")
        same = len(rows) - len(found)
        print(f"{drawn.submission.slug} · {drawn.setting.id}: {same} of {len(rows)} as stored")
    for difference in differences:
        print(difference.sentence)
    worst = {difference.kind for difference in differences}
    if "contradiction" in worst:
        raise BugError("a stored verdict is contradicted: one of the two proofs is wrong")
    if "lost" in worst:
        raise InputError("Stored verdicts were not found again, though there was time.")
    if "misread" in worst:
        raise InputError("Stored predictions are not what the model answers.")
    if left_out:
        raise InputError(*left_out)
