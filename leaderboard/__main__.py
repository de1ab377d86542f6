"""The command line: `certboard`, also `python -m leaderboard`.

Exit codes: 0 done; 1 the input has a problem; 2 wrong usage; 3 a contradiction between evaluators
or a bug in certboard, nothing written; 130 interrupted, what was finished is kept.
"""

import importlib
import os
import sys
from collections.abc import Sequence

from leaderboard.errors import InputError

INPUT_PROBLEM, WRONG_USAGE, BUG, INTERRUPTED = 1, 2, 3, 130

COMMANDS = ("evaluating", "building", "looking")
"""The modules of `leaderboard.commands`, each adding commands to the application."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code."""
    from typer.exceptions import Abort, Exit, TyperException

    from leaderboard.commands import app
    from leaderboard.memory import keep_freed_memory

    keep_freed_memory()
    for name in COMMANDS:
        importlib.import_module(f"leaderboard.commands.{name}")
    try:
        code = app(args=list(arguments), prog_name="certboard", standalone_mode=False)
    except Exit as error:
        return error.exit_code
    except TyperException as error:
        message = error.format_message()
        help_was_asked = message.startswith("Usage:")
        print(message if help_was_asked else f"certboard: {message}", file=sys.stderr)
        return WRONG_USAGE
    except InputError as error:
        for problem in error.problems:
            print(f"certboard: {problem}", file=sys.stderr)
        return INPUT_PROBLEM
    except (KeyboardInterrupt, Abort):
        print(
            "\ncertboard: stopped; what was finished is kept, run again to go on.", file=sys.stderr
        )
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone; Python must not complain about it while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _bug(error)
    return code if isinstance(code, int) else 0


def _bug(error: Exception) -> int:
    """Report what must not happen: a contradiction, or an exception nobody foresaw."""
    if os.environ.get("CERTBOARD_DEBUG"):
        raise error
    message = " ".join(str(error).split())[:300]
    print(
        f"certboard: internal error, nothing was written ({type(error).__name__}: {message})."
        " Set CERTBOARD_DEBUG=1 to see where, and please report it.",
        file=sys.stderr,
    )
    return BUG


if __name__ == "__main__":
    main()
