"""The names of arrays and shapes in signatures."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]
"""Sizes of a value without its batch dimension, unless something else is said."""
