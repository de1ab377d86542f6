"""Commands that look and prepare: check, list, data."""

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from leaderboard.commands import app
from leaderboard.commands.evaluating import SandboxOption, check_sandbox
from leaderboard.common.errors import InputError
from leaderboard.common.formatting import plural
from leaderboard.common.project import find_project


class Catalogue(StrEnum):
    """What `certboard list` can list."""

    EVALUATORS = "evaluators"
    SETTINGS = "settings"
    DATASETS = "datasets"
    TAXONOMY = "taxonomy"


@app.command()
def check(
    slugs: Annotated[list[str] | None, typer.Argument(help="Submissions; default: all")] = None,
    sandbox: SandboxOption = "off",
) -> None:
    """Validate submissions without running them; tells every problem in one go.

    Without a slug, the board's own settings, taxonomy and published results as well.
    """
    from leaderboard.board.files import problems_of
    from leaderboard.board.flags import static_flags
    from leaderboard.commands.checking import check_board, check_stored
    from leaderboard.evaluation.networks import check_model
    from leaderboard.intake.confinement import check_confined
    from leaderboard.submissions.catalogue import problems_between
    from leaderboard.submissions.folder import slugs as all_slugs
    from leaderboard.submissions.manifest import Submission, load_submission

    check_sandbox(sandbox)
    project = find_project()
    problems: list[str] = []
    loaded: dict[str, Submission] = {}
    chosen = slugs or all_slugs(project.submissions)
    for slug in chosen:
        try:
            if sandbox != "off":
                check_confined(project, slug, sandbox)
                continue
            loaded[slug] = submission = load_submission(project, slug)
            parts = submission.parts(project)
        except InputError as error:
            problems += error.problems
        else:
            for part in parts:
                found = check_model(part.path, submission.model.dataset, part.role)
                problems += [f"{slug}: {problem}" for problem in found]
    problems += problems_between(project, loaded)
    told = [plural(len(chosen), "submission")]
    if not slugs:
        board = check_board()
        told += board.told
        problems += board.problems + check_stored(project)
    else:
        problems += [problem for slug in chosen for problem in problems_of(project, slug)]
    if problems:
        raise InputError(*dict.fromkeys(problems))
    for slug, submission in loaded.items():
        for flag in static_flags(submission):
            print(f"{slug}: flag: {flag.sentence} (rule {flag.rule})")
    print(f"{', '.join(told)} checked, no problem found")


@app.command(name="list")
def list_(
    catalogue: Annotated[Catalogue, typer.Argument(help="What to list")],
    as_json: Annotated[bool, typer.Option("--json", help="A list on standard output")] = False,
) -> None:
    """List what there is to choose from."""
    entries = _ENTRIES[catalogue]()
    if as_json:
        print(json.dumps(entries))
        return
    from leaderboard.common.progress import show_table

    hidden = _HIDDEN.get(catalogue, ())
    show_table([{k: v for k, v in entry.items() if k not in hidden} for entry in entries])


Entry = dict[str, Any]


def _evaluators() -> list[Entry]:
    from leaderboard.evaluation.shard import evaluator_entries

    return evaluator_entries()


def _settings() -> list[Entry]:
    from leaderboard.settings.setting import load_settings

    return [
        {
            "id": setting.id,
            "dataset": setting.dataset,
            "norm": setting.norm,
            "radius": setting.radius_text,
            "examples": setting.examples.label,
            "seconds": setting.seconds,
            "complete": setting.complete,
            "smoothed": setting.smoothing is not None,
        }
        for setting in load_settings().values()
    ]


def _datasets() -> list[Entry]:
    from leaderboard.datasets.catalogue import load_datasets

    return [
        {
            "name": data.name,
            "title": data.title,
            "shape": "x".join(map(str, data.shape)),
            "classes": len(data.classes),
            "test_size": data.test_size,
            "licence": data.licence,
        }
        for data in load_datasets().values()
    ]


def _taxonomy() -> list[Entry]:
    from leaderboard.field.taxonomy import load_taxonomy

    return [{"node": path, "title": n.title} for path, n in load_taxonomy().nodes.items()]


_ENTRIES = {
    Catalogue.EVALUATORS: _evaluators,
    Catalogue.SETTINGS: _settings,
    Catalogue.DATASETS: _datasets,
    Catalogue.TAXONOMY: _taxonomy,
}

# Not in the table: the id says it already.
_HIDDEN = {Catalogue.SETTINGS: ("dataset",)}

data = typer.Typer(help="Datasets.", no_args_is_help=True)
app.add_typer(data, name="data")


@data.command()
def fetch(dataset: Annotated[str, typer.Argument(help="`certboard list datasets`")]) -> None:
    """Download a dataset into the cache and verify it."""
    from leaderboard.datasets.catalogue import fetch as fetch_dataset

    print(f"{dataset} is in {fetch_dataset(dataset)}")
