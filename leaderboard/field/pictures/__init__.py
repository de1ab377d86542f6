"""Small pictures of ideas, one SVG file each in this folder; `catalogue()` has them by name.

A file holds a `title`, a `desc` of a sentence or two, and shapes without colours of their own:
their classes (`ink`, `soft`, `proved`, `broken`, `open`, `accent`, with `-fill`, `-dot` and
`-text`) are coloured by `taxonomy.css`, for light and dark.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import unescape
from pathlib import Path

from leaderboard.common.errors import unknown_name

_DESCRIPTION = re.compile(r"<desc>(.*)</desc>")
_FOR_READERS = re.compile(r"<title.*</desc>")
_ROLE = re.compile(r'role="img" aria-labelledby="[^"]*"')


@dataclass(frozen=True)
class TaxonomyPicture:
    """The picture `name`, as one line of SVG for the inside of a page."""

    name: str
    svg: str

    @property
    def caption(self) -> str:
        """What the picture shows, in plain text."""
        described = _DESCRIPTION.search(self.svg)
        return unescape(described[1]) if described else ""

    def thumbnail(self) -> str:
        """The picture as decoration, which screen readers pass over in silence."""
        silent = _ROLE.sub('aria-hidden="true" focusable="false"', self.svg)
        return _FOR_READERS.sub("", silent)


@cache
def catalogue() -> Mapping[str, TaxonomyPicture]:
    """Return every picture of this folder by name."""
    return {
        file.stem: TaxonomyPicture(file.stem, "".join(file.read_text("utf-8").splitlines()))
        for file in sorted(Path(__file__).parent.glob("*.svg"))
    }


def picture_named(name: str) -> TaxonomyPicture:
    """Return the picture called `name`.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    if name not in catalogue():
        raise unknown_name("picture", name, catalogue())
    return catalogue()[name]
