"""Submissions whose networks are the same, and may not be."""

from collections import defaultdict
from collections.abc import Mapping

from leaderboard.board.fingerprints import Checks, Twin, twins
from leaderboard.submissions.manifest import Submission
from leaderboard.submissions.ownership import owned_together


def twins_of(
    submissions: Mapping[str, Submission], checks: Mapping[str, Checks]
) -> dict[str, list[Twin]]:
    """List for each submission the earlier ones whose networks are the same; linear."""
    by_dataset: dict[str, dict[str, Checks]] = defaultdict(dict)
    for slug, one in checks.items():
        if slug in submissions:
            by_dataset[submissions[slug].model.dataset][slug] = one
    found: dict[str, list[Twin]] = defaultdict(list)
    for group in by_dataset.values():
        for slug, twin in twins(
            group, lambda slug, other: _suspicious(submissions[slug], submissions[other])
        ):
            found[slug].append(twin)
    return dict(found)


def _suspicious(one: Submission, other: Submission) -> bool:
    """Authors may submit one network with several noises; anybody can write down their names."""
    same = one.authors == other.authors and owned_together(one.owners, other.owners)
    return not same or one.smoothing == other.smoothing
