"""`certboard verify`: VNN-COMP's question."""

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands import _options
from leaderboard.common.memory import within


def command(
    model: Annotated[Path | None, typer.Argument(help="An ONNX network")] = None,
    specification: Annotated[Path | None, typer.Argument(help="A VNN-LIB property")] = None,
    instances: Annotated[
        Path | None,
        typer.Option(help="A CSV table of onnx,vnnlib,timeout, in place of one property"),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Time limit; default: 60, or the timeouts of the table")
    ] = None,
    evaluator: _options.EvaluatorOption = None,
    memory: _options.Memory = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the answer to this file; for a table: results.csv")
    ] = None,
) -> None:
    """Answer a VNN-LIB property: unsat, sat with a counterexample, unknown or timeout.

    \b
    Examples:
      certboard verify net.onnx property.vnnlib --seconds 60
      certboard verify --instances instances.csv --output results.csv
    """
    from leaderboard.vnncomp.answering import verify_one, verify_table
    from leaderboard.vnncomp.instance import Instance

    first, second = (_kind(path) for path in (model, specification))
    if first == ".vnnlib" and second == ".onnx":
        raise typer.BadParameter("The model comes first, then the property")
    with within(memory):
        if instances is not None and model is None:
            verify_table(instances, seconds, evaluator, output or Path("results.csv"))
        elif instances is None and model is not None and specification is not None:
            verify_one(Instance(model, specification, evaluator), seconds, output)
        else:
            raise typer.BadParameter("Give either a model and a property, or --instances")


def _kind(path: Path | None) -> str:
    """A file's ending, whether it is packed or not."""
    return "" if path is None else Path(path.name.removesuffix(".gz")).suffix
