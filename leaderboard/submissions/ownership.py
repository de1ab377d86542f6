"""Whose a submission is, and what nobody but its owners may do to it or say about it.

The owners are accounts in `owners` of submission.toml. What decides is the manifest on the main
branch, never that of the branch that asks; who opened the request is told by the workflow. An
account puts in nobody's name but its own: each further owner was let in by a maintainer. So an
owner who stands in a manifest on the main branch is one who wanted it, or whom a maintainer knows.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from leaderboard.common.errors import InputError
from leaderboard.common.lookalikes import skeleton
from leaderboard.common.project import Project
from leaderboard.common.strict_toml import shown, toml_of
from leaderboard.common.text import check_account
from leaderboard.submissions.branches import changed_submission, has_rows, manifests
from leaderboard.submissions.folder import MANIFEST

_ALLOW = "A maintainer can allow it."


@dataclass(frozen=True)
class Entry:
    """What a manifest says about whose it is and what it takes up; names in small letters."""

    title: str
    owners: frozenset[str]
    superseded_by: str | None
    hashes: frozenset[str]


_BROKEN = Entry("", frozenset(), None, frozenset())
"""Of a manifest on the main branch that cannot be read: nobody's but the maintainers'."""


def owned_together(one: Iterable[str], other: Iterable[str]) -> bool:
    """Say whether two lists of owners share one, or both are the maintainers' (empty)."""
    first, second = ({name.casefold() for name in names} for names in (one, other))
    return bool(first & second) or not (first or second)


def scope_of(project: Project, base: str, head: str, author: str) -> tuple[str, list[str]]:
    """Find the one submission that a branch changes, and what of it `author` may not do.

    Raises:
        InputError: the branch changes anything else, or `author` is no name of an account.
    """
    slug = changed_submission(project, base, head)
    return slug, foreign(project, base, head, slug, check_account(author))


def foreign(project: Project, base: str, head: str, slug: str, author: str) -> list[str]:
    """List what `author` may not do that the branch does to submissions of others, a sentence each.

    Args:
        base, head: full hashes of the commits of the main branch and of the asking one.
        slug: the only submission that the branch changes.
        author: the account that asks.
    """
    there = {name: _entry_of(text) for name, text in manifests(project, base).items()}
    asked = manifests(project, head).get(slug)
    if asked is None:
        return [f"The branch has no submissions/{slug}/{MANIFEST}."]
    before = there.get(slug)
    try:
        after = _read(asked, f"submissions/{slug}/{MANIFEST}")
    except InputError as error:
        return list(error.problems)
    if before is None and has_rows(project, base, slug):
        return [f"There are results of an earlier submission called '{slug}'. {_ALLOW}"]
    others = {name: one for name, one in there.items() if name != slug}
    return [
        *_of_owners(slug, before, after, author),
        *_of_others(slug, before, after, others, author),
    ]


def _of_owners(slug: str, before: Entry | None, after: Entry, author: str) -> Iterator[str]:
    """What is wrong with who changes the entry, and with whom it names as owners."""
    me = author.casefold()
    if before is not None and me not in before.owners:
        whose = ", ".join(sorted(before.owners)) or "the maintainers"
        yield f"'{slug}' is there already, and is not {author}'s: its owners are {whose}. {_ALLOW}"
        return
    if before is None and me not in after.owners:
        named = ", ".join(sorted(after.owners)) or "nobody"
        yield (
            f"submissions/{slug}/{MANIFEST}: 'owners' must have the account that opens the request,"
            f" {author}, but names {named}."
        )
    now, then = after.owners, before.owners if before else frozenset()
    changed = sorted((now ^ then) - {me})
    if changed:
        yield (
            f"submissions/{slug}/{MANIFEST}: {author} may not add or remove another owner"
            f" ({', '.join(changed)}). {_ALLOW}"
        )


def _of_others(
    slug: str, before: Entry | None, after: Entry, others: Mapping[str, Entry], author: str
) -> Iterator[str]:
    """What the entry takes up of entries that are not its author's."""
    me, where = author.casefold(), f"submissions/{slug}/{MANIFEST}"
    foreign = {name: one for name, one in others.items() if me not in one.owners}
    new = after if before is None else _news(before, after)
    if new.superseded_by in foreign:
        yield f"{where}: 'superseded_by' names '{new.superseded_by}', not {author}'s. {_ALLOW}"
    bones = skeleton(new.title)
    alike_accounts = set()
    for name, one in foreign.items():
        if new.title and one.title and skeleton(one.title) == bones:
            mistaken = f"can be mistaken for that of '{name}'"
            yield f"{where}: the title {shown(new.title)} {mistaken}, which is not {author}'s."
        if new.hashes & one.hashes:
            yield f"{where}: has a network of '{name}', which is not {author}'s. {_ALLOW}"
        alike_accounts |= {owner for owner in one.owners if skeleton(owner) == skeleton(me)}
    for owner in sorted(alike_accounts):
        yield f"The account {author} can be mistaken for {owner}, an owner here. {_ALLOW}"


def _news(before: Entry, after: Entry) -> Entry:
    """What of an entry is new."""
    return Entry(
        title=after.title if after.title != before.title else "",
        owners=after.owners - before.owners,
        superseded_by=None if after.superseded_by == before.superseded_by else after.superseded_by,
        hashes=after.hashes - before.hashes,
    )


def _entry_of(text: bytes) -> Entry:
    try:
        return _read(text, MANIFEST)
    except InputError:
        return _BROKEN


def _read(text: bytes, where: str) -> Entry:
    """What a manifest says, as far as it can be told; what else is wrong `check` tells."""
    table = toml_of(text, where)
    owners = table.get("owners", [])
    if not isinstance(owners, list) or not all(isinstance(one, str) for one in owners):
        raise InputError(f"{where}: 'owners' must be a list of the names of accounts.")
    members = table.get("member")
    parts = [table.get("model"), *(members if isinstance(members, list) else [])]
    found = [part.get("sha256") for part in parts if isinstance(part, dict)]
    title, successor = table.get("title"), table.get("superseded_by")
    return Entry(
        title=title if isinstance(title, str) else "",
        owners=frozenset(one.casefold() for one in owners),
        superseded_by=successor if isinstance(successor, str) else None,
        hashes=frozenset(one for one in found if isinstance(one, str)),
    )
