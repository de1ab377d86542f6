"""A confined process: `python -m leaderboard.confined`, with its limits before the command.

The sandbox starts it behind its walls; nobody types it.
"""

import sys
from collections.abc import Sequence

from leaderboard.__main__ import run
from leaderboard.intake.sandbox import Limits, confine


def main(arguments: Sequence[str]) -> None:
    """A confined process: the limits, then the command line."""
    megabytes, seconds, file_megabytes, processes, *rest = arguments
    confine(Limits(int(megabytes), float(seconds), int(file_megabytes), int(processes)))
    sys.exit(run(rest))


if __name__ == "__main__":
    main(sys.argv[1:])
