"""What can go wrong inside the evaluators.

EvaluatorError
├── UnsupportedModelError   the model is outside what the canonical graph can express
├── UnsupportedSpecificationError  the conditions on outputs are outside what float64 can express
├── CatalogueError          a file in an evaluator folder is broken or named twice
├── CertificateError        a certificate's file is not one, or what it claims was not proved
└── ContradictionError      two verdicts cannot both be true: a bug, nothing may be stored
"""


class EvaluatorError(Exception):
    """Base of all errors raised on purpose by this package."""


class UnsupportedModelError(EvaluatorError):
    """The model cannot be read; `problems` lists every reason, one sentence each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class UnsupportedSpecificationError(EvaluatorError):
    """Conditions on outputs cannot be turned into a classifier; the message says why."""


class CatalogueError(EvaluatorError):
    """An evaluator's file does not define exactly one evaluator, or a name is taken."""


class CertificateError(EvaluatorError):
    """A certificate is refused; the message is the first thing that is wrong with it."""


class ContradictionError(EvaluatorError):
    """A witness refutes a certificate: one of two methods is unsound."""
