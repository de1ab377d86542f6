"""What an evaluation without a network needs, fetched while there is one.

Its own weights and data, and the weights of other submissions that it may be a copy of: they are
run beside it on images that nobody knew before, for which they must be here.
"""

from leaderboard.common.errors import InputError
from leaderboard.common.progress import tell
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import fetch, find_dataset, load_split
from leaderboard.submissions.catalogue import read_catalogue
from leaderboard.submissions.manifest import Submission, load_submission


def fetch_all(project: Project, slug: str) -> str:
    """Fetch a submission's weights and data; why there are no data here, empty if there are.

    Others' weights that cannot be fetched are told: it is evaluated without them.

    Raises:
        InputError: the submission cannot be read, or what has an address cannot be fetched.
    """
    submission = load_submission(project, slug)
    submission.parts(project)
    _fetch_others(project, submission)
    dataset = find_dataset(submission.model.dataset)
    if dataset.downloads:
        fetch(dataset.name)
    try:
        load_split(dataset.name)
    except InputError as error:
        return str(error)
    return ""


def _fetch_others(project: Project, submission: Submission) -> None:
    """Fetch the weights of those that it is compared with."""
    for slug, other in read_catalogue(project).submissions.items():
        if other.model.dataset == submission.model.dataset and not other.at_hand:
            try:
                other.parts(project)
            except InputError as error:
                tell(f"{slug}: will not be compared with {submission.slug}: {error}")
