"""Whether a file computes the inputs of one batch apart: all that is proved is of one at a time.

Some files say how large a batch may be and mean one input: they reshape to one row, flatten the
batch as well, multiply by its size, or take a softmax over it. Where dimensions move that is known
(`Builder.moved`); of all else a batch of two is run, as whoever deploys the file would.
"""

import numpy as np
from numpy.typing import NDArray

from evaluators.onnx.operators.builder import Builder
from evaluators.onnx.runtime import Runtime

MOVED = (
    "What is said is said of one input at a time: those of one batch could meet, as its batch"
    " dimension does not stay the first."
)
TOGETHER = (
    "What is said is said of one input at a time: onnxruntime gives others for two in one batch,"
    " or none."
)
SAME = 1e-4
"""How far logits may differ, as a share of their spread over inputs and classes."""


def note_of(builder: Builder, runtime: Runtime, inputs: NDArray[np.float32]) -> str | None:
    """Say that inputs of one batch may meet; None where two of them, `[2, *shape]`, do not.

    Nothing is said of a file that onnxruntime does not run on one of them either.
    """
    if _moves_batch(builder):
        return MOVED
    try:
        alone = np.concatenate([runtime(x).reshape(1, -1) for x in inputs]).astype(np.float64)
    except Exception:  # whatever onnxruntime says of it
        return None
    try:
        both = runtime.batch(inputs).reshape(alone.shape)
    except Exception:  # whatever onnxruntime says of it
        return TOGETHER
    return TOGETHER if not np.abs(both - alone).max() <= SAME * np.ptp(alone) else None


def _moves_batch(builder: Builder) -> bool:
    """Whether a value that is computed has its batch dimension elsewhere, or has none."""
    # A row without dimensions is the batch alone, and stays so unless dimensions are named.
    bare = {position for position in builder.bare if builder.nodes[position].shape != (1,)}
    elsewhere = builder.moved | bare | builder.scalars
    return bool(elsewhere) and not elsewhere.isdisjoint(builder.dependent())
