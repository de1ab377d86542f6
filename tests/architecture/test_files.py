"""What the files of the checkout may be, hold and measure."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from evaluators.listing import catalogue

CHECKOUT = Path(__file__).resolve().parents[2]
MAX_LINES = 450
CHECKER, MAX_CHECKER = ("recheck.checker", "recheck.arithmetic", "recheck.claim"), 599
"""The program that others trust instead of the bounding methods: small enough to be read."""
DERIVER, MAX_DERIVER = ("recheck.methods", "recheck.batch", "recheck.lines"), 419
"""What it proves without a certificate."""
READER = (
    "recheck.reader",
    "recheck.graph",
    "recheck.shared_weights",
    "recheck.operators",
    "recheck.clamps",
    "recheck.maxima",
    "recheck.windows",
    "recheck.copies",
)
MAX_READER = 1550
"""What it knows of ONNX."""
TOP_LEVEL = {"leaderboard", "evaluators", "submissions", "site", "tests", ".github", ".ci"}
TEXT = {".py", ".toml", ".md", ".j2", ".yml", ".yaml", ".css", ".js", ".cff", ".lock", ".txt", ""}

FOREIGN = re.compile(
    r"/home/\w+/|/Users/\w+/|/root/|C:\\\\Users"
    r"|--(extra-)?index-url",
    re.IGNORECASE,
)
"""Paths of one machine and package registries other than the public one."""


def tracked() -> list[Path]:
    """Files that git tracks, or would; skipped by name outside a checkout."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a git checkout")
    return [path for line in listing.stdout.splitlines() if (path := CHECKOUT / line).is_file()]


def name(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def test_no_file_holds_a_path_or_registry_of_one_machine() -> None:
    me = Path(__file__).resolve()
    found = []
    for path in tracked():
        if path.suffix not in TEXT or "vendor" in path.parts or path == me:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if FOREIGN.search(line):
                found.append(f"{name(path)}:{number}: {line.strip()[:80]}")
    assert not found


@pytest.mark.parametrize("text", ["cd /root/main", "--index-url https://x", "/home/me/.venv"])
def test_foreign_paths_are_recognised(text: str) -> None:
    assert FOREIGN.search(text)


def test_files_stay_short() -> None:
    long = {
        name(path): lines
        for path in tracked()
        if path.suffix == ".py" and (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not long


def test_the_checker_stays_small_and_shares_nothing_with_the_bounding_methods() -> None:
    imports, lines = _read(CHECKER)
    assert lines <= MAX_CHECKER
    assert imports <= {*CHECKER, "question.certificate", "numerics.errors"}


def test_what_the_checker_derives_by_itself_is_small_and_shares_nothing_either() -> None:
    imports, lines = _read(DERIVER)
    assert lines <= MAX_DERIVER
    assert imports <= {*DERIVER, *CHECKER, "question.certificate", "numerics.errors"}


def test_the_checker_reads_files_with_nothing_of_the_importer() -> None:
    """But for counting a file's bytes, which reads no meaning; not even torch is there."""
    imports, lines = _read(READER)
    assert lines <= MAX_READER
    assert imports <= {*READER, "recheck.claim", "numerics.errors", "onnx.wire"}
    foreign = {found for part in (*CHECKER, *DERIVER, *READER) for found in _imported(part)}
    assert foreign <= set(sys.stdlib_module_names) | {"evaluators", "numpy", "scipy", "onnx"}


def _read(parts: tuple[str, ...]) -> tuple[set[str], int]:
    """Which modules of the package some files import, and how many lines they have."""
    texts = [_text(part) for part in parts]
    found = {name for text in texts for name in re.findall(r"evaluators\.([\w.]+)", text)}
    return found, sum(len(text.splitlines()) for text in texts)


def _text(part: str) -> str:
    return (CHECKOUT / "evaluators" / f"{part.replace('.', '/')}.py").read_text()


def _imported(part: str) -> set[str]:
    text = _text(part)
    return set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))


def test_there_are_no_other_rooms() -> None:
    folders = {path.relative_to(CHECKOUT).parts[0] for path in tracked() if path.parent != CHECKOUT}
    assert folders <= TOP_LEVEL


def test_the_site_and_the_submissions_hold_no_python() -> None:
    """`import site` is always the standard library; nobody's submission is ever executed."""
    strangers = [
        name(path)
        for folder in ("site", "submissions")
        for path in (CHECKOUT / folder).rglob("*")
        if path.suffix in {".py", ".pyc", ".so", ".pkl", ".pt", ".pth"}
    ]
    assert not strangers


def test_every_evaluator_is_one_public_file_of_its_name() -> None:
    for evaluator_name, evaluator in catalogue().items():
        path = CHECKOUT / f"{evaluator.__module__.replace('.', '/')}.py"
        assert path.stem.replace("_", "-") == evaluator_name
        text = path.read_text(encoding="utf-8")
        assert "Guarantee" in text, evaluator_name
        assert "Trusted" in text or not evaluator.certifies, evaluator_name
        assert re.search(r"arXiv \d{4}\.\d{4,5}|doi 10\.\d{4}/\d", text), (
            f"{evaluator_name} names no paper"
        )
