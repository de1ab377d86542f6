"""The doors between rooms and libraries, and the arrow between the packages."""

import ast
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

DOORS = {
    "onnx": {
        "evaluators/onnx/adapter.py",
        "evaluators/onnx/branches.py",
        "evaluators/onnx/checks.py",
        "evaluators/onnx/compare.py",
        "evaluators/onnx/writer.py",
        "evaluators/onnx/file.py",
        "evaluators/onnx/heads.py",
        "evaluators/onnx/functions.py",
        "evaluators/onnx/narrowing.py",
        "evaluators/onnx/one_file.py",
        "evaluators/onnx/pipelines.py",
        "evaluators/onnx/reader.py",
        "evaluators/onnx/formulas.py",
        "evaluators/onnx/fusions.py",
        "evaluators/onnx/rewriting.py",
        "evaluators/onnx/schema.py",
        "evaluators/onnx/sections.py",
        "evaluators/onnx/views.py",
        "evaluators/onnx/wire.py",
        "evaluators/recheck/reader.py",
    },
    "onnxruntime": {"evaluators/onnx/runtime.py"},
    "pyarrow": {
        "leaderboard/results/store.py",
        "leaderboard/results/export.py",
        "leaderboard/results/gather.py",
        "leaderboard/intake/acceptance/foreign_file.py",  # within bounds, then unpacked
    },
    "confusable_homoglyphs": {"leaderboard/common/lookalikes.py"},
    "jinja2": {"leaderboard/website/build.py"},
    "latex2mathml": {"leaderboard/field/formula.py"},
}
"""Which files may import a library; a folder stands for all of its files."""

MAY_ASK_EVALUATORS = {
    "leaderboard/evaluation/shard.py",
    "leaderboard/evaluation/short_witness.py",  # runs a network near a counterexample
    "leaderboard/evaluation/shared_witness.py",  # and near those of many images
    "leaderboard/evaluation/evaluator.py",  # which evaluator a question asks for
    "leaderboard/evaluation/forecast.py",  # what it costs
    "leaderboard/evaluation/networks.py",  # reads the files of a model and puts them together
    "leaderboard/evaluation/inspection.py",  # probes a network, for its fingerprints
    "leaderboard/evaluation/shadow.py",  # changes images, and asks about them again
    "leaderboard/evaluation/smoothing.py",  # which noises, procedures and certificates there are
    "leaderboard/evaluation/train.py",
    "leaderboard/evaluation/export.py",  # writes a module as the evaluators would read it
    "leaderboard/evaluation/own_file.py",  # makes one file of a model as it was saved
    "leaderboard/__main__.py",
    "leaderboard/submissions/published.py",  # puts an adapter in front of a file's bytes
    "leaderboard/commands/attack.py",  # the attack's options
    "leaderboard/commands/_names.py",  # which methods their folders hold
    "leaderboard/common/memory.py",  # how much of it they may use
    "leaderboard/vnncomp/",  # reads VNN-LIB into the evaluators' own specifications
    "leaderboard/intake/acceptance/replay.py",  # runs a model on what rows say of it
    "leaderboard/evaluation/evidence.py",  # certificates are the evaluators' own files
    "leaderboard/website/pages/reference.py",  # reads the docstrings of the public face as text
    "leaderboard/recheck/proofs.py",  # asks the checker about rows, and for certificates
}


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((CHECKOUT / folder).rglob("*.py"))]


@cache
def imported(path: Path) -> set[str]:
    """First names of all modules that a file imports, wherever it does so."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names |= {str(a.value).split(".")[0] for a in node.args if isinstance(a, ast.Constant)}
    return names


def name(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


@pytest.mark.parametrize("library", DOORS)
def test_a_library_has_one_door(library: str) -> None:
    found = {name(p) for p in sources("evaluators", "leaderboard") if library in imported(p)}
    doors = DOORS[library]
    assert found, "the door has moved"
    strangers = {file for file in found if not any(file.startswith(door) for door in doors)}
    assert not strangers


def test_evaluators_know_nothing_of_the_leaderboard() -> None:
    assert not [name(p) for p in sources("evaluators") if "leaderboard" in imported(p)]


def test_few_files_ask_the_evaluators() -> None:
    found = {name(p) for p in sources("leaderboard") if "evaluators" in imported(p)}
    strangers = {file for file in found if not file.startswith(tuple(MAY_ASK_EVALUATORS))}
    assert not strangers


def test_the_packages_know_nothing_of_the_tests() -> None:
    assert not [name(p) for p in sources("evaluators", "leaderboard") if "tests" in imported(p)]


def test_imports_are_seen_wherever_they_are(tmp_path: Path) -> None:
    """That the tests above can fail."""
    path = tmp_path / "module.py"
    path.write_text(
        "def f():\n    import onnx.helper\n    from plotly import x\n"
        "importlib.import_module('pyarrow.parquet')\n"
    )
    assert imported(path) == {"onnx", "plotly", "pyarrow"}
