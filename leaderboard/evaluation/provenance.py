"""The record of how rows were made: versions, machine, hashes, options."""

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from leaderboard.common.devices import devices_of, kind_of
from leaderboard.common.version import CHECKOUT, commit_of
from leaderboard.datasets.catalogue import find_dataset, load_split
from leaderboard.evaluation.evaluator import evaluator_of
from leaderboard.evaluation.networks import notes_of, parameters_of
from leaderboard.evaluation.shares import Share
from leaderboard.results.store import Provenance
from leaderboard.settings.question import Question

SHARD = "shard"
"""The option that tells a share, in the finished shards of one."""


def describe(
    question: Question,
    *,
    submission: str,
    setting: str,
    selection: str,
    fingerprint: str,
    workers: str,
    share: Share | None = None,
) -> Provenance:
    """Describe how rows that answer `question`, or a share of them, are made, now and here."""
    split = load_split(question.dataset)
    evaluator = evaluator_of(question)
    options = {**evaluator.options(), "seconds": question.seconds, "workers": workers}
    if share is not None:
        options[SHARD] = str(share)
    return Provenance(
        submission=submission,
        setting=setting,
        evaluator=evaluator.name(),
        evaluator_version=evaluator.version,
        model_sha256=question.model_sha256,
        data_sha256=split.sha256,
        data_complete=split.complete,
        data_note=split.note,
        examples=selection,
        total=find_dataset(question.dataset).test_size,
        code_version=version("certboard"),
        commit=commit_of(CHECKOUT),
        options=options,
        machine=f"{platform.system()} {platform.machine()}, {_processor()}",
        python=platform.python_version(),
        torch=torch.__version__,
        device=_device_name(question.device),
        threads=torch.get_num_threads(),
        seed=str(question.seed),
        distribution=question.distribution,
        salt=question.salt,
        noise_salt=question.noise_salt,
        parameters=parameters_of(_files(question)),
        model_note=" ".join(notes_of(question)),
        fingerprint=fingerprint,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _files(question: Question) -> list[Path]:
    return [part.path for part in question.parts] or [question.model]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def _device_name(device: str) -> str:
    if kind_of(device) == "cpu":
        return "cpu"
    here = devices_of(device) if torch.cuda.is_available() else ()
    # A cluster's devices cannot be seen from here.
    return str(torch.cuda.get_device_name(here[0])) if here else "cuda"
