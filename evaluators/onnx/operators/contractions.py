"""Sums of products over named dimensions: Einsum, and matrices in stacks.

Every factor is laid out over all dimensions, those of the result and those that are summed; they
are multiplied entry by entry, and added up. A value and a constant that share no dimension of the
result are a matrix times a value, which takes less room. Dimensions are counted in whole values.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.network.affine import Dense, Reshape
from evaluators.network.network import Product
from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    flat_positions,
    rearrange,
    require_size,
    tensor,
)
from evaluators.onnx.operators.declaration import ANY, VALUES, Attribute, Declaration
from evaluators.onnx.operators.unbatched import settle


class Factor(NamedTuple):
    """A value's flat positions or a constant, laid out in its own dimensions, which have names.

    Attributes:
        source: the value's node; None for a constant.
    """

    entries: Tensor
    dimensions: str
    source: int | None = None


def picked(builder: Builder, source: int, positions: Tensor, name: str) -> int:
    """Append the entries of a value at flat positions."""
    require_size(positions.numel())
    builder.spend(positions.numel())
    return builder.affine(rearrange(builder.nodes[source].shape, positions), source, name)


def sum_of_last(builder: Builder, source: int, name: str) -> int:
    """Append the sum over the last dimension, which is left out."""
    *left, size = builder.nodes[source].shape
    ones = torch.ones(1, size, dtype=torch.float64)
    whole_row = Dense((*left, size), (*left, 1), None, ones)
    total = builder.affine(whole_row, source, name)
    return builder.affine(Reshape((*left, 1), tuple(left), None), total, name)


def contracted(builder: Builder, factors: Sequence[Factor], output: str, name: str) -> int:
    """Append the sum over all dimensions that the output does not name, flat in its order."""
    sizes = _sizes(factors)
    if set(output) - set(sizes) or len(set(output)) < len(output):
        raise OperatorError(f"its result has the dimensions {output!r}")
    values = [factor for factor in factors if factor.source is not None]
    constants = [factor for factor in factors if factor.source is None]
    if len(values) == len(constants) == 1:
        shared = set(values[0].dimensions) & set(constants[0].dimensions)
        if shared and not shared & set(output) and shared == set(sizes) - set(output):
            return _matrix(builder, values[0], constants[0], output, name)
    order = output + "".join(letter for letter in sizes if letter not in output)
    shape = tuple(sizes[letter] for letter in order)
    require_size(prod(shape))
    result = None
    for factor in values:
        assert factor.source is not None
        part = picked(builder, factor.source, _laid_out(factor, order, shape), name)
        result = part if result is None else builder.add(Product(), [result, part], shape, name)
    assert result is not None
    if constants:
        scale = torch.ones((), dtype=torch.float64)
        for factor in constants:
            scale = scale * _laid_out(factor, order, shape)
        result = builder.diagonal(result, name, scale=scale, roundings=len(constants) - 1)
    left = tuple(sizes[letter] for letter in output)
    rows = (*left, prod(shape[len(left) :]))
    result = builder.affine(Reshape(shape, rows, None), result, name)
    return sum_of_last(builder, result, name) if left else result


def _sizes(factors: Sequence[Factor]) -> Mapping[str, int]:
    sizes: dict[str, int] = {}
    for entries, dimensions, _ in factors:
        if len(set(dimensions)) < len(dimensions) or len(dimensions) != entries.ndim:
            said = f"a factor of shape {tuple(entries.shape)} has the dimensions {dimensions!r}"
            raise OperatorError(said)
        for letter, size in zip(dimensions, entries.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise OperatorError(f"its dimension {letter!r} is {size} and {sizes[letter]}")
    return sizes


def _laid_out(factor: Factor, order: str, shape: tuple[int, ...]) -> Tensor:
    """A factor's entries, repeated over the dimensions that it has not."""
    own = [letter for letter in order if letter in factor.dimensions]
    entries = factor.entries.permute([factor.dimensions.index(letter) for letter in own])
    sizes = [size if letter in own else 1 for letter, size in zip(order, shape, strict=True)]
    return entries.reshape(sizes).expand(shape)


