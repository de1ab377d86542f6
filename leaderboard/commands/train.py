"""`certboard train`: a small network by one of the project's recipes."""

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.common.memory import uncollected


def command(
    recipe: Annotated[str, typer.Argument(help="standard, ibp or gaussian")],
    dataset: Annotated[str, typer.Option(help="digits, mnist or cifar10")],
    output: Annotated[Path, typer.Option(help="The ONNX file to write")],
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and the batches")] = 0,
) -> None:
    """Train a small network by one of the project's recipes and write it as ONNX."""
    with uncollected():
        from leaderboard.evaluation.train import train

    train(recipe, dataset, output, seed=seed)
