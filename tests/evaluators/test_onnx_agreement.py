"""The cheaper test of an operator's results says yes only where the whole one does."""

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.network.affine import Adjoint, AffineMap, Convolution, Dense, Diagonal, Reshape
from evaluators.network.deployment import run_error
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import MaxPool, Node, Operation
from evaluators.onnx import agreement
from evaluators.onnx.agreement import DifferenceError, SectionRun, require_agreement
from evaluators.onnx.operators.builder import Builder
from evaluators.onnx.sections import FileSection

SHAPE = (2, 4, 4)
SIZES = (1.0, 2.0**-130, 2.0**-146, 2.0**-60, 2.0**38, 2.0**90, 2.0**124)
"""Of weights and inputs: usual ones, subnormal ones, and such as overflow."""
KINDS = ("convolution", "dense", "diagonal", "shift", "adjoint", "reshape", "relu", "pool")


def operation_of(kind: str, size: float, seed: int) -> Operation:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64) * size

    makers: dict[str, Any] = {
        "convolution": lambda: convolution(drawn(3, 2, 3, 3), drawn(3, 1, 1)),
        "dense": lambda: Dense(SHAPE, (2, 4, 5), drawn(5), drawn(5, 4)),
        "diagonal": lambda: Diagonal(SHAPE, SHAPE, drawn(2, 1, 1), drawn(2, 1, 1), 1),
        "shift": lambda: Diagonal(SHAPE, SHAPE, drawn(*SHAPE), None),
        "adjoint": lambda: Adjoint(
            SHAPE, (3, 6, 6), None, Convolution((3, 6, 6), SHAPE, None, drawn(2, 3, 3, 3), *flat(0))
        ),
        "reshape": lambda: Reshape(SHAPE, (32,), None),
        "relu": LeakyReLU,
        "pool": lambda: MaxPool(SHAPE, (2, 2), (1, 1), (0, 0)),
    }
    made: Operation = makers[kind]()
    return made


def flat(padding: int) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    return (1, 1), (padding, padding), (1, 1)


def convolution(weight: torch.Tensor, bias: torch.Tensor) -> Convolution:
    return Convolution(SHAPE, (3, 4, 4), bias, weight, *flat(1))


def alone(operation: Operation, *, clamped: bool = False) -> tuple[Builder, FileSection]:
    """A graph of this operation alone, perhaps with a ReLU behind it."""
    shape: Any = SHAPE if isinstance(operation, LeakyReLU) else operation.output_shape  # type: ignore[union-attr]
    builder = Builder.begin("x", SHAPE)
    builder.nodes.append(Node("y", operation, (0,), shape))
    if clamped:
        builder.nodes.append(Node("y", LeakyReLU(), (1,), shape))
    last = len(builder.nodes) - 1
    builder.values["y"] = last
    return builder, FileSection("it", (), range(1, last + 1), {"x": 0}, {"y": last})


def runs_of(
    operation: Operation, x: torch.Tensor, off: float, at: int, *, clamped: bool = False
) -> list[SectionRun]:
    """What a runtime might give: the right result, one entry off by a part of what is allowed."""
    wide = x.double()
    theirs = operation(wide)  # type: ignore[operator]
    theirs = theirs.clamp(min=0) if clamped else theirs
    error = run_error(operation, [wide.abs()], (wide, wide))
    if error is None:
        error = theirs.abs() * 2.0**-23
    where = at % theirs[0].numel()
    theirs.reshape(-1)[where] += off * float(error.reshape(-1)[where].nan_to_num(0, 0))
    results = theirs.float().numpy()
    return [
        SectionRun({"x": x[row : row + 1].numpy()}, {"y": results[row : row + 1]}, "here")
        for row in range(len(x))
    ]


@given(
    kind=st.sampled_from(KINDS),
    weights=st.sampled_from(SIZES),
    inputs=st.sampled_from(SIZES),
    off=st.sampled_from((0.0, 0.5, 0.9, 0.94, 0.97, 0.999, 1.001, 1.1, 3.0, -0.97, -1.1)),
    many=st.sampled_from((0, 2**24)),
    clamped=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_the_cheaper_test_says_yes_only_where_the_whole_one_does(
    kind: str, weights: float, inputs: float, off: float, many: int, clamped: bool, seed: int
) -> None:
    operation = operation_of(kind, weights, seed)
    builder, one = alone(operation, clamped=clamped)
    x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(seed + 1)) * inputs
    runs = runs_of(operation, x, off, seed, clamped=clamped)
    stacked = {0: x}
    with patch.multiple(agreement, MANY=many, LARGE=many):
        surely = agreement._surely_agrees(builder, one, stacked, runs)
    try:
        agreement._require_agreement(builder, one, stacked, runs)
    except DifferenceError:
        assert not surely


@pytest.mark.parametrize(("many", "clamped"), [(0, False), (2**24, False), (0, True)])
@pytest.mark.parametrize("kind", KINDS)
def test_usual_results_are_settled_by_the_cheaper_test(
    kind: str, many: int, clamped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "MANY", many)
    monkeypatch.setattr(agreement, "LARGE", many)
    monkeypatch.setattr(agreement, "_require_agreement", None)
    operation = operation_of(kind, 1.0, 0)
    builder, one = alone(operation, clamped=clamped)
    x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))
    require_agreement(builder, one, runs_of(operation, x, 0.0, 0, clamped=clamped))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1.5])
def test_one_wrong_entry_is_refused(kind: str, wrong: float) -> None:
    operation = operation_of(kind, 1.0, 0)
    builder, one = alone(operation)
    runs = runs_of(operation, torch.ones(2, *SHAPE), 0.0, 0)
    runs[1].results["y"].reshape(-1)[3] = wrong
    with pytest.raises(DifferenceError, match="it, run here: entry 3"):
        require_agreement(builder, one, runs)


@pytest.mark.parametrize("kind", ["convolution", "dense", "diagonal", "shift", "adjoint"])
def test_less_is_allowed_where_a_relu_is_zero(kind: str) -> None:
    operation = operation_of(kind, 1.0, 0)
    builder, one = alone(operation, clamped=True)
    x = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1))
    at = int(operation(x.double()).reshape(-1).argmin())  # type: ignore[operator]
    with pytest.raises(DifferenceError, match=f"it, run here: entry {at}"):
        require_agreement(builder, one, runs_of(operation, x, 0.5, at, clamped=True))


def test_shapes_that_do_not_fit_are_refused() -> None:
    weight = torch.ones(5, 3, dtype=torch.float64)
    builder, one = alone(Dense(SHAPE, (2, 4, 5), None, weight))
    x, y = np.ones((1, *SHAPE), np.float32), np.ones((1, 2, 4, 5), np.float32)
    with pytest.raises(DifferenceError, match="its shapes do not fit"):
        require_agreement(builder, one, [SectionRun({"x": x}, {"y": y}, "here")])


def test_infinite_values_do_not_agree_with_themselves() -> None:
    operation = operation_of("reshape", 1.0, 0)
    assert isinstance(operation, AffineMap)
    builder, one = alone(operation)
    x = torch.full((1, *SHAPE), torch.inf)
    with pytest.raises(DifferenceError, match="it, run here: entry 0"):
        require_agreement(builder, one, runs_of(operation, x, 0.0, 0))