def _matrix(builder: Builder, value: Factor, constant: Factor, output: str, name: str) -> int:
    shared = "".join(letter for letter in value.dimensions if letter in constant.dimensions)
    rows = "".join(letter for letter in value.dimensions if letter not in shared)
    columns = "".join(letter for letter in constant.dimensions if letter not in shared)
    order = [value.dimensions.index(letter) for letter in rows + shared]
    turned = value.entries.permute(order)
    kept, inner = tuple(turned.shape[: len(rows)]), prod(turned.shape[len(rows) :])
    assert value.source is not None
    source = picked(builder, value.source, turned.reshape(-1, inner), name)
    weight = constant.entries.permute(
        [constant.dimensions.index(letter) for letter in columns + shared]
    )
    made = (*kept, *weight.shape[: len(columns)])
    weight = weight.reshape(-1, inner).contiguous()
    require_size(prod(made))
    before, behind = builder.nodes[source].shape, (prod(kept), weight.shape[0])
    source = builder.affine(Dense(before, behind, None, weight), source, name)
    places = flat_positions(made).permute([(rows + columns).index(letter) for letter in output])
    return builder.affine(rearrange(behind, places), source, name)


def factor_of(builder: Builder, name: str, dimensions: str) -> Factor:
    """Lay a value or a constant out in its dimensions."""
    if name in builder.constants:
        return Factor(tensor(builder.constants[name]), dimensions)
    return Factor(flat_positions(builder.whole_shape(name)), dimensions, builder.values[name])


def einsum(builder: Builder, operator: Operator) -> int:
    equation = str(operator.attributes["equation"]).replace(" ", "")
    given, arrow, output = equation.partition("->")
    dimensions = given.split(",")
    letters = sorted(given.replace(",", ""))
    output = output if arrow else "".join(x for x in letters if letters.count(x) == 1)
    if len(dimensions) != len(operator.inputs) or not "".join((*dimensions, output)).isalpha():
        raise OperatorError(f"its equation {equation[:60]!r} is not read")
    factors = [
        factor_of(builder, name, part)
        for name, part in zip(operator.inputs, dimensions, strict=True)
    ]
    sizes = _sizes(factors)
    result = contracted(builder, factors, output, operator.name)
    return settle(builder, operator, result, tuple(sizes[letter] for letter in output))


def matrix_product(builder: Builder, operator: Operator) -> int:
    """Append a product of stacks of matrices, of which one may be constant."""
    factors, ranks = list[Factor](), list[int]()
    for name, ends in zip(operator.inputs, ("ik", "kj"), strict=True):
        entries = factor_of(builder, name, "").entries
        if entries.ndim < 2:
            raise OperatorError(f"its factor has shape {tuple(entries.shape)}, not of matrices")
        stack = "zyxwvuts"[: entries.ndim - 2][::-1]
        # A dimension of one is repeated: it has no name.
        named = [d for d, size in zip(stack, entries.shape, strict=False) if size > 1]
        ranks.append(entries.ndim)
        entries = entries.reshape(
            [s for s in entries.shape[:-2] if s > 1] + list(entries.shape[-2:])
        )
        factors.append(Factor(entries, "".join(named) + ends, builder.values.get(name)))
    sizes = _sizes(factors)
    stack = "zyxwvuts"[: max(ranks) - 2][::-1]
    output = "".join(letter for letter in stack if letter in sizes) + "ij"
    result = contracted(builder, factors, output, operator.name)
    whole = (*(sizes.get(letter, 1) for letter in stack), sizes["i"], sizes["j"])
    return settle(builder, operator, result, whole)


OPERATORS: dict[str, Declaration] = {
    "Einsum": Declaration(
        versions=(12,),
        inputs=(VALUES,),
        attributes={"equation": Attribute(ANY)},
        translate=einsum,
        bare=True,
    ),
}
