"""The command that trusts nobody's verdicts: recheck."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import BadParameter

from leaderboard.commands import app
from leaderboard.devices import check_device
from leaderboard.errors import InputError
from leaderboard.formatting import plural, rounded_down
from leaderboard.progress import show_table, tell


@app.command()
def recheck(
    subject: Annotated[
        Path, typer.Argument(help="An ONNX file; or a result file, .parquet", show_default=False)
    ],
    evidence: Annotated[
        list[Path] | None,
        typer.Argument(help="Of an ONNX file: what `certify --evidence` wrote"),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Proofs in fractions, however long it takes")
    ] = False,
    redraw: Annotated[
        int | None, typer.Option(min=1, help="Of a result file: draw K random examples again")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="For --redraw: the ONNX file")] = None,
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
    """Check certificates and witnesses again, with none of the code that made them."""
    if subject.suffix != ".parquet":
        if not evidence:
            raise BadParameter("Give an ONNX file and its evidence, or a result file (.parquet)")
        if redraw is not None or model is not None:
            raise BadParameter("--redraw and --model are for a result file (.parquet)")
        _recheck_evidence(subject, evidence, exact, as_json)
        return
    if evidence:
        raise BadParameter("A result file is rechecked by itself; name nothing after it")
    if (redraw is None) != (model is None):
        raise BadParameter("--redraw K needs --model, and --model needs --redraw K")
    found: dict[str, Any] = {"results": str(subject), "rows": _rows(subject)}
    if redraw is not None and model is not None:
        files = (model, tuple(member or ()), rule, denoiser)
        found["redrawn"] = _redrawn(subject, redraw, seed, files, dataset, device)
    _tell_rows(found, as_json)


def _recheck_evidence(model: Path, evidence: list[Path], exact: bool, as_json: bool) -> None:
    from leaderboard.evidence import recheck_files

    entries = list(recheck_files(model, evidence, True if exact else None))
    refused = [entry for entry in entries if not entry["accepted"]]
    if as_json:
        print(json.dumps({"model": str(model), "rows": entries}, allow_nan=False))
    else:
        hidden = ("reason", "bounds")
        table = [
            {
                **{key: value for key, value in entry.items() if key not in hidden},
                "file": Path(entry["file"]).name,
                "margin": rounded_down(entry["margin"]),
                "accepted": "accepted" if entry["accepted"] else "refused",
            }
            for entry in entries
        ]
        show_table(table)
        print(f"{len(entries) - len(refused)} of {plural(len(entries), 'file')} accepted")
    if refused:
        raise InputError(*(f"{entry['file']}: refused: {entry['reason']}" for entry in refused))


def _rows(path: Path) -> list[dict[str, Any]]:
    from leaderboard.recheck_rows import recheck_results

    return list(recheck_results(path))


def _redrawn(
    path: Path,
    number: int,
    seed: int | None,
    files: tuple[Path, tuple[Path, ...], str, Path | None],
    dataset: str | None,
    device: str,
) -> dict[str, Any]:
    from leaderboard import redraw
    from leaderboard.provenance import describe
    from leaderboard.results import read

    check_device(device)
    model, members, rule, denoiser = files
    result = read(path)
    parts = redraw.parts_of_files(model, members, denoiser)
    rule = rule if members else ""
    question = redraw.question_again(result, parts, rule, dataset, device)
    seed = redraw.new_seed() if seed is None else seed
    examples = redraw.choose(result.rows, number, seed)
    tell(f"drawing {plural(len(examples), 'example')} again, chosen by --seed {seed}")
    entries = list(redraw.redraw(question, result, examples))
    origin = result.provenance
    now = describe(question, origin.submission, origin.setting, "", "", "1")
    return {"seed": seed, "rows": entries, "machine": redraw.other_machine(origin, now)}


_SHOWN = 20


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
