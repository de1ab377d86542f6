"""A network in training is the graph that it is written as, and its training can be continued."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evaluators.learning.architectures import (
    ARCHITECTURES,
    Architecture,
    Style,
    cnn5,
    small_cnn,
)
from evaluators.learning.beginning import begin_with
from evaluators.learning.layers import Affine
from evaluators.learning.learner import Learner
from evaluators.learning.loop import Schedule, fit
from evaluators.network.elementwise import LeakyReLU
from evaluators.network.network import Network
from evaluators.onnx.reader import import_onnx
from evaluators.onnx.writer import export_onnx
from evaluators.training.gaussian import GaussianTraining
from evaluators.training.standard import Standard
from tests.fixtures.effort import first_alone

SHAPE = (1, 8, 8)
NORMALISED = Style(normalised=True)


def examples(count: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, *SHAPE, generator=generator)
    return x, (x.flatten(1).sum(1) > 32).long()


@pytest.mark.parametrize("normalised", first_alone([True, False]))
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_file_answers_as_the_module(
    architecture: str, normalised: bool, tmp_path: Path
) -> None:
    learner = ARCHITECTURES[architecture](SHAPE, 4, 0, Style(normalised=normalised, width=0.5))
    x, labels = examples()
    fit(learner, Standard(), x, labels, Schedule(3, batch=16, learning_rate=0.02), 0)
    export_onnx(learner.learned(), tmp_path / "model.onnx")
    read = import_onnx(tmp_path / "model.onnx")
    assert torch.allclose(read.to(torch.float32)(x), learner(x), atol=1e-4)
    assert not any("Norm" in node.name for node in read.nodes)


def test_in_training_the_graph_is_normalised_by_the_last_batch() -> None:
    learner = small_cnn(SHAPE, 4, 0, NORMALISED).train()
    x, _ = examples()
    logits = learner(x)
    assert torch.allclose(learner.network()(x), logits, atol=1e-4)
    learner(x / 2)
    assert not torch.allclose(learner.network()(x), logits, atol=1e-2)


def test_a_loss_of_the_graph_reaches_the_statistics_of_the_batch() -> None:
    learner = small_cnn(SHAPE, 4, 0, NORMALISED).train()
    x, _ = examples()
    learner(x.requires_grad_())
    (gradient,) = torch.autograd.grad(learner.network()(torch.zeros(1, *SHAPE)).sum(), [x])
    assert bool(gradient.any())


def test_normalised_layers_have_mean_zero_and_variance_one() -> None:
    layer = Affine(((3,), (5,)), torch.randn(5, 3), normalised=True).train()
    y = layer(torch.randn(1000, 3) * 4 + 2)
    assert torch.allclose(y.mean(0), torch.zeros(5), atol=1e-4)
    assert torch.allclose(y.var(0), torch.ones(5), atol=1e-2)


@pytest.mark.parametrize("dims", [(), (7,), (6, 5)])
def test_the_statistics_of_a_batch_and_their_derivatives_are_those_of_torch(
    dims: tuple[int, ...],
) -> None:
    layer = Affine(((3, *dims), (4, *dims)), torch.randn(4, 3, 1, 1), normalised=True).train()
    y = (torch.randn(50, 4, *dims) * 3 + 1).requires_grad_()
    layer._seen = y
    mean, variance = layer.batch_statistics()
    known, middle = torch.var_mean(y, [0, *range(2, y.dim())], correction=0)
    torch.testing.assert_close((mean, variance), (middle, known))
    one, other = (
        torch.autograd.grad((pair[0].sin() + pair[1] ** 2).sum(), y)
        for pair in ((mean, variance), (middle, known))
    )
    torch.testing.assert_close(one, other)


def test_what_is_settled_normalises_by_averages_and_leaves_them() -> None:
    learner = small_cnn(SHAPE, 4, 0, NORMALISED).train()
    x, _ = examples()
    learner(x)
    learner.settle()
    before = [value.clone() for value in learner.state_dict().values()]
    logits = learner(x / 2)
    assert all(map(torch.equal, before, learner.state_dict().values()))
    torch.testing.assert_close(logits, learner.eval()(x / 2))
    torch.testing.assert_close(learner.train().network()(x / 2), logits)


def test_a_continued_training_ends_as_one_that_was_never_interrupted(tmp_path: Path) -> None:
    x, labels = examples()
    recipe, schedule, checkpoint = GaussianTraining(0.1), Schedule(4, batch=16), tmp_path / "c"
    whole, parts = (small_cnn(SHAPE, 4, 0, NORMALISED) for _ in range(2))
    fit(whole, recipe, x, labels, schedule, 0)

    def interrupt(epoch: int, _: float) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(parts, recipe, x, labels, schedule, 0, interrupt, checkpoint)
    again, seen = small_cnn(SHAPE, 4, 0, NORMALISED), list[int]()
    before = torch.load(checkpoint)["seconds"]
    seconds = fit(
        again, recipe, x, labels, schedule, 0, lambda epoch, _: seen.append(epoch), checkpoint
    )
    assert seen == [3, 4]
    assert seconds > before > 0
    for one, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    x, labels = examples()
    checkpoint = tmp_path / "c"
    recipe, schedule = Standard(), Schedule(1, batch=16)
    fit(small_cnn(SHAPE, 4, 0), recipe, x, labels, schedule, 0, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="another training"):
        fit(small_cnn(SHAPE, 4, 0), recipe, x, labels, schedule, 1, checkpoint=checkpoint)


def test_a_training_that_began_otherwise_is_another(tmp_path: Path) -> None:
    x, labels = examples()
    checkpoint, schedule = tmp_path / "c", Schedule(1, batch=16)
    fit(small_cnn(SHAPE, 4, 0), Standard(), x, labels, schedule, 0, checkpoint=checkpoint)
    begun = small_cnn(SHAPE, 4, 0)
    begin_with(begun, small_cnn(SHAPE, 4, 1).learned())
    with pytest.raises(ValueError, match="another training"):
        fit(begun, Standard(), x, labels, schedule, 0, checkpoint=checkpoint)


def test_bfloat16_trains_float32_weights() -> None:
    learner = small_cnn(SHAPE, 4, 0, NORMALISED)
    x, labels = examples()
    fit(learner, Standard(), x, labels, Schedule(1, batch=16, bfloat16=True), 0)
    assert all(weight.dtype is torch.float32 for weight in learner.parameters())
    assert bool(learner.learned()(x).isfinite().all())


@pytest.mark.parametrize("dims", [(), (6, 5)])
def test_normalising_in_bfloat16_is_normalising_rounded(dims: tuple[int, ...]) -> None:
    shapes, x = ((3, *dims), (4, *dims)), torch.randn(200, 3, *dims) * 3 + 1
    weight, layout = torch.randn(4, 3, *(1,) * len(dims)), (1, 0)
    exact, rounded = (Affine(shapes, weight.clone(), layout, normalised=True) for _ in range(2))
    y = exact.train()(x)
    with torch.autocast("cpu", torch.bfloat16):
        z = rounded.train()(x)
        graph = rounded.batch_statistics()
    assert z.dtype is torch.bfloat16
    assert torch.allclose(z.float(), y, atol=0.05)
    pairs = zip(
        (exact.running_mean, exact.running_variance, *exact.batch_statistics()),
        (rounded.running_mean, rounded.running_variance, *graph),
        strict=True,
    )
    assert all(torch.allclose(one, other, rtol=0.03, atol=0.03) for one, other in pairs)


def first_of(learner: Learner) -> Affine:
    layer = learner.layers[0]
    assert isinstance(layer, Affine)
    return layer


def test_the_average_of_weights_lies_between_those_of_the_steps_and_ends_the_training() -> None:
    x, labels = examples()
    plain, kept, last = (small_cnn(SHAPE, 4, 0, NORMALISED) for _ in range(3))
    first = first_of(plain).weight.detach().clone()
    fit(plain, Standard(), x, labels, Schedule(2, batch=16), 0)
    fit(kept, Standard(), x, labels, Schedule(2, batch=16, average=0.999), 0)
    fit(last, Standard(), x, labels, Schedule(2, batch=16, average=1e-9), 0)
    ends = [first_of(one).weight.detach() for one in (plain, kept, last)]
    assert torch.allclose(ends[2], ends[0], atol=1e-6)
    # 0.999 keeps nearly all of what the first of eight steps left.
    assert 0 < float((ends[1] - first).norm()) < 0.5 * float((ends[0] - first).norm())
    assert not torch.allclose(first_of(plain).running_mean, first_of(kept).running_mean)


def test_an_averaged_training_is_continued_with_its_average(tmp_path: Path) -> None:
    x, labels = examples()
    schedule, checkpoint = Schedule(2, batch=16, average=0.9), tmp_path / "c"
    whole, parts, again = (small_cnn(SHAPE, 4, 0, NORMALISED) for _ in range(3))
    fit(whole, Standard(), x, labels, schedule, 0)

    def interrupt(_epoch: int, _loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(parts, Standard(), x, labels, schedule, 0, interrupt, checkpoint)
    fit(again, Standard(), x, labels, schedule, 0, checkpoint=checkpoint)
    assert torch.equal(first_of(whole).weight, first_of(again).weight)


def test_an_average_that_keeps_all_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\), not 1"):
        Schedule(1, average=1.0)


def test_a_training_begins_as_the_network_that_it_begins_with() -> None:
    x, labels = examples()
    taught = small_cnn(SHAPE, 4, 0, NORMALISED)
    fit(taught, Standard(), x, labels, Schedule(2, batch=16), 0)
    begun = small_cnn(SHAPE, 4, 1)
    begin_with(begun, taught.learned().to(torch.float64))
    assert torch.allclose(begun(x), taught(x), atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "style", "sentence"),
    [
        (small_cnn, NORMALISED, "without normalisation"),
        (small_cnn, Style(rescaling="orthogonal"), "without 1-Lipschitz layers"),
        (small_cnn, Style(width=0.5), "other sizes"),
        (cnn5, Style(), "other sizes"),
    ],
)
def test_another_network_to_begin_with_is_refused(
    architecture: Architecture, style: Style, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        begin_with(architecture(SHAPE, 4, 1, style), small_cnn(SHAPE, 4, 0).learned())


def test_the_same_sizes_with_another_function_between_are_refused() -> None:
    network = small_cnn(SHAPE, 4, 0).learned()
    leaky = [
        replace(node, operation=LeakyReLU(0.5)) if isinstance(node.operation, LeakyReLU) else node
        for node in network.nodes
    ]
    with pytest.raises(ValueError, match="answers otherwise"):
        begin_with(small_cnn(SHAPE, 4, 1), Network(tuple(leaky)))
