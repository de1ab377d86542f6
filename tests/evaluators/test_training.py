"""Recipes learn, their bounds are the evaluators' own, and training is reproducible."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from evaluators.affine import Convolution, Dense
from evaluators.deterministic import ibp
from evaluators.deterministic._intervals import Interval
from evaluators.network import Network, SmoothedNetwork
from evaluators.probabilistic.smoothing_gaussian import SmoothingGaussian
from evaluators.problem import Ball, Norm, Problem
from evaluators.training import Recipe, Schedule, fit, recipes, small_cnn
from evaluators.training._architectures import parameters
from evaluators.training.gaussian import Gaussian
from evaluators.training.ibp import IBP, worst_logits
from evaluators.training.standard import Standard

SHAPE = (1, 8, 8)
RADIUS = 0.1


def bars(examples: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy pictures of one bright column; its position is the label, 0 to 3."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (examples,), generator=generator)
    x = 0.3 * torch.rand(examples, *SHAPE, generator=generator)
    x[torch.arange(examples), 0, :, 2 * labels] += 0.7
    return x, labels


def trained(recipe: Recipe, epochs: int = 12, seed: int = 0) -> Network:
    network = small_cnn(SHAPE, 4, seed, recipe.for_intervals)
    x, labels = bars(512)
    fit(network, recipe, x, labels, Schedule(epochs, batch=32, learning_rate=3e-3), seed)
    return frozen(network)


def frozen(network: Network) -> Network:
    for weight in parameters(network):
        weight.requires_grad_(False)
    return network


def certified(network: Network, examples: int = 100) -> int:
    x, labels = bars(examples, seed=1)
    double = network.to(torch.float64)
    problem = Problem(double, x, labels, Ball(Norm.LINF, Fraction("0.1")))
    return sum(verdict.status == "certified" for verdict in ibp.IBP()(problem))


def accuracy(network: Network) -> float:
    x, labels = bars(200, seed=1)
    return float((network(x).argmax(1) == labels).float().mean())


def test_the_recipes_are_the_files_of_the_folder() -> None:
    assert recipes() == {"gaussian": Gaussian, "ibp": IBP, "standard": Standard}


@pytest.mark.parametrize("recipe", [Standard(), IBP(RADIUS), Gaussian(0.2)], ids=lambda r: r.name())
def test_every_recipe_learns(recipe: Recipe) -> None:
    assert accuracy(trained(recipe)) > 0.95


def test_interval_training_makes_the_interval_evaluator_certify() -> None:
    assert certified(trained(IBP(RADIUS))) > 80
    assert certified(trained(Standard())) < 20


def test_training_on_noise_makes_smoothing_certify_more() -> None:
    x, labels = bars(40, seed=1)
    evaluator = SmoothingGaussian(n0=50, n=1000)

    def total_radius(network: Network) -> float:
        smoothed = SmoothedNetwork(network, "gaussian", Fraction(1))
        verdicts = evaluator(Problem(smoothed, x, labels, Ball(Norm.L2, Fraction(1, 2))))
        return sum(float(verdict.radius or 0) for verdict in verdicts)

    assert total_radius(trained(Gaussian(1.0))) > 1.1 * total_radius(trained(Standard()))


def test_the_same_seed_trains_the_same_weights() -> None:
    one, same, other = (
        parameters(trained(Gaussian(0.2), epochs=1, seed=seed)) for seed in (0, 0, 1)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])


@pytest.mark.parametrize("for_intervals", [True, False])
def test_worst_logits_bound_every_point_of_the_box_and_are_reached_in_the_last_layer(
    for_intervals: bool,
) -> None:
    network = frozen(small_cnn(SHAPE, 4, 0, for_intervals))
    x, labels = bars(8)
    worst = worst_logits(network, Interval(x - RADIUS, x + RADIUS), labels)
    generator = torch.Generator().manual_seed(2)
    for _ in range(200):
        noise = torch.rand(x.shape, generator=generator).round() * 2 - 1
        logits = network(x + RADIUS * noise)
        margins = logits - logits.gather(1, labels[:, None])
        assert bool((margins <= worst + 1e-5).all())
    point = worst_logits(network, Interval(x, x), labels)
    logits = network(x)
    assert torch.allclose(point, logits - logits.gather(1, labels[:, None]), atol=1e-5)


def test_worst_logits_merge_the_last_layer() -> None:
    """Where two rows of the last matrix agree, their logits differ by a constant everywhere."""
    network = frozen(small_cnn(SHAPE, 4, 0, for_intervals=False))
    last = network.nodes[-1].operation
    assert isinstance(last, Dense)
    last.weight[1] = last.weight[0]
    x, _ = bars(4)
    labels = torch.zeros(4, dtype=torch.int64)
    worst = worst_logits(network, Interval(x - RADIUS, x + RADIUS), labels)
    assert torch.allclose(worst[:, :2], torch.zeros(4, 2), atol=1e-6)


def test_the_radius_grows_from_nothing_to_all_of_it() -> None:
    network = frozen(small_cnn(SHAPE, 4, 0, for_intervals=True))
    x, labels = bars(64)
    generator = torch.Generator()
    recipe = IBP(RADIUS, warm_up=0.2, ramp=0.6)
    plain = float(Standard().loss(network, x, labels, 0.0, generator))
    losses = [float(recipe.loss(network, x, labels, t, generator)) for t in (0.1, 0.4, 0.6, 0.9)]
    assert losses[0] == pytest.approx(plain)
    assert losses[0] < losses[1] < losses[2] == losses[3]
    box = Interval((x - RADIUS).clamp(0, 1), (x + RADIUS).clamp(0, 1))
    worst = torch.nn.functional.cross_entropy(worst_logits(network, box, labels), labels)
    assert losses[3] == pytest.approx(float(worst))
    half = replace(recipe, clean_share=0.5).loss(network, x, labels, 1.0, generator)
    assert float(half) == pytest.approx((plain + float(worst)) / 2)


def test_a_diverging_loss_is_an_error() -> None:
    network = small_cnn(SHAPE, 4, 0, for_intervals=False)
    x, labels = bars(64)
    with pytest.raises(FloatingPointError, match="epoch 1"):
        fit(network, Standard(), x * float("inf"), labels, Schedule(1, batch=32), 0)


def test_every_weight_is_trained() -> None:
    network = small_cnn(SHAPE, 4, 0, for_intervals=True)
    kinds = [type(node.operation) for node in network.nodes]
    assert len(parameters(network)) == 2 * sum(kind in (Convolution, Dense) for kind in kinds)
    assert all(weight.requires_grad for weight in parameters(network))
