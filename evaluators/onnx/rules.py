"""Why a model's file is refused: the catalogue of rules, which every sentence names at its end."""

from enum import StrEnum

_LONGEST = 500
_MOST = 40


class ModelRule(StrEnum):
    """A rule that a model's file can break; `RULES` says what each asks."""

    FILE = "onnx-file"
    FIELDS = "onnx-fields"
    TEXT = "onnx-text"
    IR = "onnx-ir"
    OPSET = "onnx-opset"
    NODES = "onnx-nodes"
    FUNCTIONS = "onnx-functions"
    DOMAIN = "onnx-domain"
    SUBGRAPH = "onnx-subgraph"
    SPARSE = "onnx-sparse"
    QUANTIZATION = "onnx-quantization"
    EXTERNAL_DATA = "onnx-external-data"
    TYPES = "onnx-types"
    SHAPE = "onnx-shape"
    FINITE = "onnx-finite"
    NAMES = "onnx-names"
    ORDER = "onnx-order"
    INPUT = "onnx-input"
    OUTPUT = "onnx-output"
    TRAINING = "onnx-training"
    RANDOM = "onnx-random"
    OPERATOR = "onnx-operator"
    ATTRIBUTES = "onnx-attributes"
    USE = "onnx-use"
    SIZE = "onnx-size"
    RUNTIME = "onnx-runtime"


RULES = {
    ModelRule.FILE: "The file is a readable ONNX model and not too large.",
    ModelRule.FIELDS: "It has no more fields, packed numbers and nesting than a model needs.",
    ModelRule.TEXT: "Names are text and short; descriptions and metadata are of modest length.",
    ModelRule.IR: "The IR version is supported.",
    ModelRule.OPSET: "There is one version of ONNX's own operators, and it is supported.",
    ModelRule.NODES: "The graph has no more nodes than a classifier needs.",
    ModelRule.FUNCTIONS: "The model defines no functions of its own.",
    ModelRule.DOMAIN: "All operators are ONNX's own.",
    ModelRule.SUBGRAPH: "There is no control flow, and no graph within a graph.",
    ModelRule.SPARSE: "There are no sparse tensors.",
    ModelRule.QUANTIZATION: "There are no quantization annotations.",
    ModelRule.EXTERNAL_DATA: "All data lie in the file itself.",
    ModelRule.TYPES: "Tensors hold floating-point numbers, integers or booleans.",
    ModelRule.SHAPE: "Every tensor holds as many numbers as its shape says.",
    ModelRule.FINITE: "Weights, and what is computed from them alone, are finite and at most 2^40.",
    ModelRule.NAMES: "Every value has a name and is computed once.",
    ModelRule.ORDER: "A node reads only what comes before it, so that there is no cycle.",
    ModelRule.INPUT: "There is one float32 input: a batch dimension, then the dataset's shape.",
    ModelRule.OUTPUT: "There is one float32 output, a function of the input: a logit per class.",
    ModelRule.TRAINING: "Nothing is in training mode, and there is no training information.",
    ModelRule.RANDOM: "No operator draws random numbers.",
    ModelRule.OPERATOR: "Every operator is supported.",
    ModelRule.ATTRIBUTES: "Every input, output and attribute of a node is supported.",
    ModelRule.USE: "Operators are used in a way that the canonical graph covers.",
    ModelRule.SIZE: "No value, weight or computation is larger than a classifier needs.",
    ModelRule.RUNTIME: "onnxruntime runs the file and computes the same, finite logits.",
}
"""What each rule asks, in a sentence."""


def complaint(rule: ModelRule, sentence: str) -> str:
    """Write a sentence about a broken rule: printable, on one line, with the rule at its end."""
    shown = printable(sentence.removesuffix("."))
    return f"{shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + '…'} (rule {rule})."


def printable(text: str) -> str:
    """Escape every character of a text that is not seen, or that moves the cursor."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def quoted(name: object) -> str:
    """Quote a name out of a file in a message: short, in quotes, nothing invisible."""
    text = repr(name)
    return text if len(text) <= 60 else f"{text[:57]}…"


def first(problems: list[str]) -> list[str]:
    """Keep the first of very many problems, and say how many there are besides."""
    if len(problems) <= _MOST:
        return problems
    return [*problems[:_MOST], f"There are {len(problems) - _MOST:,} more problems of this file."]
