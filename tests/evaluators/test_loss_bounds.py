"""Bounds for losses: derivatives reach a module's weights, and no certificate is made of them."""

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import nn

from evaluators import Ball, Norm, bound, import_module
from evaluators.learning.loss_bounds import METHODS, LossBounds
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.propagation.bounds import NetworkBounds

SHAPE = (1, 4, 4)


class Block(nn.Module):
    """What people write: functions, a sum, layers that change nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.last = nn.Linear(48, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = x + self.second(x).relu()
        return self.last(x.flatten(1))  # type: ignore[no-any-return]


def normalised() -> nn.Module:
    layers = nn.Conv2d(1, 3, 3, stride=2), nn.BatchNorm2d(3), nn.LeakyReLU(0.1), nn.Dropout()
    module = nn.Sequential(*layers, nn.Flatten(), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    module.get_buffer("1.running_mean").fill_(0.2)
    module.get_buffer("1.running_var").fill_(0.5)
    return module


def made(module: Any) -> nn.Module:
    torch.manual_seed(0)
    built: nn.Module = module()
    return built.eval()


X = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("module", "method"), [*((Block, method) for method in METHODS), (normalised, "ibp")]
)
def test_derivatives_reach_every_weight_by_bounds_near_the_certified_ones(
    module: Any, method: str
) -> None:
    model = made(module)
    loose = bound(model, X, "1/50", method=method, differentiable=True)
    proved = bound(model, X, "1/50", method=method)
    assert torch.allclose(loose.logits.lower.double(), proved.logits.lower, atol=1e-4)
    assert torch.allclose(loose.logits.upper.double(), proved.logits.upper, atol=1e-4)
    torch.autograd.backward((loose.logits.upper - loose.logits.lower).square().sum())
    silent = [n for n, w in model.named_parameters() if w.grad is None or not w.grad.any()]
    # A bias moves both ends of its own layer alike, and the last one nothing else.
    assert [name for name in silent if "weight" in name] == []


def test_a_step_along_the_derivatives_narrows_the_certified_bounds() -> None:
    model = made(Block)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)

    def width() -> float:
        lower, upper = bound(model, X, "1/50", method="crown").logits
        return float((upper - lower).sum())

    before = width()
    lower, upper = bound(model, X, "1/50", method="crown", differentiable=True).logits
    torch.autograd.backward((upper - lower).sum())
    optimiser.step()
    assert width() < before


def test_bounds_for_losses_are_no_certified_ones() -> None:
    loose = bound(made(Block), X, "1/50", differentiable=True)
    assert isinstance(loose, LossBounds)
    assert not isinstance(loose, NetworkBounds)
    assert loose.logits.lower.requires_grad
    assert loose.logits.lower.dtype is torch.float32
    proved = bound(made(Block), X, "1/50")
    assert not proved.logits.lower.requires_grad
    assert proved.logits.lower.dtype is torch.float64


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"norm": "l2"}, ValueError, "linf only"),
        ({"method": "alpha-crown"}, ValueError, "only ibp"),
        ({"model": nn.Sequential(nn.Flatten(), nn.GELU())}, UnsupportedModelError, "GELU"),
        ({"model": made(normalised)}, ValueError, "leaky"),
        ({"model": normalised()}, UnsupportedModelError, "training mode"),
    ],
)
def test_what_has_no_derivatives_is_refused(
    change: dict[str, Any], error: type[Exception], words: str
) -> None:
    asked: dict[str, Any] = {"model": made(Block), "x": X, "radius": "1/50", **change}
    with pytest.raises(error, match=words):
        bound(**asked, differentiable=True)


def test_derivatives_by_the_examples_are_those_of_a_file_too() -> None:
    x = X.clone().requires_grad_(True)
    network = import_module(made(Block), SHAPE)
    ball = Ball(Norm.LINF, Fraction(1, 50))
    lower, _ = bound(network, x, ball, method="crown-ibp", differentiable=True).logits
    (gradient,) = torch.autograd.grad(lower.sum(), x)
    assert bool(gradient.any())
