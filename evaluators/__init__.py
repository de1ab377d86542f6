"""Evaluators: what proves, measures or refutes the robustness of a network.

This is the public face; all else may change from one version to the next. Each name is imported
when it is first used, so that who needs the checker alone does not wait for PyTorch. A method of
one's own is written with `evaluators.extend`.
"""

from importlib import import_module as _load
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evaluators.ask import bound as bound
    from evaluators.ask import certify as certify
    from evaluators.cascade import Cascade as Cascade
    from evaluators.listing import catalogue as catalogue
    from evaluators.network.ensemble import SmoothedNetwork as SmoothedNetwork
    from evaluators.network.network import Network as Network
    from evaluators.onnx.module import import_module as import_module
    from evaluators.onnx.reader import import_onnx as import_onnx
    from evaluators.question.norm import Norm as Norm
    from evaluators.question.problem import Problem as Problem
    from evaluators.question.region import Ball as Ball
    from evaluators.question.region import Box as Box
    from evaluators.question.verdict import Status as Status
    from evaluators.question.verdict import Verdict as Verdict
    from evaluators.recheck.certificates import recheck_certificate as recheck_certificate

HOMES = {
    "Ball": "question.region",
    "Box": "question.region",
    "Cascade": "cascade",
    "Network": "network.network",
    "Norm": "question.norm",
    "Problem": "question.problem",
    "SmoothedNetwork": "network.ensemble",
    "Status": "question.verdict",
    "Verdict": "question.verdict",
    "bound": "ask",
    "catalogue": "listing",
    "certify": "ask",
    "import_module": "onnx.module",
    "import_onnx": "onnx.reader",
    "recheck_certificate": "recheck.certificates",
}
"""The module below this package that defines each name."""

__all__ = list(HOMES)


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value: object = getattr(_load(f"{__name__}.{HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
