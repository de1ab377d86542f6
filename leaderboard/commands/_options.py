"""Options that several commands share."""

from typing import Annotated

import typer

Slugs = Annotated[list[str] | None, typer.Argument(help="Submissions; default: all")]
Device = Annotated[str, typer.Option(help="cpu, cuda (all GPUs of one kind) or cuda:0,cuda:1")]
Workers = Annotated[str, typer.Option(help="Number of processes, or 'ray'")]
Sandbox = Annotated[
    str, typer.Option(help="off, best (confine models as far as this machine can) or required")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else")]
