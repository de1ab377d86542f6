"""Branches of strangers: what they may change, and that nothing else of them is taken."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.submissions import branches
from leaderboard.submissions.branches import changed_submission, check_commit, take_files
from tests.fixtures.project import OWNER, PLAIN, Outcome, keep_salt, linear, submit
from tests.fixtures.repository import Repository, repository
from tests.leaderboard.conftest import Certboard


@pytest.fixture
def repo(project: Project) -> Repository:
    return repository(project.root)


@pytest.fixture
def base(repo: Repository) -> str:
    return repo.head


def add(repo: Repository, slug: str = "newcomer", owner: str = OWNER) -> Path:
    return submit(Project(repo.root), slug, linear(), sigma="0.5", owner=owner).parent


def test_an_honest_branch_names_its_submission(
    repo: Repository, base: str, certboard: Certboard
) -> None:
    repo.branch("honest", base)
    add(repo)
    head = repo.commit()
    assert scope(certboard, base, head).out == "newcomer\n"


def test_a_branch_behind_main_is_judged_by_what_it_changes_itself(
    repo: Repository, base: str, project: Project
) -> None:
    (repo.root / "README.md").write_text("new on main")
    main = repo.commit()
    repo.branch("behind", base)
    add(repo)
    assert changed_submission(project, main, repo.commit()) == "newcomer"


def scope(certboard: Certboard, base: str, head: str, author: str = OWNER) -> Outcome:
    return certboard("intake", "scope", base, head, "--author", author)


Smuggle = Callable[[Repository, Path], None]


def other_file(repo: Repository, folder: Path) -> None:
    (repo.root / "leaderboard").mkdir()
    (repo.root / "leaderboard" / "run.py").write_text("x")


def results(repo: Repository, folder: Path) -> None:
    place = repo.root / "site" / "data" / "results" / "digits-linf-0.1"
    place.mkdir(parents=True)
    (place / "newcomer.parquet").write_bytes(b"x")


def workflow(repo: Repository, folder: Path) -> None:
    (repo.root / ".github" / "workflows").mkdir(parents=True)
    (repo.root / ".github" / "workflows" / "check.yml").write_text("x")


def second_submission(repo: Repository, folder: Path) -> None:
    (repo.root / "submissions" / PLAIN / "README.md").write_text("better")


def salt(repo: Repository, folder: Path) -> None:
    keep_salt(Project(repo.root), "noisy", "0" * 64)


def removed_salt(repo: Repository, folder: Path) -> None:
    shutil.rmtree(repo.root / "site" / "data" / "salts")


def removed_file(repo: Repository, folder: Path) -> None:
    (repo.root / "submissions" / "noisy" / "model.onnx").unlink()


def deeper(repo: Repository, folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "model.onnx").write_bytes(b"x")


def beside(repo: Repository, folder: Path) -> None:
    (repo.root / "submissions" / "README.md").write_text("x")


def link(repo: Repository, folder: Path) -> None:
    (folder / "README.md").symlink_to("/etc/passwd")


def executable(repo: Repository, folder: Path) -> None:
    (folder / "README.md").write_text("#!/bin/sh")
    (folder / "README.md").chmod(0o755)


def attributes(repo: Repository, folder: Path) -> None:
    (repo.root / ".gitattributes").write_text("* filter=evil")


@pytest.mark.parametrize(
    ("smuggle", "told"),
    [
        (other_file, "leaderboard/run.py"),
        (results, "site/data/results"),
        (workflow, ".github/workflows/check.yml"),
        (second_submission, "one submission at a time"),
        (salt, "may change only files in submissions/<its slug>/."),
        (removed_salt, "may change only files in submissions/<its slug>/."),
        (removed_file, "one submission at a time"),
        (deeper, "submissions/newcomer/deep"),
        (beside, "submissions/README.md"),
        (link, "is a link"),
        (executable, "is an executable"),
        (attributes, ".gitattributes"),
    ],
)
def test_a_smuggled_change_is_refused(
    repo: Repository, base: str, certboard: Certboard, smuggle: Smuggle, told: str
) -> None:
    repo.branch("hostile", base)
    smuggle(repo, add(repo))
    outcome = scope(certboard, base, repo.commit())
    assert outcome.code == 1
    assert told in outcome.err
    assert not outcome.out


def test_a_change_that_a_later_commit_takes_back_is_no_change(
    repo: Repository, base: str, project: Project
) -> None:
    repo.branch("mended", base)
    (repo.root / "other").write_text("x")
    repo.commit()
    (repo.root / "other").unlink()
    add(repo)
    assert changed_submission(project, base, repo.commit()) == "newcomer"


def test_another_repository_inside_is_refused(
    repo: Repository, base: str, project: Project
) -> None:
    repo.branch("nested", base)
    add(repo)
    repo.git("add", "--all", "--force")
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{base},submissions/newcomer/sub")
    repo.git("commit", "--quiet", "--message", "x")
    with pytest.raises(InputError, match="is another repository"):
        changed_submission(project, base, repo.head)


@pytest.mark.parametrize("slug", ["Upper", "a b", "-x", "--help", "a--b", "ä", "a\nb", ".hidden"])
def test_a_folder_that_is_no_slug_is_refused(
    repo: Repository, base: str, project: Project, slug: str
) -> None:
    repo.branch("named", base)
    add(repo, slug)
    with pytest.raises(InputError, match="small letters"):
        changed_submission(project, base, repo.commit())


def test_nothing_and_only_removals_are_refused(
    repo: Repository, base: str, project: Project
) -> None:
    with pytest.raises(InputError, match="changes nothing"):
        changed_submission(project, base, base)
    repo.branch("removed", base)
    shutil.rmtree(repo.root / "submissions" / PLAIN)
    with pytest.raises(InputError, match="only removes"):
        changed_submission(project, base, repo.commit())


@pytest.mark.parametrize(
    "text", ["", "main", "HEAD", "abc123", "0" * 39, "0" * 41, "--help", "G" * 40]
)
def test_only_a_whole_commit_hash_is_taken(text: str) -> None:
    with pytest.raises(InputError, match="40 hexadecimal digits"):
        check_commit(text)


def test_a_commit_that_is_not_there_is_told(repo: Repository, base: str, project: Project) -> None:
    with pytest.raises(InputError, match="git merge-base failed"):
        changed_submission(project, base, "0" * 40)


def test_take_brings_the_files_and_nothing_else(
    repo: Repository, base: str, project: Project, certboard: Certboard
) -> None:
    repo.branch("honest", base)
    folder = add(repo)
    (repo.root / "elsewhere").write_text("x")
    head = repo.commit()
    content = (folder / "model.onnx").read_bytes()
    repo.git("checkout", "--quiet", "main")
    assert not folder.exists()
    folder.mkdir()
    (folder / "stale.onnx").write_bytes(b"old")
    assert "2 files" in certboard("intake", "take", head, "newcomer").out
    assert (folder / "model.onnx").read_bytes() == content
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "submission.toml"]
    assert not (repo.root / "elsewhere").exists()
    assert not os.access(folder / "model.onnx", os.X_OK)


@pytest.mark.parametrize("smuggle", [link, executable, deeper])
def test_take_refuses_what_is_not_a_regular_file(
    repo: Repository, base: str, project: Project, smuggle: Smuggle
) -> None:
    repo.branch("hostile", base)
    folder = add(repo)
    smuggle(repo, folder)
    head = repo.commit()
    repo.git("checkout", "--quiet", "main")
    with pytest.raises(InputError, match="must be a regular file"):
        take_files(project, head, "newcomer")
    assert not folder.exists()


def test_take_refuses_large_files_before_it_reads_them(
    repo: Repository, base: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.branch("large", base)
    add(repo)
    head = repo.commit()
    repo.git("checkout", "--quiet", "main")
    monkeypatch.setattr(branches, "LARGEST_MODEL", 100)
    with pytest.raises(InputError, match="at most 100"):
        take_files(project, head, "newcomer")


def test_take_runs_no_filter_of_the_branch(repo: Repository, base: str, project: Project) -> None:
    """Attributes and configuration could make git run a program when it writes a file."""
    marker = repo.root.parent / "ran"
    repo.git("config", "filter.evil.smudge", f"touch {marker}; cat")
    repo.branch("hostile", base)
    folder = add(repo)
    (folder.parent.parent / ".gitattributes").write_text("*.onnx filter=evil")
    head = repo.commit()
    repo.git("checkout", "--quiet", "main")
    marker.unlink(missing_ok=True)
    take_files(project, head, "newcomer")
    assert not marker.exists()


def test_take_needs_the_submission_to_be_there(
    repo: Repository, base: str, project: Project
) -> None:
    with pytest.raises(InputError, match="There is no submissions/other"):
        take_files(project, base, "other")


def crafted(repo: Repository, base: str, entries: list[tuple[str, str]], folder: str) -> str:
    """A commit whose tree at `folder` has further entries, of whatever names."""
    repo.branch("crafted", base)
    add(repo)
    repo.commit()
    parts = folder.split("/") if folder else []
    levels = [repo.tree("HEAD", "/".join(parts[:depth])) for depth in range(len(parts) + 1)]
    blob = repo.git("hash-object", "-w", str(repo.root / "submissions" / "newcomer" / "model.onnx"))
    made = repo.write_tree(levels[-1] + [(mode, name, blob) for mode, name in entries])
    for name, level in zip(reversed(parts), reversed(levels[:-1]), strict=True):
        # In its place: in another order Git would not find it.
        made = repo.write_tree([(m, n, made if n == name else blob) for m, n, blob in level])
    return repo.git("commit-tree", made, "-p", base, "-m", "x")


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["", "submissions", "submissions/newcomer"])
@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        ".git",
        ".GIT",
        "git~1",
        ".git ",
        ".git::$INDEX_ALLOCATION",
        ".g\u200cit",
        "newcomer/extra.onnx",
        "submissions/newcomer/extra.onnx",
        "../../leaderboard/evaluation/shard.py",
        "model.onnx:stream",
        "model.onnx ",
        "CON\\model.onnx",
        "a\nb.onnx",
    ],
)
def test_a_name_that_no_honest_git_writes_is_refused_with_a_sentence(
    repo: Repository, base: str, project: Project, certboard: Certboard, folder: str, name: str
) -> None:
    head = crafted(repo, base, [("100644", name)], folder)
    repo.git("checkout", "--quiet", "main")
    for arguments in (
        ("scope", base, head, "--author", OWNER),
        *([("take", head, "newcomer")] if folder == "submissions/newcomer" else []),
    ):
        outcome = certboard("intake", *arguments)
        assert outcome.code == 1
        assert outcome.sentence.endswith(".")
    assert not (project.submissions / "newcomer").exists()


@pytest.mark.parametrize("name", ["model.onnx", "Model.onnx"])
def test_a_file_that_is_there_twice_is_refused(
    repo: Repository, base: str, certboard: Certboard, name: str
) -> None:
    """The second of the two would be the one that was evaluated, or the first."""
    head = crafted(repo, base, [("100644", name)], "submissions/newcomer")
    outcome = scope(certboard, base, head)
    assert outcome.code == 1
    assert "is there twice, or but for the case of its letters" in outcome.sentence


def test_a_folder_that_is_there_twice_is_refused(
    repo: Repository, base: str, certboard: Certboard
) -> None:
    for folder, name in (("", "submissions"), ("submissions", "newcomer")):
        head = crafted(repo, base, [("100644", name)], folder)
        outcome = scope(certboard, base, head)
        assert outcome.code == 1
        assert "twice" in outcome.sentence or "'submissions'" in outcome.err
