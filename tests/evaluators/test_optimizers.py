"""Muon turns kernels by steps of nearly equal singular values; every optimizer can be continued."""

from pathlib import Path

import pytest
import torch

from evaluators.learning.architectures import Style, residual_cnn8
from evaluators.learning.learner import Learner
from evaluators.learning.loop import Schedule, fit
from evaluators.learning.optimizers import MUON_RATE, OPTIMIZERS, Muon
from evaluators.training.standard import Standard

SHAPE = (3, 8, 8)


def fresh() -> Learner:
    return residual_cnn8(SHAPE, 4, 0, Style(normalised=True, width=0.25))


def examples(count: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))
    return x, (x.flatten(1).sum(1) > x.flatten(1).sum(1).median()).long()


def test_a_step_of_muon_has_nearly_equal_singular_values_and_adam_moves_the_last_weight() -> None:
    kernel, last = torch.randn(8, 4, 3, 3), torch.randn(2, 8)
    kernel = kernel.to(memory_format=torch.channels_last)
    weights = [kernel.clone().requires_grad_(), torch.zeros(8).requires_grad_()]
    weights.append(last.clone().requires_grad_())
    optimizer = Muon(weights, 1e-3)
    for weight in weights:
        # Of one sign, so that singular values differ much.
        weight.grad = torch.rand(weight.shape)
    optimizer.step(0.5)
    step = (weights[0].detach() - kernel).flatten(1)
    values = torch.linalg.svdvals(step) / (0.5e-3 * MUON_RATE)
    assert 0.5 < float(values.min()) <= float(values.max()) < 1.3
    assert torch.allclose(weights[2].detach(), last - 0.5e-3, atol=1e-6)
    assert torch.allclose(weights[1].detach(), torch.tensor(-0.5e-3), atol=1e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_with_any_optimizer_is_continued(optimizer: str, tmp_path: Path) -> None:
    x, labels = examples()
    schedule, checkpoint = Schedule(2, batch=16, optimizer=optimizer), tmp_path / "c"
    whole, parts, again = fresh(), fresh(), fresh()
    fit(whole, Standard(), x, labels, schedule, 0)

    def interrupt(_epoch: int, _loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(parts, Standard(), x, labels, schedule, 0, interrupt, checkpoint)
    fit(again, Standard(), x, labels, schedule, 0, checkpoint=checkpoint)
    for one, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_muon_and_adam_train_different_weights_alike_well() -> None:
    x, labels = examples()
    losses = {}
    for optimizer in OPTIMIZERS:
        seen = list[float]()
        schedule = Schedule(8, batch=16, learning_rate=3e-3, optimizer=optimizer)
        fit(fresh(), Standard(), x, labels, schedule, 0, lambda _, loss: seen.append(loss))  # noqa: B023
        losses[optimizer] = seen[-1]
        assert seen[-1] < 0.7 * seen[0]
    assert losses["adam"] != losses["muon"]
