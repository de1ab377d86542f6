"""Bounds in losses are the evaluators' own, and 1-Lipschitz layers are."""

from fractions import Fraction

import pytest
import torch

from evaluators.deterministic.fast_lin import PARALLEL
from evaluators.deterministic.wong_kolter import objective
from evaluators.learning.architectures import Style, linf_distance, small_cnn, unshuffled_cnn
from evaluators.learning.bounds import box_around, linear_worst, worst_logits
from evaluators.learning.distance import Distances, PowerNorm
from evaluators.learning.learner import Learner
from evaluators.learning.lipschitz import orthogonal
from evaluators.learning.recipe import Recipe, TrainingBatch
from evaluators.lipschitz.constants import Reach
from evaluators.network.network import Network
from evaluators.propagation.intervals import interval_bounds
from evaluators.propagation.linear_bounds import interval_relaxation, linear_relaxation, margin_rows
from evaluators.propagation.linear_bounds import margins as proved_margins
from evaluators.propagation.relaxation import ADAPTIVE
from evaluators.propagation.relaxed import Relaxed
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.training.adversarial import AdversarialTraining
from evaluators.training.aol import AOLTraining
from evaluators.training.cc_ibp import CCIBPTraining
from evaluators.training.exp_ibp import ExpIBPTraining
from evaluators.training.ibp import IBPTraining
from evaluators.training.mtl_ibp import MTLIBPTraining
from evaluators.training.orthogonal import OrthogonalTraining
from evaluators.training.sabr import SABRTraining
from evaluators.training.sll import SLLTraining
from evaluators.training.wong_kolter import relaxed

SHAPE, RADIUS = (1, 8, 8), 1 / 32
BALL = Ball(Norm.LINF, Fraction(RADIUS))


def learner(seed: int = 0) -> Learner:
    return small_cnn(SHAPE, 4, seed, Style(width=0.25))


