"""Commands that evaluate: demo, run, certify, train."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
import typer

from leaderboard.commands import app
from leaderboard.errors import InputError, unknown_name
from leaderboard.progress import RunProgress, console, show_table
from leaderboard.project import Project, find_project
from leaderboard.setting import Setting, find_setting, load_settings
from leaderboard.submission import Submission, load_submission, load_submissions, settings_for

if TYPE_CHECKING:
    from leaderboard.evaluation import Request

DeviceOption = Annotated[str, typer.Option(help="cpu, cuda or cuda:0")]
WorkersOption = Annotated[str, typer.Option(help="Number of processes, or 'ray'")]


@app.command()
def run(
    slugs: Annotated[list[str] | None, typer.Argument(help="Submissions; default: all")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="Settings; default: all")] = None,
    evaluator: Annotated[
        str | None, typer.Option(help="Instead of the setting's protocol; kept beside, not ranked")
    ] = None,
    examples: Annotated[int | None, typer.Option(min=1, help="Only the first N examples")] = None,
    seconds: Annotated[float | None, typer.Option(help="Time budget of an example")] = None,
    device: DeviceOption = "cpu",
    workers: WorkersOption = "1",
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is there")] = False,
) -> None:
    """Evaluate submissions and store every example's verdict; goes on where it stopped."""
    from leaderboard.evaluation import Request

    _check_device(device)
    if seconds is not None and not seconds > 0:
        raise InputError(f"--seconds is {seconds:g}; it must be positive.")
    project = find_project()
    request = Request(evaluator, examples, seconds, device, fresh)
    run_all(project, _pairs(project, slugs, setting), request, workers)


def _pairs(
    project: Project, slugs: list[str] | None, ids: list[str] | None
) -> list[tuple[Submission, Setting]]:
    """Which submission meets which setting."""
    submissions = load_submissions(project) if not slugs else {}
    chosen = [load_submission(project, slug) for slug in slugs or []] or list(submissions.values())
    wanted = {id: find_setting(id) for id in ids or []} or load_settings()
    pairs = []
    for submission in chosen:
        fitting = settings_for(submission, wanted)
        if slugs and ids and not fitting:
            raise InputError(
                f"The submission '{submission.slug}' is not for {', '.join(ids)}; its settings are"
                f" {', '.join(s.id for s in settings_for(submission, load_settings()))}."
            )
        pairs += [(submission, one) for one in fitting]
    if not pairs:
        raise InputError("There is nothing to run: no submission fits these settings.")
    return pairs


def run_all(
    project: Project, pairs: list[tuple[Submission, Setting]], request: "Request", workers: str
) -> list[pd.DataFrame]:
    """Evaluate each pair; what cannot be evaluated is told at the end, the others still run."""
    from leaderboard.evaluation import execute, make_plan
    from leaderboard.results import read

    problems: list[str] = []
    tables = []
    for submission, setting in pairs:
        title = f"{submission.slug} · {setting.id}"
        try:
            plan = make_plan(project, submission, setting, request)
            if plan.finished:
                console.print(f"{title}: already measured ({plan.target.name}); --fresh repeats it")
                tables.append(read(plan.target).rows)
                continue
            with RunProgress(title, len(plan.examples)) as progress:
                results = execute(plan, workers, request.fresh, progress.advance)
            tables.append(results.rows)
        except InputError as error:
            if len(pairs) == 1:
                raise
            problems += [f"{title}: {problem}" for problem in error.problems]
    if problems:
        raise InputError(*problems)
    return tables


@app.command()
def certify(
    model: Annotated[Path, typer.Argument(help="An ONNX classifier", show_default=False)],
    dataset: Annotated[str, typer.Option(help="`certboard list datasets`")],
    norm: Annotated[str, typer.Option(help="linf, l2 or l1")],
    radius: Annotated[str, typer.Option(help="Exact: 0.3 or 8/255")],
    evaluator: Annotated[
        str | None, typer.Option(help="`certboard list evaluators`; default: the cascade")
    ] = None,
    examples: Annotated[int | None, typer.Option(help="Only the first N test examples")] = None,
    indices: Annotated[str | None, typer.Option(help="3,14,15 or @file")] = None,
    seconds: Annotated[float, typer.Option(help="Time budget of an example")] = 60.0,
    sigma: Annotated[str | None, typer.Option(help="Smooth with Gaussian noise")] = None,
    samples: Annotated[int, typer.Option(help="Noisy samples of an example")] = 100_000,
    failure_probability: Annotated[float, typer.Option(help="Of one certificate")] = 0.001,
    device: DeviceOption = "cpu",
    workers: WorkersOption = "1",
    as_json: Annotated[bool, typer.Option("--json", help="One object on standard output")] = False,
    output: Annotated[Path | None, typer.Option(help="A Parquet file for the rows")] = None,
) -> None:
    """Evaluate any ONNX model without a submission."""
    from leaderboard import certification
    from leaderboard.run import load_network, load_split, make_evaluator

    _check_device(device)
    wish = certification.Wish(
        model, dataset, norm, radius, evaluator, examples, indices, seconds,
        sigma, samples, failure_probability, device,
    )  # fmt: skip
    question = certification.question_of(wish)
    chosen = certification.chosen_examples(wish, len(load_split(dataset)))
    make_evaluator(question, load_network(model, dataset, question.distribution, question.sigma))
    if output is not None and not output.parent.is_dir():
        raise InputError(f"--output: there is no folder {output.parent}.")
    with RunProgress(f"{model.name} · {norm} {radius}", len(chosen)) as progress:
        rows = certification.certify(question, chosen, workers, progress.advance)
    if output is not None:
        certification.store(output, question, rows, workers)
    summary = certification.summary(question, rows)
    if as_json:
        print(json.dumps(summary, allow_nan=False))
    else:
        _show(summary)


def _show(summary: dict[str, Any]) -> None:
    counts = summary["counts"]
    show_table(summary["rows"])
    total = sum(counts.values())
    print(
        f"{counts['certified']} of {total} certified, {counts['falsified']} falsified,"
        f" {counts['unknown']} unknown, {summary['seconds']} s, by {summary['evaluator']}"
    )


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="standard, ibp or gaussian")],
    dataset: Annotated[str, typer.Option(help="digits, mnist or cifar10")],
    output: Annotated[Path, typer.Option(help="The ONNX file to write")],
    seed: Annotated[int, typer.Option(help="Of the initial weights and the batches")] = 0,
) -> None:
    """Train a small network by one of the project's recipes and write it as ONNX."""
    from leaderboard.train import recipes
    from leaderboard.train import train as train_model

    if recipe not in recipes():
        raise unknown_name("recipe", recipe, recipes())
    train_model(recipe, dataset, output, seed=seed)


def _check_device(device: str) -> None:
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise InputError(f"--device is '{device}'; it must be cpu, cuda or cuda:N.") from error
    if kind not in ("cpu", "cuda"):
        raise InputError(f"--device is '{device}'; it must be cpu, cuda or cuda:N.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError("--device is cuda, but PyTorch finds no CUDA device here; use cpu.")
