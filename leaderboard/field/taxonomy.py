"""The taxonomy of the field (arXiv:2009.04131): a tree that `taxonomy.toml` spells by paths."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from pydantic import Field

from leaderboard.common.errors import InputError, unknown_name
from leaderboard.common.strict_toml import Entries, Strict, parse, read_toml
from leaderboard.common.text import Arxiv, OneLine, Paragraph, Url
from leaderboard.field.methods import Method, methods

FILE = Path(__file__).parent / "taxonomy.toml"


class Reference(Strict):
    """A paper that a node rests on: its arXiv identifier, or an address where it has none."""

    label: OneLine
    arxiv: Arxiv = ""
    url: Url = ""
    venue: OneLine = ""

    @property
    def address(self) -> str:
        """The paper's page, empty where none is known."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else self.url


class Formula(Strict):
    r"""A formula in LaTeX, and what it is; `\\` in it is where a narrow screen may break it."""

    latex: OneLine
    says: OneLine = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The LaTeX of what stays on one line each."""
        return tuple(part.strip() for part in self.latex.split("\\\\"))


class _Entry(Strict):
    """A `[[node]]` of the file."""

    path: str = Field(pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)*$")
    title: OneLine
    summary: Paragraph
    formulas: Entries[Formula] = ()
    where: Paragraph = ""
    picture: OneLine = ""
    strengths: Entries[OneLine] = ()
    limits: Entries[OneLine] = ()
    references: Entries[Reference] = ()
    approaches: Entries[OneLine] = ()


class TaxonomyNode(_Entry):
    """A kind of verification or training, or of attack.

    `summary` is two to four sentences, `where` explains the signs of the formulas, `picture` is a
    file in `leaderboard/field/pictures/`, `approaches` are approaches or titles of published rows.
    `evaluators` are the names of certboard's evaluators of this kind, which name their node.
    """

    evaluators: Entries[str] = ()

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def root(self) -> str:
        """The first part of the path: which tree it is in."""
        return self.path.partition("/")[0]


class _File(Strict):
    outside: Entries[OneLine] = ()
    node: Entries[_Entry]


def key_of(approach: str) -> str:
    """An approach or title, compared without case, spaces and punctuation."""
    return re.sub(r"[^\w+]|_", "", approach.casefold())


@dataclass(frozen=True)
class Taxonomy:
    """The nodes by path, parents before their children.

    `outside` are titles of published rows that belong nowhere in the tree.
    """

    nodes: Mapping[str, TaxonomyNode]
    outside: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.nodes)

    def children(self, path: str = "") -> tuple[TaxonomyNode, ...]:
        """The nodes directly below `path`; without one, the roots."""
        return tuple(node for node in self.nodes.values() if _parent(node.path) == path)

    def parents(self, path: str) -> tuple[TaxonomyNode, ...]:
        """The nodes above `path`, the root first."""
        parts = path.split("/")
        return tuple(self.find("/".join(parts[:end])) for end in range(1, len(parts)))

    def find(self, path: str) -> TaxonomyNode:
        """The node at `path`.

        Raises:
            InputError: there is none; the message names the nearest.
        """
        if path not in self.nodes:
            raise unknown_name("taxonomy node", path, self.nodes)
        return self.nodes[path]

    def of_evaluator(self, name: str) -> TaxonomyNode | None:
        """The node that the evaluator called `name` belongs to."""
        return next((node for node in self.nodes.values() if name in node.evaluators), None)

    def places(self, approach: str, title: str, *, empirical: bool) -> tuple[str, ...]:
        """The nodes of a published row: how it was certified or attacked, and how trained.

        What its approach says goes before what its title says. An empirical row was certified by
        nothing; one that was certified is not listed among attacks.
        """
        trees = ("falsification" if empirical else "verification", "training")
        found = []
        for tree in trees:
            place = self._homes.get((tree, key_of(approach)), "") if approach else ""
            place = place or self._homes.get((tree, key_of(title)), "")
            found += [place] if place else []
        return tuple(found)

    @cached_property
    def _homes(self) -> Mapping[tuple[str, str], str]:
        return {
            (node.root, key_of(approach)): node.path
            for node in self.nodes.values()
            for approach in node.approaches
        }


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def read_taxonomy(path: Path, known: Iterable[Method] = ()) -> Taxonomy:
    """The tree in the file at `path`, with each of the evaluators `known` at its node.

    Raises:
        InputError: a key is wrong, a path stands twice or before its parent, an approach is named
            in two places of one tree, or an evaluator names no node or several.
    """
    entries: dict[str, _Entry] = {}
    home: dict[str, str] = {}
    problems: list[str] = []
    file = parse(_File, read_toml(path, path.name), path.name)
    for node in file.node:
        if node.path in entries:
            problems.append(f"{path.name}: the node '{node.path}' stands there twice.")
        if (parent := _parent(node.path)) and parent not in entries:
            problems.append(f"{path.name}: '{node.path}' has no node '{parent}' before it.")
        root = node.path.partition("/")[0]
        problems.extend(
            f"{path.name}: '{approach}' is in '{place}' and '{node.path}'."
            for approach in node.approaches
            if (place := home.setdefault(f"{root}: {key_of(approach)}", node.path)) != node.path
        )
        entries[node.path] = node
    inhabitants: dict[str, list[str]] = {path: [] for path in entries}
    for method in known:
        ends = [path for path in entries if f"/{path}".endswith(f"/{method.node}")]
        if len(ends) == 1:
            inhabitants[ends[0]].append(method.name)
        else:
            problems.append(
                f"{method.source}: its node '{method.node}' is the end of {len(ends)} paths of"
                f" {path.name}, not of one{': ' if ends else ''}{', '.join(ends)}."
            )
    if problems:
        raise InputError(*problems)
    nodes = {
        path: TaxonomyNode.model_construct(**dict(entry), evaluators=tuple(inhabitants[path]))
        for path, entry in entries.items()
    }
    return Taxonomy(nodes, file.outside)


@cache
def load_taxonomy() -> Taxonomy:
    """The taxonomy of the field."""
    return read_taxonomy(FILE, methods().values())
