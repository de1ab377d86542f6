"""The taxonomy of the field (arXiv:2009.04131): a tree that `taxonomy.toml` spells by paths."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import Field

from leaderboard.errors import InputError, unknown_name
from leaderboard.strict_toml import Entries, Strict, parse, read_toml
from leaderboard.text import Arxiv, Line, Paragraph

FILE = Path(__file__).parent / "taxonomy.toml"


class Reference(Strict):
    """A paper that defines a node; `arxiv` is its identifier, empty where there is none."""

    label: Line
    arxiv: Arxiv = ""
    venue: Line = ""

    @property
    def url(self) -> str:
        """The paper's page, empty where it has no arXiv identifier."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else ""


class Node(Strict):
    """A kind of verification or training.

    `summary` is two to four sentences, `formula` plain text, and `evaluators` the names of
    certboard's evaluators of this kind, implemented or planned.
    """

    path: str = Field(pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)*$")
    title: Line
    summary: Paragraph
    formula: Line = ""
    references: Entries[Reference] = ()
    evaluators: Entries[str] = ()

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


class _File(Strict):
    node: Entries[Node]


@dataclass(frozen=True)
class Taxonomy:
    """The nodes by path, parents before their children."""

    nodes: Mapping[str, Node]

    def children(self, path: str = "") -> tuple[Node, ...]:
        """The nodes directly below `path`; without one, the roots."""
        return tuple(node for node in self.nodes.values() if _parent(node.path) == path)

    def parents(self, path: str) -> tuple[Node, ...]:
        """The nodes above `path`, the root first."""
        parts = path.split("/")
        return tuple(self.find("/".join(parts[:end])) for end in range(1, len(parts)))

    def find(self, path: str) -> Node:
        """The node at `path`.

        Raises:
            InputError: there is none; the message names the nearest.
        """
        if path not in self.nodes:
            raise unknown_name("taxonomy node", path, self.nodes)
        return self.nodes[path]

    def of_evaluator(self, name: str) -> Node | None:
        """The node that the evaluator called `name` belongs to."""
        return next((node for node in self.nodes.values() if name in node.evaluators), None)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def read_taxonomy(path: Path) -> Taxonomy:
    """The tree in the file at `path`.

    Raises:
        InputError: a key is wrong, a path stands twice or before its parent, or an evaluator is
            named in two places.
    """
    nodes: dict[str, Node] = {}
    home: dict[str, str] = {}
    problems: list[str] = []
    for node in parse(_File, read_toml(path, path.name), path.name).node:
        if node.path in nodes:
            problems.append(f"{path.name}: the node '{node.path}' stands there twice.")
        if (parent := _parent(node.path)) and parent not in nodes:
            problems.append(f"{path.name}: '{node.path}' has no node '{parent}' before it.")
        problems.extend(
            f"{path.name}: '{evaluator}' is in '{home[evaluator]}' and '{node.path}'."
            for evaluator in node.evaluators
            if home.setdefault(evaluator, node.path) != node.path
        )
        nodes[node.path] = node
    if problems:
        raise InputError(*problems)
    return Taxonomy(nodes)


@cache
def load_taxonomy() -> Taxonomy:
    """The taxonomy of the field."""
    return read_taxonomy(FILE)
