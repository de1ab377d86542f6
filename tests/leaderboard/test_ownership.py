"""Whose a submission is: nobody else changes, replaces or withdraws it, or takes up its name."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.common.text import check_account
from leaderboard.results.store import results_path
from leaderboard.submissions.catalogue import problems_between, read_catalogue
from leaderboard.submissions.ownership import owned_together
from tests.fixtures.effort import first_alone
from tests.fixtures.project import LINF, OWNER, PLAIN, Outcome, bent, linear, submit
from tests.fixtures.repository import Repository, repository
from tests.leaderboard.conftest import Certboard

STRANGER, NEW = "mallory", "newcomer"
Scope = Callable[..., Outcome]
Act = Callable[[Path], None]


@pytest.fixture
def repo(project: Project) -> Repository:
    return repository(project.root)


@pytest.fixture
def scope(repo: Repository, certboard: Certboard) -> Scope:
    """What the workflow says of a branch of one act, asked for by an account."""
    base = repo.head

    def told(act: Act, author: str, *options: str) -> Outcome:
        repo.branch("asked", base)
        act(repo.root / "submissions")
        head = repo.commit()
        repo.git("checkout", "--quiet", "main")
        # The main branch may have gone on; what it says then decides.
        return certboard("intake", "scope", repo.head, head, "--author", author, *options)

    return told


def edit(slug: str, old: str, new: str) -> Act:
    def act(submissions: Path) -> None:
        path = submissions / slug / "submission.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return act


def line(slug: str, text: str) -> Act:
    """Put a line at the beginning of a manifest."""
    return edit(slug, "title", f"{text}\ntitle")


def readme(submissions: Path) -> None:
    (submissions / PLAIN / "README.md").write_text("Do not trust this model.")


def other_model(submissions: Path) -> None:
    title = (submissions / PLAIN / "submission.toml").read_text().splitlines()[0]
    shutil.rmtree(submissions / PLAIN)
    submit(Project(submissions.parent), PLAIN, linear(), owner=STRANGER)
    assert (submissions / PLAIN / "submission.toml").read_text().startswith(title)


def no_manifest(submissions: Path) -> None:
    (submissions / PLAIN / "submission.toml").unlink()


def broken(submissions: Path) -> None:
    (submissions / PLAIN / "submission.toml").write_text("title = [")


def owners(*names: str) -> str:
    return f"owners = [{', '.join(f'{chr(34)}{name}{chr(34)}' for name in names)}]"


OURS = owners(OWNER)
THEIRS = [
    line(PLAIN, 'withdrawn = "It was wrong."'),
    line(PLAIN, 'superseded_by = "noisy"'),
    edit(PLAIN, f'title = "{PLAIN}"', 'title = "Worse than ours"'),
    edit(PLAIN, "A. Author", "M. Mallory"),
    edit(PLAIN, OURS, owners(STRANGER)),
    edit(PLAIN, OURS, owners(OWNER, STRANGER)),
    edit(PLAIN, OURS, "owners = []"),
    readme,
    other_model,
    no_manifest,
    broken,
]


@pytest.mark.parametrize("act", THEIRS)
def test_a_stranger_changes_nothing_of_somebody_elses_submission(scope: Scope, act: Act) -> None:
    outcome = scope(act, STRANGER)
    assert outcome.code == 1
    assert not outcome.out


@pytest.mark.parametrize("act", [*THEIRS[:4], readme])
@pytest.mark.parametrize("author", first_alone([OWNER.title(), OWNER, OWNER.upper()]))
def test_its_owner_does_however_the_account_is_written(scope: Scope, act: Act, author: str) -> None:
    assert scope(act, author).out == f"{PLAIN}\n"


@pytest.mark.parametrize("act", THEIRS[:9])
def test_a_maintainer_can_allow_what_is_told(scope: Scope, act: Act) -> None:
    outcome = scope(act, STRANGER, "--others", "allow")
    assert (outcome.code, outcome.out) == (0, f"{PLAIN}\n")
    assert f"allowed by a maintainer: '{PLAIN}' is there already" in outcome.err


def new(owner: str = STRANGER, *acts: Act) -> Act:
    """A submission under a new name, of a network of its own."""

    def act(submissions: Path) -> None:
        model = submit(Project(submissions.parent), NEW, linear(), owner=owner)
        toml = model.with_name("submission.toml")
        # Another file than the other linear network's; it need not be a network for this.
        toml.write_text(re.sub('sha256 = "[0-9a-f]*"', f'sha256 = "{"7" * 64}"', toml.read_text()))
        for one in acts:
            one(submissions)

    return act


def hash_of(slug: str) -> Act:
    """Name the same network as another submission."""

    def act(submissions: Path) -> None:
        found = re.findall('"([0-9a-f]{64})"', (submissions / slug / "submission.toml").read_text())
        edit(NEW, "7" * 64, found[0])(submissions)

    return act


def test_a_new_submission_is_its_authors(scope: Scope) -> None:
    assert scope(new(), STRANGER).out == f"{NEW}\n"
    assert scope(new("MalLory"), STRANGER).out == f"{NEW}\n"


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (new(OWNER), "must have the account that opens the request, mallory"),
        (new(STRANGER, edit(NEW, owners(STRANGER), "")), "but names nobody"),
        (
            new(STRANGER, edit(NEW, owners(STRANGER), owners(STRANGER, OWNER))),
            "another owner (octocat)",
        ),
        (new(STRANGER, edit(NEW, owners(STRANGER), 'owners = "mallory"')), "must be a list"),
        (new(STRANGER, line(NEW, f'superseded_by = "{PLAIN}"')), f"names '{PLAIN}'"),
        (new(STRANGER, edit(NEW, f'"{NEW}"', f'"{PLAIN}"')), f"mistaken for that of '{PLAIN}'"),
        (new(STRANGER, edit(NEW, f'"{NEW}"', '"PLА1N"')), f"mistaken for that of '{PLAIN}'"),
        (new(STRANGER, hash_of(PLAIN)), f"has a network of '{PLAIN}'"),
    ],
)
def test_a_new_submission_takes_up_nothing_of_others(scope: Scope, act: Act, told: str) -> None:
    outcome = scope(act, STRANGER)
    assert outcome.code == 1
    assert told in outcome.err


def test_the_same_of_ones_own_is_fine(scope: Scope) -> None:
    for act in (
        new(OWNER, line(NEW, f'superseded_by = "{PLAIN}"')),
        new(OWNER, hash_of(PLAIN)),
        new(OWNER, edit(NEW, f'"{NEW}"', f'"{PLAIN}"')),
    ):
        assert scope(act, OWNER).code == 0


def test_an_account_that_looks_like_an_owners_is_told(scope: Scope) -> None:
    outcome = scope(new("0ctocat"), "0ctocat")
    assert outcome.code == 1
    assert "can be mistaken for octocat" in outcome.sentence


def test_an_owner_cannot_put_out_another_but_can_leave(repo: Repository) -> None:
    edit(PLAIN, OURS, owners(OWNER, "hubot"))(repo.root / "submissions")
    repo.commit()
    both = owners(OWNER, "hubot")
    base = repo.head
    for kept, author, code in ((OWNER, OWNER, 1), ("hubot", OWNER, 0), (OWNER, "Hubot", 0)):
        repo.branch("asked", base)
        edit(PLAIN, both, owners(kept))(repo.root / "submissions")
        head = repo.commit()
        repo.git("checkout", "--quiet", "main")
        assert run_scope(repo, base, head, author) == code


def run_scope(repo: Repository, base: str, head: str, author: str) -> int:
    from leaderboard.__main__ import run

    return run(["intake", "scope", base, head, "--author", author])


def test_the_main_branch_decides_as_it_is_now(repo: Repository, certboard: Certboard) -> None:
    """Not the manifest of the branch, nor the one that it began from."""
    begun = repo.head
    repo.branch("asked", begun)
    readme(repo.root / "submissions")
    head = repo.commit()
    repo.git("checkout", "--quiet", "main")
    edit(PLAIN, OURS, owners("hubot"))(repo.root / "submissions")
    main = repo.commit()
    assert certboard("intake", "scope", begun, head, "--author", OWNER).code == 0
    assert certboard("intake", "scope", main, head, "--author", OWNER).code == 1
    # It would bring back the manifest of then, with its owner.
    assert (
        "another owner (octocat)"
        in certboard("intake", "scope", main, head, "--author", "hubot").sentence
    )
    repo.branch("asked", main)
    readme(repo.root / "submissions")
    assert certboard("intake", "scope", main, repo.commit(), "--author", "hubot").code == 0


@pytest.mark.parametrize("text", ["", "owners = [1]", "owners = [", 'owners = "octocat"'])
def test_an_entry_without_readable_owners_is_the_maintainers(
    repo: Repository, certboard: Certboard, text: str
) -> None:
    edit(PLAIN, OURS, text)(repo.root / "submissions")
    base = repo.commit()
    repo.branch("asked", base)
    edit(PLAIN, text or "title", f"{OURS}\n" + ("" if text else "title"))(repo.root / "submissions")
    outcome = certboard("intake", "scope", base, repo.commit(), "--author", OWNER)
    assert outcome.code == 1
    assert "the maintainers" in outcome.err


def test_results_of_an_earlier_submission_are_nobodys(
    repo: Repository, project: Project, certboard: Certboard
) -> None:
    path = results_path(project, LINF, NEW)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1")
    base = repo.commit()
    repo.branch("asked", base)
    new()(repo.root / "submissions")
    outcome = certboard("intake", "scope", base, repo.commit(), "--author", STRANGER)
    assert outcome.code == 1
    assert "results of an earlier submission" in outcome.sentence


@pytest.mark.parametrize("name", ["", "-a", "a b", "a\nb", "$(id)", "dependabot[bot]", "a" * 40])
def test_what_is_no_account_is_refused(name: str, repo: Repository, certboard: Certboard) -> None:
    with pytest.raises(InputError, match="no name of a GitHub account"):
        check_account(name)
    assert certboard("intake", "scope", repo.head, repo.head, f"--author={name}").code == 1


def test_scope_asks_who_asks(repo: Repository, certboard: Certboard) -> None:
    assert certboard("intake", "scope", repo.head, repo.head).code == 2


def test_check_finds_a_title_or_successor_of_other_owners(project: Project) -> None:
    """The same authors can be written down by anybody."""
    path = submit(project, NEW, bent(), owner=STRANGER).with_name("submission.toml")
    text = path.read_text()
    path.write_text(text.replace(f'title = "{NEW}"', f'title = "{PLAIN}"'))
    found = "".join(read_catalogue(project).problems)
    assert f"can be mistaken for that of submissions/{NEW}" in found
    assert problems_between(project, {NEW: read_catalogue(project).submissions[NEW]})
    path.write_text(f'superseded_by = "{PLAIN}"\n{text}')
    assert "that one has other owners" in "".join(read_catalogue(project).problems)
    path.write_text(f'superseded_by = "{PLAIN}"\n{text}'.replace(STRANGER, OWNER.upper()))
    assert read_catalogue(project).problems == ()


def test_owners_are_shared_whatever_the_case() -> None:
    assert owned_together(["A", "b"], ["a"])
    assert owned_together([], [])
    assert not owned_together(["a"], ["b"])
    assert not owned_together([], ["a"])
