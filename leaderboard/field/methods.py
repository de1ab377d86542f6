"""What each evaluator's file says of it, read as text: nobody who asks waits for PyTorch.

The folders of evaluators are the catalogue, and a file has the name of its evaluator.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from leaderboard.common.errors import InputError

EVALUATORS = Path(__file__).parents[2] / "evaluators"
KINDS = ("falsification", "deterministic", "probabilistic")
"""The folders of evaluators."""

PARTS = ("Differs from the paper", "Differs from the papers", "Guarantee", "Trusted", "Cost")
"""How a part of an evaluator's docstring begins, before a colon."""


@dataclass(frozen=True)
class Method:
    """An evaluator, as its file describes it.

    Attributes:
        name: the evaluator's name.
        kind: the folder that its file lies in.
        source: the file, as a path in the checkout.
        title: the method's name in the literature.
        node: the end of the path of its node in the taxonomy.
        cascade: its place in the default cascade; None keeps it out.
        complete: whether it goes on until it has an answer.
        docstring: of its class, or of its file where the class has only a line.
    """

    name: str
    kind: str
    source: str
    title: str
    node: str
    cascade: int | None
    complete: bool
    docstring: str

    @property
    def parts(self) -> dict[str, str]:
        """The parts of the docstring by how they begin; what it says first is under ''.

        Options, which the command line explains, are left out.
        """
        found: dict[str, list[str]] = {"": []}
        part = ""
        for line in self.docstring.partition("\nAttributes:\n")[0].splitlines():
            start, colon, rest = line.partition(": ")
            if colon and start in PARTS:
                part = start
                found[part] = [rest]
            else:
                found[part].append(line)
        return {name: "\n".join(lines).strip("\n") for name, lines in found.items()}


@cache
def methods() -> Mapping[str, Method]:
    """All evaluators by name, from their files.

    Raises:
        InputError: a file that does not say, in literals, what its evaluator is called and where
            it belongs.
    """
    files = [path for kind in KINDS for path in sorted((EVALUATORS / kind).glob("[a-z]*.py"))]
    found = [method_in(path) for path in files]
    return {method.name: method for method in found}


def method_in(path: Path) -> Method:
    """What the file at `path` says of its evaluator.

    Raises:
        InputError: see `methods`.
    """
    source = path.relative_to(path.parents[2]).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    said, told = next(
        (
            (values, one)
            for one in classes
            if {"title", "version"} <= (values := _literals(one)).keys()
        ),
        ({}, None),
    )
    missing = [key for key in ("title", "node") if not isinstance(said.get(key), str)]
    if missing or told is None:
        raise InputError(f"{source}: its evaluator has no '{missing[0]}' in quotation marks.")
    own = ast.get_docstring(told) or ""
    place = said.get("cascade")
    return Method(
        name=path.stem.replace("_", "-"),
        kind=path.parent.name,
        source=source,
        title=str(said["title"]),
        node=str(said["node"]),
        cascade=place if isinstance(place, int) else None,
        complete=said.get("complete") is True,
        docstring=own if "\nGuarantee: " in own else ast.get_docstring(tree) or "",
    )


def _literals(definition: ast.ClassDef) -> dict[str, object]:
    """What a class sets to a string or a number, by name."""
    found: dict[str, object] = {}
    for node in definition.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {one.id: node.value.value for one in targets if isinstance(one, ast.Name)}
    return found
