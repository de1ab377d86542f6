"""What `certboard new` asks at a terminal: whatever was not given, each with what is allowed."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import typer

from leaderboard.common.errors import InputError, unknown_name
from leaderboard.common.project import Project
from leaderboard.common.text import check_line
from leaderboard.datasets.catalogue import load_datasets
from leaderboard.field.taxonomy import load_taxonomy
from leaderboard.settings.setting import exact_fraction
from leaderboard.submissions.folder import check_slug
from leaderboard.submissions.licences import check_licence
from leaderboard.submissions.scaffold import Answers


def ask(project: Project, slug: str, given: Answers) -> Answers:
    """Ask the user for the answers that were not given.

    Raises:
        InputError: the name is no slug, or is taken; nothing is asked then.
    """
    check_slug(slug)
    if (project.submissions / slug).exists():
        raise InputError(f"There is already a submissions/{slug}: choose another name.")
    if given.title is None:
        given = replace(given, title=_ask("Title", check_line, slug.replace("-", " ")))
    if not given.authors:
        told = _ask("Authors, separated by commas", check_line)
        given = replace(given, authors=tuple(one.strip() for one in told.split(",") if one.strip()))
    if given.licence is None:
        given = replace(given, licence=_ask("Licence of the model", check_licence, "Apache-2.0"))
    if given.dataset is None:
        given = replace(given, dataset=_choose("Dataset", load_datasets(), "mnist"))
    if given.node is None:
        nodes = [path for path in load_taxonomy().nodes if path.startswith("training/")]
        given = replace(given, node=_choose("Training", nodes, "training/relaxation-based"))
    if given.model is None and given.url is None:
        told = _ask("ONNX file (empty: later)", _file_or_nothing, "")
        given = replace(given, model=Path(told) if told else None)
    if given.sigma is None and typer.confirm("Is it smoothed with noise?", default=False):
        given = replace(given, sigma=_ask("Scale of the noise", _exact, "0.25"))
    return given


def _ask(question: str, check: Callable[[str], object], default: str | None = None) -> str:
    """An answer that passes; what is wrong with others is told."""
    while True:
        answer = str(typer.prompt(question, default=default, show_default=bool(default))).strip()
        try:
            check(answer)
        except (ValueError, InputError) as error:
            typer.echo(f"  {error}", err=True)
        else:
            return answer


def _choose(question: str, allowed: Iterable[str], default: str) -> str:
    names = list(allowed)

    def known(answer: str) -> None:
        if answer not in names:
            raise unknown_name("choice", answer, names)

    typer.echo(f"{question}: {', '.join(names)}")
    return _ask(question, known, default)


def _file_or_nothing(answer: str) -> None:
    if answer and not Path(answer).is_file():
        raise ValueError(f"There is no file {answer}.")


def _exact(answer: str) -> None:
    exact_fraction(answer)
