"""One name, one thing: no class or type of one name in two modules."""

import ast
from collections import defaultdict

from tests.architecture.test_doors import name, sources

INDEPENDENT = ("evaluators/recheck/", "leaderboard/recheck/")
"""The checkers repeat the names of what they check, since they share nothing with it."""


def test_no_class_or_type_has_the_name_of_another() -> None:
    modules: dict[str, list[str]] = defaultdict(list)
    for path in sources("evaluators", "leaderboard"):
        if name(path).startswith(INDEPENDENT):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            for found in names:
                if found[0].isupper() and not found.isupper():
                    modules[found].append(name(path))
    assert not {found: files for found, files in modules.items() if len(files) > 1}
