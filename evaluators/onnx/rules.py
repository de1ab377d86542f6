"""Why a model's file is refused: the catalogue of rules, which every sentence names at its end."""

from enum import StrEnum

_LONGEST = 500
_MOST = 40


class Rule(StrEnum):
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
    Rule.FILE: "The file is an ONNX model that can be read, and not too large.",
    Rule.FIELDS: "It has no more fields, packed numbers and nesting than a model needs.",
    Rule.TEXT: "Names are text and short; descriptions and metadata are of modest length.",
    Rule.IR: "The IR version is one of those supported.",
    Rule.OPSET: "There is one version of ONNX's own operators, one of those supported.",
    Rule.NODES: "The graph has no more nodes than a classifier needs.",
    Rule.FUNCTIONS: "There are no functions of the model's own.",
    Rule.DOMAIN: "Operators are ONNX's own.",
    Rule.SUBGRAPH: "There is no control flow, and no graph within a graph.",
    Rule.SPARSE: "There are no sparse tensors.",
    Rule.QUANTIZATION: "There are no annotations of quantization.",
    Rule.EXTERNAL_DATA: "All data are in the file itself.",
    Rule.TYPES: "Tensors hold floating-point numbers, integers or truth values.",
    Rule.SHAPE: "A tensor holds as many numbers as its shape says.",
    Rule.FINITE: "Weights, and what is computed from them alone, are finite and at most 2^40.",
    Rule.NAMES: "Every value is named and made once.",
    Rule.ORDER: "A node reads only what comes before it; so there is no cycle.",
    Rule.INPUT: "There is one input: float32, a batch dimension, then the dataset's fixed sizes.",
    Rule.OUTPUT: "There is one output that depends on the input: float32, one logit per class.",
    Rule.TRAINING: "Nothing is in training mode, and there is no training information.",
    Rule.RANDOM: "No operator draws random numbers.",
    Rule.OPERATOR: "Operators are on the list of those that are read.",
    Rule.ATTRIBUTES: "Inputs, outputs and attributes of a node exist in ONNX and are read.",
    Rule.USE: "Operators are used in a way that the canonical graph covers.",
    Rule.SIZE: "No value, weight or computation is larger than a classifier needs.",
    Rule.RUNTIME: "onnxruntime runs the file, and its logits are finite and the same.",
}
"""What each rule asks, in a sentence."""


def told(rule: Rule, sentence: str) -> str:
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
