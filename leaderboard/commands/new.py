"""`certboard new`: the folder of a new submission."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands import _names, _options
from leaderboard.common.project import find_project


def command(
    slug: Annotated[str, typer.Argument(help="The folder's name: lower-case words and hyphens")],
    model: Annotated[Path | None, typer.Option(help="An ONNX file to copy into the folder")] = None,
    url: Annotated[
        str | None,
        typer.Option(help="The https address of a large model: fetched, not copied"),
    ] = None,
    dataset: _options.SomeDataset = None,
    title: Annotated[str | None, typer.Option(help="The model's name in tables")] = None,
    author: Annotated[list[str] | None, typer.Option(help="An author; repeatable")] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the model, such as Apache-2.0")
    ] = None,
    node: Annotated[
        str | None,
        _names.name_option(_names.nodes, help="How it was trained: see `certboard list taxonomy`"),
    ] = None,
    sigma: Annotated[str | None, typer.Option(help="Scale of a smoothed model's noise")] = None,
    noise: _options.NoiseOption = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(help="SETTING=CERTIFIED or SETTING=CERTIFIED/CLEAN, percent; repeatable"),
    ] = None,
) -> None:
    """Create the folder of a new submission; in a terminal, ask for missing values.

    \b
    Example:
      certboard new my-net --model net.onnx --dataset mnist
    """
    from leaderboard.settings.setting import radius_text
    from leaderboard.submissions.scaffold import Answers, scaffold

    answers = Answers(
        model=model,
        url=url,
        dataset=dataset,
        title=title,
        authors=tuple(author or ()),
        licence=licence,
        node=node,
        sigma=None if sigma is None else radius_text(sigma, "--sigma"),
        noise=noise,
        claims=tuple(claim or ()),
    )
    project = find_project()
    if sys.stdin.isatty():
        from leaderboard.submissions.prompts import ask

        answers = ask(project, slug, answers)
    made = scaffold(project, slug, answers)
    print(f"{made.folder}: {made.next}")
