"""Evidence of verdicts: proved where they are made, rechecked elsewhere.

Each shard of an evaluation writes a part, and the parts are joined into one file
(`evaluators.evidence.archive`).
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch

from evaluators.evidence.archive import (
    MISREAD,
    NONE,
    REFUTING,
    SUFFIX,
    WITNESS,
    About,
    Archive,
    EvidenceLine,
    join_archives,
    write_archive,
)
from evaluators.evidence.proofs import Proof, find_proofs
from evaluators.numerics.errors import CertificateError, UnsupportedModelError
from evaluators.onnx.heads import deployed
from evaluators.onnx.reader import Contract, import_bytes
from evaluators.onnx.runtime import Runtime
from evaluators.question.certificate import Refutation
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict
from evaluators.recheck.reader import CheckedModel, read_model
from leaderboard.common.errors import InputError
from leaderboard.datasets.catalogue import load_split
from leaderboard.datasets.files import read_exactly
from leaderboard.settings.question import Question, Shard


@lru_cache(maxsize=2)
def guarded_runtime(path: Path, sha256: str) -> Runtime:
    """Return onnxruntime for a file that the importer has found harmless.

    Raises:
        InputError: it has not, or the file is another one.
    """
    data = read_exactly(path, sha256)
    try:
        import_bytes(data, path, None, Contract())
    except UnsupportedModelError as error:
        raise InputError(*error.problems) from error
    return Runtime(deployed(data))


@lru_cache(maxsize=2)
def checked_model(path: Path, sha256: str) -> CheckedModel:
    """Return the file of this SHA-256 as the checker reads it.

    Raises:
        InputError: the checker does not read it, or it is another one.
    """
    try:
        return read_model(read_exactly(path, sha256))
    except UnsupportedModelError as error:
        raise InputError(f"{path}: {error}") from error


def about(question: Question) -> About:
    """Return what the evidence of a question's answers is about."""
    data = load_split(question.dataset).sha256
    return About(question.model_sha256, question.dataset, data, question.norm, question.radius)


def beside(results: Path) -> Path:
    """Return where the evidence of an evaluation is kept."""
    return results.with_suffix(SUFFIX)


def part_of(folder: Path, name: str) -> Path:
    """Return where a shard's evidence is kept until it is joined with that of the others."""
    return folder / f"{name}{SUFFIX}"


def write_part(shard: Shard, problem: Problem, verdicts: Sequence[Verdict]) -> None:
    """Find out what proves each certified example, and write it with what refutes others.

    Raises:
        InputError: the disk is full or the place cannot be written.
    """
    question = shard.question
    if question.evidence is None or question.sigma is not None:
        return
    labels = problem.labels.tolist()
    lines, contents = list[EvidenceLine](), dict[int, bytes]()
    proofs = _proofs(question, problem, verdicts)
    for row, (example, verdict) in enumerate(zip(problem.examples, verdicts, strict=True)):
        if verdict.status is Status.CERTIFIED:
            proof = proofs.get(row)
            lines.append(EvidenceLine(example, labels[row], proof.method if proof else NONE))
            if proof is not None and proof.certificate is not None:
                contents[example] = proof.certificate.content()
        elif verdict.status is Status.FALSIFIED and is_misread(problem, row, verdict):
            lines.append(EvidenceLine(example, labels[row], MISREAD))
        elif verdict.status is Status.FALSIFIED:
            lines.append(EvidenceLine(example, labels[row], WITNESS))
            contents[example] = _refutation(question, problem, row, verdict).content()
    place = part_of(question.evidence, shard.name)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_archive(place, about(question), lines, sorted(contents.items()))
    except OSError as error:
        raise _unwritten(place, error) from error


def is_misread(problem: Problem, row: int, verdict: Verdict) -> bool:
    """Whether the witness is the example itself, which is the dataset's and not stored again."""
    if verdict.witness is None or verdict.prediction == int(problem.labels[row]):
        return False
    return torch.equal(verdict.witness.to(problem.x), problem.x[row])


def _proofs(question: Question, problem: Problem, verdicts: Sequence[Verdict]) -> dict[int, Proof]:
    """What proves each certified row; none of a model that the checker does not read."""
    rows = [row for row, one in enumerate(verdicts) if one.status is Status.CERTIFIED]
    if not rows:
        return {}
    try:
        model = checked_model(question.model, question.model_sha256)
    except InputError:
        return {}
    stages = [verdicts[row].stage for row in rows]
    given = [verdicts[row].certificate for row in rows]
    found = find_proofs(model, problem.select(rows), stages, given)
    return dict(zip(rows, found, strict=True))


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


def check_place(path: Path) -> None:
    """Refuse a place for evidence that cannot be meant.

    Raises:
        InputError: it is refused.
    """
    if path.suffix != SUFFIX:
        raise InputError(f"--evidence is {path}; its name must end in {SUFFIX}.")
    if path.exists():
        raise InputError(f"--evidence: {path} is there already; name a new file.")
    if not path.parent.is_dir():
        raise InputError(f"--evidence: there is no folder {path.parent}.")


def join(question: Question, shards: Sequence[str], place: Path, refuted: bool = True) -> Archive:
    """Join the parts of the shards of these names to one file.

    Perhaps without the `refuted` examples, of which rows say the same.

    Raises:
        InputError: the place cannot be written, or a part is missing or of another question.
    """
    assert question.evidence is not None
    parts = [part_of(question.evidence, name) for name in shards]
    try:
        return join_archives(place, about(question), parts, refuted)
    except CertificateError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise _unwritten(place, error) from error


def _unwritten(place: Path, error: OSError) -> InputError:
    return InputError(f"{place} cannot be written ({error.strerror or error}).")


def told(archive: Archive) -> str:
    """Count proofs: `39 of 39 certified examples have evidence: 38 ibp, 1 certificate`."""
    counts = {name: n for name, n in archive.counts.items() if name not in (*REFUTING, NONE)}
    total, without = sum(counts.values()), archive.counts[NONE]
    kinds = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
    return f"{total:,} of {total + without:,} certified examples have evidence" + (
        f": {kinds}" if kinds else ""
    )
