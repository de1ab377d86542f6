"""Numbers in float32 for searches: nothing that is computed from them is a proof."""

from torch import Tensor

LEAST = 2.0**-100
"""What is smaller is left out. Some processors multiply subnormal numbers a hundred times as slowly
as others, and training leaves many: of a perceptron that PGD trained for 0.3, two weights in five.
Products of this and what is usual are not subnormal."""


def for_search(values: Tensor) -> Tensor:
    """The nearest float32 numbers, of the same shape; zero for those that are nearly nothing."""
    rounded = values.float()
    small = (rounded.abs() < LEAST) & (rounded != 0)
    # Mostly nothing is, and no copy is needed.
    return rounded.masked_fill(small, 0.0) if small.any() else rounded
