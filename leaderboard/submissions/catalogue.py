"""All submissions of a checkout, each read by itself: a broken one costs itself and no other.

What is wrong between two of them, such as titles alike or a successor that is none, is found here
too; `certboard check SLUG` asks for what concerns that one.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from leaderboard.common.errors import InputError, Problems, nearest
from leaderboard.common.formatting import plural
from leaderboard.common.lookalikes import alike
from leaderboard.common.progress import tell
from leaderboard.common.project import Project
from leaderboard.common.rules import told
from leaderboard.common.strict_toml import read_toml, shown
from leaderboard.submissions.folder import MANIFEST, confusable, folder_problems, slugs
from leaderboard.submissions.manifest import Submission, load_submission, read_submission
from leaderboard.submissions.ownership import owned_together


@dataclass(frozen=True)
class Catalogue:
    """Submissions by slug in alphabetical order, and every problem found, a sentence each.

    Left out are those that cannot be read or shown; problems that only two of them together have,
    such as titles alike, leave out none.
    """

    submissions: Mapping[str, Submission]
    problems: tuple[str, ...]


class _Facts(NamedTuple):
    """What of a manifest others may be at odds with; read even where the rest is broken."""

    title: str
    authors: tuple[str, ...]
    owners: tuple[str, ...]
    dataset: str
    superseded_by: str | None

    @classmethod
    def of(cls, one: Submission) -> "_Facts":
        return cls(one.title, one.authors, one.owners, one.model.dataset, one.superseded_by)


class _Clash(NamedTuple):
    """A problem that `slug` has with another.

    `fatal` if its page cannot be made for it; `mutual` if the other one may have brought it about.
    """

    slug: str
    other: str
    sentence: str
    fatal: bool = False
    mutual: bool = True


def read_catalogue(project: Project) -> Catalogue:
    """Read every submission that can be read, and say what is wrong with them and the others."""
    found: dict[str, Submission] = {}
    problems = Problems()
    names = slugs(project.submissions)
    for slug in names:
        with problems.gathered():
            found[slug] = read_submission(project, slug)
    for slug, other in alike({name: name for name in names}):
        problems += confusable(slug, [other])
    facts = {slug: _Facts.of(one) for slug, one in found.items()}
    clashes = [*_titles_alike(facts), *_successors(facts, names)]
    problems += [clash.sentence for clash in clashes]
    broken = {clash.slug for clash in clashes if clash.fatal}
    kept = {slug: one for slug, one in found.items() if slug not in broken}
    return Catalogue(kept, tuple(problems))


def load_submissions(project: Project) -> dict[str, Submission]:
    """Load every submission that can be read, by slug; tell what is wrong with the others."""
    found = read_catalogue(project)
    for problem in found.problems:
        tell(f"warning: {problem}")
    return dict(found.submissions)


def chosen_submissions(project: Project, slugs: Collection[str]) -> dict[str, Submission]:
    """Return the submissions that are named, by slug; all that can be read where none is.

    Of these, networks of others whose files are not at hand are left out, and told: nothing is
    fetched that nobody asked for.

    Raises:
        InputError: one that is named cannot be read.
    """
    if slugs:
        return {slug: load_submission(project, slug) for slug in slugs}
    found = load_submissions(project)
    absent = [slug for slug, one in found.items() if not is_at_hand(one)]
    tell_absent(absent)
    return {slug: one for slug, one in found.items() if slug not in absent}


def is_at_hand(submission: Submission) -> bool:
    """Say whether it need not be passed over where nobody named it."""
    return submission.published is None or submission.at_hand


def tell_absent(slugs: Sequence[str]) -> None:
    """Name published networks that are passed over, since their files are not at hand."""
    if slugs:
        networks = plural(len(slugs), "published network")
        tell(
            f"{networks} not read, whose weights are not at hand: {', '.join(slugs)};"
            f" certboard check {slugs[0]} fetches that one"
        )


def problems_between(project: Project, submissions: Mapping[str, Submission]) -> list[str]:
    """List what is wrong between `submissions` and any others in the project, a sentence each.

    Of the others little is read; what else is wrong with them is not told here.
    """
    names = slugs(project.submissions)
    facts = {slug: one for slug in names if (one := _facts(project, slug)) is not None}
    facts |= {slug: _Facts.of(one) for slug, one in submissions.items()}
    return [
        clash.sentence
        for clash in (*_titles_alike(facts), *_successors(facts, names))
        if clash.slug in submissions or (clash.mutual and clash.other in submissions)
    ]


def _facts(project: Project, slug: str) -> _Facts | None:
    folder = project.submissions / slug
    try:
        if folder_problems(folder, slug):
            return None
        table = read_toml(folder / MANIFEST, slug)
        authors, owners = (tuple(map(str, table.get(key, ()))) for key in ("authors", "owners"))
        model, successor = table.get("model", {}), table.get("superseded_by")
        dataset = model.get("dataset", "") if isinstance(model, dict) else ""
        told_of = successor if isinstance(successor, str) else None
        return _Facts(str(table["title"]), authors, owners, str(dataset), told_of)
    except (InputError, KeyError, TypeError, OSError):
        return None


def _titles_alike(facts: Mapping[str, _Facts]) -> Iterator[_Clash]:
    """Each title that can be mistaken for an earlier one of others.

    Of others: of other authors, or of other owners, since anybody can write down the same authors.
    """
    for slug, other in alike({slug: one.title for slug, one in facts.items()}):
        one, earlier = facts[slug], facts[other]
        if one.authors != earlier.authors or not owned_together(one.owners, earlier.owners):
            mistaken = f"can be mistaken for that of submissions/{other}"
            where = f"submissions/{slug}/{MANIFEST}"
            sentence = f"{where}: the title {shown(one.title)} {mistaken}."
            yield _Clash(slug, other, told("title-confusable", sentence))


def _successors(facts: Mapping[str, _Facts], names: Collection[str]) -> Iterator[_Clash]:
    """Submissions that are said to be replaced by none, or by one that cannot replace them.

    Who points at one that was itself replaced since has a page: that was not its own doing.
    """
    for slug, one in facts.items():
        successor = one.superseded_by
        if successor is None:
            continue
        where = f"submissions/{slug}/{MANIFEST}: 'superseded_by' is {shown(successor)}, but"
        if successor not in names:
            sentence = f"{where} there is no such submission.{nearest(successor, names)}"
            yield _Clash(slug, successor, sentence, fatal=True)
            continue
        if successor not in facts:
            yield _Clash(slug, successor, f"{where} that one cannot be read.")
            continue
        other = facts[successor]
        # Whoever points at a stranger's submission must not stand in that one's way.
        same = owned_together(other.owners, one.owners)
        if other.superseded_by is not None or successor == slug:
            circle = slug in _chain(facts, successor)
            sentence = f"{where} that one is itself superseded."
            yield _Clash(slug, successor, sentence, fatal=circle, mutual=same)
        elif other.dataset != one.dataset:
            sentence = f"{where} that one is for another dataset."
            yield _Clash(slug, successor, sentence, fatal=True, mutual=same)
        elif not same:
            sentence = f"{where} that one has other owners."
            yield _Clash(slug, successor, sentence, fatal=True, mutual=False)


def _chain(facts: Mapping[str, _Facts], start: str) -> set[str]:
    """A submission and all that replaced it, one after the other."""
    seen: set[str] = set()
    at: str | None = start
    while at is not None and at in facts and at not in seen:
        seen.add(at)
        at = facts[at].superseded_by
    return seen
