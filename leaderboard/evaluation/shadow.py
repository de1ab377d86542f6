"""`certboard attack shadow`: smooth changes after which a board's model certifies a wrong class."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluators.attacks.shadow import Shadow
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import find_dataset, load_split
from leaderboard.datasets.files import write
from leaderboard.evaluation.certify_options import ExampleSelection, chosen_examples
from leaderboard.evaluation.evaluator import check_samples, evaluator_of
from leaderboard.evaluation.plan import Request, make_question
from leaderboard.evaluation.shard import problem_of
from leaderboard.settings.question import Question, Shard
from leaderboard.settings.setting import find_setting
from leaderboard.submissions.manifest import load_submission

SHOWN = 6
"""Examples of a picture."""

_SCALE, _GAP = 3, 8
"""Pixels of the picture for one of the image, and between two images."""


@dataclass(frozen=True)
class Spoofed:
    """One example before and after: what was certified of it, and of its changed copy.

    Attributes:
        example: its official index.
        label: its class.
        before: the verdict about the example and its class.
        target: the wrong class.
        after: the verdict about the changed image and the wrong class.
        original, changed: the images.
    """

    example: int
    label: int
    before: Verdict
    target: int
    after: Verdict
    original: NDArray[np.float32]
    changed: NDArray[np.float32]

    @property
    def succeeded(self) -> bool:
        """Whether the wrong class is certified of the changed image."""
        return self.after.status is Status.CERTIFIED

    @property
    def change(self) -> NDArray[np.float64]:
        """What was added."""
        return self.changed.astype(np.float64) - self.original.astype(np.float64)


def attack(
    project: Project,
    slug: str,
    setting: str,
    selection: ExampleSelection,
    request: Request,
    shadow: Shadow,
) -> list[Spoofed]:
    """Change examples of a setting, and ask its evaluator about each, before and after.

    Raises:
        InputError: the model, the data or the request cannot be used.
    """
    question = make_question(
        project, load_submission(project, slug), find_setting(setting), request
    )
    check_samples(question)
    examples = chosen_examples(selection, load_split(question.dataset))
    problem = problem_of(Shard(question, tuple(examples)))
    try:
        changed, targets = shadow(problem)
    except ValueError as error:
        raise InputError(f"{slug}: {error}") from None
    before = _verdicts(question, problem, problem.x, problem.labels)
    after = _verdicts(question, problem, changed, targets)
    return [
        Spoofed(example, int(label), old, int(target), new, x.cpu().numpy(), moved.cpu().numpy())
        for example, label, old, target, new, x, moved in zip(
            examples, problem.labels, before, targets, after, problem.x, changed, strict=True
        )
    ]


def _verdicts(question: Question, problem: Problem, images: Any, classes: Any) -> list[Verdict]:
    """What the question's evaluator says of images and the classes that they are held for."""
    return evaluator_of(question)(replace(problem, x=images, labels=classes))


def summary(slug: str, setting: str, found: Sequence[Spoofed]) -> dict[str, Any]:
    """Return the object that `--json` prints."""
    classes = find_dataset(find_setting(setting).dataset).classes
    return {
        "submission": slug,
        "setting": setting,
        "counts": {
            "certified": sum(one.before.status is Status.CERTIFIED for one in found),
            "spoofed": sum(one.succeeded for one in found),
        },
        "rows": [
            {
                "example": one.example,
                "label": classes[one.label],
                "before": one.before.status.value,
                "changed to": classes[one.target],
                "after": one.after.status.value,
                "linf": round(float(np.abs(one.change).max()), 4),
                "l2": round(float(np.linalg.norm(one.change)), 4),
                "radius before": _radius(one.before),
                "radius after": _radius(one.after),
            }
            for one in found
        ],
    }


def _radius(verdict: Verdict) -> float | None:
    """What smoothing certifies of an image, rounded down; None for other methods."""
    if verdict.sampling is None or verdict.radius is None:
        return None
    return floor(1000 * verdict.radius) / 1000


def draw(place: Path, found: Sequence[Spoofed]) -> None:
    """Write a PNG of the first examples that succeeded: original, changed, and the difference.

    An example is a column; the difference is around grey, multiplied by nothing.

    Raises:
        InputError: there is none, or the file cannot be written.
    """
    drawn = [one for one in found if one.succeeded and one.before.status is Status.CERTIFIED]
    if not drawn:
        raise InputError("--picture: no example was certified before, and wrongly after.")
    columns = [
        np.stack([one.original, one.changed, (0.5 + one.change).astype(np.float32)])
        for one in drawn[:SHOWN]
    ]
    pixels = np.rint(255 * np.clip(np.stack(columns), 0, 1)).astype(np.uint8)
    large = pixels.repeat(_SCALE, axis=3).repeat(_SCALE, axis=4)
    around = ((0, 0), (0, 0), (0, 0), (0, _GAP), (0, _GAP))
    framed = np.pad(large, around, constant_values=255).transpose(1, 3, 0, 4, 2)
    rows, height, count, width, channels = framed.shape
    sheet = framed.reshape(rows * height, count * width, channels)[:-_GAP, :-_GAP]
    file = io.BytesIO()
    Image.fromarray(sheet[..., 0] if channels == 1 else sheet).save(file, "PNG", optimize=True)
    write(place, file.getvalue())
