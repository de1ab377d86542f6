"""`certboard train`: a small network by one of the project's recipes."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands import _names
from leaderboard.common.errors import InputError
from leaderboard.common.memory import uncollected
from leaderboard.common.places import check_writable
from leaderboard.common.project import find_project


def command(
    recipe: Annotated[
        str,
        _names.name_argument(_names.recipes, help="See `certboard list recipes`"),
    ],
    dataset: Annotated[str, _names.name_option(_names.datasets, help="digits, mnist or cifar10")],
    output: Annotated[Path | None, typer.Option(help="The ONNX file to write")] = None,
    submission: Annotated[
        str | None, typer.Option(help="Make this new, complete folder in submissions/ instead")
    ] = None,
    radius: Annotated[str | None, typer.Option(help="Radius to train for, such as 8/255")] = None,
    sigma: Annotated[str | None, typer.Option(help="Scale of the noise to train for")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: the dataset's plan")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images in a batch")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's, at first")] = None,
    architecture: Annotated[
        str | None, typer.Option(help="small-cnn, cnn4, cnn5, cnn7, residual-cnn, …")
    ] = None,
    width: Annotated[float, typer.Option(help="Multiplies the architecture's channels")] = 1.0,
    batch_norm: Annotated[
        bool, typer.Option("--batch-norm", help="Normalise; folded into the written network")
    ] = False,
    option: Annotated[
        list[str] | None, typer.Option(help="NAME=NUMBER, another of the recipe's; repeatable")
    ] = None,
    shift: Annotated[
        int | None, typer.Option(min=0, help="The most pixels by which images are moved")
    ] = None,
    begin: Annotated[
        str | None,
        _names.name_option(_names.slugs, "--from", help="Begin with this one's weights"),
    ] = None,
    average: Annotated[
        float, typer.Option(help="Learn a mean of weights; the share that each step keeps")
    ] = 0.0,
    views: Annotated[
        int, typer.Option(min=0, help="Write the mean over images moved so far, and mirrored")
    ] = 0,
    half: Annotated[
        bool, typer.Option("--half", help="Write weights rounded to float16: half the room")
    ] = False,
    optimizer: Annotated[
        str | None, _names.name_option(_names.optimizers, help="adam or muon; default: adam")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and the batches")] = 0,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Written after each epoch; the same command continues")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; default: cuda if here")] = None,
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="Multiply in bfloat16")] = False,
    author: Annotated[list[str] | None, typer.Option(help="Of a submission; repeatable")] = None,
) -> None:
    """Train a small network by one of the project's recipes and write it as ONNX.

    \b
    Example:
      certboard train ibp --dataset mnist --output net.onnx
    """
    if (output is None) == (submission is None):
        raise InputError("Say where to write to: either --output FILE or --submission NAME.")
    if output is not None:
        check_writable(output)
    with uncollected():
        import torch

        from leaderboard.evaluation.train import TrainingRequest, train, write_model
        from leaderboard.evaluation.trained import check_new, write_submission

    if submission is not None:
        check_new(find_project(), submission)
    request = TrainingRequest(
        recipe,
        dataset,
        seed,
        epochs,
        batch,
        learning_rate,
        architecture,
        width,
        batch_norm,
        _options(radius, sigma, option or []),
        device or ("cuda" if torch.cuda.is_available() else "cpu"),
        bfloat16,
        shift,
        average,
        optimizer or "adam",
        begin,
        views,
        half,
        checkpoint,
    )
    trained = train(request)
    if output is not None:
        write_model(trained.network, output, trained.views, half=half)
    if submission is not None:
        line = shlex.join(["certboard", *_lasting(sys.argv[1:])])
        folder = write_submission(find_project(), submission, trained, request, line, author or [])
        print(f"{folder}: then `certboard check {submission}`, `certboard run {submission}`")


def _options(radius: str | None, sigma: str | None, others: list[str]) -> dict[str, str]:
    """The recipe's options by name, as written."""
    options = {}
    for text in others:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--option is '{text}'; it must be NAME=NUMBER.")
        options[name.strip().replace("-", "_")] = value.strip()
    given = {"radius": radius, "sigma": sigma}
    return options | {name: text for name, text in given.items() if text is not None}


def _lasting(arguments: list[str]) -> Iterator[str]:
    """What of a command line decides the network: all but where its checkpoint lies."""
    skip = False
    for argument in arguments:
        if not skip and not argument.startswith("--checkpoint"):
            yield argument
        skip = argument == "--checkpoint"
