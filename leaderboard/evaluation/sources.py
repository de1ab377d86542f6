"""The code that decides rows, as one digest: finished shards of other code are not gone on with.

Counted are the modules that are imported, directly or not, by the one that makes rows and by those
of the evaluator's methods, in both packages, without comments and docstrings; and the versions of
the libraries that compute. A change anywhere else discards no finished shard.
"""

import ast
import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from leaderboard.evaluation.evaluator import modules_of
from leaderboard.results import kept
from leaderboard.settings.question import Question

_ROWS = "leaderboard.evaluation.shard"
"""The module that makes rows."""
_COMPUTING = ("highspy", "numpy", "onnx", "onnxruntime", "scipy", "torch", "z3-solver")

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_LOOKED_AT = (ast.Import, ast.ImportFrom, ast.If, *_DOCUMENTED)


def code_digest(question: Question) -> str:
    """Hash the code and the libraries that the answers to a question depend on."""
    return _digest_here(modules_of(question))


@cache
def _digest_here(methods: tuple[str, ...]) -> str:
    specs = {name: find_spec(name) for name in ("evaluators", "leaderboard")}
    roots = {name: Path(str(spec.origin)).parent for name, spec in specs.items() if spec}
    libraries = json.dumps({name: _version(name) for name in _COMPUTING}, sort_keys=True)
    # Parsing takes a second, for each process: what came of the same files is kept.
    files = (kept.hash_of(root) for root in roots.values())
    key = kept.key_of("sources", [platform.python_version(), libraries, *files, *methods])
    return kept.shared().made(key, lambda: _digest(roots, methods, libraries)).decode()


def _digest(roots: Mapping[str, Path], methods: tuple[str, ...], libraries: str) -> bytes:
    code = {name: digest for name, (digest, _) in needed(roots, (_ROWS, *methods)).items()}
    return hashlib.sha256(json.dumps([code, libraries]).encode()).hexdigest().encode()


def _version(library: str) -> str:
    """A library's version; none of an extra that is not installed."""
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def needed(
    roots: Mapping[str, Path], modules: tuple[str, ...]
) -> dict[str, tuple[str, frozenset[str]]]:
    """Find the modules that these import, directly or not, with the digest and imports of each.

    Args:
        roots: the folders of the packages that count; what others import from elsewhere does not.
        modules: full names to begin with.
    """
    found: dict[str, tuple[str, frozenset[str]]] = {}
    left = [*modules]
    while left:
        name = left.pop()
        path = None if name in found else _file_of(roots, name)
        if path is not None:
            found[name] = _summary(path, name)
            left += found[name][1]
    return dict(sorted(found.items()))


def _file_of(roots: Mapping[str, Path], module: str) -> Path | None:
    first, *inner = module.split(".")
    if first not in roots:
        return None
    place = roots[first].joinpath(*inner)
    files = [place / "__init__.py", *([place.with_suffix(".py")] if inner else [])]
    return next((path for path in files if path.is_file()), None)


@cache
def _summary(path: Path, module: str) -> tuple[str, frozenset[str]]:
    """The digest of what a file does, and all that it may import; its annotations' imports not."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imported = {module.rpartition(".")[0]}
    # The tree in one walk: names of nodes, lengths of lists, and what is written in the leaves.
    # `ast.walk` and `ast.dump` take three times as long, and each process needs all files' digests.
    told: list[str] = []
    left: list[object] = [ast.parse(path.read_bytes())]
    while left:
        node = left.pop()
        if type(node) is list:
            told.append(str(len(node)))
            left += node
        elif isinstance(node, ast.AST):
            told.append(type(node).__name__)
            if isinstance(node, _LOOKED_AT):
                imported.update(_looked_at(node))
            left += [getattr(node, name, None) for name in node._fields]
        else:
            told.append(repr(node))
    if "pkgutil" in imported:
        # It imports what it finds in its folder. (Methods are found, too: the caller names them.)
        others = {file.stem for file in path.parent.glob("*.py")} - {"__init__"}
        imported |= {f"{package}.{other}" for other in others}
    return hashlib.sha256("\n".join(told).encode()).hexdigest(), frozenset(imported)


def _looked_at(node: ast.AST) -> Iterator[str]:
    """The modules that a node imports; what changes no row is taken out of it.

    That is a docstring, and what only type checkers see.
    """
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.If):
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    elif isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        del node.body[0]
