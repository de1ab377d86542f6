"""Values that are known to lie in a range, and normalised rows, which are."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.network.elementwise import Slopes
from evaluators.network.known_range import KnownRange
from evaluators.network.network import Network
from evaluators.onnx.reader import import_onnx
from evaluators.propagation.bounds import bounds
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from tests.fixtures.onnx_models import Array, model, node, save

RANGE = KnownRange(-1.0, 2.0)
ENDS = torch.tensor(
    [[-3.0, 4.0], [-0.5, 1.0], [-1.0, 9.0], [-7.0, 0.0], [-9.0, -0.5], [1.5, 8.0], [0.25, 0.25]]
).double()


@pytest.mark.parametrize("slope", [None, -0.5, 0.0, 0.3, 1.0, 2.5])
def test_lines_are_on_their_sides_of_all_values_in_the_range(slope: float | None) -> None:
    lower, upper = ENDS.unbind(1)
    flat = torch.full_like(lower, slope or 0.0)
    slopes = RANGE.slopes(lower, upper) if slope is None else Slopes(flat, flat)
    below, above = RANGE.intercepts(slopes, lower, upper)
    low, high = RANGE.bounds(lower, upper)
    for share in torch.linspace(0, 1, 9):
        value = torch.lerp(lower.clamp(-1, 2), upper.clamp(-1, 2), share.double())
        assert bool((slopes.lower * value + below <= RANGE(value)).all())
        assert bool((slopes.upper * value + above >= RANGE(value)).all())
        assert bool(((low <= value) & (value <= high)).all())


def test_an_interval_is_cut_to_the_range_and_loses_nothing_within_it() -> None:
    low, high = RANGE.bounds(*ENDS.unbind(1))
    assert torch.stack([low, high], 1).tolist() == ENDS.clamp(-1, 2).tolist()
    inside = torch.tensor([-0.5]).double(), torch.tensor([1.0]).double()
    slopes = RANGE.slopes(*inside)
    assert [*map(float, slopes)] == [1, 1]
    assert [*map(float, RANGE.intercepts(slopes, *inside))] == [0, 0]


def test_what_is_not_bounded_is_not_cut() -> None:
    """There the range need not hold: a run may have come to no number."""
    inf = float("inf")
    lower, upper = torch.tensor([[-inf, 1.0], [0.0, inf], [float("nan"), 1.0]]).double().unbind(1)
    low, high = RANGE.bounds(lower, upper)
    assert not bool((low.isfinite() & high.isfinite()).any())


def normalized(folder: Path, scale: float, epsilon: float) -> Network:
    nodes = [
        node("Mul", "x scale", "m"),
        node("LayerNormalization", "m one", "y", epsilon=epsilon),
    ]
    known = {"scale": np.full(1, scale, "f4"), "one": np.ones(4, "f4")}
    return import_onnx(save(model(nodes, ("batch", 4), known, 17), folder / "m.onnx"))


@pytest.mark.parametrize("method", ["ibp", "crown"])
def test_entries_of_a_normalised_row_are_bounded_by_their_number(
    tmp_path: Path, method: str
) -> None:
    """Around a row of equal entries, where a variance may be zero, and a quotient by it far off."""
    network = normalized(tmp_path, 1.0, 1e-4)
    region = Ball(Norm.LINF, Fraction(1, 2))
    logits = bounds(network, torch.full((1, 4), 0.5), region, method).logits
    assert float(torch.maximum(logits.upper, -logits.lower).max()) < 1.5 * 3**0.5


def subtracted(row: Array, epsilon: float) -> Array:
    """A run in float32 that takes E[x²] - E[x]² for the variance."""
    mean, square, size = np.float32(0), np.float32(0), np.float32(len(row))
    for entry in row:
        mean, square = mean + entry, square + entry * entry
    mean, square = mean / size, square / size
    return np.asarray((row - mean) / np.sqrt(square - mean * mean + np.float32(epsilon)))


@pytest.mark.parametrize("scale", [1.0, 2.0, 8.0, 4000.0])
def test_runs_that_lose_a_variance_by_subtraction_are_bounded_or_nothing_is(
    tmp_path: Path, scale: float
) -> None:
    epsilon, radius = 1e-5, Fraction(1, 10_000)
    network = normalized(tmp_path, scale, epsilon)
    x = torch.full((1, 4), 0.75)
    generator = np.random.default_rng(0)
    found = [
        bounds(network, x, Ball(Norm.LINF, radius), method).logits for method in ("ibp", "crown")
    ]
    for _ in range(200):
        spread = float(radius) * generator.choice([0.0, 1e-3, 0.3, 0.999])
        near = (0.75 + spread * generator.uniform(-1, 1, 4)).astype(np.float32)
        assert network.runtime is not None
        with np.errstate(invalid="ignore"):
            runs = [network.runtime(near)[0], subtracted(near * np.float32(scale), epsilon)]
        for lower, upper in found:
            for run in map(torch.from_numpy, runs):
                bounded = lower.isfinite() & upper.isfinite()
                assert bool((~bounded | ((lower <= run) & (run <= upper))).all())
    assert bool(found[1].lower.isfinite().all()) is (scale < 8)
