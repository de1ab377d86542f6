"""Evidence of verdicts: replayed and written where they are made, read and rechecked elsewhere.

One file for each example: `<example>.npz` is the certificate of a certified one, as far as its
evaluator can write one, and `<example>.witness.npz` the witness of a falsified one.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from evaluators.certificate import BOX, Certificate, Refutation
from evaluators.errors import CertificateError, UnsupportedModelError
from evaluators.network import Network
from evaluators.onnx_import import import_onnx
from evaluators.onnx_runtime import Runtime
from evaluators.problem import Ball, Problem
from evaluators.recheck import recheck
from evaluators.recheck_reader import CheckedModel, read_model
from evaluators.replay import recheck_refutation, why_not_replayed
from evaluators.verdict import Status, Verdict
from leaderboard.data_files import sha256_of
from leaderboard.errors import InputError
from leaderboard.question import Question
from leaderboard.setting import exact_text

WITNESS = ".witness.npz"
"""How the name of a falsified example's file ends."""


def replayed(question: Question, problem: Problem, verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts; a witness that does not refute in onnxruntime, too, decides nothing."""
    if not isinstance(problem.network, Network):
        return verdicts
    labels = problem.labels.tolist()
    return [
        _replayed(question, verdict, label) for verdict, label in zip(verdicts, labels, strict=True)
    ]


def _replayed(question: Question, verdict: Verdict, label: int) -> Verdict:
    if verdict.status is not Status.FALSIFIED or verdict.witness is None:
        return verdict
    witness = verdict.witness.detach().cpu().float().numpy()
    runtime = _runtime(question.model, question.model_sha256)
    reason = why_not_replayed(runtime, witness, label)
    if not reason:
        return verdict
    return replace(verdict, status=Status.UNKNOWN, witness=None, margin=None, note=reason)


@lru_cache(maxsize=2)
def _runtime(path: Path, sha256: str) -> Runtime:
    runtime = Runtime(path.read_bytes())
    if sha256_of(path) != sha256:
        raise InputError(f"{path}: the file was changed while it was being evaluated; run again.")
    return runtime


def prepare_folder(folder: Path) -> None:
    """Make the folder that `--evidence` names.

    Raises:
        InputError: it cannot be made, or holds the evidence of another run.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = next(folder.glob("*.npz"), None)
    except OSError as error:
        raise InputError(f"--evidence: {folder} cannot be made ({error.strerror}).") from error
    if found is not None:
        raise InputError(
            f"--evidence: {folder} holds evidence already, such as {found.name}; name a new folder."
        )


def write_evidence(question: Question, problem: Problem, verdicts: Sequence[Verdict]) -> None:
    """One file for each example whose verdict can be checked by others.

    Raises:
        InputError: the disk is full or the place cannot be written.
    """
    if question.evidence is None:
        return
    for row, (example, verdict) in enumerate(zip(problem.examples, verdicts, strict=True)):
        try:
            if verdict.status is Status.CERTIFIED and verdict.certificate is not None:
                signed = replace(verdict.certificate, model_sha256=question.model_sha256)
                signed.save(question.evidence / f"{example}.npz")
            elif verdict.status is Status.FALSIFIED and isinstance(problem.network, Network):
                refutation = _refutation(question, problem, row, verdict)
                refutation.save(question.evidence / f"{example}{WITNESS}")
        except OSError as error:
            raise InputError(
                f"--evidence: {question.evidence} cannot be written ({error.strerror})."
            ) from error


def _refutation(question: Question, problem: Problem, row: int, verdict: Verdict) -> Refutation:
    region = problem.region
    assert isinstance(region, Ball)
    assert verdict.witness is not None
    return Refutation(
        norm=region.norm.value,
        radius=region.radius,
        low=region.low,
        high=region.high,
        label=int(problem.labels[row]),
        classes=problem.classes,
        x=problem.x[row].cpu().float().numpy(),
        witness=verdict.witness.detach().cpu().float().numpy(),
        model_sha256=question.model_sha256,
    )


def recheck_files(
    model: Path, places: Sequence[Path], exact: bool | None
) -> Iterator[dict[str, Any]]:
    """Check every file of evidence again; what came of each, as it is known.

    Raises:
        InputError: the model cannot be used, or there is no evidence.
    """
    if not model.is_file():
        raise InputError(f"{model}: there is no such file.")
    paths = _evidence_in(places)
    sha256 = sha256_of(model)
    for path in paths:
        started = time.perf_counter()
        try:
            if path.name.endswith(WITNESS):
                entry = _refuted(_guarded(model, sha256), path, sha256)
            else:
                entry = _proved(_checked(model, sha256), path, exact)
        except CertificateError as error:
            reason = str(error).removeprefix(f"{path}: ")
            entry = {"kind": None, "accepted": False, "reason": reason}
        seconds = round(time.perf_counter() - started, 3)
        yield {"file": str(path), **_EMPTY, **entry, "seconds": seconds}


_EMPTY: dict[str, Any] = dict.fromkeys(
    ("kind", "accepted", "norm", "radius", "label", "margin", "leaves", "bounds", "arithmetic")
)


@lru_cache(maxsize=2)
def _checked(path: Path, sha256: str) -> CheckedModel:
    """The file as the checker reads it."""
    try:
        model = read_model(path.read_bytes())
    except UnsupportedModelError as error:
        raise InputError(f"{path}: {error}") from error
    if model.sha256 != sha256:
        raise InputError(f"{path}: the file was changed while it was read; run again.")
    return model


@lru_cache(maxsize=2)
def _guarded(path: Path, sha256: str) -> Runtime:
    """onnxruntime, for a file that the importer has found harmless."""
    try:
        import_onnx(path)
    except UnsupportedModelError as error:
        raise InputError(*error.problems) from error
    return _runtime(path, sha256)


def _proved(model: CheckedModel, path: Path, exact: bool | None) -> dict[str, Any]:
    certificate = Certificate.load(path)
    found = recheck(model, certificate, exact=exact)
    return {
        **_claim(certificate, "certificate"),
        "accepted": found.accepted,
        "margin": found.margin,
        "leaves": found.leaves,
        "bounds": found.bounds,
        "arithmetic": found.arithmetic or None,
        "reason": found.reason,
    }


def _refuted(runtime: Runtime, path: Path, sha256: str) -> dict[str, Any]:
    refutation = Refutation.load(path)
    reason = recheck_refutation(runtime, refutation, sha256)
    return {**_claim(refutation, "witness"), "accepted": not reason, "reason": reason}


def _claim(evidence: Certificate | Refutation, kind: str) -> dict[str, Any]:
    radius = None if evidence.norm == BOX else exact_text(evidence.radius)
    return {"kind": kind, "norm": evidence.norm, "radius": radius, "label": evidence.label}


def _evidence_in(places: Sequence[Path]) -> list[Path]:
    """The files named, and those in the folders named, by the numbers in their names."""
    paths: list[Path] = []
    for place in places:
        if place.is_dir():
            found = sorted(place.glob("*.npz"), key=_natural)
            if not found:
                raise InputError(f"{place}: there is no evidence (*.npz) in this folder.")
            paths += found
        elif place.is_file():
            paths.append(place)
        else:
            raise InputError(f"{place}: there is no such file or folder.")
    return paths


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in _parts(path.name)]


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"([0-9]+)", name) if part]
