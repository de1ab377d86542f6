"""The command line: `certboard`, also `python -m leaderboard`.

Exit codes: 0 done; 1 the input has a problem; 2 wrong usage; 3 a contradiction between evaluators
or a bug in certboard, nothing written; 4 the time given (--hours) is over, what was finished is
kept; 130 interrupted, what was finished is kept.
"""

import errno
import gc
import os
import sys
from collections.abc import Sequence

from leaderboard.common.errors import BugError, InputError, TimeUpError
from leaderboard.common.interrupts import wait_for_imports
from leaderboard.common.streams import prepare_streams, say, silence

INPUT_PROBLEM, WRONG_USAGE, BUG, TIME_UP, INTERRUPTED = 1, 2, 3, 4, 130


# Read when PyTorch is imported. Threads that spin while they wait for each other make small
# networks ten times slower as soon as anything else runs on the machine.
_PATIENCE = ("OMP_WAIT_POLICY", "PASSIVE")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    wait_for_imports()
    # Imports make a million objects that stay: to look for garbage among them after every 700 is a
    # tenth of what a start takes.
    gc.set_threshold(5_000)
    os.environ.setdefault(*_PATIENCE)
    try:
        prepare_streams()
        code = run(sys.argv[1:] if arguments is None else arguments)
    except InputError as error:
        for problem in error.problems:
            _complain(problem)
        code = INPUT_PROBLEM
    # The end of a process need not look for garbage among all that was imported.
    gc.freeze()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code."""
    try:
        return _run(arguments)
    except InputError as error:
        for problem in error.problems:
            _complain(problem)
        return INPUT_PROBLEM
    except TimeUpError as error:
        _complain(f"time is up: {error}; what was finished is kept, run again to go on.")
        return TIME_UP
    except KeyboardInterrupt:
        say("")
        resumes = "run" in arguments[:1] or "--instances" in arguments
        goes_on = "; what was finished is kept, run again to go on" if resumes else ""
        _complain(f"stopped{goes_on}.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone; Python must not complain about it while it exits.
        silence(sys.stdout)
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _complain("the disk is full; what was finished is kept.")
            return INPUT_PROBLEM
        if _needs_memory(error):
            _complain("there is not enough memory for this; what was finished is kept.")
            return INPUT_PROBLEM
        return _bug(error)


def _needs_memory(error: Exception) -> bool:
    """Whether memory ran out; PyTorch is asked only if it is there already."""
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from evaluators.evaluator import is_out_of_memory

    return is_out_of_memory(error)


def _run(arguments: Sequence[str]) -> int:
    from typer.exceptions import Abort, TyperException

    from leaderboard.commands import application
    from leaderboard.common.memory import keep_freed_memory

    keep_freed_memory()
    try:
        code = application(arguments)(
            args=list(arguments), prog_name="certboard", standalone_mode=False
        )
        sys.stdout.flush()
    except Abort:
        raise KeyboardInterrupt from None
    except SystemExit as error:
        # Typer's answer to a broken pipe.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
    except TyperException as error:
        message = error.format_message()
        if message.startswith("Usage:"):
            print(message, file=sys.stderr)
        else:
            command = getattr(getattr(error, "ctx", None), "command_path", "certboard")
            for said, meant in _PLAIN.items():
                message = message.replace(said, meant)
            sentence = " ".join(message.split())
            end = "" if sentence.endswith(("?", ".")) else "."
            _complain(f"{sentence}{end} Help: {command} --help")
        return WRONG_USAGE
    # A command returns nothing; a number is Typer's answer to Ctrl-C or to a question for help.
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


_PLAIN = {
    "Value error, ": "",
    "Input should be a valid integer, unable to parse string as an integer": "not a whole number",
    "Input should be a valid number, unable to parse string as a number": "not a number",
}
"""What Typer says in its library's words, and the same in plain ones."""


def _complain(problem: str) -> None:
    say(f"certboard: {problem}")


def _bug(error: Exception) -> int:
    """Report what must not happen: a contradiction, or an exception nobody foresaw."""
    if os.environ.get("CERTBOARD_DEBUG"):
        raise error
    message = " ".join(str(error).split())[:300]
    kind = "contradiction" if isinstance(error, BugError) else f"bug ({type(error).__name__})"
    _complain(
        f"{kind}: {message}. No result was written."
        " Set CERTBOARD_DEBUG=1 to see where it is, and please report it."
    )
    return BUG


if __name__ == "__main__":
    main()
