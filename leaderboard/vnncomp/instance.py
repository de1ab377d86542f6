"""What is asked about a network and a property, and what is answered, in VNN-COMP's words."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Word(StrEnum):
    """VNN-COMP's answers."""

    UNSAT = "unsat"
    """Proved: no input of the boxes is a counterexample."""
    SAT = "sat"
    """There is a counterexample, and it comes along."""
    UNKNOWN = "unknown"
    TIMEOUT = "timeout"
    ERROR = "error"


@dataclass(frozen=True)
class Answer:
    """The answer to one instance.

    Attributes:
        counterexample: if there is one, in VNN-COMP's format.
        note: why it is unknown, or an error.
    """

    word: Word
    counterexample: str = ""
    note: str = ""


@dataclass(frozen=True)
class Instance:
    """A network and a property, and how to decide about them.

    Attributes:
        evaluator: a name of the catalogue; None for the cascade.
    """

    model: Path
    specification: Path
    evaluator: str | None = None
