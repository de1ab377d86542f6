"""What can go wrong inside the evaluators.

EvaluatorError
├── UnsupportedModelError   the model is outside what the canonical graph can express
├── CatalogueError          a file in an evaluator folder is broken or named twice
└── ContradictionError      two verdicts cannot both be true: a bug, nothing may be stored
"""


class EvaluatorError(Exception):
    """Base of all errors raised on purpose by this package."""


class UnsupportedModelError(EvaluatorError):
    """The model cannot be read; `problems` lists every reason, one sentence each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class CatalogueError(EvaluatorError):
    """An evaluator's file does not define exactly one evaluator, or a name is taken."""


class ContradictionError(EvaluatorError):
    """A witness refutes a certificate: one of two methods is unsound."""
