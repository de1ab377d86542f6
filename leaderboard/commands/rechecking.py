"""The command that trusts nobody's verdicts: recheck."""

import json
from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands import app
from leaderboard.errors import InputError
from leaderboard.formatting import plural, rounded_down
from leaderboard.progress import show_table


@app.command()
def recheck(
    model: Annotated[Path, typer.Argument(help="The ONNX file", show_default=False)],
    evidence: Annotated[
        list[Path], typer.Argument(help="Files or folders that `certify --evidence` wrote")
    ],
    exact: Annotated[
        bool, typer.Option("--exact", help="In fractions, however long it takes")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one object and nothing else")
    ] = False,
) -> None:
    """Check certificates and witnesses again, with none of the code that made them."""
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
