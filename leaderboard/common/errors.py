"""What goes wrong on the user's side, told in sentences."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """The input has a problem; the command line prints it without a traceback and exits with 1.

    One problem is one sentence that says what is wrong, where, and what is allowed.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class WithdrawnError(InputError):
    """An evaluation is withdrawn: the deployed model is not what was proved something about.

    What was computed beside it cannot be trusted and is not kept; the exit code is 1.
    """


class TimeUpError(Exception):
    """The time that was given is over; what was finished is kept, and the exit code is 4."""


class BugError(Exception):
    """What must not happen, such as two evaluators that contradict each other.

    What was computed beside it cannot be trusted and is not kept; the exit code is 3.
    """


def nearest(word: str, allowed: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the allowed word closest to `word`, or nothing."""
    close = difflib.get_close_matches(word, list(allowed), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def unknown_name(kind: str, word: str, allowed: Iterable[str]) -> InputError:
    """The error for a name that is not in a catalogue."""
    names = sorted(allowed)
    listed = ", ".join(names) if names else "none exist yet"
    return InputError(f"There is no {kind} '{word}'.{nearest(word, names)} Known: {listed}.")
