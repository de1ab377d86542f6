"""Evaluate: a model and a setting in, rows out. The place where the two packages meet
(files of evidence apart, which `evidence.py` writes and reads).

Work is cut into shards of examples, each written when it is done; a run that is killed loses at
most the shard in flight and, started again, goes on behind the last one. A shard's rows depend on
nothing but the model, the setting and the shard, so they are the same in any order, on any number
of workers, and after any number of interruptions (seconds aside).
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from evaluators.cascade import SPENT as SPENT
from evaluators.cascade import after
from evaluators.deterministic.crown_ibp import CrownIBP
from evaluators.evaluator import PREDICTION as PREDICTION
from evaluators.evaluator import clean_margins
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.numerics.errors import ContradictionError
from evaluators.numerics.memory import limit_device
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import (
    Deployment,
    Sampling,
    Status,
    Verdict,
    charged,
    charged_in_all,
)
from evaluators.spot_check import disagreement
from leaderboard.common.devices import devices_of, kind_of
from leaderboard.common.errors import BugError, InputError, WithdrawnError
from leaderboard.datasets.catalogue import load_split
from leaderboard.evaluation.evaluator import AnyEvaluator, evaluator_for, evaluator_of
from leaderboard.evaluation.evidence import is_misread, write_part
from leaderboard.evaluation.networks import network_of
from leaderboard.evaluation.radius_bracket import RadiusScale
from leaderboard.evaluation.short_witness import stored_witnesses
from leaderboard.evaluation.sources import code_digest
from leaderboard.results.columns import plain
from leaderboard.results.witness import point_of
from leaderboard.settings.question import Question, Shard
from leaderboard.settings.setting import exact_text

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = "proved in real arithmetic only: the rounding of a float32 run may exceed the margin"
"""The note of an example that is proved, but not as it is deployed."""


def evaluate(shard: Shard) -> "pd.DataFrame":
    """Evaluate one shard; the rows lack the columns `submission` and `setting`.

    What is raised knows its shard (`shard_of`), also in another process.

    Raises:
        InputError: the model or the data cannot be used, or other code is asked for.
        BugError: an evaluator contradicts another, or itself; nothing may be stored.
        WithdrawnError: the deployed model contradicts a proof; nothing may be stored either.
    """
    try:
        return _evaluated(shard)
    except (BugError, InputError, WithdrawnError) as error:
        vars(error)["shard"] = shard
        raise


def shard_of(error: Exception) -> Shard | None:
    """Return the shard whose evaluation ended in an error, if it is one of a shard."""
    found = vars(error).get("shard")
    return found if isinstance(found, Shard) else None


def _evaluated(shard: Shard) -> "pd.DataFrame":
    question = shard.question
    if question.code and question.code != code_digest(question):
        raise InputError(
            "The code or a library here is not the one that this evaluation began with, and rows of"
            " two versions are not mixed: run again, with one version everywhere."
        )
    problem = problem_of(shard)
    evaluator = evaluator_for(question, shard.stages)
    try:
        work, verdicts = problem.stopwatch(), evaluator(problem)
    except ContradictionError as error:
        raise BugError(str(error)) from error
    verdicts = _spot_checked(shard, problem, verdicts)
    before = [Verdict(Status.UNKNOWN, None, margin=one.margin) for one in shard.opened]
    verdicts = [*map(after, before, verdicts)] if before else verdicts
    # What the cheap stages leave open is not answered yet.
    if shard.stages != "cheap":
        verdicts = in_real_arithmetic(problem, verdicts)
    verdicts = charged_in_all(verdicts, work.spent)
    for row, one in enumerate(shard.opened):
        verdicts[row] = replace(verdicts[row], seconds=one.seconds + verdicts[row].seconds)
    write_part(shard, problem, verdicts)
    return to_rows(problem, evaluator_of(question), verdicts)


def _spot_checked(shard: Shard, problem: Problem, verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts, of which those that are checked where the model is deployed pay for it."""
    work, question = problem.stopwatch(), shard.question
    if found := disagreement(problem, verdicts, question.salt):
        raise WithdrawnError(f"{question.model}: the evaluation is withdrawn: {found}.")
    proved = [verdict for verdict in verdicts if verdict.status is Status.CERTIFIED]
    paid = iter(charged(proved, work.spent))
    return [next(paid) if its.status is Status.CERTIFIED else its for its in verdicts]


def problem_of(shard: Shard) -> Problem:
    """Return what evaluators are asked about a shard: its network, images, labels and ball.

    Raises:
        InputError: the model or the data cannot be used.
    """
    question, split = shard.question, load_split(shard.question.dataset)
    device, *others = map(torch.device, devices_of(question.device))
    for each in (device, *others):
        limit_device(each)
    return Problem(
        network_of(question),
        torch.from_numpy(split.images(shard.examples)).to(device),
        torch.from_numpy(split.labels_of(shard.examples)).to(device),
        Ball(Norm(question.norm), question.radius),
        seconds=question.seconds,
        examples=shard.examples,
        seed=question.seed,
        evidence=question.evidence is not None,
        devices=tuple(others),
    )


