"""The command that trusts nobody's verdicts: recheck."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import BadParameter

from leaderboard.commands import app
from leaderboard.common.devices import check_device
from leaderboard.common.errors import InputError
from leaderboard.common.formatting import plural
from leaderboard.common.progress import show_table, tell

if TYPE_CHECKING:
    from leaderboard.recheck.proofs import Finding
    from leaderboard.results.store import Results


@app.command()
def recheck(
    subject: Annotated[
        str,
        typer.Argument(
            help="A submission; a result file, .parquet; or a model, .onnx", show_default=False
        ),
    ],
    evidence: Annotated[
        Path | None,
        typer.Argument(help="Of a model, or of a plain network's result file: what proves it"),
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option(help="Of a submission: only these settings")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Of a result file: the ONNX file; default: the submission's")
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Keep the evidence found beside the result file")
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Proofs in fractions, however long it takes")
    ] = False,
    redraw: Annotated[
        int | None, typer.Option(min=1, help="Of a smoothed model: draw K random examples again")
    ] = None,
    member: Annotated[
        list[Path] | None, typer.Option(help="For --redraw: the others of an ensemble")
    ] = None,
    rule: Annotated[str, typer.Option(help="For --redraw: of an ensemble")] = "mean-logits",
    denoiser: Annotated[Path | None, typer.Option(help="For --redraw: before the model")] = None,
    dataset: Annotated[str | None, typer.Option(help="For --redraw; default: the rows'")] = None,
    seed: Annotated[int | None, typer.Option(help="Which examples --redraw takes")] = None,
    device: Annotated[str, typer.Option(help="For --redraw: as of `certify`")] = "cpu",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one object and nothing else")
    ] = False,
) -> None:
    """Check verdicts again, with none of the code that made them."""
    arithmetic = True if exact else None
    if subject.endswith(".onnx"):
        if evidence is None:
            raise BadParameter("Name what proves something about it: the file of its evidence")
        if redraw is not None or model is not None or save or setting:
            raise BadParameter("--redraw, --model, --save and --setting are for results")
        _recheck_model(Path(subject), evidence, arithmetic, as_json)
    elif subject.endswith(".parquet"):
        if setting:
            raise BadParameter("--setting is for submissions")
        if _is_smoothed(Path(subject)):
            files = (member, rule, denoiser, dataset, seed, device)
            if evidence is not None or save:
                raise BadParameter("A smoothed model's evidence is in its rows")
            if (redraw is None) != (model is None):
                raise BadParameter("--redraw K needs --model, and --model needs --redraw K")
            _recheck_smoothed(Path(subject), redraw, model, files, as_json)
        else:
            if redraw is not None:
                raise BadParameter("--redraw is for smoothed models; a proof has nothing to draw")
            _recheck_plain([Path(subject)], model, evidence, save, arithmetic, as_json)
    else:
        if evidence is not None or model is not None or redraw is not None:
            raise BadParameter("A submission is rechecked by its name; name nothing after it")
        paths = _stored(subject, setting)
        plain = [path for path in paths if not _is_smoothed(path)]
        if plain:
            _recheck_plain(plain, None, None, save, arithmetic, as_json)
        for path in paths:
            if path not in plain:
                tell(str(path))
                _recheck_smoothed(path, None, None, None, as_json)


def _stored(slug: str, settings: list[str] | None) -> list[Path]:
    """The result files of a submission."""
    from leaderboard.common.project import find_project
    from leaderboard.settings.setting import find_setting
    from leaderboard.submissions.manifest import load_submission

    project = find_project()
    load_submission(project, slug)
    places = [find_setting(name).id for name in settings or []] or ["*"]
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


def _is_smoothed(path: Path) -> bool:
    from leaderboard.results.metrics import is_smoothed
    from leaderboard.results.store import read

    return is_smoothed(read(path).rows)


def _recheck_model(model: Path, evidence: Path, exact: bool | None, as_json: bool) -> None:
    """What evidence says by itself about a model."""
    from leaderboard.recheck.proofs import Rechecker, claims_in, of_evidence, open_archive

    archive = open_archive(evidence)
    question = of_evidence(archive, model)
    findings = list(Rechecker(question, archive, exact).check(claims_in(archive)))
    records = [one.record() for one in findings]
    if as_json:
        print(json.dumps({"model": str(model), "rows": records}, allow_nan=False))
    _judge([(str(evidence), findings)], as_json)


def _recheck_plain(
    paths: list[Path],
    model: Path | None,
    evidence: Path | None,
    save: bool,
    exact: bool | None,
    as_json: bool,
) -> None:
    """Whole evaluations of plain networks."""
    from leaderboard.evaluation.evidence import beside, told
    from leaderboard.recheck import proofs
    from leaderboard.results.store import read

    found: list[tuple[str, list[Finding]]] = []
    for path in paths:
        result = read(path)
        question = proofs.of_results(result, model or _model_of(result))
        place = beside(path)
        given = evidence or (place if place.exists() else None)
        archive = proofs.open_archive(given) if given else None
        claims = proofs.claims_of(result.rows, question.radius)
        findings = list(proofs.Rechecker(question, archive, exact).check(claims))
        if save:
            tell(f"{place}: {told(proofs.save(place, question, findings))}")
        found.append((str(path), findings))
    if as_json:
        tables = [{"results": p, "rows": [one.record() for one in rows]} for p, rows in found]
        print(json.dumps(tables[0] if len(tables) == 1 else tables, allow_nan=False))
    _judge(found, as_json)


def _model_of(result: "Results") -> Path:
    """The file of the submission that was measured."""
    from leaderboard.common.project import find_project
    from leaderboard.submissions.manifest import load_submission, model_path

    slug = result.provenance.submission
    try:
        project = find_project()
        return model_path(project, load_submission(project, slug))
    except InputError as error:
        raise InputError(
            *error.problems, f"{result.path}: name its model: --model FILE.onnx."
        ) from error


_SHOWN = 20


def _judge(found: list[tuple[str, list["Finding"]]], as_json: bool) -> None:
    """Say how many claims were proved, and which were not, and why."""
    problems = list[str]()
    for name, findings in found:
        refused = [one for one in findings if not one.found.accepted]
        if not as_json:
            _show_findings(name, findings, refused)
        where = f"{name}: " if len(found) > 1 else ""
        problems += [
            f"{where}example {one.claim.example}: refused: {one.found.reason}" for one in refused
        ]
        if not findings:
            problems.append(f"{name}: says nothing that could be rechecked.")
    if problems:
        more = len(problems) - _SHOWN
        raise InputError(*problems[:_SHOWN], *([f"And {more:,} more."] if more > 0 else []))


def _show_findings(name: str, findings: list["Finding"], refused: list["Finding"]) -> None:
    if refused:
        hidden = ("reason", "seconds", "accepted")
        records = [one.record() for one in refused[:_SHOWN]]
        show_table([{k: v for k, v in record.items() if k not in hidden} for record in records])
        print()
    print(f"{name}: {summary(findings)}")


def summary(findings: list["Finding"]) -> str:
    """`9,541 of 9,541 certified examples proved (9,534 ibp, 7 crown), 459 of 459 …`."""
    words = list[str]()
    for what, done, names in (
        ("certified example", "proved", {"certified"}),
        ("smaller radius", "proved", {"unknown"}),
        ("counterexample", "replayed", {"falsified"}),
    ):
        asked = [one for one in findings if one.claim.status in names]
        good = [one for one in asked if one.found.accepted]
        methods = Counter(one.method for one in good if done == "proved")
        kinds = ", ".join(f"{count:,} {method}" for method, count in methods.most_common())
        if asked:
            plurals = {"smaller radius": "smaller radii"}
            title = what if len(asked) == 1 else plurals.get(what, f"{what}s")
            words.append(
                f"{len(good):,} of {len(asked):,} {title} {done}" + (f" ({kinds})" if kinds else "")
            )
    return ", ".join(words) or "nothing that could be rechecked"


def _recheck_smoothed(
    path: Path, redraw: int | None, model: Path | None, files: Any, as_json: bool
) -> None:
    from leaderboard.recheck.rows import recheck_results

    found: dict[str, Any] = {"results": str(path), "rows": list(recheck_results(path))}
    if redraw is not None and model is not None:
        found["redrawn"] = _redrawn(path, redraw, model, *files)
    _tell_rows(found, as_json)


def _redrawn(
    path: Path,
    number: int,
    model: Path,
    members: list[Path] | None,
    rule: str,
    denoiser: Path | None,
    dataset: str | None,
    seed: int | None,
    device: str,
) -> dict[str, Any]:
    from leaderboard.evaluation.provenance import describe
    from leaderboard.recheck import redraw
    from leaderboard.results.store import read

    check_device(device)
    result = read(path)
    parts = redraw.parts_of_files(model, tuple(members or ()), denoiser)
    rule = rule if members else ""
    question = redraw.question_again(result, parts, rule, dataset, device)
    seed = redraw.new_seed() if seed is None else seed
    examples = redraw.choose(result.rows, number, seed)
    tell(f"drawing {plural(len(examples), 'example')} again, chosen by --seed {seed}")
    entries = list(redraw.redraw(question, result, examples))
    origin = result.provenance
    now = describe(question, origin.submission, origin.setting, "", "", "1")
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
        _show(refused or rows)
        words = f"{len(passed)} of {plural(len(rows), 'row')} accepted, {len(refused)} refused"
        reasons = sorted({row["reason"] for row in rows if row["accepted"] is None})
        print(f"{words}, {unknown} not rechecked" + (f": {' '.join(reasons)}" if reasons else ""))
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


def _show(rows: list[dict[str, Any]]) -> None:
    """The first rows; which were accepted, and the radius from their counts."""
    words = {True: "accepted", False: "refused", None: "not rechecked"}
    hidden = ("reason", "seconds")
    show_table(
        [
            {
                **{key: value for key, value in row.items() if key not in hidden},
                "accepted": words[row["accepted"]],
            }
            for row in rows[:_SHOWN]
        ]
    )
    if len(rows) > _SHOWN:
        print(f"… and {len(rows) - _SHOWN} more: --json gives all")
