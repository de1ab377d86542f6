"""One submission in one setting: plan it, resume it, store it."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from leaderboard.errors import InputError
from leaderboard.project import Project
from leaderboard.provenance import describe
from leaderboard.results import (
    COLUMNS,
    Results,
    read,
    read_provenance,
    results_path,
    write,
)
from leaderboard.run import (
    Question,
    Shard,
    code_digest,
    fingerprint,
    load_split,
    shards,
)
from leaderboard.setting import Setting
from leaderboard.submission import Submission, model_path
from leaderboard.workers import run_shards


@dataclass(frozen=True)
class Plan:
    """An evaluation that is to be made: its shards, and which are already there.

    Attributes:
        target: the result file.
        parts: the folder of finished shards, named by all that they depend on.
        shards: all of them, in order.
        finished: whether the target already answers exactly this question.
    """

    submission: str
    setting: Setting
    question: Question
    target: Path
    parts: Path
    fingerprint: str
    examples: list[int]
    shards: list[Shard]
    selection: str
    finished: bool

    def part(self, shard: Shard) -> Path:
        """Where a shard's rows are kept until the evaluation is complete."""
        return self.parts / f"{shard.examples[0]:08d}-{shard.examples[-1]:08d}.parquet"

    @property
    def missing(self) -> list[Shard]:
        """The shards that are still to be computed."""
        return [shard for shard in self.shards if not _readable(self.part(shard))]

    def clear(self) -> None:
        """Remove the shards, and what a killed run may have left half written."""
        shutil.rmtree(self.parts.parent, ignore_errors=True)
        for stale in self.target.parent.glob(f".{self.target.name}.*.tmp"):
            stale.unlink(missing_ok=True)


def _readable(part: Path) -> bool:
    """Whether a shard is there and whole."""
    if not part.exists():
        return False
    try:
        read_provenance(part)
    except InputError:
        return False
    return True


@dataclass(frozen=True)
class Request:
    """What the command line may ask of an evaluation besides submission and setting."""

    evaluator: str | None = None
    examples: int | None = None
    seconds: float | None = None
    device: str = "cpu"
    fresh: bool = False


def sha256_of(path: Path) -> str:
    """Hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_plan(project: Project, submission: Submission, setting: Setting, request: Request) -> Plan:
    """Work out what is to be computed.

    Raises:
        InputError: the model, the data or the request cannot be used.
    """
    split = load_split(setting.dataset)
    examples = setting.examples.indices(len(split))
    selection = setting.examples.label
    if request.examples is not None and request.examples < len(examples):
        examples = examples[: request.examples]
        selection = f"first {len(examples)} of {selection}"
    question = _question(project, submission, setting, request)
    digest = fingerprint(question, examples, split.sha256)
    target = results_path(project, setting.id, submission.slug, request.evaluator)
    parts = target.with_suffix(".parts") / f"{digest[:16]}-{code_digest()[:16]}"
    finished = not request.fresh and _answers(target, digest)
    pixels = int(torch.Size(split.shape).numel())
    return Plan(
        submission.slug,
        setting,
        question,
        target,
        parts,
        digest,
        examples,
        list(shards(question, examples, pixels)),
        selection,
        finished,
    )


def _question(
    project: Project, submission: Submission, setting: Setting, request: Request
) -> Question:
    path = model_path(project, submission)
    smoothing, protocol = submission.smoothing, setting.smoothing
    if smoothing is not None and protocol is None:
        raise InputError(
            f"Smoothed models such as '{submission.slug}' are not part of {setting.id}."
        )
    return Question(
        dataset=setting.dataset,
        norm=setting.norm,
        radius=setting.radius,
        seconds=request.seconds or setting.seconds,
        evaluator=request.evaluator,
        options=tuple(sorted(protocol.model_dump().items())) if protocol else (),
        distribution=smoothing.distribution if smoothing else None,
        sigma=smoothing.scale if smoothing else None,
        seed_text=setting.id,
        model=path,
        model_sha256=sha256_of(path),
        device=request.device,
    )


def _answers(target: Path, digest: str) -> bool:
    """Whether a complete result for the same question is stored."""
    return target.exists() and read_provenance(target).fingerprint == digest


def execute(
    plan: Plan, workers: str, fresh: bool, progress: Callable[[pd.DataFrame, bool], None]
) -> Results:
    """Compute what is missing, then join the shards into the result file.

    `progress` is called with the rows of every shard, and whether they were already there.

    Raises:
        InputError: nothing can be written; what was finished stays.
    """
    if fresh:
        plan.clear()
    missing = plan.missing
    for shard in plan.shards:
        if shard not in missing:
            progress(read(plan.part(shard)).rows, True)
    provenance = describe(
        plan.question, plan.submission, plan.setting.id, plan.selection, plan.fingerprint, workers
    )
    for shard, rows in _computed(plan, missing, workers):
        write(plan.part(shard), rows, provenance)
        progress(rows, False)
    rows = pd.concat([read(plan.part(shard)).rows for shard in plan.shards], ignore_index=True)
    if rows["example"].tolist() != plan.examples:
        raise InputError(f"{plan.parts}: the shards do not fit together; run again with --fresh.")
    write(plan.target, rows, provenance)
    plan.clear()
    return Results(plan.target, rows, provenance)


def _computed(
    plan: Plan, missing: list[Shard], workers: str
) -> Iterator[tuple[Shard, pd.DataFrame]]:
    for shard, rows in run_shards(missing, workers):
        rows.insert(0, "submission", plan.submission)
        rows.insert(1, "setting", plan.setting.id)
        yield shard, rows[list(COLUMNS)]
