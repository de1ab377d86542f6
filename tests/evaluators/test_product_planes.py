"""Planes of products: exact at the box's corners, as tight as intervals; and what is made of them.

A product less a plane is bilinear, so that it is least and greatest at a corner.
"""

from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from evaluators.deterministic.crown import CROWN
from evaluators.onnx.reader import import_onnx
from evaluators.propagation import product_planes as planes_module
from evaluators.propagation.product_planes import ProductPlane, product_planes
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from leaderboard.datasets.catalogue import find_dataset
from tests.benchmarks.zoo_blocks import Attention, Residual
from tests.fixtures.effort import examples

UNIT = Fraction(1, 2**53)

middles = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-30)
radii = st.floats(0, 1e6).filter(lambda x: x == 0 or x > 1e-30)


def scalar(value: float) -> Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


def at(plane: ProductPlane, a: Fraction, b: Fraction) -> Fraction:
    first, second, constant = (Fraction(float(part)) for part in plane)
    return first * a + second * b + constant


@given(middles, radii, middles, radii)
@settings(max_examples=examples(300), deadline=None)
def test_a_product_is_between_its_planes_and_they_are_within_its_interval(
    m: float, r: float, n: float, s: float
) -> None:
    planes = product_planes((scalar(m), scalar(r)), (scalar(n), scalar(s)))
    exact = [Fraction(value) for value in (m, r, n, s)]
    corners = [
        (exact[0] + x * exact[1], exact[2] + y * exact[3]) for x, y in product((-1, 1), repeat=2)
    ]
    spread = exact[1] * exact[3]
    sizes = [Fraction(float(size)) for size in (*planes.coefficients, planes.height)]
    # What the walk is charged for: 3u of either coefficient, and 5 roundings of the constant.
    room = UNIT * (3 * (sizes[0] * sizes[1]) * 2 + 6 * sizes[2])
    below = [at(planes.sides[0], a, b) - spread for a, b in corners]
    above = [at(planes.sides[1], a, b) + spread for a, b in corners]
    values = [a * b for a, b in corners]
    for low, value, high in zip(below, values, above, strict=True):
        assert low - room <= value <= high + room
    assert min(below) >= min(values) - 2 * room
    assert max(above) <= max(values) + 2 * room


def test_planes_by_hand() -> None:
    """Of [1, 3] and [1, 5]: a + b - 1 below, and halfway 3·a + 2·b - 4 above."""
    planes = product_planes((scalar(2), scalar(1)), (scalar(3), scalar(2)))
    below, above = ([float(part) for part in plane] for plane in planes.sides)
    assert below == [1.0, 1.0, 1.0]  # up to the radii's product, 2
    assert above == [3.0, 2.0, -6.0]


class Vision(nn.Module):
    """A vision transformer of two blocks, of four patches of a digit."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, 4)
        self.places = nn.Parameter(torch.randn(1, 4, width) / 4)
        self.blocks = nn.Sequential()
        for _ in range(2):
            inner = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
            self.blocks.append(Residual(nn.LayerNorm(width), Attention(width, 2)))
            self.blocks.append(Residual(nn.LayerNorm(width), *inner))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Classify by the mean of all tokens."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.places
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return logits


@pytest.fixture(scope="module")
def vision() -> nn.Module:
    """Trained for 120 steps."""
    split = find_dataset("digits").load("train")
    x = torch.from_numpy(split.images(split.examples[:512]))
    labels = torch.from_numpy(split.labels_of(split.examples[:512]))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Vision()
        optimizer = torch.optim.Adam(module.parameters(), 5e-3)
        for step in range(120):
            part = torch.arange(64) + 64 * (step % 8)
            optimizer.zero_grad()
            F.cross_entropy(module(x[part]), labels[part]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return module.eval()


def attacked(module: nn.Module, x: Tensor, labels: Tensor, radius: float) -> Tensor:
    """The least margins `[examples]` that gradient steps and random corners come to."""
    generator = torch.Generator().manual_seed(1)
    least = torch.full((len(x),), torch.inf)
    for _ in range(4):
        change = torch.rand(x.shape, generator=generator).sub(0.5).sign() * radius
        for _ in range(5):
            near = (x + change).clamp(0, 1).requires_grad_()
            logits = module(near)
            own = logits.gather(1, labels[:, None])[:, 0]
            margin = own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)
            least = torch.minimum(least, margin.detach())
            (slope,) = torch.autograd.grad(margin.sum(), near)
            change = (change - radius / 2 * slope.sign()).clamp(-radius, radius)
    return least


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.slow
def test_a_small_vision_transformer_is_certified_at_small_radii_and_no_attack_goes_lower(
    vision: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = find_dataset("digits").load("test")
    x = torch.from_numpy(split.images(split.examples[:3]))
    path = tmp_path / "vision.onnx"
    axes = {"dynamic_axes": {"x": {0: "batch"}}, "input_names": ["x"]}
    torch.onnx.export(vision, (x,), path, dynamo=False, opset_version=17, **axes)
    network = import_onnx(path)
    labels, certified, gained = vision(x).argmax(1), [], []
    for radius in (Fraction(1, 500), Fraction(1, 150), Fraction(1, 5)):
        problem = Problem(network, x, labels, Ball(Norm.LINF, radius))
        verdicts = CROWN()(problem)
        least = attacked(vision, x, labels, float(radius))
        for verdict, reached in zip(verdicts, least.tolist(), strict=True):
            assert verdict.margin is None or verdict.margin <= reached + 1e-4
        certified.append(sum(verdict.status is Status.CERTIFIED for verdict in verdicts))
        if radius > 1 / 100:
            continue
        with monkeypatch.context() as patch:
            patch.setattr(planes_module, "tilt", lambda p, _: torch.zeros_like(p))
            halfway = CROWN()(problem)
        gained += [
            (one.margin, other.margin)
            for one, other in zip(verdicts, halfway, strict=True)
            if one.margin is not None and other.margin is not None
        ]
    assert certified[0] == 3 > certified[-1]
    assert len(gained) > 3
    assert all(chosen > fixed for chosen, fixed in gained)
