"""The doors between rooms and libraries, and the arrow between the packages."""

import ast
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

DOORS = {
    "onnx": {
        "evaluators/onnx_checks.py",
        "evaluators/onnx_compare.py",
        "evaluators/onnx_export.py",
        "evaluators/onnx_file.py",
        "evaluators/onnx_import.py",
        "evaluators/onnx_schema.py",
        "evaluators/onnx_wire.py",
        "evaluators/recheck_reader.py",
    },
    "onnxruntime": {"evaluators/onnx_runtime.py"},
    "pyarrow": {
        "leaderboard/results.py",
        "leaderboard/results_export.py",
        "leaderboard/foreign_file.py",  # within bounds, before anything is unpacked
    },
    "confusable_homoglyphs": {"leaderboard/lookalikes.py"},
    "jinja2": {"leaderboard/pages.py"},
    "latex2mathml": {"leaderboard/formula.py"},
}
"""Which files may import a library; a folder stands for all of its files."""

MAY_ASK_EVALUATORS = {
    "leaderboard/run.py",
    "leaderboard/networks.py",  # reads the files of a model and puts them together
    "leaderboard/inspection.py",  # asks a network about probe images, for its fingerprints
    "leaderboard/smoothing.py",  # which noises, procedures and certificates there are
    "leaderboard/train.py",
    "leaderboard/__main__.py",
    "leaderboard/verification.py",  # asks about the boxes of a property, not about a dataset
    "leaderboard/acceptance_replay.py",  # runs a model on what rows from elsewhere say of it
    "leaderboard/evidence.py",  # certificates and witnesses are the evaluators' own files
    "leaderboard/recheck_proofs.py",  # asks the checker about rows, and for certificates
}


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((CHECKOUT / folder).rglob("*.py"))]


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
    assert found <= MAY_ASK_EVALUATORS


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
