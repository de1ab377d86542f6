"""Stored rows of plain networks, proved again by the checker: a whole evaluation, or what evidence
says by itself.

Nothing of the rows is believed. The images and labels are those of the dataset, the model is read
by the checker's own reader, and both must be those that the rows were measured with. A row's proof
is the one that its evidence names; without a file of evidence the checker tries what it can derive
by itself, and branch and bound is asked for certificates of the rest, which the checker then has to
accept, too. Counterexamples are replayed in onnxruntime.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from evaluators.evidence.archive import (
    CERTIFICATE,
    MISREAD,
    NONE,
    REFUTING,
    WITNESS,
    Archive,
    EvidenceLine,
    write_archive,
)
from evaluators.evidence.proofs import Proof, balls_of, find_proofs, other_claim
from evaluators.network.network import Network
from evaluators.numerics.errors import CertificateError
from evaluators.question.certificate import Certificate, Refutation
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.recheck.checker import Recheck, recheck
from evaluators.recheck.methods import recheck_claims, select
from evaluators.recheck.replay import recheck_refutation
from leaderboard.common.errors import InputError
from leaderboard.common.strict_toml import shown
from leaderboard.datasets.catalogue import find_dataset, load_split
from leaderboard.datasets.files import sha256_of
from leaderboard.evaluation.evidence import about, checked_model, guarded_runtime
from leaderboard.evaluation.networks import network_of
from leaderboard.recheck.rows import asked_by, same_split
from leaderboard.results.store import Results
from leaderboard.results.witness import point_of
from leaderboard.settings.question import Question
from leaderboard.settings.setting import exact_fraction, exact_text

_AT_ONCE = 500
"""Rows that are checked before any of them is told."""
SECONDS = 60.0
"""For a certificate that must be searched for, where the rows do not say."""
MOST_SECONDS = 600.0
CERTIFIED, FALSIFIED = "certified", "falsified"
_KEPT = ("example", "label", "prediction", "status", "radius", "confidence", "stage", "witness")


@dataclass(frozen=True)
class RowClaim:
    """What is said of one example.

    Attributes:
        status: certified or falsified, or unknown where a smaller radius than the one that was
            asked about is said to be proved.
        label, stage: the right class and the evaluator that decided, as it is said.
        radius: that is said to be proved; None of a counterexample.
        witness: the bytes of the counterexample; None where the evidence has it.
        misread: whether the example itself is said to be the counterexample.
        wrong: what is already wrong with it.
    """

    example: int
    status: str
    label: int
    radius: Fraction | None
    stage: str = ""
    witness: bytes | None = None
    misread: bool = False
    wrong: str = ""


@dataclass(frozen=True, eq=False)
class ProofCheck:
    """What came of one claim: whether it is proved, by what, and what it took."""

    claim: RowClaim
    proof: Proof
    seconds: float

    @property
    def found(self) -> Recheck:
        """What the checker said."""
        return self.proof.found

    def record(self) -> dict[str, Any]:
        """As `--json` prints it."""
        radius = self.claim.radius
        return {
            "example": self.claim.example,
            "status": self.claim.status,
            "radius": exact_text(radius) if radius else None,
            "method": self.proof.method,
            "accepted": self.found.accepted,
            "margin": self.found.margin,
            "reason": self.found.reason,
            "seconds": round(self.seconds, 4),
        }


def claims_of(rows: pd.DataFrame, radius: Fraction) -> Iterator[RowClaim]:
    """What stored rows say of the ball of this radius, or of a smaller one; the rest is unknown."""
    seen = set[int]()
    table = rows[list(_KEPT)].astype(object)
    for row in table.where(table.notna(), None).to_dict("records"):
        proved, unread = _radius_of(row["radius"])
        wrong = "it is stored twice." if row["example"] in seen else unread
        wrong = wrong or _wrong(row, proved, radius)
        seen.add(row["example"])
        claim = RowClaim(
            int(row["example"]), row["status"], int(row["label"]), proved, row["stage"], wrong=wrong
        )
        if claim.status == FALSIFIED:
            misread = row["witness"] is None and row["prediction"] != row["label"]
            yield replace(claim, radius=None, witness=row["witness"] or b"", misread=misread)
            claim = replace(claim, status="unknown")
        if proved is not None or (wrong and row["status"] != FALSIFIED):
            yield claim


def _radius_of(text: str | None) -> tuple[Fraction | None, str]:
    """Return the radius that a row says, and why it says none that can be read."""
    try:
        return (None if text is None else exact_fraction(text)), ""
    except ValueError as error:
        return None, f"its radius is {shown(text)}, but {error}."


def _wrong(row: dict[Any, Any], proved: Fraction | None, radius: Fraction) -> str:
    """What a row contradicts itself in, as a sentence; empty if nothing."""
    if row["status"] not in (CERTIFIED, FALSIFIED, "unknown"):
        return f"its status is {shown(row['status'])}."
    if row["status"] == CERTIFIED and (proved is None or proved < radius):
        return "it is certified, but the radius proved is smaller than the one asked about."
    if proved is not None and row["prediction"] != row["label"]:
        return f"something is proved, but its prediction is {row['prediction']}."
    if proved is not None and row["confidence"] != 1:
        return f"something is proved, but with the confidence {row['confidence']}."
    return ""


def claims_in(archive: Archive) -> Iterator[RowClaim]:
    """What evidence says by itself."""
    for line in archive.lines.values():
        if line.method in REFUTING:
            misread = line.method == MISREAD
            yield RowClaim(line.example, FALSIFIED, line.label, None, misread=misread)
        else:
            yield RowClaim(line.example, CERTIFIED, line.label, archive.about.radius)


class Rechecker:
    """Checks claims about one model on one dataset.

    Raises:
        InputError: the checker does not read the model, or the evidence is about something else.
    """

    def __init__(self, question: Question, archive: Archive | None, exact: bool | None) -> None:
        self.question, self.archive, self.exact = question, archive, exact
        self.model = checked_model(question.model, question.model_sha256)
        self.split = load_split(question.dataset)
        asked = about(question)
        if archive is not None and archive.about != asked:
            for name, told in vars(archive.about).items():
                if told != getattr(asked, name):
                    raise InputError(
                        f"{archive.path}: it is about another {_WORDS[name]}:"
                        f" {_text(told)}, not {_text(getattr(asked, name))}."
                    )

    def check(self, claims: Iterable[RowClaim]) -> Iterator[ProofCheck]:
        """What comes of each claim; first of a few of them, then of the next."""
        waiting = iter(claims)
        while some := list(islice(waiting, _AT_ONCE)):
            labels = self.split.labels_of([claim.example for claim in some]).tolist()
            some = [_against(claim, label) for claim, label in zip(some, labels, strict=True)]
            for claim in some:
                if claim.wrong:
                    yield ProofCheck(claim, Proof(NONE, Recheck(False, claim.wrong)), 0.0)
                elif claim.radius is None:
                    yield self._replayed(claim)
            for radius in dict.fromkeys(claim.radius for claim in some if not claim.wrong):
                if radius is not None:
                    same = [x for x in some if x.radius == radius and not x.wrong]
                    yield from self._proved(same, radius)

    def _proved(self, claims: list[RowClaim], radius: Fraction) -> Iterator[ProofCheck]:
        began, problem = time.perf_counter(), self._problem(claims, radius)
        if self.archive is None or radius != self.archive.about.radius:
            stages = [claim.stage for claim in claims]
            found = find_proofs(self.model, problem, stages, [None] * len(claims), self.exact)
        else:
            found = list(self._by_evidence(claims, problem))
        share = (time.perf_counter() - began) / len(claims)
        for claim, proof in zip(claims, found, strict=True):
            yield ProofCheck(claim, proof, share)

    def _by_evidence(self, claims: list[RowClaim], problem: Problem) -> Iterator[Proof]:
        """Check claims by the methods and certificates that the file names."""
        assert self.archive is not None
        balls, found = balls_of(problem), dict[int, Proof]()
        methods = [self._method(claim) for claim in claims]
        for method in dict.fromkeys(methods):
            rows = [row for row, named in enumerate(methods) if named == method]
            if method == CERTIFICATE:
                found |= {row: self._certificate(problem, row) for row in rows}
            elif method.endswith("."):
                found |= {row: Proof(NONE, Recheck(False, method)) for row in rows}
            else:
                outcomes = recheck_claims(
                    self.model, select(balls, rows), method,
                    model_sha256=self.archive.about.model_sha256, exact=self.exact,
                )  # fmt: skip
                found |= {r: Proof(method, one) for r, one in zip(rows, outcomes, strict=True)}
        return (found[row] for row in range(len(claims)))

    def _method(self, claim: RowClaim) -> str:
        """Name the method of a claim; or say, as a sentence, why the file cannot prove it."""
        assert self.archive is not None
        line = self.archive.lines.get(claim.example)
        if line is None:
            return "the evidence does not speak of it."
        if line.label != claim.label:
            return f"the evidence is about the label {line.label}, not {claim.label}."
        if line.method in REFUTING:
            return "the evidence is a counterexample."
        return "nothing that the checker accepts was found." if line.method == NONE else line.method

    def _certificate(self, problem: Problem, row: int) -> Proof:
        """Check the certificate of an example, which must claim what the row does."""
        assert self.archive is not None
        try:
            made = self.archive.evidence(Certificate, problem.examples[row])
            wrong = other_claim(made, problem, row)
            found = Recheck(False, wrong) if wrong else recheck(self.model, made, exact=self.exact)
        except CertificateError as error:
            return Proof(CERTIFICATE, Recheck(False, str(error)))
        return Proof(CERTIFICATE, found, made)

    def _replayed(self, claim: RowClaim) -> ProofCheck:
        began = time.perf_counter()
        runtime = guarded_runtime(self.question.model, self.question.model_sha256)
        x, shape = self.split.images([claim.example])[0], self.model.input_shape
        try:
            if claim.misread:
                refutation = self._refutation(claim, x, x)
            elif claim.witness is not None:
                refutation = self._refutation(claim, x, _witness(claim.witness, x))
            else:
                assert self.archive is not None
                refutation = self.archive.evidence(Refutation, claim.example)
            ball = Ball(Norm(self.question.norm), self.question.radius)
            label = torch.tensor([claim.label])
            problem = Problem(self._network, torch.from_numpy(x[None]), label, ball)
            wrong = other_claim(refutation, problem, 0) if x.shape == shape else "it has no shape."
            reason = wrong or recheck_refutation(runtime, refutation, self.question.model_sha256)
        except CertificateError as error:
            reason = str(error)
        proof = Proof(MISREAD if claim.misread else WITNESS, Recheck(not reason, reason))
        return ProofCheck(claim, proof, time.perf_counter() - began)

    def _refutation(self, claim: RowClaim, x: Any, witness: Any) -> Refutation:
        return Refutation(
            norm=self.question.norm,
            radius=self.question.radius,
            label=claim.label,
            classes=self.model.classes,
            x=x,
            witness=witness,
            model_sha256=self.question.model_sha256,
        )

    @property
    def _network(self) -> Network:
        network = network_of(self.question)
        assert isinstance(network, Network)
        return network

    def _problem(self, claims: Sequence[RowClaim], radius: Fraction) -> Problem:
        examples = tuple(claim.example for claim in claims)
        return Problem(
            self._network,
            torch.from_numpy(self.split.images(examples)),
            torch.tensor([claim.label for claim in claims]),
            Ball(Norm(self.question.norm), radius),
            self.question.seconds,
            examples,
            self.question.seed,
        )


_WORDS = {
    "model_sha256": "model (SHA-256)",
    "dataset": "dataset",
    "data_sha256": "version of the data (SHA-256)",
    "norm": "norm",
    "radius": "radius",
    "low": "lower end of the pixel range",
    "high": "upper end of the pixel range",
}


def _witness(stored: bytes, x: Any) -> Any:
    if not stored:
        raise CertificateError("it is falsified, but there is no witness of the model's input.")
    try:
        return point_of(stored, x)
    except ValueError as error:
        raise CertificateError(f"it is falsified, but its witness {error}.") from error


def _text(value: object) -> str:
    return exact_text(value) if isinstance(value, Fraction) else str(value)


def _against(claim: RowClaim, label: int) -> RowClaim:
    """Mark a claim whose label is not the one in the data."""
    if claim.wrong or claim.label == label:
        return claim
    return replace(claim, wrong=f"its label is {claim.label}, but the data say {label}.")


def question_about(
    model: Path, model_sha256: str, dataset: str, norm: str, radius: Fraction, seconds: float
) -> Question:
    """What the cascade would be asked about a file.

    Raises:
        InputError: there is no such dataset or norm.
    """
    find_dataset(dataset)
    if norm not in {one.value for one in Norm} or radius <= 0:
        raise InputError(f"There is no norm '{norm[:20]}', or no radius {float(radius):g}.")
    return Question(
        dataset=dataset,
        norm=norm,
        radius=radius,
        seconds=seconds,
        evaluator=None,
        options=(),
        distribution=None,
        sigma=None,
        model=model,
        model_sha256=model_sha256,
    )


def save(path: Path, question: Question, findings: Sequence[ProofCheck]) -> Archive:
    """Write the evidence of an evaluation's certified examples.

    Raises:
        InputError: the place cannot be written.
    """
    lines, contents = list[EvidenceLine](), dict[int, bytes]()
    for one in findings:
        if one.claim.status != CERTIFIED or one.claim.radius != question.radius:
            continue
        method = one.proof.method if one.found.accepted else NONE
        lines.append(EvidenceLine(one.claim.example, one.claim.label, method))
        if method == CERTIFICATE and one.proof.certificate is not None:
            contents[one.claim.example] = one.proof.certificate.content()
    try:
        write_archive(path, about(question), lines, sorted(contents.items()))
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error
    return Archive(path)


def open_archive(path: Path) -> Archive:
    """A file of evidence.

    Raises:
        InputError: it is none.
    """
    try:
        return Archive(path)
    except CertificateError as error:
        raise InputError(str(error)) from error


def of_results(result: Results, model: Path) -> Question:
    """What the rows of a plain network answered, about the model in this file.

    Raises:
        InputError: the model or the data are not those that were measured.
    """
    origin = result.provenance
    asked = asked_by(origin, result.path)
    if (found := sha256_of(model)) != origin.model_sha256:
        raise InputError(
            f"{model}: its SHA-256, {found}, is not that of the model that was measured,"
            f" {origin.model_sha256}."
        )
    same_split(result.path, origin, asked.dataset)
    told = origin.options.get("seconds")
    seconds = float(told) if isinstance(told, int | float) and told > 0 else SECONDS
    seconds = min(seconds, MOST_SECONDS)
    return question_about(model, found, asked.dataset, asked.norm, asked.radius, seconds)


def of_evidence(archive: Archive, model: Path) -> Question:
    """What evidence is about, of the model in this file.

    Raises:
        InputError: there is no such file, dataset or norm.
    """
    told = archive.about
    sha256 = sha256_of(model)
    return question_about(model, sha256, told.dataset, told.norm, told.radius, SECONDS)
