"""The catalogue: each file of the folders of methods is one method, and the folder is the list."""

import importlib
import inspect
import pkgutil
from functools import cache
from types import ModuleType

from evaluators import deterministic, falsification, probabilistic, training
from evaluators.evaluator import Evaluator
from evaluators.learning.recipe import Recipe
from evaluators.numerics.errors import CatalogueError

FOLDERS: tuple[ModuleType, ...] = (falsification, deterministic, probabilistic)


@cache
def catalogue() -> dict[str, type[Evaluator]]:
    """All evaluators by name: the listing of the three folders.

    Raises:
        CatalogueError: a file that cannot be imported, or does not define exactly one evaluator,
            or two files with the same name.
    """
    found: dict[str, type[Evaluator]] = {}
    for module in _modules():
        evaluator = _only_evaluator(module)
        if evaluator.name() in found:
            raise CatalogueError(f"Two evaluators are called '{evaluator.name()}'.")
        found[evaluator.name()] = evaluator
    return dict(sorted(found.items()))


def find_evaluator(name: str) -> type[Evaluator] | None:
    """Return the evaluator of this name, without importing the others; None where there is none.

    Raises:
        CatalogueError: its file cannot be imported, or does not define exactly one evaluator.
    """
    file = name.replace("-", "_")
    found = (_only_evaluator(module) for module in _modules() if module.endswith(f".{file}"))
    return next((evaluator for evaluator in found if evaluator.name() == name), None)


def _modules() -> list[str]:
    return [
        f"{folder.__name__}.{module.name}"
        for folder in FOLDERS
        for module in pkgutil.iter_modules(folder.__path__)
        if not module.name.startswith("_") and not module.ispkg
    ]


def _only_evaluator(module_name: str) -> type[Evaluator]:
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise CatalogueError(f"'{module_name}' cannot be imported: {error}") from error
    evaluators = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Evaluator)
        and not inspect.isabstract(value)
        and value.__module__ == module_name
    ]
    if len(evaluators) != 1:
        raise CatalogueError(f"'{module_name}' defines {len(evaluators)} evaluators, not one.")
    return evaluators[0]


@cache
def recipes() -> dict[str, type[Recipe]]:
    """All training recipes by name: the listing of `evaluators/training`.

    Raises:
        CatalogueError: a file that does not define exactly one recipe.
    """
    found: dict[str, type[Recipe]] = {}
    for module in pkgutil.iter_modules(training.__path__):
        full_name = f"{training.__name__}.{module.name}"
        classes = [
            value
            for value in vars(importlib.import_module(full_name)).values()
            if inspect.isclass(value)
            and issubclass(value, Recipe)
            and value.__module__ == full_name
        ]
        if len(classes) != 1:
            raise CatalogueError(f"'{full_name}' defines {len(classes)} recipes, not one.")
        found[classes[0].name()] = classes[0]
    return dict(sorted(found.items()))
