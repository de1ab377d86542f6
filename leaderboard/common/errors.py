"""What goes wrong on the user's side, told in sentences."""

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class InputError(Exception):
    """The input has a problem; the command line prints it without a traceback and exits with 1.

    One problem is one sentence that says what is wrong, where, and what is allowed.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class Problems(list[str]):
    """Sentences about what is wrong, gathered so that all of them are told at once."""

    @contextmanager
    def gathered(self, about: str = "") -> Iterator[None]:
        """Gather the problems of an `InputError` in this context, each beginning with `about`."""
        try:
            yield
        except InputError as error:
            self += [f"{about}{problem}" for problem in error.problems]

    def refuse(self) -> None:
        """Raise an `InputError` with all of them, if there are any."""
        if self:
            raise InputError(*self)


def problems_of(check: Callable[[T], object], subject: T) -> Problems:
    """What a check finds wrong with its subject; nothing where it raises no `InputError`."""
    problems = Problems()
    with problems.gathered():
        check(subject)
    return problems


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


_LETTERS = str.maketrans({"α": "alpha", "β": "beta", "γ": "gamma", "∞": "inf"})
_MEANT = {"inf": "linf", "infinity": "linf", "linfinity": "linf", "1": "l1", "2": "l2"}
"""What is said for a norm where a norm is meant."""


def _plain(word: str) -> str:
    """A word's letters and digits, small: in what spellings of one name do not differ.

    Numbers stay apart: 2/255 is written 2_255, but is not 22/55.
    """
    folded = unicodedata.normalize("NFKC", word).casefold().translate(_LETTERS)
    apart = re.sub(r"(?<=[0-9])[\W_]+(?=[0-9])", ".", folded)
    return "".join(sign for sign in apart if sign.isalnum() or sign == ".")


def spelled(word: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that `word` is, or is another spelling of; None if there is not just one.

    Spellings differ in capitals, dashes, spaces and letters of mathematics: `CIFAR-10`, `ℓ∞`,
    `α-CROWN`; a norm may do without its ℓ.
    """
    names = list(allowed)
    if word in names:
        return word
    plain = _plain(word)
    same = [name for name in names if _plain(name) in (plain, _MEANT.get(plain))]
    return same[0] if plain and len(same) == 1 else None


def nearest(word: str, allowed: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the allowed word closest to `word`, or nothing."""
    names = list(allowed)
    same = spelled(word, names)
    close = [same] if same else difflib.get_close_matches(word, names, n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


_LISTED = 60
"""Names of a catalogue in one sentence; a board of thousands would fill the screen."""


def unknown_name(kind: str, word: str, allowed: Iterable[str]) -> InputError:
    """The error for a name that is not in a catalogue."""
    names = sorted(allowed)
    listed = ", ".join(names[:_LISTED]) if names else "none exist yet"
    if len(names) > _LISTED:
        listed += f" and {len(names) - _LISTED:,} more"
    return InputError(f"There is no {kind} '{word}'.{nearest(word, names)} Known: {listed}.")
