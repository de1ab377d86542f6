"""Options that several commands share."""

from typing import Annotated

import typer

Slugs = Annotated[list[str] | None, typer.Argument(help="Submissions; default: all")]
Device = Annotated[str, typer.Option(help="cpu, cuda (all GPUs of one kind) or cuda:0,cuda:1")]
Workers = Annotated[str, typer.Option(help="Number of processes, or 'ray'")]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Most memory, such as 2GB, which the workers divide, and most on a GPU;"
        " default: what is available, up to 8 GiB a process"
    ),
]
Sandbox = Annotated[
    str, typer.Option(help="off, best (confine models as far as this machine can) or required")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else")]
