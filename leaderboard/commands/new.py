"""`certboard new`: the folder of a new submission."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from leaderboard.common.project import find_project


def command(
    slug: Annotated[str, typer.Argument(help="Lower-case words and hyphens")],
    model: Annotated[Path | None, typer.Option(help="An ONNX file to copy there")] = None,
    url: Annotated[str | None, typer.Option(help="Where the model is, if it is large")] = None,
    dataset: Annotated[str | None, typer.Option(help="`certboard list datasets`")] = None,
    title: Annotated[str | None, typer.Option(help="The model's name in tables")] = None,
    author: Annotated[list[str] | None, typer.Option(help="Repeatable")] = None,
    licence: Annotated[str | None, typer.Option(help="Of the model, such as Apache-2.0")] = None,
    node: Annotated[str | None, typer.Option(help="`certboard list taxonomy`")] = None,
    sigma: Annotated[str | None, typer.Option(help="Scale of a smoothed model's noise")] = None,
    noise: Annotated[str | None, typer.Option(help="gaussian (default), laplace, …")] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(help="SETTING=CERTIFIED or SETTING=CERTIFIED/CLEAN, percent; repeatable"),
    ] = None,
) -> None:
    """Make a folder for a new submission; asks for what is not given, at a terminal."""
    from leaderboard.submissions.scaffold import Answers, scaffold

    answers = Answers(
        model=model,
        url=url,
        dataset=dataset,
        title=title,
        authors=tuple(author or ()),
        licence=licence,
        node=node,
        sigma=sigma,
        noise=noise,
        claims=tuple(claim or ()),
    )
    project = find_project()
    if sys.stdin.isatty():
        from leaderboard.submissions.prompts import ask

        answers = ask(project, slug, answers)
    made = scaffold(project, slug, answers)
    print(f"{made.folder}: {made.next}")
