"""Commands that evaluate any model: certify, train."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leaderboard.commands import app
from leaderboard.common.devices import check_device
from leaderboard.common.errors import InputError, unknown_name
from leaderboard.common.formatting import plural, rounded_down
from leaderboard.common.formatting import seconds as seconds_text
from leaderboard.common.progress import RunProgress, show_table, tell

if TYPE_CHECKING:
    from leaderboard.settings.question import Question

DeviceOption = Annotated[str, typer.Option(help="cpu; cuda, all of a kind; or cuda:0,cuda:1")]
SandboxOption = Annotated[
    str, typer.Option(help="off; best: confine models as far as possible here; required")
]
SANDBOX = ("off", "best", "required")
WorkersOption = Annotated[str, typer.Option(help="Number of processes, or 'ray'")]


LONG = 30.0
"""Seconds: a run that may take longer is announced with what it may cost."""


def announce(title: str, question: "Question", examples: list[int], workers: str) -> None:
    """Say, before a long run of a smoothed model, how long it may be."""
    from leaderboard.evaluation.shard import forecast

    if question.sigma is None or (cost := forecast(question, examples)) is None:
        return
    samples, alone = cost
    shared = int(workers) if workers.isdecimal() else 1
    if alone / shared <= LONG:
        return
    rate = f"{samples / alone:,.0f} a second" + (" in each worker" if shared > 1 else "")
    tell(
        f"{title}: at most {samples:,} samples of {plural(len(examples), 'example')}, {rate}:"
        f" up to {seconds_text(alone / shared)}"
    )


@app.command()
def certify(
    model: Annotated[Path, typer.Argument(help="An ONNX classifier", show_default=False)],
    dataset: Annotated[str, typer.Option(help="`certboard list datasets`")],
    norm: Annotated[str, typer.Option(help="linf, l2 or l1")],
    radius: Annotated[str, typer.Option(help="Exact: 0.3 or 8/255")],
    evaluator: Annotated[
        str | None, typer.Option(help="`certboard list evaluators`; default: the cascade")
    ] = None,
    examples: Annotated[
        int | None, typer.Option(min=1, help="Only the first N test examples")
    ] = None,
    indices: Annotated[str | None, typer.Option(help="Only these: 3,14,15 or @file")] = None,
    max_radius: Annotated[
        bool,
        typer.Option(
            "--max-radius", help="The largest radius of each, up to --radius, in --seconds more"
        ),
    ] = False,
    seconds: Annotated[float, typer.Option(help="Time budget of an example")] = 60.0,
    sigma: Annotated[str | None, typer.Option(help="Smooth with noise of this scale")] = None,
    noise: Annotated[
        str | None, typer.Option(help="gaussian (default), laplace, uniform, …")
    ] = None,
    procedure: Annotated[
        str | None, typer.Option(help="How samples are spent; default: fixed")
    ] = None,
    sides: Annotated[
        int | None, typer.Option(help="1 bounds the top class only (default), 2 the others too")
    ] = None,
    member: Annotated[
        list[Path] | None, typer.Option(help="A further network of an ensemble, repeatable")
    ] = None,
    rule: Annotated[str | None, typer.Option(help="Of an ensemble; default: mean-logits")] = None,
    denoiser: Annotated[
        Path | None, typer.Option(help="An ONNX network that runs before the classifier")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Noisy copies of an example; default: 100000")
    ] = None,
    failure_probability: Annotated[
        float | None, typer.Option(help="Of one certificate; default: 0.001")
    ] = None,
    device: DeviceOption = "cpu",
    workers: WorkersOption = "1",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one object and nothing else")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="A Parquet file for the rows")] = None,
    evidence: Annotated[
        Path | None, typer.Option(help="A new file, .evidence, for `certboard recheck`")
    ] = None,
) -> None:
    """Evaluate any ONNX model without a submission."""
    from leaderboard.evaluation import certify as certification
    from leaderboard.evaluation.evidence import told
    from leaderboard.evaluation.radius_search import largest_radii
    from leaderboard.recheck.proofs import open_archive

    check_device(device)
    wish = certification.Wish(
        model, dataset, norm, radius, evaluator, examples, indices, seconds,
        sigma, samples, failure_probability, device, workers, max_radius, output, evidence,
        noise, procedure, sides, tuple(member or ()), rule, denoiser,
    )  # fmt: skip
    question, chosen = certification.prepare(wish)
    title = f"{model.name} · {norm} {radius}"
    announce(title, question, chosen, workers)
    with RunProgress(title, len(chosen)) as progress:
        rows = certification.certify(question, chosen, workers, progress.advance, evidence)
        if max_radius:
            rows = largest_radii(replace(question, evidence=None), rows, workers, progress)
    if output is not None:
        certification.store(output, question, rows, wish)
    if evidence is not None:
        tell(f"{evidence}: {told(open_archive(evidence))}")
    summary = certification.summary(question, rows)
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
    show_table([{k: v for k, v in row.items() if k not in idle} for row in table])
    print()
    if len(rows) > _SHOWN:
        print(f"… and {len(rows) - _SHOWN} more: --json or --output FILE.parquet gives all")
    print(
        f"{counts['certified']} of {len(rows)} certified, {counts['falsified']} falsified,"
        f" {counts['unknown']} unknown, {summary['seconds']:.3g} s, by {summary['evaluator']}"
    )


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="standard, ibp or gaussian")],
    dataset: Annotated[str, typer.Option(help="digits, mnist or cifar10")],
    output: Annotated[Path, typer.Option(help="The ONNX file to write")],
    seed: Annotated[int, typer.Option(help="Of the initial weights and the batches")] = 0,
) -> None:
    """Train a small network by one of the project's recipes and write it as ONNX."""
    from leaderboard.evaluation.train import recipes
    from leaderboard.evaluation.train import train as train_model

    if recipe not in recipes():
        raise unknown_name("recipe", recipe, recipes())
    train_model(recipe, dataset, output, seed=seed)


def check_sandbox(choice: str) -> None:
    """Refuse a word that `--sandbox` does not know.

    Raises:
        InputError: it is refused.
    """
    if choice not in SANDBOX:
        raise InputError(f"--sandbox is '{choice}'; it must be {', '.join(SANDBOX)}.")
