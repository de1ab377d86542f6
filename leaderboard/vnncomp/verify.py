"""Verify: an ONNX network and a VNN-LIB property in, VNN-COMP's answer out."""

import time

from evaluators.cascade import Cascade
from evaluators.evaluator import Evaluator
from evaluators.listing import catalogue
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline, wall_time
from evaluators.numerics.errors import (
    ContradictionError,
    UnsupportedModelError,
    UnsupportedSpecificationError,
)
from evaluators.onnx.file import MAX_BYTES
from evaluators.onnx.one_file import merged
from evaluators.onnx.reader import Contract, import_bytes
from evaluators.onnx.runtime import Runtime
from evaluators.properties.boxes import sample_inputs
from evaluators.properties.decision import PropertyDecision, decide
from evaluators.question.verdict import Status
from leaderboard.common.errors import BugError, InputError, unknown_name
from leaderboard.common.packed import read_packed
from leaderboard.vnncomp.counterexample import counterexample_text
from leaderboard.vnncomp.instance import Answer, Instance, Word
from leaderboard.vnncomp.vnnlib import read_vnnlib

_WORDS = {Status.CERTIFIED: Word.UNSAT, Status.FALSIFIED: Word.SAT, Status.UNKNOWN: Word.UNKNOWN}


def verify(instance: Instance, until: float) -> Answer:
    """Answer one instance until a time on the monotonic clock.

    Its parts have budgets of processor time, which other work on the machine takes nothing from.

    Raises:
        InputError: the files cannot be used.
        BugError: two evaluators contradict each other.
    """
    stages = find_stages(instance.evaluator)
    specification = read_vnnlib(instance.specification)
    data = read_packed(instance.model, MAX_BYTES)
    try:
        samples = sample_inputs(specification.cases[0].box)
        data = merged(data, instance.model)
        network = import_bytes(data, instance.model, samples, Contract(free=True))
        left = until - time.monotonic()
        deadline = Deadline(left, until=wall_time() + left)
        decision = decide(network, Runtime(data), specification, deadline, stages)
    except UnsupportedModelError as error:
        raise InputError(*error.problems) from error
    except UnsupportedSpecificationError as error:
        raise InputError(f"{instance.specification.name}: {error}") from error
    except ContradictionError as error:
        raise BugError(str(error)) from error
    return _answer(decision, deadline)


def _answer(decision: PropertyDecision, deadline: Deadline) -> Answer:
    """Say a decision in VNN-COMP's words."""
    late = decision.status is Status.UNKNOWN and deadline.passed
    word = Word.TIMEOUT if late else _WORDS[decision.status]
    found = decision.counterexample
    return Answer(word, counterexample_text(found) if found else "", decision.note)


def find_stages(name: str | None) -> tuple[Evaluator, ...] | None:
    """Return the evaluators to ask, in order; None for the default cascade.

    Raises:
        InputError: there is none of this name for plain networks.
    """
    if name is None or name == Cascade.name():
        return None
    fitting = {n: e for n, e in catalogue().items() if e.accepts is Network}
    if name not in fitting:
        raise unknown_name("evaluator for plain networks", name, [*fitting, Cascade.name()])
    return (fitting[name](),)
