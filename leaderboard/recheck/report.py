"""`certboard recheck`: what is rechecked, and what is printed of it."""

import json
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from leaderboard.board.noise_salts import check_rows_salt
from leaderboard.common.devices import check_device
from leaderboard.common.errors import InputError
from leaderboard.common.formatting import plural
from leaderboard.common.places import check_writable
from leaderboard.common.progress import show_table, tell
from leaderboard.common.project import find_project
from leaderboard.evaluation.evidence import beside, told
from leaderboard.evaluation.provenance import describe
from leaderboard.recheck import redraw
from leaderboard.recheck.proofs import (
    ProofCheck,
    Rechecker,
    claims_in,
    claims_of,
    of_evidence,
    of_results,
    open_archive,
)
from leaderboard.recheck.proofs import save as keep_evidence
from leaderboard.recheck.rows import labels_at_hand, recheck_results
from leaderboard.results.metrics import is_smoothed
from leaderboard.results.store import Results, read, read_provenance
from leaderboard.settings.setting import find_setting
from leaderboard.submissions.identity import ModelParts
from leaderboard.submissions.manifest import load_submission, model_path


class Subject(StrEnum):
    """What may be rechecked."""

    MODEL = "model"
    PLAIN = "results of a plain network"
    SMOOTHED = "results of a smoothed model"
    SUBMISSION = "submission"


def kind_of(subject: str) -> Subject:
    """What a name stands for, by its ending.

    Raises:
        InputError: it is a file of results that cannot be read.
    """
    if subject.endswith(".onnx"):
        return Subject.MODEL
    if not subject.endswith(".parquet"):
        return Subject.SUBMISSION
    return Subject.SMOOTHED if _is_smoothed(Path(subject)) else Subject.PLAIN


@dataclass(frozen=True, kw_only=True)
class RecheckRequest:
    """What is asked of a recheck besides its subject.

    Attributes:
        evidence: the file of what proves something, if it is not beside the results.
        settings: of a submission, or none for all.
        model: the file of the model of results, if it is not the submission's.
        save: whether proofs that were found are kept.
        exact: whether proofs are checked in exact fractions; None for where that is quick.
        redraw: how many examples of a smoothed model are drawn again; None for none.
        seed: chooses them.
        members, rule, denoiser: the files of a smoothed model beside `model`, and its rule.
        dataset, device: to draw on.
    """

    evidence: Path | None
    settings: Sequence[str]
    model: Path | None
    save: bool
    exact: bool | None
    redraw: int | None
    seed: int | None
    members: Sequence[Path]
    rule: str
    denoiser: Path | None
    dataset: str | None
    device: str
    as_json: bool


def recheck(subject: str, asked: RecheckRequest) -> None:
    """Recheck a model's evidence, a file of results or a submission, and print what came of it.

    Raises:
        InputError: a claim is refused, or nothing could be rechecked.
    """
    kind = kind_of(subject)
    if kind is Subject.MODEL:
        _recheck_model(Path(subject), asked)
        return
    paths = _stored(subject, asked.settings) if kind is Subject.SUBMISSION else [Path(subject)]
    smoothed = {path for path in paths if _is_smoothed(path)}
    if plain := [path for path in paths if path not in smoothed]:
        _recheck_plain(plain, asked)
    for path in paths:
        if path in smoothed:
            if kind is Subject.SUBMISSION:
                tell(str(path))
                _check_salt(subject, path)
            _recheck_smoothed(path, asked)


def _stored(slug: str, settings: Sequence[str]) -> list[Path]:
    """List the result files of a submission."""
    project = find_project()
    load_submission(project, slug)
    places = [find_setting(name).id for name in settings] or ["*"]
    paths = [
        path
        for place in places
        for path in sorted(project.results.glob(f"{place}/{slug}.*"))
        if path.name.endswith(".parquet") and path.name.count(".") in (1, 2)
    ]
    if not paths:
        where = f" in {', '.join(settings)}" if settings else ""
        raise InputError(f"There are no results of '{slug}'{where}.")
    return paths


def _check_salt(slug: str, path: Path) -> None:
    """Refuse a submission's rows whose noise had another salt than the board has drawn."""
    project = find_project()
    check_rows_salt(project, load_submission(project, slug), path, read_provenance(path))


def _is_smoothed(path: Path) -> bool:
    return is_smoothed(read(path).rows)


def _recheck_model(model: Path, asked: RecheckRequest) -> None:
    """Recheck what evidence says by itself about a model."""
    assert asked.evidence is not None
    archive = open_archive(asked.evidence)
    question = of_evidence(archive, model)
    findings = list(Rechecker(question, archive, asked.exact).check(claims_in(archive)))
    records = [one.record() for one in findings]
    if asked.as_json:
        print(json.dumps({"model": str(model), "rows": records}, allow_nan=False))
    _judge([(str(asked.evidence), findings)], asked.as_json)


def _recheck_plain(paths: list[Path], asked: RecheckRequest) -> None:
    """Recheck whole evaluations of plain networks."""
    judged: list[tuple[str, list[ProofCheck]]] = []
    for path in paths:
        result = read(path)
        question = of_results(result, asked.model or _model_of(result))
        place = beside(path)
        given = asked.evidence or (place if place.exists() else None)
        archive = open_archive(given) if given else None
        if asked.save:
            check_writable(place)
        claims = claims_of(result.rows, question.radius)
        findings = list(Rechecker(question, archive, asked.exact).check(claims))
        if asked.save:
            tell(f"{place}: {told(keep_evidence(place, question, findings))}")
        judged.append((str(path), findings))
    if asked.as_json:
        tables = [{"results": p, "rows": [one.record() for one in rows]} for p, rows in judged]
        print(json.dumps(tables[0] if len(tables) == 1 else tables, allow_nan=False))
    _judge(judged, asked.as_json)


