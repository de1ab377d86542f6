"""The matrices of unrolled networks in float32, of one example or stacked of several.

In a perceptron the inputs x, which are many, are read by one matrix W alone, and every later layer
reads x only through the few entries of Wx that are no units of their own. So the layers' rows may
begin with coefficients of Wx, the *front*, in place of x: a pass multiplies by W once, and not by
matrices as wide as the input for every layer.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from evaluators.network.affine import Dense
from evaluators.numerics.single import for_search
from evaluators.unrolled.unrolled_network import Unrolled


@dataclass(frozen=True, eq=False)
class Member:
    """One example's matrices.

    Attributes:
        weights: of each layer's pre-activations, `[units, columns before]`.
        bias: of all units' pre-activations, `[units]`.
        front: W, where the first columns are not the inputs x but Wx, `[outputs, inputs]`.
    """

    weights: tuple[Tensor, ...]
    bias: Tensor
    front: Tensor | None = None

    @classmethod
    def of(cls, unrolled: Unrolled) -> "Member":
        """The matrices of an unrolled network so far, over the front where it has one."""
        layers = unrolled.layers
        bias = torch.cat([torch.zeros(0), *(for_search(layer.rows.bias) for layer in layers)])
        through = [layer.rows.front for layer in layers if layer.rows.front is not None]
        front = unrolled.network.nodes[unrolled.front].operation
        # A neighbourhood without some of the inputs has none.
        whole = isinstance(front, Dense) and front.weight.shape[1] == unrolled.inputs
        if not whole or len(through) < len(layers):
            return cls(tuple(layer.weight32 for layer in layers), bias)
        assert isinstance(front, Dense)
        used = torch.zeros(len(front.weight), dtype=torch.bool)
        for rows in through:
            used |= (rows != 0).any(0)
        parts = zip(through, layers, strict=True)
        weights = (
            torch.cat((rows[:, used], layer.weight32[:, unrolled.inputs :]), 1)
            for rows, layer in parts
        )
        return cls(tuple(weights), bias, for_search(front.weight[used]))


@lru_cache(maxsize=16)
def all_weights(members: tuple[Member, ...], layer: int) -> Tensor:
    """A layer's matrices of all members as one: a product of them all costs one call."""
    return torch.stack([member.weights[layer] for member in members])


@lru_cache(maxsize=4)
def all_biases(members: tuple[Member, ...]) -> Tensor:
    """The biases of all members, `[members, units]`."""
    return torch.stack([member.bias for member in members])


@lru_cache(maxsize=4)
def all_fronts(members: tuple[Member, ...]) -> Tensor:
    """The fronts of all members, `[members, outputs, inputs]`."""
    return torch.stack([front_of(member) for member in members])


def front_of(member: Member) -> Tensor:
    """The front of a member that has one."""
    assert member.front is not None
    return member.front
