"""A model that is not a function of each input alone is refused before anything is certified."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from evaluators.network.elementwise import LeakyReLU
from evaluators.network.ensemble import Ensemble, SmoothedNetwork
from evaluators.network.network import Network
from evaluators.probabilistic.smoothing_gaussian import SmoothingGaussian
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict
from evaluators.sampling.probe import refusal
from tests.fixtures.networks import Graph, linear, of_every_kind, perceptron, two_convolutions

SHAPE = (3, 8, 8)


@dataclass(frozen=True)
class Stub(LeakyReLU):
    """An operation that does as it likes."""

    function: Callable[[Tensor], Tensor] = torch.relu

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(x)


def batch_norm_in_training(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.std(0, correction=0) + 1e-5)


def dropout(x: Tensor) -> Tensor:
    return torch.nn.functional.dropout(x, 0.5)


def slight_noise(x: Tensor) -> Tensor:
    return x + 1e-6 * torch.rand_like(x)


def first_row_decides(x: Tensor) -> Tensor:
    return x + x[:1].abs()


def position_decides(x: Tensor) -> Tensor:
    return x + torch.arange(len(x))[:, None]


def size_decides(x: Tensor) -> Tensor:
    return x * len(x)


class Counting:
    """Remembers how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + self.calls


def with_stub(function: Callable[[Tensor], Tensor]) -> SmoothedNetwork:
    graph = Graph((4,))
    graph.dense(5)
    graph.add(Stub(0.1, function), (5,))
    graph.dense(3)
    return SmoothedNetwork(graph.network(), "gaussian", Fraction(1, 4))


def ask(network: SmoothedNetwork, procedure: str = "fixed", noise: str = "shared") -> Verdict:
    x = torch.full((1, *network.input_shape), 0.5)
    problem = Problem(network, x, torch.tensor([0]), Ball(Norm.L2, Fraction(1, 100)))
    (verdict,) = SmoothingGaussian(n=64, procedure=procedure, noise=noise)(problem)
    return verdict


@pytest.mark.parametrize("function", [dropout, slight_noise, Counting()])
def test_a_model_that_is_not_deterministic_is_refused(
    function: Callable[[Tensor], Tensor],
) -> None:
    verdict = ask(with_stub(function))
    assert verdict.status is Status.UNKNOWN
    assert verdict.note.startswith("the model is not deterministic")
    assert verdict.radius is None


@pytest.mark.parametrize(
    "function", [batch_norm_in_training, first_row_decides, position_decides, size_decides]
)
@pytest.mark.parametrize("procedure", ["fixed", "sequential"])
def test_a_model_whose_rows_meet_is_refused(
    function: Callable[[Tensor], Tensor], procedure: str
) -> None:
    verdict = ask(with_stub(function), procedure)
    assert verdict.status is Status.UNKNOWN
    assert verdict.note == "the model's answer to an input depends on the others in its batch"


def test_one_such_member_is_enough() -> None:
    members = (with_stub(torch.relu).base, with_stub(batch_norm_in_training).base)
    assert all(isinstance(member, Network) for member in members)
    ensemble = Ensemble(members, "max-margin")  # type: ignore[arg-type]
    verdict = ask(SmoothedNetwork(ensemble, "gaussian", Fraction(1, 4)))
    assert verdict.note.startswith("the model's answer")


@pytest.mark.parametrize(
    "make",
    [
        of_every_kind,
        lambda: perceptron(SHAPE),
        lambda: two_convolutions(SHAPE),
        lambda: Ensemble((two_convolutions(SHAPE), perceptron(SHAPE)), "mean-logits"),
        lambda: linear([[3e38] * 4, [0.0] * 4], [0, 0]),
        lambda: linear([[1e308] * 4, [0.0] * 4], [0, 0]),
    ],
)
@pytest.mark.parametrize("scale", ["1/100", "1/4", "10"])
def test_honest_models_pass(make: Callable[[], Network | Ensemble], scale: str) -> None:
    network = SmoothedNetwork(make(), "gaussian", Fraction(scale))
    assert refusal(network, torch.rand(2, *network.input_shape)) == ""


def test_an_honest_stub_passes() -> None:
    assert refusal(with_stub(torch.tanh), torch.rand(1, 4)) == ""
