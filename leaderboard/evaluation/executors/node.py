"""What a machine that is not this one needs to compute a shard: code, model and data."""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from leaderboard.common.devices import devices_of
from leaderboard.common.errors import InputError
from leaderboard.common.memory import keep_freed_memory, memory
from leaderboard.datasets.catalogue import lend, load_split
from leaderboard.datasets.files import sha256_of
from leaderboard.datasets.split import ArraySplit
from leaderboard.evaluation.evidence import part_of
from leaderboard.evaluation.executors.shared import Work
from leaderboard.evaluation.sources import code_digest
from leaderboard.settings.question import Question, Shard

if TYPE_CHECKING:
    import pandas as pd

Models = Mapping[Path, bytes]
"""The files of a question's model, by their places on the machine that asks."""

Sent = Callable[[], ArraySplit]
"""Brings the test split of a question's dataset from the machine that asks."""


@dataclass(frozen=True)
class Task:
    """A shard on its way to another machine.

    Attributes:
        work: what computes it.
        memory: bytes that the asking machine was told to stay within; None for what there is.
        code: the digest of all that decides rows on the asking machine.
        data: the digest of the dataset's test split there.
    """

    work: Work
    shard: Shard
    memory: int | None
    code: str
    data: str


@dataclass(frozen=True)
class Reply:
    """What came of it: rows, their evidence and the device that made them, or what went wrong."""

    rows: "pd.DataFrame | None" = None
    evidence: bytes | None = None
    device: str = ""
    error: Exception | None = None


def task_of(work: Work, shard: Shard, total: int | None) -> Task:
    """Make the task of a shard, with what this machine computes with."""
    return Task(work, shard, total, code_digest(shard.question), _digest(shard.question.dataset))


def files_of(question: Question) -> list[Path]:
    """List the files of a question's model."""
    return [part.path for part in question.parts] or [question.model]


def compute(task: Task, models: Models, node: str, sent: Sent | None = None) -> Reply:
    """Compute a shard here, on a machine called `node`; every exception becomes an answer.

    Data are those of this machine; where it has none, or others, what is `sent`.
    """
    keep_freed_memory()
    try:
        _check(task, node, sent)
        question = _with_models(task.shard.question, models)
        wanted = question.evidence is not None
        shard = replace(
            task.shard, question=replace(question, evidence=_folder() if wanted else None)
        )
        with memory(task.memory):
            rows = task.work(shard)
        evidence = part_of(_folder(), shard.name).read_bytes() if wanted else None
        return Reply(rows, evidence, _device_name(question.device))
    except Exception as error:
        return Reply(error=error)


def keep_evidence(shard: Shard, answer: Reply) -> None:
    """Write the evidence of a shard, which came with its rows, where it is wanted.

    Raises:
        InputError: it cannot be written.
    """
    if shard.question.evidence is None or answer.evidence is None:
        return
    place = part_of(shard.question.evidence, shard.name)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(answer.evidence)
    except OSError as error:
        raise InputError(f"{place}: cannot be written ({error.strerror or error}).") from error


def _check(task: Task, node: str, sent: Sent | None) -> None:
    if code_digest(task.shard.question) != task.code:
        raise InputError(
            f"The node {node} has other code of certboard, or another version of PyTorch, NumPy,"
            " SciPy or onnxruntime, than this machine: their rows are not mixed. Install the same."
        )
    _check_data(task, node, sent)
    if task.shard.question.device != "cpu" and not devices_of("cuda"):
        raise InputError(f"The node {node} was to compute on a GPU, but PyTorch finds none there.")


def _check_data(task: Task, node: str, sent: Sent | None) -> None:
    """Refuse data that are not those of the asking machine; what was sent takes their place."""
    name = task.shard.question.dataset
    try:
        if _digest(name) == task.data:
            return
        problems: tuple[str, ...] = (f"it has other test data of {name} than this machine.",)
    except InputError as error:
        problems = error.problems
    if sent is None:
        raise InputError(*(f"The node {node}: {problem}" for problem in problems))
    lend(name, sent())
    _digest.cache_clear()
    if _digest(name) != task.data:
        raise InputError(f"The node {node}: the test data of {name} were damaged on their way.")


@cache
def _digest(dataset: str) -> str:
    return load_split(dataset).sha256


def _with_models(question: Question, models: Models) -> Question:
    """The question about the files as they lie here, which are written where there are none."""
    here = {path: _here(path, content) for path, content in models.items()}
    parts = tuple(replace(part, path=here[part.path]) for part in question.parts)
    return replace(question, model=here.get(question.model, question.model), parts=parts)


def _here(path: Path, content: bytes) -> Path:
    sha256 = hashlib.sha256(content).hexdigest()
    if path.is_file() and sha256_of(path) == sha256:
        return path
    place = _folder() / f"{sha256}.onnx"
    if not place.is_file():
        place.write_bytes(content)
    return place


@cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    """A folder of this process alone, which goes with it."""
    return tempfile.TemporaryDirectory(prefix="certboard-")


def _folder() -> Path:
    return Path(_kept().name)


def _device_name(device: str) -> str:
    return "cpu" if device == "cpu" else str(torch.cuda.get_device_name(devices_of(device)[0]))
