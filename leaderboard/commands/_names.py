"""Names as people type them: `CIFAR-10`, `Linf` and `CROWN` are cifar10, linf and crown.

Every option and argument that takes a name is made here: its spelling is forgiven where it can mean
one name only, and the shell completes it. What no name is spelled like is left to the rooms, which
say what is known.
"""

import os
import pkgutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import typer

from leaderboard.common.errors import InputError, spelled
from leaderboard.submissions.noises import NOISES, RULES

Names = Callable[[], Iterable[str]]


def name_option(names: Names, *declarations: str, **told: Any) -> Any:
    """An option that takes one of these names; `told` is for Typer."""
    parser, completion = _reading(names)
    return typer.Option(
        *declarations, metavar="NAME", parser=parser, autocompletion=completion, **told
    )


def name_argument(names: Names, **told: Any) -> Any:
    """An argument that takes one of these names; `told` is for Typer."""
    parser, completion = _reading(names)
    return typer.Argument(parser=parser, autocompletion=completion, **told)


def slug_argument(**told: Any) -> Any:
    """An argument that takes a submission's name, or the path of its folder."""
    parser, completion = _reading(slugs)
    return typer.Argument(
        parser=lambda word: parser(_named_by(word)), autocompletion=completion, **told
    )


def _named_by(word: str) -> str:
    """The name of the submission whose folder or manifest lies at a typed path; else the word."""
    from leaderboard.common.project import find_project
    from leaderboard.submissions.folder import MANIFEST

    if "/" not in word and os.sep not in word:
        return word
    with suppress(InputError, OSError, ValueError):
        place = Path(word).resolve()
        folder = place.parent if place.name == MANIFEST else place
        if folder.parent == find_project().submissions.resolve():
            return folder.name
    return word


def _reading(names: Names) -> tuple[Callable[[str], str], Callable[[str], list[str]]]:
    """How a typed word is read, and how one that is not yet whole is completed."""

    def parser(word: str) -> str:
        return spelled(word, _listed(names)) or word

    def completion(incomplete: str) -> list[str]:
        return [name for name in _listed(names) if name.startswith(incomplete)]

    return parser, completion


def _listed(names: Names) -> list[str]:
    """The names; none of a place that cannot be read, which is for the command to say."""
    with suppress(InputError):
        return list(names())
    return []


def datasets() -> Iterable[str]:
    """Names of datasets."""
    from leaderboard.datasets.catalogue import load_datasets

    return load_datasets()


def norms() -> Iterable[str]:
    """Names of norms."""
    from leaderboard.settings.setting import NormName

    return get_args(NormName)


def settings() -> Iterable[str]:
    """Ids of settings."""
    from leaderboard.settings.setting import load_settings

    return load_settings()


def nodes() -> Iterable[str]:
    """Paths of the taxonomy's nodes."""
    from leaderboard.field.taxonomy import load_taxonomy

    return load_taxonomy().nodes


def slugs() -> Iterable[str]:
    """Names of submissions."""
    from leaderboard.common.project import find_project
    from leaderboard.submissions.folder import slugs as listed

    return listed(find_project().submissions)


def noises() -> Iterable[str]:
    """Names of distributions of noise."""
    return NOISES


def rules() -> Iterable[str]:
    """The ways to combine the answers of an ensemble."""
    return RULES


def procedures() -> Iterable[str]:
    """The ways to spend samples."""
    from leaderboard.settings.setting import Procedure

    return get_args(Procedure)


def evaluators() -> Iterable[str]:
    """Names of evaluators, read off their folders without importing them."""
    from evaluators import deterministic, falsification, probabilistic

    return ("cascade", *_files_of(falsification, deterministic, probabilistic))


def optimizers() -> Iterable[str]:
    """Names of optimizers."""
    from evaluators.learning.optimizers import OPTIMIZERS

    return OPTIMIZERS


def recipes() -> Iterable[str]:
    """Names of training recipes, read off their folder."""
    from evaluators import training

    return _files_of(training)


def _files_of(*folders: ModuleType) -> list[str]:
    modules = (module for folder in folders for module in pkgutil.iter_modules(folder.__path__))
    return sorted(module.name.replace("_", "-") for module in modules if not module.ispkg)
