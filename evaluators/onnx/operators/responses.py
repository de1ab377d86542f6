"""LRN: entries over a power of the sum of squares of the channels around them.

Krizhevsky et al. 2012 (AlexNet), section 3.3.
"""

import numpy as np

from evaluators.network.deployment import gamma32
from evaluators.network.guards import Unsure
from evaluators.network.network import Product
from evaluators.network.smooth import Smooth
from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    flat_positions,
    pad_positions,
    require_size,
    tensor,
)
from evaluators.onnx.operators.contractions import picked, sum_of_last
from evaluators.onnx.operators.declaration import Allowed, Attribute, Declaration, whole


def local_response(builder: Builder, operator: Operator) -> int:
    """x / (bias + alpha / size · Σ x²)^beta, of as many channels as the size says."""
    source, shape = builder.source(operator)
    given, name, size = operator.attributes, operator.name, int(operator.attributes["size"])
    if len(shape) < 2 or size % 2 == 0:
        raise OperatorError(f"it sums {size} channels of a value of shape {shape}")
    squares = builder.add(Smooth("Pow", (2.0,)), [source], shape, name)
    sides = [(size // 2, size // 2), *[(0, 0)] * (len(shape) - 1)]
    windows = pad_positions(flat_positions(shape), sides).unfold(0, size, 1)
    near = sum_of_last(builder, picked(builder, squares, windows, name), name)
    # A run begins with the bias, goes from channel to channel, adds the next square and takes the
    # last one off again: what is lost is a share of the bias and of all squares that it met.
    steps = 4 * shape[0] + 16
    noise = builder.add(Unsure(gamma32(steps)), [squares], shape, name)
    moved = flat_positions(shape).movedim(0, -1)
    lost = sum_of_last(builder, picked(builder, noise, moved, name), name)
    require_size(moved.numel())
    lost = picked(builder, lost, flat_positions(shape[1:]).expand(shape), name)
    alpha, bias = (tensor(np.asarray(given[key])) for key in ("alpha", "bias"))
    around = builder.total([near, lost], name)
    around = builder.diagonal(around, name, bias.expand(shape), alpha / size, steps)
    factor = builder.add(Smooth("Pow", (-float(given["beta"]),)), [around], shape, name)
    return builder.add(Product(), [source, factor], shape, name)


_FACTOR = Allowed("a number from 2^-20 to 2^20", lambda value: 2**-20 <= value <= 2**20)
_POWER = Allowed("a number from 2^-10 to 16", lambda value: 2**-10 <= value <= 16)

OPERATORS: dict[str, Declaration] = {
    "LRN": Declaration(
        versions=(1, 13),
        attributes={
            "alpha": Attribute(_FACTOR, default=float(np.float32(1e-4))),
            "beta": Attribute(_POWER, default=0.75),
            "bias": Attribute(_FACTOR, default=1.0),
            "size": Attribute(whole(1)),
        },
        translate=local_response,
    ),
}
