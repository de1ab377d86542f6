"""What onnxruntime gives for a section of a file, held against what its nodes compute.

A result may differ by what rounding in float32 can do to it (`deployment.run_error`), which no
honest one exceeds and which no constant elsewhere makes larger. All of that is worked out in
float64. Of most operators a part of it settles the matter in less time: `_surely_agrees` says yes
only where the whole would.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from evaluators.network.affine import AffineMap, Convolution, Dense
from evaluators.network.deployment import (
    FLUSHED,
    LARGEST,
    flushed_error,
    products_error,
    run_error,
)
from evaluators.network.elementwise import Elementwise, LeakyReLU
from evaluators.network.network import MaxPool, Node, Operation, Product, apply
from evaluators.numerics.arrays import Array
from evaluators.onnx.operators.builder import Builder
from evaluators.onnx.operators.masks import BELOW
from evaluators.onnx.rules import printable
from evaluators.onnx.sections import FileSection

MANY = 2**24
"""Products from which a convolution in float32 is so much faster that its first use pays."""
LARGE = 2**16
"""Entries from which copying a matrix in float64 takes longer than all that is done with it."""
SURE = 15 / 16
"""The share of a float32 sum of magnitudes that its real value surely reaches."""


class DifferenceError(Exception):
    """onnxruntime computes something else; the message says what."""


class SectionRun(NamedTuple):
    """What a section was given and what it gave, by the names of the file's values.

    Attributes:
        given: to it.
        results: of it, perhaps among others.
        where: the numbers came from.
    """

    given: Mapping[str, Array]
    results: Mapping[str, Array]
    where: str


def words(error: Exception) -> str:
    """Shorten what another library says."""
    return printable(" ".join(str(error).split())[:160])


def require_agreement(builder: Builder, section: FileSection, runs: Sequence[SectionRun]) -> None:
    """Refuse results of a section that are not those of its nodes, in any of its runs.

    Raises:
        DifferenceError: they are not, or nothing is known of them in any run.
    """
    given = {
        position: torch.from_numpy(np.stack([np.asarray(run.given[name]) for run in runs])).reshape(
            len(runs), *builder.nodes[position].shape
        )
        for name, position in section.inputs.items()
    }
    try:
        surely = _surely_agrees(builder, section, given, runs)
    except RuntimeError:  # shapes that do not fit, which the whole test says
        surely = False
    if not surely:
        _require_agreement(builder, section, given, runs)


def _surely_agrees(
    builder: Builder, section: FileSection, given: Mapping[int, Tensor], runs: Sequence[SectionRun]
) -> bool:
    """Whether a section of one value, one node, perhaps a ReLU, and one result surely agrees."""
    if len(section.positions) not in (1, 2) or (len(given), len(section.outputs)) != (1, 1):
        return False
    (position, x), ((name, made),) = *given.items(), section.outputs.items()
    nodes, before = [builder.nodes[place] for place in section.positions], position
    for place, node in zip(section.positions, nodes, strict=True):
        if node.parents != (before,):
            return False
        before = place
    clamped = len(nodes) == 2
    special = {position, made} & (builder.hidden.keys() | builder.truths)
    if special or made != before or (clamped and not _is_relu(nodes[1].operation)):
        return False
    shape, results = builder.whole_shape(name), [run.results[name] for run in runs]
    if any(result.dtype != np.float32 or result.shape != shape for result in results):
        return False
    theirs = torch.from_numpy(np.stack(results)).reshape(len(runs), *nodes[-1].shape)
    operation = nodes[0].operation
    if x.dtype is not torch.float32:
        return False
    if _is_exact(operation):
        ours = apply(operation, [x])
        ours = ours.clamp(min=0) if clamped else ours
        return torch.equal(ours, theirs) and bool(ours.isfinite().all())
    return isinstance(operation, AffineMap) and _sums_agree(operation, x, theirs, clamped=clamped)


def _is_exact(operation: Operation) -> bool:
    """Whether a run computes it without an error, and float32 here, too: as `run_error` has it."""
    if isinstance(operation, AffineMap):
        return not products_error(operation)
    return isinstance(operation, MaxPool) or _is_relu(operation)


def _is_relu(operation: Operation) -> bool:
    return isinstance(operation, LeakyReLU) and not operation.leak


def _sums_agree(operation: AffineMap, x: Tensor, theirs: Tensor, *, clamped: bool) -> bool:
    """Whether sums of products are within less than what `run_error` allows, and none overflows.

    If `clamped`, a ReLU is behind them, and of what is allowed is left what is above zero.

    What it allows is at least a share of the sums of magnitudes. These may be taken in float32: all
    terms are positive, so that they are right but for a small share, and what subnormal products
    and weights differ by there is far less than what is allowed for those that are flushed.
    """
    share = products_error(operation)
    if not share < (1 - SURE) / 2:
        return False
    wide, weights = x.double(), operation
    magnitudes = wide.abs().add_(FLUSHED / share)
    if _is_faster_in_float32(operation, theirs.numel()):
        weights = operation.to(torch.float32, torch.device("cpu"))
        magnitudes = magnitudes.float()
    sums = weights.absolute(magnitudes)
    if weights.bias is not None:
        sums = sums.add_(weights.bias.abs())
    reached = float(sums.max()) / SURE**2 + flushed_error(operation) / share
    if not reached < LARGEST * operation.neighbours.low:
        return False
    ours, allowed = operation(wide), sums.mul_(share * SURE)
    if clamped:
        allowed = (ours.clamp(max=0) + allowed).clamp_(min=0)
        ours = ours.clamp_(min=0)
    return bool((ours.sub_(theirs).abs_() <= allowed).all())


def _is_faster_in_float32(operation: AffineMap, entries: int) -> bool:
    if isinstance(operation, Dense):
        return operation.weight.numel() >= LARGE
    return isinstance(operation, Convolution) and entries * operation.fan_in >= MANY


def _require_agreement(
    builder: Builder,
    section: FileSection,
    given: Mapping[int, Tensor],
    runs: Sequence[SectionRun],
) -> None:
    nodes, title = builder.nodes, section.title
    values = {position: value.double() for position, value in given.items()}
    for position in builder.hidden.keys() & values.keys():
        values[position][:, builder.hidden[position] < 0] = 0
    values |= {copy: values[position] for copy, position in section.copies.items()}
    errors: dict[int, Tensor] = {}
    try:
        # What is made of constants takes nothing of the input.
        values.setdefault(0, torch.zeros(len(runs), *nodes[0].shape, dtype=torch.float64))
        for position in section.positions:
            _append(nodes[position], position, values, errors)
    except RuntimeError as problem:
        raise DifferenceError(f"{title}: its shapes do not fit ({words(problem)})") from problem
    for name, position in section.outputs.items():
        shape = builder.whole_shape(name)
        kind = np.dtype(np.bool_ if position in builder.truths else np.float32)
        for run in runs:
            theirs = run.results[name]
            if theirs.dtype != kind or theirs.shape != shape:
                raise DifferenceError(
                    f"{title} gives {theirs.dtype} of shape {list(theirs.shape)} in onnxruntime,"
                    f" not {kind} of shape {list(shape)}"
                )
        other = torch.from_numpy(np.stack([run.results[name].reshape(-1) for run in runs])).double()
        ours = values[position].reshape(len(runs), -1)
        if (levels := builder.hidden.get(position)) is not None:
            hidden = (levels < 0).reshape(-1)
            if not (other[:, hidden] < BELOW).all():
                raise DifferenceError(f"{title} does not hide in onnxruntime what its mask says")
            other[:, hidden] = ours[:, hidden]
        error = errors[position] if position in errors else torch.zeros_like(values[position])
        _same_values(title, ours, other, error.reshape(len(runs), -1), [run.where for run in runs])


def _same_values(title: str, ours: Tensor, theirs: Tensor, error: Tensor, where: list[str]) -> None:
    """Refuse a result that differs by more than its error, or says nothing in any run."""
    difference, sure = (ours - theirs).abs_(), error.isfinite()
    within = difference <= error
    if bool(within.all()) and bool(sure.all()):
        return
    wrong = sure & ~within
    if wrong.any():
        run, at = wrong.nonzero()[0].tolist()
        raise DifferenceError(
            f"{title}, run {where[run]}: entry {at} of its result is {theirs[run, at]:.9g} in"
            f" onnxruntime and {ours[run, at]:.9g} as imported (allowed {error[run, at]:.2g})"
        )
    if not sure.any(0).all():
        raise DifferenceError(f"{title} overflows whatever it is given")


def _append(
    node: Node, position: int, values: dict[int, Tensor], errors: dict[int, Tensor]
) -> None:
    """The value of a node, and how far a float32 run's may be from it, where it may be."""
    own = [values[parent] for parent in node.parents]
    values[position] = apply(node.operation, own)
    if any(parent in errors for parent in node.parents):
        before = [errors.get(p, torch.zeros_like(values[p])) for p in node.parents]
        errors[position] = _carried(node, own, before)
        reached = [value.abs() + error for value, error in zip(own, before, strict=True)]
        within = own[0] - before[0], own[0] + before[0]
    else:
        reached, within = [value.abs() for value in own], (own[0], own[0])
    rounded = run_error(node.operation, reached, within)
    if rounded is not None:
        errors[position] = errors[position] + rounded if position in errors else rounded


def _carried(node: Node, values: list[Tensor], errors: list[Tensor]) -> Tensor:
    """What errors of a node's inputs become in its result."""
    operation = node.operation
    if isinstance(operation, AffineMap):
        return operation.absolute(errors[0])
    if isinstance(operation, MaxPool):
        return operation(errors[0])
    if isinstance(operation, Elementwise):
        value = operation(values[0])
        lower, upper = operation.bounds(values[0] - errors[0], values[0] + errors[0])
        return torch.maximum(upper - value, value - lower)
    if isinstance(operation, Product):
        first, second = (value.abs() + error for value, error in zip(values, errors, strict=True))
        return first * errors[1] + second * errors[0]
    return sum(errors[1:], errors[0])
