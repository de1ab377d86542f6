"""Which commit rows are said to come from, and that nothing said of them changes unseen."""

import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.version import commit_of
from leaderboard.results.store import PROVENANCE_KEY, read, read_provenance, scan, write
from tests.fixtures.project import CHECKOUT

FIXTURES = CHECKOUT / "tests" / "fixtures"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("evaluators/ibp.py", "site/data/rows.parquet"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("first")
    for name in ("pyproject.toml", "requirements.lock", "leaderboard"):
        (tmp_path / name).touch()
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], ["add", "."], [*author, "commit", "--quiet", "-m", "One"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_the_commit_is_named_in_full(checkout: Path) -> None:
    assert len(commit_of(checkout)) == 40


def test_new_results_do_not_make_the_code_a_changed_one(checkout: Path) -> None:
    (checkout / "site/data/rows.parquet").write_text("second")
    (checkout / "site/data/others.parquet").touch()
    assert not commit_of(checkout).endswith("-dirty")


@pytest.mark.parametrize("name", ["evaluators/ibp.py", "evaluators/new.py", "requirements.lock"])
def test_changed_code_is_marked(name: str, checkout: Path) -> None:
    (checkout / name).write_text("second")
    assert commit_of(checkout).endswith("-dirty")


def test_without_a_checkout_the_commit_is_unknown(tmp_path: Path) -> None:
    assert commit_of(tmp_path / "nowhere") == "unknown"


def test_an_installed_copy_within_another_checkout_has_no_commit(checkout: Path) -> None:
    assert commit_of(checkout / "evaluators") == "unknown"


@pytest.mark.parametrize(
    ("before", "after"), [(b'"threads": 1', b'"threads": 2'), (b'"seed": "', b'"sead": "')]
)
def test_a_provenance_that_was_altered_is_told(tmp_path: Path, before: bytes, after: bytes) -> None:
    stored = read(next(iter(sorted((FIXTURES / "results").rglob("*.parquet")))))
    path = tmp_path / "copy.parquet"
    write(path, stored.rows, stored.provenance.model_copy(update={"threads": 1, "seed": "7"}))
    assert read(path).provenance.threads == 1
    table = pq.read_table(path)
    told = table.schema.metadata[PROVENANCE_KEY]
    assert before in told
    altered = {PROVENANCE_KEY: told.replace(before, after)}
    pq.write_table(table.replace_schema_metadata(altered), path)
    for reading in (read, scan, read_provenance):
        with pytest.raises(InputError, match="it was altered"):
            reading(path)
