"""Arrows between rooms go one way: no circle of packages or files, type-only imports included."""

import ast
from collections.abc import Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.architecture.test_doors import CHECKOUT, sources

METHODS = ("deterministic", "probabilistic", "falsification", "training")
"""Folders that are catalogues: every file is a method."""

Arrows = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Every module of the two packages, by its dotted name."""
    found = {}
    for path in sources("evaluators", "leaderboard"):
        parts = path.relative_to(CHECKOUT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def arrows_of(path: Path, known: Mapping[str, Path]) -> set[str]:
    """The modules that a file imports, wherever it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                found.add(below if below in known else str(node.module))
        elif isinstance(node, ast.Call) and name_of(node.func) == "import_module":
            found |= {str(a.value) for a in node.args if isinstance(a, ast.Constant)}
    return found & known.keys()


def name_of(function: ast.expr) -> str:
    """The last name of what is called; empty if it has none."""
    return str(getattr(function, "attr", getattr(function, "id", "")))


def room(module: str) -> str:
    """The room of a module: its package below `evaluators` or `leaderboard`, or itself."""
    return ".".join(module.split(".")[:2])


def circle(arrows: Arrows) -> list[str]:
    """One circle of arrows; empty if there is none."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@cache
def all_arrows() -> Arrows:
    known = modules()
    return {name: arrows_of(path, known) for name, path in known.items()}


def test_no_file_imports_itself_by_way_of_others() -> None:
    assert circle(all_arrows()) == []


def test_no_arrow_between_rooms_runs_back_up() -> None:
    between: Arrows = {}
    for name, targets in all_arrows().items():
        between.setdefault(room(name), set()).update(map(room, targets))
    for name, targets in between.items():
        targets.discard(name)
    assert circle(between) == []


@pytest.mark.parametrize("folder", METHODS)
def test_a_folder_of_methods_holds_methods_only(folder: str) -> None:
    files = {path.name for path in (CHECKOUT / "evaluators" / folder).glob("*.py")}
    assert not [name for name in files if name.startswith("_") and name != "__init__.py"]
    assert len(files) > 1


def test_few_files_lie_beside_the_rooms() -> None:
    """The public face, and what stands between all rooms."""
    beside = {
        folder: {path.stem for path in (CHECKOUT / folder).glob("*.py")} - {"__init__"}
        for folder in ("evaluators", "leaderboard")
    }
    assert beside == {
        "evaluators": {"ask", "cascade", "evaluator", "extend", "listing", "spot_check"},
        "leaderboard": {"__main__", "confined"},
    }


def test_an_import_by_a_string_is_an_arrow(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("import_module('evaluators.listing')\nimportlib.import_module('unknown')\n")
    assert arrows_of(path, modules()) == {"evaluators.listing"}


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle({"a": {"b", "c"}, "b": {"c"}, "c": set()})