def question(network: Network, rows: int = 6) -> tuple[Problem, torch.Tensor, torch.Tensor]:
    x = torch.rand(rows, *SHAPE, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(rows) % 4
    return Problem(network, x, labels, BALL), x, labels


def of_others(worst: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    others = torch.nn.functional.one_hot(labels, 4) == 0
    return -worst[others].reshape(len(labels), 3)


def test_linear_bounds_of_the_margins_are_those_that_crown_ibp_proves() -> None:
    network = learner().learned()
    problem, x, labels = question(network)
    bounds = interval_bounds(network, *box_around(x, RADIUS), rounding=False)
    trained = of_others(linear_worst(Relaxed(network, bounds, x, BALL, ADAPTIVE), labels), labels)
    intervals = of_others(worst_logits(network, box_around(x, RADIUS), labels), labels)
    proved = proved_margins(interval_relaxation(problem), labels, to_input=True)
    assert torch.allclose(torch.maximum(trained, intervals).double(), proved, atol=1e-3)


def test_dual_bounds_of_the_margins_are_those_that_wong_kolter_proves() -> None:
    network = learner().learned()
    problem, x, labels = question(network)
    trained = of_others(linear_worst(relaxed(network, x, RADIUS), labels), labels)
    proved = objective(linear_relaxation(problem, PARALLEL), margin_rows(labels, 4))
    assert torch.allclose(trained.double(), proved, atol=1e-3)


def test_linear_bounds_have_derivatives_by_every_weight() -> None:
    trained = learner()
    _, x, labels = question(trained.learned())
    torch.autograd.backward(linear_worst(relaxed(trained.network(), x, RADIUS), labels).sum())
    last = list(trained.parameters())[-1]
    assert all(bool(weight.grad.any()) for weight in trained.parameters() if weight is not last)  # type: ignore[union-attr]


@torch.no_grad()
@pytest.mark.parametrize(
    ("recipe", "same"),
    [
        (CCIBPTraining(RADIUS, share=1.0), IBPTraining(RADIUS)),
        (MTLIBPTraining(RADIUS, share=1.0), IBPTraining(RADIUS)),
        (ExpIBPTraining(RADIUS, share=1.0), IBPTraining(RADIUS)),
        (SABRTraining(RADIUS, share=1.0), IBPTraining(RADIUS)),
        (CCIBPTraining(RADIUS, share=0.0), AdversarialTraining(RADIUS, steps=4)),
        (MTLIBPTraining(RADIUS, share=0.0), AdversarialTraining(RADIUS, steps=4)),
        (SABRTraining(RADIUS, share=0.0, steps=4), AdversarialTraining(RADIUS, steps=4)),
    ],
    ids=lambda recipe: recipe.name(),
)
def test_the_ends_of_a_mixture_are_interval_bounds_and_attacks(
    recipe: Recipe, same: Recipe
) -> None:
    trained = learner()
    _, x, labels = question(trained.learned())

    def loss(of: Recipe) -> float:
        generator = torch.Generator().manual_seed(0)
        with torch.enable_grad():
            return float(of.loss(trained, TrainingBatch(x, labels, 1.0, generator)).detach())

    assert loss(recipe) == pytest.approx(loss(same), rel=1e-4)


@pytest.mark.parametrize(
    "recipe", [AOLTraining, OrthogonalTraining, SLLTraining], ids=lambda recipe: recipe.name()
)
def test_an_isometric_network_is_proved_to_stretch_no_distance(recipe: type[Recipe]) -> None:
    trained = unshuffled_cnn(SHAPE, 4, 0, recipe.style(width=0.25))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in trained.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.3)
    network = trained.learned().to(torch.float64)
    problem = Problem(
        network, torch.rand(1, *SHAPE), torch.zeros(1).long(), Ball(Norm.L2, Fraction(1))
    )
    reach = Reach.of(problem)
    assert 0.05 < float(reach.moved[-1].max()) < 1 + 1e-5


def test_intervals_of_distances_are_no_wider_than_those_of_the_input() -> None:
    network = linf_distance(SHAPE, 4, 0, Style(width=0.05)).learned().to(torch.float64)
    x = torch.rand(5, *SHAPE, dtype=torch.float64)
    lower, upper = interval_bounds(network, x - RADIUS, x + RADIUS)[-1]
    assert float((upper - lower).max()) < 2 * RADIUS + 1e-9


def test_a_distance_layer_is_written_as_the_norm_whatever_its_order() -> None:
    layer = Distances(torch.randn(3, 4), centred=False)
    x = torch.randn(6, 4)
    layer.order = 8.0
    exact = (x[:, None] - layer.weight).abs().amax(2)
    assert torch.allclose(layer.eval()(x), exact)
    assert bool((layer.train()(x) >= exact - 1e-5).all())
    assert torch.allclose(layer.train()(x), (x[:, None] - layer.weight).norm(8, 2), atol=1e-4)


@pytest.mark.parametrize("order", [4.0, 8.0, 32.0])
def test_norms_by_squaring_and_their_derivatives_are_those_of_the_power(order: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = (
        torch.randn(rows, 6, generator=generator, dtype=torch.float64, requires_grad=True)
        for rows in (9, 3)
    )
    rates = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    found = PowerNorm.apply(x, weight, order)  # type: ignore[no-untyped-call]
    plain = (x[:, None] - weight).norm(order, 2)
    assert torch.allclose(found, plain)
    for own, expected in zip(
        torch.autograd.grad((found * rates).sum(), (x, weight)),
        torch.autograd.grad((plain * rates).sum(), (x, weight)),
        strict=True,
    ):
        assert torch.allclose(own, expected)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (4, 3, 3, 3), (40, 3, 3, 3)])
def test_orthogonal_weights_have_singular_values_near_one(shape: tuple[int, ...]) -> None:
    weight = orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    values = torch.linalg.svdvals(weight.flatten(1)) * (shape[-1] if len(shape) > 2 else 1)
    assert float(values.min()) > 0.9
    assert float(values.max()) < 1 + 1e-5
