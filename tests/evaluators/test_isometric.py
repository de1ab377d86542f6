"""Orthogonal convolutions and absolute values keep norms, and evaluators see that they do."""

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F

from evaluators.learning.architectures import orthogonal_cnn
from evaluators.learning.isometric import BlockOrthogonal, HalfAbsolute
from evaluators.learning.layers import Affine
from evaluators.lipschitz.constants import Reach
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.training.bcop import BCOPTraining

SHAPE = (1, 8, 8)


def convolution(before: int, after: int, kernel: int = 3, seed: int = 0) -> BlockOrthogonal:
    generator = torch.Generator().manual_seed(seed)
    return BlockOrthogonal(((before, 8, 8), (after, 8, 8)), kernel, generator)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("after", [6, 9])
def test_a_signal_far_from_the_border_keeps_its_norm(after: int, kernel: int) -> None:
    layer = convolution(6, after, kernel)
    x = F.pad(torch.randn(5, 6, 4, 4, generator=torch.Generator().manual_seed(1)), [2] * 4)
    with torch.no_grad():
        assert torch.allclose(layer(x).flatten(1).norm(dim=1), x.flatten(1).norm(dim=1), rtol=1e-3)


def test_fewer_channels_stretch_nothing_whatever_the_parameters() -> None:
    layer = convolution(9, 6)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 3)
        layer.bias.zero_()
        x = torch.randn(50, 9, 8, 8, generator=generator)
        assert bool((layer(x).flatten(1).norm(dim=1) <= x.flatten(1).norm(dim=1) + 1e-4).all())


def test_kernels_are_computed_in_float32_where_products_are_not() -> None:
    layer = convolution(6, 6)
    with torch.no_grad():
        plain = layer.used_weight()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(layer.used_weight(), plain)


def test_half_the_channels_are_made_positive() -> None:
    x = torch.tensor([[-1.0, 2.0, -3.0, 4.0, -5.0]])
    assert HalfAbsolute()(x).tolist() == [[-1, 2, 3, 4, 5]]


def test_the_evaluators_constant_of_an_orthogonal_network_is_one_before_its_logits() -> None:
    learner = orthogonal_cnn(SHAPE, 4, 0, BCOPTraining.style(width=0.25))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in learner.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    network = learner.learned().to(torch.float64)
    question = torch.rand(1, *SHAPE), torch.zeros(1).long(), Ball(Norm.L2, Fraction(1))
    reach = Reach.of(Problem(network, *question))
    assert 0.99 < float(reach.moved[-2].max()) < 1.001


def test_the_rows_of_the_last_matrix_have_norm_one() -> None:
    last = orthogonal_cnn(SHAPE, 4, 0, BCOPTraining.style(width=0.25)).layers[-1]
    assert isinstance(last, Affine)
    with torch.no_grad():
        last.weight.mul_(3)
        assert torch.allclose(last.used_weight().norm(dim=1), torch.ones(4))
