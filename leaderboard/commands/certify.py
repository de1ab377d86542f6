"""`certboard certify`: any ONNX model, without a submission."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from leaderboard.commands import _names, _options
from leaderboard.common.formatting import rounded_down
from leaderboard.common.memory import uncollected, within


def command(
    model: Annotated[Path, typer.Argument(help="An ONNX classifier", show_default=False)],
    dataset: _options.DatasetOption,
    norm: _options.NormOption,
    radius: Annotated[
        str,
        typer.Option("--radius", "--eps", help="An exact decimal or fraction: 0.3, 8/255 or 1e-3"),
    ],
    evaluator: _options.EvaluatorOption = None,
    examples: _options.FirstExamples = None,
    indices: _options.Indices = None,
    max_radius: _options.MaxRadius = False,
    seconds: _options.Seconds = 60.0,
    sigma: Annotated[str | None, typer.Option(help="Smooth with noise of this scale")] = None,
    noise: _options.NoiseOption = None,
    procedure: Annotated[
        str | None,
        _names.name_option(
            _names.procedures, help="fixed (default), curtailed, sequential or input-specific"
        ),
    ] = None,
    sides: Annotated[
        int | None,
        typer.Option(help="Bound the top class only (1, default) or the others, too (2)"),
    ] = None,
    member: _options.Members = None,
    rule: Annotated[
        str | None,
        _names.name_option(_names.rules, help="How an ensemble votes; default: mean-logits"),
    ] = None,
    denoiser: Annotated[
        Path | None, typer.Option(help="An ONNX network that runs before the classifier")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Noisy copies per example; default: 100000")
    ] = None,
    failure_probability: Annotated[
        float | None, typer.Option(help="The chance that a certificate is wrong; default: 0.001")
    ] = None,
    channels_last: _options.ChannelsLast = False,
    input_shape: _options.InputShape = None,
    device: _options.Device = "cpu",
    workers: _options.Workers = "1",
    memory: _options.Memory = None,
    as_json: _options.Json = False,
    output: Annotated[Path | None, typer.Option(help="Write the rows to this Parquet file")] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(help="Write the proofs to this .evidence file, for `certboard recheck`"),
    ] = None,
) -> None:
    """Evaluate an ONNX model of your own, without a submission.

    \b
    Examples:
      certboard certify net.onnx --dataset mnist --norm linf --radius 0.1
      certboard certify net.onnx --dataset mnist --norm linf --eps 8/255 \\
          --examples 100 --evaluator crown
      certboard certify net.onnx --dataset mnist --norm l2 --radius 0.5 \\
          --sigma 0.25 --indices 0-99
      certboard certify keras.onnx --dataset mnist --norm linf --radius 0.1 \\
          --channels-last
    """
    with uncollected():
        from leaderboard.evaluation import certify
        from leaderboard.evaluation.certify_options import (
            CertifyOptions,
            ExampleSelection,
            ModelFiles,
            SamplingOptions,
        )

    typed = CertifyOptions(
        files=ModelFiles(
            model=model,
            members=tuple(member or ()),
            rule=rule,
            denoiser=denoiser,
            channels_last=channels_last,
            input_shape=input_shape,
        ),
        dataset=dataset,
        norm=norm,
        radius=radius,
        evaluator=evaluator,
        seconds=seconds,
        selection=ExampleSelection(examples=examples, indices=indices),
        sampling=SamplingOptions(
            sigma=sigma,
            noise=noise,
            samples=samples,
            failure_probability=failure_probability,
            procedure=procedure,
            sides=sides,
        ),
        max_radius=max_radius,
        device=device,
        workers=workers,
        output=output,
        evidence=evidence,
    )
    with within(memory):
        summary = certify.summary(certify.certify(typed))
    if as_json:
        print(json.dumps(summary, allow_nan=False))
    else:
        _show(summary)


_SHOWN = 20


def _show(summary: dict[str, Any]) -> None:
    """The first rows, and the counts."""
    counts, rows = summary["counts"], summary["rows"]
    table = [{**row, "margin": rounded_down(row["margin"])} for row in rows[:_SHOWN]]
    # What says nothing is left out: no bounds and notes, and the evaluator that was asked for.
    idle = {name for name in ("margin", "note") if not any(row[name] for row in table)}
    idle |= {"stage"} if {row["stage"] for row in rows} == {summary["evaluator"]} else set()
    from leaderboard.common.progress import show_table

    show_table(table, idle)
    print()
    if len(rows) > _SHOWN:
        print(f"… and {len(rows) - _SHOWN} more: --json or --output FILE.parquet gives all")
    print(
        f"{counts['certified']} of {len(rows)} certified, {counts['falsified']} falsified,"
        f" {counts['unknown']} unknown, {summary['seconds']:.3g} s, by {summary['evaluator']}"
    )
