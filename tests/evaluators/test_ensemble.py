"""Ensembles and denoised classifiers are the functions that the papers define."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from evaluators.network.affine import Convolution
from evaluators.network.ensemble import Combination, Ensemble, SmoothedNetwork, chain, combine
from evaluators.network.network import Network
from evaluators.probabilistic.smoothing_gaussian import SmoothingGaussian
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.sampling.block import block_size
from evaluators.sampling.forward import fast_forward, memory_format
from tests.fixtures.networks import Graph, linear, perceptron, two_convolutions

SHAPE = (3, 8, 8)
RULES: tuple[Combination, ...] = ("mean-logits", "mean-softmax", "max-margin")


def members() -> tuple[Network, ...]:
    return two_convolutions(SHAPE), perceptron(SHAPE), perceptron(SHAPE, 20)


def denoiser(flat: bool = True, shape: tuple[int, ...] = SHAPE) -> Network:
    """A residual convolution; its image is flattened, as the import of a free file does."""
    graph = Graph(shape)
    graph.convolution(shape[0], kernel=3, padding=1)
    inner = graph.relu()
    graph.sum(0, inner)
    if flat:
        graph.flatten()
    else:
        graph.flatten()
        graph.dense(12 * 8)
    return graph.network()


def examples(rows: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.rand(rows, *SHAPE, dtype=torch.float64, generator=generator)


def test_the_mean_of_logits() -> None:
    ensemble, x = Ensemble(members(), "mean-logits"), examples()
    expected = torch.stack([member(x) for member in members()]).mean(0)
    assert torch.allclose(ensemble(x), expected, rtol=1e-12)


def test_the_mean_of_softmax() -> None:
    ensemble, x = Ensemble(members(), "mean-softmax"), examples()
    expected = torch.stack([member(x).softmax(1) for member in members()]).mean(0)
    assert torch.allclose(ensemble(x), expected, rtol=1e-12)


def test_the_member_with_the_largest_margin_answers_for_each_row() -> None:
    ensemble, x = Ensemble(members(), "max-margin"), examples(40)
    shares = [member(x).softmax(1) for member in members()]
    winners = set()
    for row, answer in enumerate(ensemble(x)):
        margins = [float(s[row].sort().values[-1] - s[row].sort().values[-2]) for s in shares]
        best = margins.index(max(margins))
        winners.add(best)
        assert torch.equal(answer, shares[best][row])
    assert len(winners) > 1


def test_the_rules_are_three_different_functions() -> None:
    sure, doubting = [5.0, 0.0, 0.0], [-8.0, 0.2, 0.0]
    two = torch.tensor([[sure], [doubting]])
    three = torch.tensor([[sure], [doubting], [doubting]])
    assert [int(combine(two, rule).argmax()) for rule in RULES] == [1, 0, 0]
    assert [int(combine(three, rule).argmax()) for rule in RULES] == [1, 1, 0]


def test_of_equal_margins_the_first_member_answers() -> None:
    logits = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert int(combine(logits, "max-margin").argmax()) == 0
    assert combine(logits, "max-margin").sum() == pytest.approx(1)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_member_without_a_finite_answer_leaves_the_row_without_a_class(
    rule: Combination, bad: float
) -> None:
    logits = torch.tensor([[[3.0, 1.0], [3.0, 1.0]], [[2.0, bad], [2.0, 1.0]]])
    answers = combine(logits, rule)
    assert answers[0].isnan().all()
    assert int(answers[1].argmax()) == 0


@pytest.mark.parametrize("rule", RULES)
def test_an_ensemble_of_one_answers_as_its_member(rule: Combination) -> None:
    x = examples(30)
    alone = Ensemble(members()[:1], rule)
    assert torch.equal(alone(x).argmax(1), members()[0](x).argmax(1))


@pytest.mark.parametrize(
    "make",
    [
        *(lambda rule=rule: Ensemble(members(), rule) for rule in RULES),
        lambda: chain(denoiser(), two_convolutions(SHAPE)),
        lambda: chain(denoiser(flat=False), perceptron((12, 8))),
        lambda: Ensemble((chain(denoiser(), two_convolutions(SHAPE)),), "mean-logits"),
        *(lambda rule=rule: Ensemble(members(), rule, denoiser()) for rule in RULES),
        lambda: Ensemble((perceptron((12, 8)),) * 2, "mean-logits", denoiser(flat=False)),
    ],
)
def test_the_fast_forward_pass_is_the_model(make: Callable[[], Network | Ensemble]) -> None:
    model, x = make(), examples()
    expected = model(x)
    with torch.inference_mode():
        fast = fast_forward(model)(x.contiguous(memory_format=memory_format(model)))
    assert torch.allclose(fast, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("flat", [True, False])
def test_a_chain_classifies_what_the_denoiser_returns(flat: bool) -> None:
    classifier = two_convolutions(SHAPE) if flat else perceptron((12, 8))
    whole, x = chain(denoiser(flat), classifier), examples()
    image = denoiser(flat)(x).reshape(-1, *classifier.input_shape)
    assert torch.allclose(whole(x), classifier(image), rtol=1e-12)
    assert whole.parameters == denoiser(flat).parameters + classifier.parameters
    assert (whole.input_shape, whole.classes) == (SHAPE, 10)


def test_a_chain_of_images_flattens_nothing_in_between() -> None:
    whole = chain(denoiser(), two_convolutions(SHAPE))
    assert len(whole.nodes) == len(denoiser().nodes) + len(two_convolutions(SHAPE).nodes) - 2


def test_a_denoiser_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="returns 192 entries, the classifier reads 784 "):
        chain(denoiser(), perceptron())
    with pytest.raises(ValueError, match="returns 192 entries, the classifier reads 784 "):
        Ensemble((perceptron(),), "mean-logits", denoiser())


@pytest.mark.parametrize("rule", RULES)
def test_a_denoiser_before_an_ensemble_is_the_ensemble_of_chains(rule: Combination) -> None:
    chains = Ensemble(tuple(chain(denoiser(), member) for member in members()), rule)
    shared, x = Ensemble(members(), rule, denoiser()), examples()
    assert torch.equal(shared(x), chains(x))
    assert (shared.input_shape, shared.classes) == (chains.input_shape, chains.classes)
    assert shared.parameters == chains.parameters - (len(members()) - 1) * denoiser().parameters
    copy = shared.to(torch.float32)
    assert copy.denoiser is not None
    assert copy(x.float()).dtype is torch.float32


def test_a_denoiser_before_an_ensemble_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    original = torch.nn.functional.conv2d

    def counting(x: torch.Tensor, weight: torch.Tensor, *more: Any) -> torch.Tensor:
        passes.append(weight.shape)
        return original(x, weight, *more)

    monkeypatch.setattr(torch.nn.functional, "conv2d", counting)
    with torch.inference_mode():
        fast_forward(Ensemble((perceptron(SHAPE),) * 3, "mean-logits", denoiser()))(examples())
    convolutions = [n for n in denoiser().nodes if isinstance(n.operation, Convolution)]
    assert len(passes) == len(convolutions) > 0


def test_blocks_fit_the_denoiser_too() -> None:
    cpu, wide = torch.device("cpu"), Graph(SHAPE)
    wide.convolution(128, kernel=3, padding=1)
    wide.convolution(3, kernel=3, padding=1)
    wide.flatten()
    small = Ensemble((perceptron(SHAPE),), "mean-logits")
    large = replace(small, denoiser=wide.network())
    assert block_size(large, cpu) == block_size(wide.network(), cpu) < block_size(small, cpu)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ((), "at least one member"),
        ((perceptron(SHAPE), perceptron((3, 4, 4))), r"Member 2 .* inputs of shape \(3, 4, 4\)"),
        (
            (linear([[1.0]], [0.0]), linear([[1.0], [2.0]], [0.0, 1.0])),
            "has 2 classes, the first 1",
        ),
    ],
)
def test_members_that_do_not_fit_are_refused(others: tuple[Network, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ensemble(others, "mean-logits")


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(Exception, match="vote"):
        Ensemble(members(), "vote")  # type: ignore[arg-type]


def test_a_copy_has_the_members_type_and_answers() -> None:
    ensemble = Ensemble(members(), "mean-softmax")
    assert ensemble.to(torch.float32)(examples().float()).dtype is torch.float32
    assert ensemble.parameters == sum(member.parameters for member in members())


def test_blocks_fit_the_largest_layer_of_any_member() -> None:
    cpu = torch.device("cpu")
    small, large = perceptron((1, 28, 28)), two_convolutions()
    assert block_size(Ensemble((small, large), "mean-logits"), cpu) == block_size(large, cpu)


@pytest.mark.parametrize("rule", RULES)
def test_a_smoothed_ensemble_is_certified_within_its_true_radius(rule: Combination) -> None:
    """Two half planes with one boundary: any mean of them has it too."""
    planes = tuple(linear([[0.0, 0.0], [3.0 * k, -4.0 * k]], [0.0, 0.0]) for k in (1, 3))
    network = SmoothedNetwork(Ensemble(planes, rule), "gaussian", Fraction(1, 2))
    x = torch.tensor([[0.5 * 3 / 5, -0.5 * 4 / 5]])
    ball = Ball(Norm.L2, Fraction(2, 5), low=-9.0, high=9.0)
    (verdict,) = SmoothingGaussian(n=20_000)(Problem(network, x, torch.tensor([1]), ball))
    assert verdict.status is Status.CERTIFIED
    assert verdict.radius is not None
    assert Fraction(2, 5) < verdict.radius < Fraction(1, 2)
