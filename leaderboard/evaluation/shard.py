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
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import evaluators
from evaluators.cascade import Cascade, default_stages
from evaluators.deterministic.crown_ibp import CrownIBP
from evaluators.evaluator import PREDICTION as PREDICTION
from evaluators.evaluator import Evaluator, clean_margins
from evaluators.listing import catalogue
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.numerics.errors import ContradictionError
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Deployment, Sampling, Status, Verdict
from evaluators.sampling.cost import estimate
from evaluators.spot_check import disagreement
from leaderboard.common.devices import devices_of
from leaderboard.common.errors import BugError, InputError, WithdrawnError, unknown_name
from leaderboard.datasets.catalogue import load_split as load_split
from leaderboard.evaluation.evidence import write_part
from leaderboard.evaluation.networks import network_of
from leaderboard.evaluation.smoothing import make_smoothing
from leaderboard.results.columns import plain
from leaderboard.results.store import frame
from leaderboard.settings.question import Question, Shard, shards
from leaderboard.settings.setting import exact_text

AnyEvaluator = Evaluator | Cascade

ROUNDING = "proved in real arithmetic only: the rounding of a float32 run may exceed the margin"
"""The note of an example that is proved, but not as it is deployed."""


def evaluate(shard: Shard) -> pd.DataFrame:
    """The rows of one shard, without the columns `submission` and `setting`.

    Raises:
        InputError: the model or the data cannot be used.
        BugError: an evaluator contradicts another, or itself; nothing may be stored.
        WithdrawnError: the deployed model contradicts a proof; nothing may be stored either.
    """
    question = shard.question
    split = load_split(question.dataset)
    network = network_of(question)
    device, *others = map(torch.device, devices_of(question.device))
    problem = Problem(
        network,
        torch.from_numpy(split.images(shard.examples)).to(device),
        torch.from_numpy(split.labels_of(shard.examples)).to(device),
        Ball(Norm(question.norm), question.radius),
        question.seconds,
        shard.examples,
        question.seed,
        evidence=question.evidence is not None,
        devices=tuple(others),
    )
    evaluator = make_evaluator(question, network)
    try:
        verdicts = evaluator(problem)
    except ContradictionError as error:
        raise BugError(str(error)) from error
    if found := disagreement(problem, verdicts, question.salt):
        raise WithdrawnError(f"{question.model}: the evaluation is withdrawn: {found}.")
    verdicts = in_real_arithmetic(problem, verdicts)
    write_part(question, problem, verdicts)
    return to_rows(problem, evaluator, verdicts)