def _model_of(result: Results) -> Path:
    """Find the file of the submission that was measured."""
    slug = result.provenance.submission
    try:
        project = find_project()
        return model_path(project, load_submission(project, slug))
    except InputError as error:
        raise InputError(
            *error.problems, f"{result.path}: name its model: --model FILE.onnx."
        ) from error


_SHOWN = 20


def _judge(found: list[tuple[str, list[ProofCheck]]], as_json: bool) -> None:
    """Say how many claims were proved, and which were not, and why."""
    problems = list[str]()
    for name, findings in found:
        refused = [one for one in findings if not one.found.accepted]
        if not as_json:
            if refused:
                _show([one.record() for one in refused], hidden=("reason", "seconds", "accepted"))
                print()
            print(f"{name}: {summary(findings)}")
        where = f"{name}: " if len(found) > 1 else ""
        problems += [
            f"{where}example {one.claim.example}: refused: {one.found.reason}" for one in refused
        ]
        if not findings:
            problems.append(f"{name}: says nothing that could be rechecked.")
    if problems:
        more = len(problems) - _SHOWN
        raise InputError(*problems[:_SHOWN], *([f"And {more:,} more."] if more > 0 else []))


def summary(findings: list[ProofCheck]) -> str:
    """`9,541 of 9,541 certified examples proved (9,534 ibp, 7 crown), 459 of 459 …`."""
    words = list[str]()
    for status, one_of_them, many, done in (
        ("certified", "certified example", "certified examples", "proved"),
        ("unknown", "smaller radius", "smaller radii", "proved"),
        ("falsified", "counterexample", "counterexamples", "replayed"),
    ):
        asked = [one for one in findings if one.claim.status == status]
        good = [one for one in asked if one.found.accepted]
        methods = Counter(one.proof.method for one in good if done == "proved")
        kinds = ", ".join(f"{count:,} {method}" for method, count in methods.most_common())
        if asked:
            title = one_of_them if len(asked) == 1 else many
            counts = f"{len(good):,} of {len(asked):,} {title} {done}"
            words.append(f"{counts} ({kinds})" if kinds else counts)
    return ", ".join(words) or "nothing that could be rechecked"


def _recheck_smoothed(path: Path, asked: RecheckRequest) -> None:
    """Recheck the rows of a smoothed model, and draw some of them again."""
    labels = labels_at_hand(path)
    known = None if isinstance(labels, str) else labels
    found: dict[str, Any] = {"results": str(path), "rows": list(recheck_results(path, known))}
    if isinstance(labels, str):
        tell(f"{path}: {labels}")
    if asked.redraw is not None and asked.model is not None:
        found["redrawn"] = _redrawn(path, asked.redraw, asked.model, asked)
    _tell_rows(found, asked.as_json)


def _redrawn(path: Path, number: int, model: Path, asked: RecheckRequest) -> dict[str, Any]:
    check_device(asked.device)
    result = read(path)
    parts = ModelParts.of_files(
        model, members=asked.members, denoiser=asked.denoiser, rule=asked.rule
    )
    question = redraw.question_again(result, parts, asked.dataset, asked.device)
    seed = secrets.randbelow(10**9) if asked.seed is None else asked.seed
    examples = redraw.choose(result.rows, number, seed)
    tell(f"drawing {plural(len(examples), 'example')} again, chosen by --seed {seed}")
    entries = list(redraw.redraw(question, result, examples))
    origin = result.provenance
    now = describe(
        question,
        submission=origin.submission,
        setting=origin.setting,
        selection="",
        fingerprint="",
        workers="1",
    )
    return {"seed": seed, "rows": entries, "machine": redraw.other_machine(origin, now)}


def _tell_rows(found: dict[str, Any], as_json: bool) -> None:
    rows = found["rows"]
    refused = [row for row in rows if row["accepted"] is False]
    passed = [row for row in rows if row["accepted"]]
    unknown = len(rows) - len(refused) - len(passed)
    redrawn = found.get("redrawn", {"rows": [], "machine": ""})
    other = [row for row in redrawn["rows"] if not row["accepted"]]
    if as_json:
        print(json.dumps(found, allow_nan=False))
    else:
        words = {True: "accepted", False: "refused", None: "not rechecked"}
        shown = refused or rows
        _show([{**row, "accepted": words[row["accepted"]]} for row in shown], ("reason", "seconds"))
        if len(shown) > _SHOWN:
            print(f"… and {len(shown) - _SHOWN} more: --json gives all")
        counts = f"{len(passed)} of {plural(len(rows), 'row')} accepted, {len(refused)} refused"
        reasons = sorted({row["reason"] for row in rows if row["accepted"] is None})
        print(f"{counts}, {unknown} not rechecked" + (f": {' '.join(reasons)}" if reasons else ""))
        if redrawn["rows"]:
            same, all_ = len(redrawn["rows"]) - len(other), len(redrawn["rows"])
            print(f"{same} of {all_} drawn again with the same counts, bit for bit")
    problems = [f"example {row['example']}: refused: {row['reason']}" for row in refused]
    problems += [f"example {row['example']}: drawn again: {row['reason']}." for row in other]
    if other and redrawn["machine"]:
        problems.append(redrawn["machine"])
    if not problems and unknown == len(rows):
        problems.append(f"{found['results']}: no row could be rechecked.")
    if problems:
        raise InputError(*problems)


def _show(rows: list[dict[str, Any]], hidden: Sequence[str]) -> None:
    show_table(rows[:_SHOWN], hidden)
