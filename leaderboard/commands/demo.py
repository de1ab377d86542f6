"""`certboard demo`: the embedded submissions, evaluated again."""

import time

from leaderboard.common.memory import uncollected
from leaderboard.common.progress import tell
from leaderboard.common.project import find_project


def command() -> None:
    """Re-evaluate the bundled submissions on bundled data and build the website.

    The rows go to build/demo/, beside copies of the stored ones; the stored ones do not change,
    and every verdict is compared with them.

    \b
    Example:
      certboard demo
    """
    with uncollected():
        from leaderboard.evaluation.demo import re_evaluate
        from leaderboard.website.build import build

    started = time.perf_counter()
    made = re_evaluate(find_project())
    report = build(made.project)
    for warning in report.warnings:
        tell(f"warning: {warning}")
    print(f"{made.verdicts:,} verdicts of {made.evaluations} evaluations in {made.project.results}")
    print(made.comparison)
    print(f"{report.pages} pages: open {report.public}/index.html, or: certboard serve")
    print(f"done in {time.perf_counter() - started:.0f} s")
