"""`certboard build`: the website."""

from leaderboard.common.memory import uncollected
from leaderboard.common.progress import tell
from leaderboard.common.project import find_project


def command() -> None:
    """Generate the pages and build the website into public/.

    \b
    Example:
      certboard build
    """
    with uncollected():
        from leaderboard.website.build import build

    report = build(find_project())
    for warning in report.warnings:
        tell(f"warning: {warning}")
    print(f"{report.pages} pages in {report.seconds:.1f} s: {report.public}/index.html")
