"""What may be asked of a smoothed model: the evaluators' own lists, and which of them fit together.

Nothing is listed here a second time. Reading the lists imports PyTorch, so this module is imported
where a smoothed model is at hand, and not before.
"""

from dataclasses import fields
from functools import cache
from typing import Any, get_args

from evaluators.evaluator import Evaluator
from evaluators.listing import catalogue
from evaluators.network.ensemble import Combination, SmoothedNetwork
from evaluators.noises import distributions
from evaluators.question.norm import Norm
from evaluators.smoothing.evaluator import PROCEDURES, SmoothingEvaluator
from leaderboard.common.errors import InputError, unknown_name
from leaderboard.settings.question import Options


@cache
def noises() -> dict[str, tuple[str, ...]]:
    """Return the norms in which each noise certifies, its own first, by the name of the noise."""
    found = {name: tuple(map(str, one.norms)) for name, one in distributions().items()}
    for kind in _kinds().values():
        if not issubclass(kind, SmoothingEvaluator):
            # An exact evaluator samples nothing: its noises are no distributions.
            found |= dict.fromkeys(_made_for(kind), tuple(map(str, getattr(kind, "norms", ()))))
    return dict(sorted(found.items()))


def _kinds() -> dict[str, type[Evaluator]]:
    return {name: kind for name, kind in catalogue().items() if kind.accepts is SmoothedNetwork}


def _made_for(kind: type[Evaluator]) -> tuple[str, ...]:
    """The noises that an evaluator is for; none stands for any that its certificate supports."""
    if issubclass(kind, SmoothingEvaluator):
        return () if kind.only is None else (kind.only,)
    return tuple(getattr(kind, "noises", ()))


def rules() -> tuple[str, ...]:
    """Return the ways to combine the answers of an ensemble."""
    return get_args(Combination)


def procedures() -> list[str]:
    """List the ways to spend samples."""
    return list(PROCEDURES)


def make_smoothing(name: str | None, *, noise: str, norm: str, options: Options) -> Evaluator:
    """Return the evaluator of a smoothed model.

    Args:
        name: of the catalogue; None for the noise's own.
        noise: the distribution's name.
        norm: of the ball.
        options: those that the evaluator does not have are left out, for an exact one has no
            samples to count.

    Raises:
        InputError: there is none of this name, or it has no certificate for this noise and norm,
            or no such procedure, or one that does not give what this evaluator needs.
    """
    if noise not in noises():
        raise unknown_name("noise", noise, noises())
    if norm not in noises()[noise]:
        raise InputError(
            f"No certificate is known for {noise} noise in {norm}; its norms are"
            f" {', '.join(noises()[noise])}."
        )
    kind = _kind(name, noise, norm)
    own = {field.name for field in fields(kind)}
    given: dict[str, Any] = {option: value for option, value in options if option in own}
    if (procedure := given.get("procedure", "fixed")) not in PROCEDURES:
        raise unknown_name("procedure", str(procedure), PROCEDURES)
    first_order = issubclass(kind, SmoothingEvaluator) and kind.certificate.first_order
    if first_order and not PROCEDURES[str(procedure)].moments:
        able = " or ".join(f"'{one}'" for one, it in PROCEDURES.items() if it.moments)
        raise InputError(
            f"The evaluator '{kind.name()}' needs the procedure {able}, not '{procedure}': its"
            " bound of the gradient is about a number of samples that is fixed beforehand."
        )
    return kind(**given)


def _kind(name: str | None, noise: str, norm: str) -> type[Evaluator]:
    """The class of the evaluator that is named, or is the noise's own."""
    fitting = _fitting(noise, norm)
    if name is None:
        own = [kind for kind in fitting.values() if noise in _made_for(kind)]
        if not own:
            raise InputError(
                f"No evaluator is made for {noise} noise alone; name one of {', '.join(fitting)}."
            )
        return own[0]
    if name not in catalogue():
        raise unknown_name("evaluator", name, catalogue())
    if name in fitting:
        return fitting[name]
    if catalogue()[name].accepts is not SmoothedNetwork:
        reason = "needs a plain network (no --sigma)"
    else:
        reason = f"has no certificate for {noise} noise in {norm}"
    raise InputError(f"The evaluator '{name}' {reason}; for this model: {', '.join(fitting)}.")


def _fitting(noise: str, norm: str) -> dict[str, type[Evaluator]]:
    """The evaluators that have a certificate for this noise and norm."""
    return {name: kind for name, kind in _kinds().items() if _fits(kind, noise, norm)}


def _fits(kind: type[Evaluator], noise: str, norm: str) -> bool:
    if _made_for(kind) and noise not in _made_for(kind):
        return False
    if not issubclass(kind, SmoothingEvaluator):
        return norm in noises()[noise]
    if noise not in distributions():
        return False
    return kind.certificate.supports(distributions()[noise], Norm(norm))
