"""Functions that are zero up to a threshold and jump there: Shrink and ThresholdedRelu.

Beyond a threshold t, x - b is (x - t) + (t - b): a ReLU, and a step of height t - b. So nothing is
multiplied, and where a run decides otherwise at the threshold both values are bounded.
"""

import torch

from evaluators.network.elementwise import LeakyReLU
from evaluators.network.steps import Step
from evaluators.onnx.operators.builder import Builder, Operator
from evaluators.onnx.operators.declaration import NOT_NEGATIVE, NUMBER, Attribute, Declaration


def _beyond(
    builder: Builder, operator: Operator, threshold: float, bias: float, sign: float = 1.0
) -> list[int]:
    """Parts of sign·(y - bias) where y = sign·x is above the threshold, else of zero."""
    (source, shape), name = builder.source(operator), operator.name
    side, low = (torch.tensor(number, dtype=torch.float64) for number in (sign, -threshold))
    over = builder.diagonal(source, name, low, side)
    parts = [builder.diagonal(builder.add(LeakyReLU(), [over], shape, name), name, scale=side)]
    if jump := threshold - bias:
        step = builder.add(Step(), [over], shape, name)
        parts.append(builder.diagonal(step, name, scale=side * jump))
    return parts


def thresholded_relu(builder: Builder, operator: Operator) -> int:
    alpha = float(operator.attributes["alpha"])
    return builder.total(_beyond(builder, operator, alpha, 0.0), operator.name)


def shrink(builder: Builder, operator: Operator) -> int:
    numbers = float(operator.attributes["lambd"]), float(operator.attributes["bias"])
    sides = [part for sign in (1.0, -1.0) for part in _beyond(builder, operator, *numbers, sign)]
    return builder.total(sides, operator.name)


OPERATORS: dict[str, Declaration] = {
    "Shrink": Declaration(
        versions=(9,),
        attributes={
            "bias": Attribute(NUMBER, default=0.0),
            "lambd": Attribute(NOT_NEGATIVE, default=0.5),
        },
        translate=shrink,
        bare=True,
    ),
    "ThresholdedRelu": Declaration(
        versions=(10, 22),
        attributes={"alpha": Attribute(NUMBER, default=1.0)},
        translate=thresholded_relu,
        bare=True,
    ),
}
