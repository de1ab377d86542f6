"""`certboard run`: submissions, evaluated and stored."""

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands import _names, _options
from leaderboard.common.formatting import plural
from leaderboard.common.memory import uncollected, within
from leaderboard.common.progress import tell
from leaderboard.common.project import find_project


def command(
    slugs: _options.Slugs = None,
    setting: Annotated[
        list[str] | None, _names.name_option(_names.settings, help="Settings; default: all")
    ] = None,
    evaluator: Annotated[
        str | None,
        _names.name_option(
            _names.evaluators, help="Run this evaluator alone; its rows are stored, but not ranked"
        ),
    ] = None,
    examples: Annotated[int | None, typer.Option(min=1, help="Only the first N examples")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Time budget per example: processor time on a CPU")
    ] = None,
    device: _options.Device = "cpu",
    workers: _options.Workers = "1",
    memory: _options.Memory = None,
    fresh: _options.Fresh = False,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1, help="Samples per example of a smoothed model, at most; default: the setting's"
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Take a first look at few examples; nothing depends on it"),
    ] = False,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Store the proofs beside the rows")
    ] = False,
    results: _options.ResultsFolder = None,
    sandbox: _options.Sandbox = "off",
    shard: Annotated[
        str | None,
        typer.Option(
            help="Compute one share of several, such as 2/5; `certboard merge` joins them"
        ),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(help="Stop within this time, with exit code 4; run again to continue"),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(help="Append events to this file, one JSON object per line"),
    ] = None,
) -> None:
    """Evaluate submissions and store every verdict; continue an interrupted run.

    \b
    Examples:
      certboard run my-net --quick
      certboard run --setting mnist-linf-0.1 --workers 4
    """
    with uncollected():
        from leaderboard.evaluation.plan import Request
        from leaderboard.evaluation.shares import Share
        from leaderboard.intake.run import RunOptions
        from leaderboard.intake.run import run as run_submissions

    request = Request(
        evaluator=evaluator,
        examples=examples,
        seconds=seconds,
        device=device,
        fresh=fresh,
        samples=samples,
        evidence=evidence,
        share=None if shard is None else Share.parse(shard),
    )
    options = RunOptions(
        slugs=slugs or (),
        settings=setting or (),
        request=request,
        workers=workers,
        sandbox=sandbox,
        hours=hours,
        quick=quick,
        results=results,
        log=log,
    )
    with within(memory):
        ran = run_submissions(find_project(), options)
    if quick:
        _show_quick(ran.table, ran.sentences)
        return
    if shard is not None:
        print(f"Share {shard} is done. When all shares are, join them by: certboard merge")
        return
    print(f"{plural(ran.verdicts, 'verdict')} in {ran.project.results}")
    for sentence in ran.sentences:
        tell(sentence)
    if results is None:
        print("To show them on the website: certboard build")


def _show_quick(table: list[dict[str, object]], sentences: list[str]) -> None:
    from leaderboard.common.progress import show_table

    show_table(table)
    print()
    for sentence in sentences:
        print(sentence)
    print("This was a first look at few examples with small budgets; nothing depends on it.")
