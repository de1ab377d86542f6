"""What an evaluation without a network needs, fetched while there is one."""

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import fetch, find_dataset, load_split
from leaderboard.submissions.manifest import load_submission


def fetch_all(project: Project, slug: str) -> str:
    """Fetch a submission's weights and data; why there are no data here, empty if there are.

    Raises:
        InputError: the submission cannot be read, or what has an address cannot be fetched.
    """
    submission = load_submission(project, slug)
    submission.parts(project)
    dataset = find_dataset(submission.model.dataset)
    if dataset.downloads:
        fetch(dataset.name)
    try:
        load_split(dataset.name)
    except InputError as error:
        return str(error)
    return ""