def in_real_arithmetic(problem: Problem, verdicts: list[Verdict]) -> list[Verdict]:
    """Mark the unknown examples that cheap bounds prove, but for the rounding of deployment.

    A reader then sees that it is the deployed arithmetic, not the network, that is in doubt.
    """
    # Without a bound there was a failure, or an attack alone, and its note says more.
    rows = [
        row
        for row, verdict in enumerate(verdicts)
        if verdict.status is Status.UNKNOWN and verdict.margin is not None
    ]
    if not isinstance(problem.network, Network) or not rows:
        return verdicts
    asked = replace(problem.select(rows), deployed=False, evidence=False)
    marked = list(verdicts)
    for row, found in zip(rows, CrownIBP()(asked), strict=True):
        marked[row] = replace(verdicts[row], seconds=verdicts[row].seconds + found.seconds)
        if found.status is Status.CERTIFIED:
            marked[row] = replace(marked[row], deployment=Deployment.REAL, note=ROUNDING)
    return marked


def margins_at(question: Question, examples: Sequence[int]) -> list[float]:
    """Compute the margin of each example itself: a hint, no proof."""
    split = load_split(question.dataset)
    device = devices_of(question.device)[0]
    x = torch.from_numpy(split.images(examples)).to(device)
    labels = torch.from_numpy(split.labels_of(examples)).to(device)
    network = network_of(question)
    assert isinstance(network, Network)
    return clean_margins(network, x, labels)


def smallest_ball(
    question: Question, example: int, witness: bytes | None, scale: RadiusScale
) -> int:
    """Find the least radius of the scale whose ball holds the witness.

    None is the example itself, as in the rows.
    """
    if witness is None:
        return 1
    image = torch.from_numpy(load_split(question.dataset).images((example,)))[0]
    point = torch.from_numpy(point_of(witness, image.numpy()))
    ball = Ball(Norm(question.norm), question.radius)
    return ball.smallest(image, point, scale.radius, scale.number)


def to_rows(problem: Problem, evaluator: AnyEvaluator, verdicts: list[Verdict]) -> "pd.DataFrame":
    """Write verdicts as rows of the result store."""
    smoothed = isinstance(problem.network, SmoothedNetwork)
    found = {
        row: verdict.witness
        for row, verdict in enumerate(verdicts)
        if verdict.witness is not None and not is_misread(problem, row, verdict)
    }
    stored = stored_witnesses(problem, found)
    records = []
    labels = problem.labels.tolist()
    columns = zip(problem.examples, labels, verdicts, strict=True)
    for row, (example, label, verdict) in enumerate(columns):
        sampling = verdict.sampling
        records.append(
            {
                "evaluator": evaluator.name(),
                "evaluator_version": evaluator.version,
                "example": example,
                "label": label,
                "prediction": verdict.prediction,
                "status": verdict.status.value,
                "radius": exact_text(verdict.radius) if verdict.radius else None,
                "confidence": verdict.confidence,
                "margin": _finite(verdict.margin),
                "deployment": verdict.deployment and verdict.deployment.value,
                "seconds": round(verdict.seconds, 6),
                "stage": verdict.stage,
                "note": plain(verdict.note),
                **_sampled(sampling),
                "sigma": exact_text(problem.network.scale)
                if isinstance(problem.network, SmoothedNetwork)
                else None,
                "seed": str(problem.seed) if smoothed else None,
                "witness": stored.get(row),
            }
        )
    # Here, for it imports pyarrow and pandas: bounds need not wait for them.
    from leaderboard.results.store import frame

    return frame(records)


_SAMPLED = ("n0", "n", "count", "p_lower", "procedure", "p_upper", "runner_up")


def _sampled(sampling: Sampling | None) -> dict[str, Any]:
    """The columns of a smoothed model's evidence; all null where nothing was sampled."""
    if sampling is None:
        return dict.fromkeys((*_SAMPLED, "statistics"))
    told = {
        "classes": getattr(sampling, "classes", 0),
        "noise": getattr(sampling, "noise", "shared"),
        **dict(getattr(sampling, "statistics", ())),
    }
    columns = {name: getattr(sampling, name, None) for name in _SAMPLED}
    return {**columns, "statistics": json.dumps(told, sort_keys=True)}


def _finite(margin: float | None) -> float | None:
    """A bound that overflowed says nothing."""
    return margin if margin is not None and math.isfinite(margin) else None


def fingerprint(
    question: Question, examples: list[int], data_sha256: str, device: str | None = None
) -> str:
    """Hash all that the rows depend on: the evaluators' version, but not their code (`sources`).

    `device` is the kind, cpu or cuda, where it is not the question's own.
    """
    evaluator = evaluator_of(question)
    parts = {
        "model": question.model_sha256,
        "data": data_sha256,
        "norm": question.norm,
        "radius": str(question.radius),
        "seconds": question.seconds,
        "evaluator": [evaluator.name(), evaluator.version, evaluator.options()],
        "noise": [question.distribution, str(question.sigma)],
        "seed": question.seed,
        "examples": examples,
        "device": device or kind_of(question.device),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
