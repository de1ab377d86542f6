"""`certboard compare`: evaluators on networks, all on the same examples."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leaderboard.commands import _names, _options
from leaderboard.common.memory import uncollected, within
from leaderboard.common.progress import tell

if TYPE_CHECKING:
    from leaderboard.results.cells import Cell


def command(
    models: Annotated[
        list[str],
        typer.Argument(help="ONNX files of plain networks, or submissions", show_default=False),
    ],
    dataset: _options.DatasetOption,
    norm: _options.NormOption,
    radius: Annotated[
        list[str],
        typer.Option("--radius", "--eps", help="An exact decimal or fraction; repeatable"),
    ],
    evaluator: Annotated[
        list[str] | None,
        _names.name_option(
            _names.evaluators,
            help="One of `certboard list evaluators`; repeatable; default: all that prove",
        ),
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="The first N test examples")] = 100,
    seconds: _options.Seconds = 10.0,
    max_radius: _options.MaxRadius = False,
    device: _options.Device = "cpu",
    workers: _options.Workers = "1",
    memory: _options.Memory = None,
    fresh: _options.Fresh = False,
    results: Annotated[
        Path, typer.Option(help="Store the rows here, one file per network and evaluator")
    ] = Path("comparison"),
    publish: Annotated[
        bool, typer.Option("--publish", help="Store them in site/data/comparison instead")
    ] = False,
    sources: Annotated[
        Path | None,
        typer.Option(
            help="A CSV file that says where networks are from, in the columns sha256,"
            " source_repo, source_path and source_commit"
        ),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="Write the table to this .csv or .parquet file, too")
    ] = None,
) -> None:
    """Compare evaluators on networks, all on the same examples; continue an interrupted run.

    \b
    Two evaluators on two networks, in ten seconds an example:
      certboard compare a.onnx b.onnx --dataset mnist --norm linf \\
        --radius 0.1 --evaluator crown --evaluator lp --table compared.csv

    \b
    All evaluators on a submission, with average radii:
      certboard compare mnist-ibp --dataset mnist --norm linf \\
        --radius 0.3 --max-radius
    """
    with uncollected():
        from leaderboard.common.project import find_project
        from leaderboard.evaluation.comparison import CompareOptions, compare_evaluators

    folder = find_project().comparison if publish else results
    typed = CompareOptions(
        models=models,
        dataset=dataset,
        norm=norm,
        radii=radius,
        evaluators=evaluator or (),
        examples=examples,
        seconds=seconds,
        max_radius=max_radius,
        sources=sources,
        device=device,
        workers=workers,
        results=folder,
        fresh=fresh,
        table=table,
    )
    with within(memory):
        _show(compare_evaluators(typed))
    tell(f"The rows are in {folder}.")


def _show(cells: "list[Cell]") -> None:
    """A line a cell, in per cent of the examples."""
    from leaderboard.common.progress import show_table

    lines: list[dict[str, object]] = []
    for cell in cells:
        line: dict[str, object] = {
            "network": cell.network.removesuffix(".onnx"),
            "radius": cell.radius,
            "evaluator": cell.evaluator,
            "certified": f"{cell.certified / cell.examples:.1%}",
            "falsified": f"{cell.falsified / cell.examples:.1%}",
            "mean s": cell.mean_seconds,
            "median s": cell.median_seconds,
        }
        lines.append(
            line if cell.mean_radius is None else {**line, "mean radius": cell.mean_radius}
        )
    show_table(lines)
