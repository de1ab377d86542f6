"""Noises: each file is one distribution, and the folder is the list.

A file says how its noise is drawn and proves what certificates may ask about shifts of it. The
splitting noise (`splitting.py`) has no random draws, and so no distribution.
"""

import importlib
import inspect
import pkgutil
from functools import cache

from evaluators.noises.distribution import Distribution


@cache
def distributions() -> dict[str, Distribution]:
    """List all distributions of the folder by name.

    Raises:
        TypeError: two distributions have one name.
    """
    named: dict[str, Distribution] = {}
    for file in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{file.name}")
        for value in vars(module).values():
            if not (inspect.isclass(value) and issubclass(value, Distribution)):
                continue
            if inspect.isabstract(value) or value.__module__ != module.__name__:
                continue
            if value.name in named:
                raise TypeError(f"Two distributions are called '{value.name}'.")
            named[value.name] = value()
    return named
