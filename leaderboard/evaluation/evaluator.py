"""Which evaluator a question asks for, and what that one can do.

What a plain network does not need, such as the smoothing evaluators, is imported where it is asked
for.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

from evaluators.cascade import Cascade, default_stages
from evaluators.evaluator import Evaluator
from evaluators.listing import catalogue, find_evaluator
from evaluators.network.ensemble import SmoothedNetwork
from leaderboard.common.errors import InputError, unknown_name
from leaderboard.common.formatting import plural
from leaderboard.datasets.catalogue import find_dataset
from leaderboard.settings.question import Options, Question, Stages

AnyEvaluator = Evaluator | Cascade


def evaluator_of(question: Question) -> AnyEvaluator:
    """Return the evaluator that a question asks for.

    It holds nothing but its options, so that questions that ask for the same one share it.

    Raises:
        InputError: there is none of this name, it does not apply to this kind of model, or it has
            no such option.
    """
    if question.distribution is None:
        return plain_evaluator(question.evaluator, question.complete)
    noise, norm = question.distribution, question.norm
    return _smoothing_evaluator(question.evaluator, noise, norm, question.options)


def check_samples(question: Question) -> None:
    """Refuse fewer samples than could certify anything, before any are drawn.

    Raises:
        InputError: even if all samples vote for one class, its probability is not proved.
    """
    if question.distribution is None:
        return
    from evaluators.smoothing.evaluator import SmoothingEvaluator

    evaluator = evaluator_of(question)
    if not isinstance(evaluator, SmoothingEvaluator):
        return
    least = evaluator.least_samples(len(find_dataset(question.dataset).classes))
    if evaluator.n < least:
        raise InputError(
            f"With {plural(evaluator.n, 'sample')} nothing can be certified at a failure"
            f" probability of {evaluator.failure_probability:g}; at least {least:,} are needed."
        )


@lru_cache
def plain_evaluator(name: str | None, complete: bool) -> AnyEvaluator:
    """Return the evaluator of a plain network; None stands for the cascade.

    Raises:
        InputError: there is none of this name, or it needs a smoothed model.
    """
    if name is None or name == Cascade.name():
        return Cascade(default_stages(complete))
    kind = find_evaluator(name)
    if kind is None:
        raise unknown_name("evaluator", name, [*catalogue(), Cascade.name()])
    if kind.accepts is SmoothedNetwork:
        fitting = [n for n, one in catalogue().items() if one.accepts is not SmoothedNetwork]
        raise InputError(
            f"The evaluator '{name}' needs a smoothed model (--sigma); for this model:"
            f" {', '.join(fitting)}."
        )
    return kind()


@lru_cache
def _smoothing_evaluator(name: str | None, noise: str, norm: str, options: Options) -> AnyEvaluator:
    if name == Cascade.name():
        raise InputError("The cascade is for plain networks; leave --evaluator out.")
    from leaderboard.evaluation.smoothing import make_smoothing

    return make_smoothing(name, noise=noise, norm=norm, options=options)


def stages_of(evaluator: AnyEvaluator) -> dict[str, bool]:
    """Name what may decide an example, and say of each whether it can prove anything."""
    return {stage.name(): stage.certifies for stage in _stages(evaluator)}


def _stages(evaluator: AnyEvaluator) -> tuple[Evaluator, ...]:
    return evaluator.stages if isinstance(evaluator, Cascade) else (evaluator,)


def attack_of_cascade() -> str:
    """Name the stage of the cascade that only refutes."""
    return next(stage.name() for stage in default_stages() if not stage.certifies)


def modules_of(question: Question) -> tuple[str, ...]:
    """List the modules of the methods that answer a question."""
    return tuple(sorted({type(stage).__module__ for stage in _stages(evaluator_of(question))}))


def can_certify(question: Question) -> bool:
    """Say whether the evaluator that a question asks for can prove anything; an attack cannot."""
    return any(stages_of(evaluator_of(question)).values())


def uses_time(question: Question) -> bool:
    """Say whether an example may use up its time budget."""
    return evaluator_of(question).complete


def has_halves(question: Question) -> bool:
    """Say whether cheap methods and complete ones answer a question, so that each can be asked."""
    evaluator = evaluator_of(question)
    return isinstance(evaluator, Cascade) and all(half.stages for half in evaluator.halves())


def evaluator_for(question: Question, stages: Stages) -> AnyEvaluator:
    """Return the evaluator of a question, or the half of it that is asked."""
    evaluator = evaluator_of(question)
    if stages == "all" or not isinstance(evaluator, Cascade):
        return evaluator
    return evaluator.halves()[("cheap", "complete").index(stages)]


def phases(question: Question) -> list[Question]:
    """List the question as it is put to the cheap methods, then to each complete one by itself."""
    evaluator = evaluator_of(question)
    if not isinstance(evaluator, Cascade):
        return [question]
    complete = [stage.name() for stage in evaluator.stages if stage.complete]
    cheap = replace(question, complete=False)
    return [cheap, *(replace(question, evaluator=name) for name in complete)]


def evaluator_entries() -> list[dict[str, Any]]:
    """List the catalogue for `certboard list evaluators`."""
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
