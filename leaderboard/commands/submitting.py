"""Commands for those who submit: new, export."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands import app
from leaderboard.common.errors import InputError
from leaderboard.common.project import find_project


@app.command()
def new(
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
        model, url, dataset, title, tuple(author or ()), licence, node, sigma, noise,
        tuple(claim or ()),
    )  # fmt: skip
    project = find_project()
    if sys.stdin.isatty():
        from leaderboard.submissions.prompts import ask

        answers = ask(project, slug, answers)
    made = scaffold(project, slug, answers)
    print(f"{made.folder}: {made.next}")


@app.command()
def export(
    source: Annotated[
        str, typer.Argument(help="file.py:name or package.module:name of a torch.nn.Module")
    ],
    dataset: Annotated[str, typer.Option(help="`certboard list datasets`")],
    output: Annotated[Path, typer.Option(help="The ONNX file to write")] = Path("model.onnx"),
    weights: Annotated[Path | None, typer.Option(help="A state dict to load")] = None,
    mean: Annotated[str | None, typer.Option(help="Normalise: means of the channels")] = None,
    std: Annotated[str | None, typer.Option(help="Normalise: deviations of the channels")] = None,
) -> None:
    """Export a PyTorch module of your own to ONNX, and check that the file fits."""
    from leaderboard.datasets.catalogue import find_dataset
    from leaderboard.evaluation.export import export as export_module

    made = export_module(
        source, dataset, output, weights, _numbers("--mean", mean), _numbers("--std", std)
    )
    print(f"{made.path}: fits {dataset}; logits differ by at most {made.difference:.2g}")
    print(f"sha256 {made.sha256}")
    if made.accuracy is None:
        print(f"Accuracy is not known: there is no {dataset} here; try: certboard data fetch")
        return
    print(f"{made.accuracy:.0f} % of the first {made.examples} test examples are right")
    if made.accuracy < 200 / len(find_dataset(dataset).classes):
        print("That is little: pixels come in [0, 1]; does the network need --mean and --std?")


def _numbers(name: str, text: str | None) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"{name} is '{text}'; it must be numbers such as 0.49,0.48,0.45."
        ) from None
