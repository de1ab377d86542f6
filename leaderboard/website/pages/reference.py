"""The reference of the library: every public name of `evaluators`, from its docstring.

The source is read as text (griffe); nothing of it is run, so that no build waits for PyTorch.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import griffe
from markupsafe import Markup

import evaluators
from leaderboard.board.board import Board
from leaderboard.common.formatting import safe
from leaderboard.website.plan import PagePlan

# It warns where one line describes several parameters, which is meant.
logging.getLogger("griffe").setLevel(logging.ERROR)

_CODE = re.compile("&#96;(.*?)&#96;")
"""What stood between backquotes, once the text is safe."""

_HEADINGS = {
    "parameters": "Arguments",
    "attributes": "Attributes",
    "returns": "Returns",
    "raises": "Raises",
}


@dataclass(frozen=True)
class Section:
    """What a docstring lists under a heading: a name or a type, and what it says of it."""

    heading: str
    items: Sequence[tuple[str, Markup]]


@dataclass(frozen=True)
class PublicName:
    """One public name: how it is called, what it is, and its docstring in parts."""

    name: str
    signature: str
    module: str
    paragraphs: Sequence[Markup]
    sections: Sequence[Section]


def plans(board: Board) -> list[PagePlan]:  # noqa: ARG001
    """The page of the reference."""
    return [PagePlan("guides/reference", "reference", {"entries": entries()})]


def entries() -> list[PublicName]:
    """Every public name, functions first."""
    found = [_entry(name, home) for name, home in evaluators.HOMES.items()]
    return sorted(found, key=lambda entry: (entry.name[0].isupper(), entry.name))


def _entry(name: str, home: str) -> PublicName:
    module = f"{evaluators.__name__}.{home}"
    path = Path(evaluators.__file__).parent / f"{home.replace('.', '/')}.py"
    text = path.read_text(encoding="utf-8")
    read = griffe.visit(module, path, text, docstring_parser=griffe.Parser.google)[name]
    parts = read.docstring.parsed if read.docstring else []
    told = [part for part in parts if part.kind is griffe.DocstringSectionKind.text]
    return PublicName(
        name,
        str(read.signature()) if read.is_function else f"class {name}",
        module,
        [inline(paragraph) for part in told for paragraph in part.value.split("\n\n")],
        [_section(part) for part in parts if part.kind.value in _HEADINGS],
    )


def _section(part: griffe.DocstringSection) -> Section:
    items = [
        (getattr(item, "name", "") or str(item.annotation), inline(item.description))
        for item in part.value
    ]
    return Section(_HEADINGS[part.kind.value], items)


def inline(text: str) -> Markup:
    """A paragraph of a docstring, with what stands between backquotes as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", safe(text)))
