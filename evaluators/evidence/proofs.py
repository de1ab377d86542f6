"""What proves a certified example to the checker: the cheapest that it accepts.

The checker decides, not the method that certified: it tries what it can derive by itself, cheap to
dear, then a certificate that the method gave, then one that branch and bound is asked for.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from evaluators.evidence.archive import CERTIFICATE, NONE
from evaluators.numerics.arrays import Array
from evaluators.numerics.errors import CertificateError
from evaluators.question.certificate import Certificate
from evaluators.question.evidence_file import Evidence
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.recheck.checker import Checker, Recheck, recheck
from evaluators.recheck.methods import METHODS, Balls, recheck_claims, select
from evaluators.recheck.reader import CheckedModel


@dataclass(frozen=True, eq=False)
class Proof:
    """What proves one example.

    Attributes:
        method: of `METHODS`, or "certificate", or "none".
        found: what the checker said of it, or last.
        certificate: where that is the method, signed with the model's hash.
    """

    method: str
    found: Recheck
    certificate: Certificate | None = None


def find_proofs(
    model: CheckedModel,
    problem: Problem,
    stages: Sequence[str],
    certificates: Sequence[Certificate | None],
    exact: bool | None = None,
) -> list[Proof]:
    """Find what the checker accepts for each example of a problem about balls.

    Args:
        model: the file that the problem's network was read from, as the checker reads it.
        problem: what was certified; its `seconds` are those of a search for a certificate.
        stages: the evaluator that certified each, which tells what need not be tried.
        certificates: of each example, if there is one already.
        exact: as of `recheck`.
    """
    claims, proofs = balls_of(problem), dict[int, Proof]()
    for method in METHODS:
        rows = [
            row
            for row, stage in enumerate(stages)
            if row not in proofs and (method != "crown-ibp" or stage in METHODS[:2])
        ]
        tried = recheck_claims(
            model, select(claims, rows), method, model_sha256=model.sha256, exact=exact
        )
        proofs |= {
            row: Proof(method, outcome)
            for row, outcome in zip(rows, tried, strict=True)
            if outcome.accepted
        }
    for row, given in enumerate(certificates):
        if row not in proofs:
            proofs[row] = _certified(model, problem.select([row]), given, exact)
    return [proofs[row] for row in range(len(problem))]


def balls_of(problem: Problem) -> Balls:
    """Make the claims that a problem's examples are answered by their labels."""
    region = problem.region
    assert isinstance(region, Ball)
    x = problem.x.detach().cpu().float().numpy()
    labels = np.asarray(problem.labels.tolist(), dtype=np.int64)
    ends = region.low, region.high
    return Balls(region.norm.value, region.radius, *ends, x.reshape(len(x), -1), labels)


def _certified(
    model: CheckedModel, problem: Problem, given: Certificate | None, exact: bool | None
) -> Proof:
    """Prove the only example by a certificate, given or searched for."""
    # Most examples are proved before this, and then nothing of the search is imported.
    from evaluators.deterministic.branch_and_bound import BranchAndBound

    reason = "it is proved by none of the methods that need no certificate"
    for made in (given, None) if given is not None else (None,):
        note = ""
        if made is None:
            # The checker is about real arithmetic, and so is what it is given.
            asked = replace(problem, evidence=True, deployed=False)
            (verdict,) = BranchAndBound()(asked)
            made, note = verdict.certificate, f"{verdict.status.value} {verdict.note}".strip()
        if made is None:
            reason = f"{reason}, and branch and bound ended with: {note}."
            continue
        signed = replace(made, model_sha256=model.sha256)
        if other := other_claim(signed, problem, 0):
            return Proof(NONE, Recheck(False, other))
        for tried in (signed, _settled(model, signed)):
            outcome = recheck(model, tried, exact=exact)
            if outcome.accepted:
                return Proof(CERTIFICATE, outcome, tried)
        reason = f"its certificate is refused: {outcome.reason}"
    return Proof(NONE, Recheck(False, reason))


def _settled(model: CheckedModel, made: Certificate) -> Certificate:
    """A certificate whose claims about bounds are no better than what the checker finds.

    Its bounds on rounding are coarser than those of a method, which matters where a network is
    large and a claim close. The units stay the same.
    """
    checker = _Settling(model, made, exact=False)
    with suppress(CertificateError), np.errstate(all="ignore"):
        checker.run()
    return checker.made


class _Settling(Checker):
    def _told(self, layer: int, told: Array, proved: Array) -> Array:
        lower = np.where((told < 0) | (proved >= 0), np.minimum(told, proved), told)
        layers = list(self.made.layers)
        layers[layer] = replace(layers[layer], lower=lower[0], upper=-lower[1])
        self.made = replace(self.made, layers=tuple(layers))
        return lower


def other_claim(made: Evidence, problem: Problem, row: int) -> str:
    """Say how a file's claim differs from what was asked of an example; empty if it does not."""
    region, x = problem.region, problem.x[row].cpu().float().numpy()
    assert isinstance(region, Ball)
    asked = region.norm.value, region.radius, region.low, region.high, int(problem.labels[row])
    claimed = made.norm, made.radius, made.low, made.high, made.label
    for name, value, wanted in zip(_CLAIM, claimed, asked, strict=True):
        if value != wanted:
            return f"its {name} is {value}, not {wanted}."
    if made.x is None or made.x.shape != x.shape or not np.array_equal(made.x, x):
        return "it is about another image."
    return ""


_CLAIM = ("norm", "radius", "lowest pixel", "highest pixel", "label")
