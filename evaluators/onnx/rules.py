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
    ModelRule.FILE: "The file is an ONNX model that can be read, and not too large.",
    ModelRule.FIELDS: "It has no more fields, packed numbers and nesting than a model needs.",
    ModelRule.TEXT: "Names are text and short; descriptions and metadata are of modest length.",
    ModelRule.IR: "The IR version is one of those supported.",
    ModelRule.OPSET: "There is one version of ONNX's own operators, one of those supported.",
    ModelRule.NODES: "The graph has no more nodes than a classifier needs.",
    ModelRule.FUNCTIONS: "There are no functions of the model's own.",
    ModelRule.DOMAIN: "Operators are ONNX's own.",
    ModelRule.SUBGRAPH: "There is no control flow, and no graph within a graph.",
    ModelRule.SPARSE: "There are no sparse tensors.",
    ModelRule.QUANTIZATION: "There are no annotations of quantization.",
    ModelRule.EXTERNAL_DATA: "All data are in the file itself.",
    ModelRule.TYPES: "Tensors hold floating-point numbers, integers or truth values.",
    ModelRule.SHAPE: "A tensor holds as many numbers as its shape says.",
    ModelRule.FINITE: "Weights, and what is computed from them alone, are finite and at most 2^40.",
    ModelRule.NAMES: "Every value is named and made once.",
    ModelRule.ORDER: "A node reads only what comes before it; so there is no cycle.",
    ModelRule.INPUT: "There is one input: float32, a batch dimension, then the dataset's sizes.",
    ModelRule.OUTPUT: "There is one output, a function of the input: float32, a logit per class.",
    ModelRule.TRAINING: "Nothing is in training mode, and there is no training information.",
    ModelRule.RANDOM: "No operator draws random numbers.",
    ModelRule.OPERATOR: "Operators are on the list of those that are read.",
    ModelRule.ATTRIBUTES: "Inputs, outputs and attributes of a node exist in ONNX and are read.",
    ModelRule.USE: "Operators are used in a way that the canonical graph covers.",
    ModelRule.SIZE: "No value, weight or computation is larger than a classifier needs.",
    ModelRule.RUNTIME: "onnxruntime runs the file, and its logits are finite and the same.",
}
"""What each rule asks, in a sentence."""


def told(rule: ModelRule, sentence: str) -> str:
    """A sentence about a broken rule: printable, of one line, its end names the rule."""
    shown = printable(sentence.removesuffix("."))
    return f"{shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + '…'} (rule {rule})."


def printable(text: str) -> str:
    """Text with every character that is not seen, or that moves the cursor, escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def quoted(name: object) -> str:
    """A name out of the file, as a message quotes it: short, in quotes, nothing invisible."""
    text = repr(name)
    return text if len(text) <= 60 else f"{text[:57]}…"


def first(problems: list[str]) -> list[str]:
    """The first of very many problems, and how many there are besides."""
    if len(problems) <= _MOST:
        return problems
    return [*problems[:_MOST], f"There are {len(problems) - _MOST:,} more problems of this file."]
