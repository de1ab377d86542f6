"""What the accepting machine knows of an evaluation without its result file."""

from dataclasses import dataclass
from datetime import datetime
from math import prod
from pathlib import Path
from typing import Any

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import Dataset, find_dataset, load_split
from leaderboard.datasets.split import Split
from leaderboard.evaluation.evaluator import evaluator_of, stages_of
from leaderboard.evaluation.plan import Request, chosen, make_question
from leaderboard.settings.question import Question
from leaderboard.settings.setting import Setting
from leaderboard.submissions.manifest import Submission, settings_for

NO_DATA = (
    "labels and predictions, witnesses in steps from their examples, and how far others are from"
    " theirs: the test data are not on the machine that accepted these rows"
)
LEFT = "left.json"
"""Where a replay says of each file how many verdicts it did not measure again, and which examples
were not certified again in the time that they had."""
LONGER = 3
"""Times its budget that an example has on the accepting machine, which may be a slower one."""


@dataclass(frozen=True)
class Known:
    """A question, and all of its answer that follows from nothing but the question and the data.

    Attributes:
        question: what was asked, about the model as it is here.
        evaluator, version, options: of what was asked, in this code.
        stages: what may decide an example, and whether it can prove anything.
        examples: those asked about, in order; of an incomplete dataset those that are here.
        selection: in words, which they are.
        split: the test data; None where this machine does not have them.
        since: no answer is older, where that is known.
    """

    project: Project
    submission: Submission
    setting: Setting
    question: Question
    evaluator: str
    version: str
    options: dict[str, Any]
    stages: dict[str, bool]
    examples: list[int]
    selection: str
    split: Split | None
    since: datetime | None

    @property
    def smoothed(self) -> bool:
        """Whether the model is a smoothed one."""
        return self.question.sigma is not None

    @property
    def dataset(self) -> Dataset:
        """The setting's dataset."""
        return find_dataset(self.setting.dataset)

    @property
    def pixels(self) -> int:
        """Numbers of an input."""
        return prod(self.dataset.shape)

    @property
    def files(self) -> list[Path]:
        """The model's ONNX files."""
        return [part.path for part in self.question.parts] or [self.question.model]


def known(
    project: Project,
    submission: Submission,
    setting: Setting,
    request: Request | None = None,
    since: datetime | None = None,
) -> Known:
    """Work out what can be known here of an evaluation.

    Args:
        project: where the submission lies.
        submission, setting: what is evaluated, and where.
        request: how it was asked for; None for the setting's protocol, as it is ranked.
        since: when the evaluation was started, where that is known.

    Raises:
        InputError: the submission does not compete there, or its model cannot be had.
    """
    request = request or Request()
    if setting not in settings_for(submission, {setting.id: setting}):
        raise InputError(f"The submission '{submission.slug}' does not compete in {setting.id}.")
    question = make_question(project, submission, setting, request)
    evaluator = evaluator_of(question)
    split = _split(setting)
    examples, selection, _ = chosen(submission, setting, request, split)
    return Known(
        project=project,
        submission=submission,
        setting=setting,
        question=question,
        evaluator=evaluator.name(),
        version=evaluator.version,
        options={**evaluator.options(), "seconds": question.seconds},
        stages=stages_of(evaluator),
        examples=examples,
        selection=selection,
        split=split,
        since=since,
    )


def _split(setting: Setting) -> Split | None:
    """The test data on this machine; None where there are none."""
    try:
        return load_split(setting.dataset)
    except InputError:
        return None
