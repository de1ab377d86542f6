"""`certboard check`: submissions and the board's own files, validated."""

from leaderboard.commands import _options
from leaderboard.common.memory import uncollected
from leaderboard.common.project import find_project


def command(slugs: _options.Slugs = None, sandbox: _options.Sandbox = "off") -> None:
    """Validate submissions without evaluating them, and report all problems at once.

    Without a slug, the board's own settings, taxonomy and published results as well.

    \b
    Examples:
      certboard check
      certboard check my-net
    """
    with uncollected():
        from leaderboard.intake.check import check

    checked = check(find_project(), slugs or (), sandbox)
    for flag in checked.flags:
        print(flag)
    print(f"{', '.join(checked.counts)} checked, no problem found")
