"""Why a model's file is refused: the catalogue of rules, which every sentence names at its end."""

from collections.abc import Sequence
from enum import StrEnum

_LONGEST = 500
_MOST = 40


class ModelRule(StrEnum):
    """A rule that a model's file can break, by its name in messages; `asks` says what it asks."""

    asks: str

    def __new__(cls, name: str, asks: str) -> "ModelRule":
        """Make a rule of its name, with its sentence beside it."""
        rule = str.__new__(cls, name)
        rule._value_, rule.asks = name, asks
        return rule

    FILE = "onnx-file", "The file is a readable ONNX model and not too large."
    FIELDS = "onnx-fields", "It has no more fields, packed numbers and nesting than a model needs."
    TEXT = "onnx-text", "Names are text and short; descriptions and metadata are of modest length."
    IR = "onnx-ir", "The IR version is supported."
    OPSET = "onnx-opset", "There is one version of ONNX's own operators, and it is supported."
    NODES = "onnx-nodes", "The graph has no more nodes than a classifier needs."
    FUNCTIONS = "onnx-functions", "The model defines no functions of its own."
    DOMAIN = "onnx-domain", "All operators are ONNX's own."
    SUBGRAPH = "onnx-subgraph", "There is no control flow, and no graph within a graph."
    SPARSE = "onnx-sparse", "There are no sparse tensors."
    QUANTIZATION = "onnx-quantization", "There are no quantization annotations."
    EXTERNAL_DATA = "onnx-external-data", "All data lie in the file itself."
    TYPES = "onnx-types", "Tensors hold floating-point numbers, integers or booleans."
    SHAPE = "onnx-shape", "Every tensor holds as many numbers as its shape says."
    FINITE = "onnx-finite", "Weights, and what is computed from them, are finite and at most 2^40."
    NAMES = "onnx-names", "Every value has a name and is computed once."
    ORDER = "onnx-order", "A node reads only what comes before it, so that there is no cycle."
    INPUT = "onnx-input", "There is one float32 input: a batch dimension, then the dataset's shape."
    OUTPUT = "onnx-output", "The one float32 output is a function of the input: a logit per class."
    TRAINING = "onnx-training", "Nothing is in training mode, and there is no training information."
    RANDOM = "onnx-random", "No operator draws random numbers."
    OPERATOR = "onnx-operator", "Every operator is supported."
    ATTRIBUTES = "onnx-attributes", "Every input, output and attribute of a node is supported."
    USE = "onnx-use", "Operators are used in a way that the canonical graph covers."
    SIZE = "onnx-size", "No value, weight or computation is larger than a classifier needs."
    RUNTIME = "onnx-runtime", "onnxruntime runs the file and computes the same, finite logits."


Broken = tuple[ModelRule, str]
"""A rule, and a sentence about what breaks it."""


def complaint(rule: ModelRule, sentence: str) -> str:
    """Write a sentence about a broken rule: printable, on one line, with the rule at its end."""
    shown = printable(sentence.removesuffix("."))
    return f"{shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + '…'} (rule {rule})."


def printable(text: str) -> str:
    """Escape every character of a text that is not seen, or that moves the cursor."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def row_text(shape: Sequence[int]) -> str:
    """Write a value's shape in a message."""
    return "[" + ", ".join(["batch", *map(str, shape)]) + "]"


def quoted(name: object) -> str:
    """Quote a name out of a file in a message: short, in quotes, nothing invisible."""
    text = repr(name)
    return text if len(text) <= 60 else f"{text[:57]}…"


def first(problems: list[str]) -> list[str]:
    """Keep the first of very many problems, and say how many there are besides."""
    if len(problems) <= _MOST:
        return problems
    return [*problems[:_MOST], f"There are {len(problems) - _MOST:,} more problems of this file."]
