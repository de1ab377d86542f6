"""Attention as one operator: scores of queries and keys, a softmax, and a mean of values.

What a constant mask or the order of tokens hides is left out of the softmax's sums.
"""

import math

import numpy as np
import torch
from torch import Tensor

from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    flat_positions,
    tensor,
)
from evaluators.onnx.operators.contractions import Factor, contracted, picked
from evaluators.onnx.operators.declaration import (
    NUMBER,
    VALUE,
    Attribute,
    Declaration,
    Parameter,
    exactly,
    whole,
)
from evaluators.onnx.operators.masks import parted
from evaluators.onnx.operators.softmax import softmax_of_last
from evaluators.onnx.operators.unbatched import settle


def _heads(builder: Builder, operator: Operator, place: int) -> Tensor:
    """Flat positions `[batch, heads, tokens, width]` of queries, keys or values."""
    name, count = operator.inputs[place], "kv_num_heads" if place else "q_num_heads"
    if name not in builder.values:
        raise OperatorError(f"its input {place} is a constant")
    shape, heads = builder.whole_shape(name), operator.attributes[count]
    places = flat_positions(shape)
    if len(shape) == 3 and heads and shape[2] % heads == 0:
        return places.reshape(*shape[:2], heads, -1).transpose(1, 2)
    if len(shape) != 4 or heads not in (None, shape[1]):
        raise OperatorError(f"its input {place} has shape {shape}, for {heads} heads")
    return places


def attention(builder: Builder, operator: Operator) -> int:
    name, given = operator.name, operator.inputs
    if any(given[4:]):
        raise OperatorError("it goes on from earlier keys and values")
    queries, keys, values = (_heads(builder, operator, place) for place in range(3))
    batch, heads, tokens, width = queries.shape
    groups = keys.shape[1]
    if heads % groups or keys.shape[:3] != values.shape[:3] or keys.shape[3] != width:
        shapes = [tuple(part.shape) for part in (queries, keys, values)]
        raise OperatorError(f"its inputs of shapes {shapes} do not fit together")
    keys, values = (part.repeat_interleave(heads // groups, 1) for part in (keys, values))
    scores = contracted(
        builder,
        [
            Factor(queries, "bhie", builder.values[given[0]]),
            Factor(keys, "bhje", builder.values[given[1]]),
        ],
        "bhij",
        name,
    )
    scale = operator.attributes["scale"]
    scale = 1 / math.sqrt(width) if scale is None else float(scale)
    # A runtime takes the root of it for both factors.
    factor = torch.tensor(scale, dtype=torch.float64)
    shape = (batch, heads, tokens, keys.shape[2])
    kept, shift = _mask(builder, operator, shape)
    scores = builder.diagonal(scores, name, shift, factor, roundings=8)
    weights = softmax_of_last(builder, scores, flat_positions(shape), name, kept=kept)
    mixed = [
        Factor(flat_positions(shape), "bhij", weights),
        Factor(values, "bhje", builder.values[given[2]]),
    ]
    flat = builder.whole_shape(given[0])
    result = contracted(builder, mixed, "bhie" if len(flat) == 4 else "bihe", name)
    if len(flat) == 4:
        return settle(builder, operator, result, (batch, heads, tokens, values.shape[3]))
    whole_result = (batch, tokens, heads * values.shape[3])
    result = picked(builder, result, flat_positions(whole_result), name)
    return settle(builder, operator, result, whole_result)


def _mask(
    builder: Builder, operator: Operator, shape: tuple[int, ...]
) -> tuple[Tensor | None, Tensor | None]:
    """What takes part, as `[batch, heads, queries, keys]`, and what is added to the scores."""
    mask, kept, shift = builder.optional(operator, 3), None, None
    if mask is not None:
        try:
            whole_mask = np.broadcast_to(mask, shape).copy()
        except ValueError as error:
            raise OperatorError(f"its mask has shape {mask.shape}, not {shape}") from error
        if mask.dtype == np.bool_:
            kept = torch.from_numpy(whole_mask)
        else:
            shift, levels = parted(tensor(whole_mask))
            kept = None if levels is None else levels == 0
    if operator.attributes["is_causal"]:
        if shape[2] != shape[3]:
            raise OperatorError(f"it is causal, of {shape[2]} queries and {shape[3]} keys")
        past = torch.ones(shape, dtype=torch.bool).tril()
        kept = past if kept is None else kept & past
    return kept, shift


OPERATORS: dict[str, Declaration] = {
    "Attention": Declaration(
        versions=(23, 24, 25),
        inputs=(
            *(VALUE, VALUE, VALUE),
            Parameter("mask", ("bool", "float32")),
            *(Parameter(name) for name in ("past key", "past value")),
            Parameter("length", since=24),
        ),
        attributes={
            "is_causal": Attribute(exactly(0, 1), default=0),
            "q_num_heads": Attribute(whole(1)),
            "kv_num_heads": Attribute(whole(1)),
            "scale": Attribute(NUMBER),
            "softcap": Attribute(exactly(0.0), default=0.0),
            "qk_matmul_output_mode": Attribute(exactly(0), default=0),
            "softmax_precision": Attribute(exactly(1)),
            **{
                f"{side}_window_size": Attribute(exactly(-1), default=-1, since=25)
                for side in ("left", "right")
            },
        },
        translate=attention,
        bare=True,
        idle=3,
    ),
}