def in_real_arithmetic(problem: Problem, verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts; of unknown examples those are marked that cheap bounds prove, but for rounding.

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
        if found.status is Status.CERTIFIED:
            marked[row] = replace(verdicts[row], deployment=Deployment.REAL, note=ROUNDING)
    return marked


def make_evaluator(question: Question, network: Network | SmoothedNetwork) -> AnyEvaluator:
    """The evaluator that a question asks for.

    Raises:
        InputError: there is none of this name, it does not apply to this kind of model, or it has
            no such option.
    """
    evaluator = evaluator_asked(question)
    if not isinstance(evaluator, Cascade) and not isinstance(network, evaluator.accepts):
        fitting = [n for n, e in catalogue().items() if isinstance(network, e.accepts)]
        raise InputError(
            f"The evaluator '{question.evaluator}' needs a smoothed model (--sigma); for this"
            f" model: {', '.join(fitting)}."
        )
    return evaluator


def evaluator_asked(question: Question) -> AnyEvaluator:
    """The evaluator that a question names, without a look at the model.

    Raises:
        InputError: there is none of this name, or it has no such option.
    """
    name = question.evaluator
    if question.sigma is not None and question.distribution is not None:
        if name == Cascade.name():
            raise InputError("The cascade is for plain networks; leave --evaluator out.")
        return make_smoothing(question)
    if name is None or name == Cascade.name():
        return Cascade(default_stages(question.complete))
    if name not in catalogue():
        raise unknown_name("evaluator", name, [*catalogue(), Cascade.name()])
    return catalogue()[name]()


def stages_of(evaluator: AnyEvaluator) -> dict[str, bool]:
    """What may decide an example, by name, and whether it can prove anything."""
    stages = evaluator.stages if isinstance(evaluator, Cascade) else (evaluator,)
    return {stage.name(): stage.certifies for stage in stages}


def can_certify(question: Question) -> bool:
    """Whether the evaluator that a question asks for can prove anything; an attack cannot."""
    evaluator = make_evaluator(question, network_of(question))
    return isinstance(evaluator, Cascade) or evaluator.certifies


def cut(question: Question, examples: Sequence[int]) -> list[Shard]:
    """The shards in which a question is asked about examples."""
    shape = load_split(question.dataset).shape
    return list(shards(question, examples, shape, _longest(question)))


def uses_time(question: Question) -> bool:
    """Whether an example may use up its time budget."""
    return make_evaluator(question, network_of(question)).complete


def _longest(question: Question) -> float:
    """Seconds that an example may take, as far as they are known beforehand; else 0."""
    if uses_time(question):
        return question.seconds
    cost = forecast(question, load_split(question.dataset).examples[:1])
    return 0.0 if cost is None else cost[1]


def phases(question: Question) -> list[Question]:
    """The question as it is put to the cheap methods, then to each complete one by itself."""
    evaluator = make_evaluator(question, network_of(question))
    if not isinstance(evaluator, Cascade):
        return [question]
    complete = [stage.name() for stage in evaluator.stages if stage.complete]
    cheap = replace(question, complete=False)
    return [cheap, *(replace(question, evaluator=name) for name in complete)]


def forecast(question: Question, examples: Sequence[int]) -> tuple[int, float] | None:
    """Samples that a smoothed model needs at most, and the seconds they take in this process.

    Measured on one block of noisy copies of one example; None where nothing is sampled.
    """
    if question.sigma is None or not examples:
        return None
    one = _forecast_of_one(question)
    return None if one is None else (one[0] * len(examples), one[1] * len(examples))


@lru_cache(maxsize=4)
def _forecast_of_one(question: Question) -> tuple[int, float] | None:
    network = network_of(question)
    split = load_split(question.dataset)
    first = tuple(split.examples[:1])
    device = torch.device(devices_of(question.device)[0])
    problem = Problem(
        network,
        torch.from_numpy(split.images(first)).to(device),
        torch.from_numpy(split.labels_of(first)).to(device),
        Ball(Norm(question.norm), question.radius),
        question.seconds,
        first,
        question.seed,
    )
    evaluator = make_evaluator(question, network)
    assert isinstance(evaluator, Evaluator)
    cost = estimate(problem, evaluator)
    return None if cost is None else (cost.samples, cost.seconds)


def margins_at(question: Question, examples: Sequence[int]) -> list[float]:
    """The margin of each example itself: a hint, no proof."""
    split = load_split(question.dataset)
    device = devices_of(question.device)[0]
    x = torch.from_numpy(split.images(examples)).to(device)
    labels = torch.from_numpy(split.labels_of(examples)).to(device)
    network = network_of(question)
    assert isinstance(network, Network)
    return clean_margins(network, x, labels)


def smallest_ball(question: Question, example: int, witness: bytes, grid: int) -> int:
    """The least k for which the ball of k/grid of the question's radius holds the witness."""
    image = torch.from_numpy(load_split(question.dataset).images((example,)))[0]
    point = torch.frombuffer(bytearray(witness), dtype=torch.float32).reshape(image.shape)
    return Ball(Norm(question.norm), question.radius).smallest(image, point, grid)


def to_rows(problem: Problem, evaluator: AnyEvaluator, verdicts: list[Verdict]) -> pd.DataFrame:
    """Verdicts as rows of the result store."""
    smoothed = isinstance(problem.network, SmoothedNetwork)
    records = []
    labels = problem.labels.tolist()
    for example, label, verdict in zip(problem.examples, labels, verdicts, strict=True):
        sampling = verdict.sampling
        witness = verdict.witness
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
                "witness": None if witness is None else witness_bytes(witness),
            }
        )
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


def witness_bytes(witness: torch.Tensor) -> bytes:
    """Little-endian float32 of an input."""
    return witness.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes()


@cache
def code_digest() -> str:
    """A hash of the evaluators' sources: shards made by other code are not gone on with."""
    digest = hashlib.sha256()
    folder = Path(next(iter(evaluators.__path__)))
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def fingerprint(
    question: Question, examples: list[int], data_sha256: str, device: str | None = None
) -> str:
    """A hash of all that the rows depend on, the evaluators' version but not their code.

    `device` is the kind, cpu or cuda, where it is not the question's own.
    """
    evaluator = evaluator_asked(question)
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
        "device": device or torch.device(devices_of(question.device)[0]).type,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def evaluator_entries() -> list[dict[str, Any]]:
    """The catalogue for `certboard list evaluators`."""
    stages = [stage.name() for stage in default_stages()]
    return [
        {
            "name": name,
            "version": evaluator.version,
            "models": "smoothed" if evaluator.accepts is SmoothedNetwork else "plain",
            "proves": evaluator.certifies,
            "cascade": stages.index(name) + 1 if name in stages else None,
            "title": evaluator.title,
        }
        for name, evaluator in catalogue().items()
    ]
