"""Small pictures of ideas, drawn from their geometry; `catalogue()` has them by name.

To add one is to add one function, in the file of its family, under `@picture`.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from leaderboard.common.errors import unknown_name
from leaderboard.field.pictures._svg import Picture


@cache
def catalogue() -> Mapping[str, Picture]:
    """Every picture of every file in this folder, by name.

    Raises:
        ValueError: two pictures have one name.
    """
    found: dict[str, Picture] = {}
    for module in sorted(info.name for info in iter_modules(__path__)):
        if module.startswith("_"):
            continue
        for value in vars(import_module(f"{__name__}.{module}")).values():
            if isinstance(value, Picture):
                if value.name in found:
                    raise ValueError(f"two pictures are called '{value.name}'")
                found[value.name] = value
    return found


def picture_named(name: str) -> Picture:
    """The picture called `name`.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    if name not in catalogue():
        raise unknown_name("picture", name, catalogue())
    return catalogue()[name]
