"""The recheck of claims that bring nothing but a method: the checker bounds the margins itself.

A claim says that each of some examples is answered by its label all over its ball. The methods are
named after the evaluators that bound alike, and ordered by what they cost: `ibp` is one forward
pass for many examples, `crown-ibp` adds a backward pass for each margin, `crown` one for each
undecided entry. Guarantee and trust are those of `recheck`.
"""

from dataclasses import replace

import numpy as np

from evaluators.numerics.errors import CertificateError
from evaluators.recheck.batch import Balls as Balls
from evaluators.recheck.batch import least_margins
from evaluators.recheck.checker import Recheck
from evaluators.recheck.claim import CheckedModel, require
from evaluators.recheck.lines import derive

METHODS = ("ibp", "crown-ibp", "crown")
"""From the cheapest to the most expensive."""


def recheck_claims(
    model: CheckedModel,
    balls: Balls,
    method: str,
    *,
    model_sha256: str | None,
    exact: bool | None = None,
) -> list[Recheck]:
    """Whether a method proves the claim about each example of the model of this SHA-256.

    `exact` says which arithmetic; None takes the exact one where it is quick, but never for `ibp`.
    """
    try:
        require(method in METHODS, f"there is no method '{method}'.")
        require(model_sha256 is not None, "it does not say which model it is about.")
        same = model_sha256 == model.sha256
        require(same, "it is about another model: the SHA-256 differ.")
        if method != "ibp":
            return [_derived(model, balls, row, method, exact) for row in range(len(balls.labels))]
        margins = least_margins(model.steps, balls, bool(exact))
    except CertificateError as error:
        return [Recheck(False, str(error))] * len(balls.labels)
    kind = "exact" if exact else "float64"
    proved = Recheck(True, leaves=model.classes - 1, arithmetic=kind)
    return [
        replace(proved, margin=margin)
        if margin > 0
        else Recheck(False, "intervals do not prove a positive margin.", arithmetic=kind)
        for margin in margins.tolist()
    ]


def _derived(
    model: CheckedModel, balls: Balls, row: int, method: str, exact: bool | None
) -> Recheck:
    try:
        return derive(model, balls, row, everywhere=method == "crown", exact=exact)
    except CertificateError as error:
        return Recheck(False, str(error))


def select(balls: Balls, rows: list[int]) -> Balls:
    """Some of the examples, in the order given."""
    chosen = np.array(rows, dtype=np.int64)
    return replace(balls, x=balls.x[chosen], labels=balls.labels[chosen])
