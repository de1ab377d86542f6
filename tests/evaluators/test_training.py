"""Recipes learn, their bounds are the evaluators' own, and training is reproducible."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from evaluators.deterministic import ibp
from evaluators.learning.architectures import ARCHITECTURES, Style, residual_cnn, small_cnn
from evaluators.learning.augmentation import Augmentation
from evaluators.learning.bounds import box_around, worst_logits
from evaluators.learning.learner import Learner
from evaluators.learning.loop import Schedule, fit
from evaluators.learning.recipe import Recipe, TrainingBatch
from evaluators.network.affine import Dense
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network, Sum, apply
from evaluators.probabilistic.smoothing_gaussian import SmoothingGaussian
from evaluators.propagation.intervals import Interval
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.training.gaussian import GaussianTraining
from evaluators.training.ibp import IBPTraining
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
    learner = small_cnn(SHAPE, 4, seed, Style(recipe.for_intervals))
    x, labels = bars(512)
    fit(learner, recipe, x, labels, Schedule(epochs, batch=32, learning_rate=3e-3), seed)
    return learner.learned()


def fresh(for_intervals: bool = False) -> Learner:
    return small_cnn(SHAPE, 4, 0, Style(for_intervals))


def parameters(network: Network) -> list[torch.Tensor]:
    operations = [node.operation for node in network.nodes]
    return [one.weight for one in operations if isinstance(one, Dense)]


def certified(network: Network, examples: int = 100) -> int:
    x, labels = bars(examples, seed=1)
    double = network.to(torch.float64)
    problem = Problem(double, x, labels, Ball(Norm.LINF, Fraction("0.1")))
    return sum(verdict.status == "certified" for verdict in ibp.IBP()(problem))


def accuracy(network: Network) -> float:
    x, labels = bars(200, seed=1)
    return float((network(x).argmax(1) == labels).float().mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", [Standard(), IBPTraining(RADIUS), GaussianTraining(0.2)], ids=lambda r: r.name()
)
def test_every_recipe_learns(recipe: Recipe) -> None:
    assert accuracy(trained(recipe)) > 0.95


def test_interval_training_makes_the_interval_evaluator_certify() -> None:
    assert certified(trained(IBPTraining(RADIUS))) > 80
    assert certified(trained(Standard())) < 20


@pytest.mark.slow
def test_training_on_noise_makes_smoothing_certify_more() -> None:
    x, labels = bars(40, seed=1)
    evaluator = SmoothingGaussian(n0=50, n=1000)

    def total_radius(network: Network) -> float:
        smoothed = SmoothedNetwork(network, "gaussian", Fraction(1))
        verdicts = evaluator(Problem(smoothed, x, labels, Ball(Norm.L2, Fraction(1, 2))))
        return sum(float(verdict.radius or 0) for verdict in verdicts)

    assert total_radius(trained(GaussianTraining(1.0))) > 1.1 * total_radius(trained(Standard()))


def test_the_same_seed_trains_the_same_weights() -> None:
    one, same, other = (
        parameters(trained(GaussianTraining(0.2), epochs=1, seed=seed)) for seed in (0, 0, 1)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])


@pytest.mark.parametrize("for_intervals", [True, False])
def test_worst_logits_bound_every_point_of_the_box_and_are_reached_in_the_last_layer(
    for_intervals: bool,
) -> None:
    network = fresh(for_intervals).learned()
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
    network = fresh().learned()
    last = network.nodes[-1].operation
    assert isinstance(last, Dense)
    last.weight[1] = last.weight[0]
    x, _ = bars(4)
    labels = torch.zeros(4, dtype=torch.int64)
    worst = worst_logits(network, Interval(x - RADIUS, x + RADIUS), labels)
    assert torch.allclose(worst[:, :2], torch.zeros(4, 2), atol=1e-6)


@torch.no_grad()
def test_the_radius_grows_from_nothing_to_all_of_it() -> None:
    network = fresh(for_intervals=True)
    x, labels = bars(64)
    generator = torch.Generator()
    recipe = IBPTraining(RADIUS, warm_up=0.2, ramp=0.6)
    plain = float(Standard().loss(network, TrainingBatch(x, labels, 0.0, generator)))
    losses = [
        float(recipe.loss(network, TrainingBatch(x, labels, t, generator)))
        for t in (0.1, 0.4, 0.6, 0.9)
    ]
    assert losses[0] == pytest.approx(plain)
    assert losses[0] < losses[1] < losses[2] == losses[3]
    box = Interval((x - RADIUS).clamp(0, 1), (x + RADIUS).clamp(0, 1))
    bounds = worst_logits(network.network(), box, labels)
    worst = torch.nn.functional.cross_entropy(bounds, labels)
    assert losses[3] == pytest.approx(float(worst))
    half = replace(recipe, clean_share=0.5).loss(network, TrainingBatch(x, labels, 1.0, generator))
    assert float(half) == pytest.approx((plain + float(worst)) / 2)


def test_once_normalisation_is_settled_its_statistics_stay_and_the_loss_is_of_bounds() -> None:
    network = small_cnn((1, 8, 8), 4, 0, Style(for_intervals=True, normalised=True)).train()
    x, labels = bars(64)
    recipe, generator = IBPTraining(RADIUS, ramp=0.4, settled=0.5), torch.Generator()
    recipe.loss(network, TrainingBatch(x, labels, 0.49, generator))
    learned = [value.clone() for value in network.state_dict().values()]
    loss = recipe.loss(network, TrainingBatch(x / 2, labels, 0.5, generator))
    assert all(map(torch.equal, learned, network.state_dict().values()))
    worst = worst_logits(network.eval().network(), box_around(x / 2, RADIUS), labels)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(worst, labels))


def test_a_diverging_loss_is_an_error() -> None:
    x, labels = bars(64)
    with pytest.raises(FloatingPointError, match="epoch 1"):
        fit(fresh(), Standard(), x * float("inf"), labels, Schedule(1, batch=32), 0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_weight_is_trained(architecture: str) -> None:
    learner = ARCHITECTURES[architecture](SHAPE, 4, 0, Style(normalised=True))
    weights = [weight for weight in learner.parameters() if weight.requires_grad]
    before = [weight.clone() for weight in weights]
    losses_of(learner, Schedule(2, batch=256))
    assert not any(map(torch.equal, before, weights))


def losses_of(learner: Learner, schedule: Schedule, seed: int = 0) -> list[float]:
    found: list[float] = []
    x, labels = bars(512)
    recipe = GaussianTraining(0.2)
    fit(learner, recipe, x, labels, schedule, seed, lambda _, loss: found.append(loss))
    return found


@pytest.mark.slow
def test_the_residual_network_learns() -> None:
    learner = residual_cnn(SHAPE, 4, 0)
    losses = losses_of(learner, Schedule(8, batch=32, learning_rate=3e-3))
    assert losses[-1] < 0.1 * losses[0]
    assert accuracy(learner.learned()) > 0.95


def test_training_on_shifted_images_teaches_to_bear_a_shift() -> None:
    """Columns 0 and 4 alone: moved by one pixel they cannot be taken for each other."""
    x, labels = bars(512)
    x, labels = x[labels % 2 == 0], labels[labels % 2 == 0]
    moved = torch.nn.functional.pad(x, [0, 1])[..., 1:]
    right = []
    for augmentation in (Augmentation(), Augmentation(shift=1)):
        learner = fresh()
        schedule = Schedule(6, batch=32, learning_rate=3e-3, augmentation=augmentation)
        fit(learner, Standard(), x, labels, schedule, 0)
        right.append(float((learner.learned()(moved).argmax(1) == labels).float().mean()))
    assert right[0] < 0.9 < 0.99 < right[1]


def test_a_residual_block_begins_as_the_identity() -> None:
    network = residual_cnn(SHAPE, 4, 0).learned()
    values: list[torch.Tensor] = [bars(8)[0]]
    for node in network.nodes[1:]:
        values.append(apply(node.operation, [values[parent] for parent in node.parents]))
    (block,) = (i for i, node in enumerate(network.nodes) if isinstance(node.operation, Sum))
    shortcut = network.nodes[block].parents[0]
    assert torch.equal(values[block + 1], values[shortcut])
    assert bool(values[shortcut].any())


def test_the_same_seed_varies_the_same_images() -> None:
    schedule = Schedule(1, batch=64, augmentation=Augmentation(mirror=True, shift=2))
    weights = []
    for seed in (0, 0, 1):
        learner = fresh()
        losses_of(learner, schedule, seed)
        weights.append(next(learner.parameters()).detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def numbered(count: int, height: int = 4, width: int = 5) -> torch.Tensor:
    """Images whose entries are all different and none of them zero."""
    return torch.arange(1.0, 1 + count * 2 * height * width).reshape(count, 2, height, width)


def test_an_image_is_mirrored_as_a_whole_or_not_at_all() -> None:
    x = numbered(200)
    varied = Augmentation(mirror=True)(x, torch.Generator().manual_seed(0))
    mirrored = (varied == x.flip(3)).flatten(1).all(1)
    assert bool((mirrored | (varied == x).flatten(1).all(1)).all())
    assert 70 < int(mirrored.sum()) < 130


def test_an_image_is_shifted_by_every_amount_and_black_comes_in() -> None:
    x = numbered(2000)
    varied = Augmentation(shift=1)(x, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(x, [1, 1, 1, 1])
    found = torch.zeros(3, 3, dtype=torch.int64)
    for down in range(3):
        for right in range(3):
            view = padded[:, :, down : down + 4, right : right + 5]
            found[down, right] = (varied == view).flatten(1).all(1).sum()
    assert int(found.sum()) == len(x)
    assert int(found.min()) > 150
    assert int(found.max()) < 300


def test_no_augmentation_draws_nothing_and_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    x = numbered(4)
    assert Augmentation()(x, generator) is x
    assert torch.equal(generator.get_state(), before)


def test_a_negative_shift_is_refused() -> None:
    with pytest.raises(ValueError, match="not -1"):
        Augmentation(shift=-1)
