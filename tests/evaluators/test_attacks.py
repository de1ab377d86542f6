"""Attacks beside PGD: witnesses in every region, and losses that no scale of logits masks."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from evaluators.attacks.losses import log_likelihoods, logit_ratios, targeted_ratios
from evaluators.evaluator import Evaluator
from evaluators.falsification.apgd import APGD, checkpoints
from evaluators.falsification.carlini_wagner import CarliniWagner
from evaluators.falsification.pgd import PGD
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball, Box
from evaluators.question.verdict import Status, Verdict
from tests.evaluators.test_pgd import half_space
from tests.fixtures.effort import only
from tests.fixtures.networks import Graph, linear, of_every_kind
from tests.fixtures.tiny import FAMILIES, REGIONS, ask, centers

DUALS = [(Norm.LINF, 7), (Norm.L2, 5), (Norm.L1, 4)]


def broken(verdicts: list[Verdict]) -> list[int]:
    return [row for row, each in enumerate(verdicts) if each.status is Status.FALSIFIED]


@pytest.mark.parametrize(("norm", "dual"), DUALS)
@pytest.mark.parametrize("attack", [APGD(), CarliniWagner()])
def test_a_linear_network_is_broken_just_beyond_its_radius(
    attack: Evaluator, norm: Norm, dual: int
) -> None:
    if isinstance(attack, CarliniWagner) and norm is not Norm.L2:
        return
    true = Fraction(1, 1000) / dual
    (beyond,) = attack(half_space(norm, true * Fraction(11, 10)))
    assert beyond.status is Status.FALSIFIED
    (within,) = attack(half_space(norm, true * Fraction(9, 10)))
    assert (within.status, within.note) == (Status.UNKNOWN, "no witness found")


@pytest.mark.parametrize(
    "region",
    only((name for name in REGIONS if "wide" not in name), [norm.value for norm in Norm]),
)
@pytest.mark.parametrize("attack", [APGD(steps=20), CarliniWagner(steps=40, searches=3)])
def test_witnesses_lie_in_the_region_and_are_as_many_as_pgd_finds(
    attack: Evaluator, region: str
) -> None:
    if isinstance(attack, CarliniWagner) and not region.startswith("l2"):
        return
    found = expected = 0
    for family in ("relu 2-4-4-3", "convolutional"):
        for seed in range(2):
            network = FAMILIES[family](seed)
            problem = ask(network, centers(network, seed, 4), REGIONS[region])
            verdicts = attack(problem)
            found += len(broken(verdicts))
            expected += len(broken(PGD(restarts=1)(problem)))
            for x, verdict in zip(problem.x, verdicts, strict=True):
                assert "refused" not in verdict.note
                if verdict.witness is not None:
                    assert problem.region.contains(x, verdict.witness)
    assert found >= expected > 0


def test_a_box_is_searched_by_each_entrys_width() -> None:
    network = linear([[3.0, -4.0], [0.0, 0.0]], [1.001, 0.0])
    x, half = torch.zeros(2, 2), torch.tensor([[1e-3, 0.26], [1e-3, 0.24]]).double()
    problem = Problem(network, x, torch.tensor([0, 0]), Box(-half, half))
    assert broken(APGD()(problem)) == [0]
    (first, second) = CarliniWagner()(problem)
    assert first.note == second.note == "unsupported: the attack is one on balls of l2"


def masked(scale: float) -> Problem:
    """A network of four classes whose cross-entropy is flat in float32 where logits are large."""
    graph = Graph((6,), 5)
    graph.dense(12, 2 * graph.random(12, 6).float().double())
    graph.relu()
    none = torch.zeros(4, dtype=torch.float64)
    graph.dense(4, scale * graph.random(4, 12).float().double(), none)
    x = torch.rand(12, 6, generator=torch.Generator().manual_seed(2))
    return ask(graph.network(), x, Ball(Norm.LINF, Fraction(3, 10)))


def test_a_scale_of_the_logits_masks_cross_entropy_and_no_ratio_of_logits() -> None:
    plain, scaled = masked(1.0), masked(2.0**20)
    entropy, ratio = APGD(loss="cross-entropy"), APGD(loss="dlr")
    assert len(broken(entropy(scaled))) < len(broken(entropy(plain)))
    assert broken(ratio(scaled)) == broken(ratio(plain))
    assert len(broken(entropy(scaled))) < len(broken(ratio(scaled)))
    assert set(broken(APGD()(scaled))) >= set(broken(PGD()(scaled)))


def test_losses_are_those_of_the_paper() -> None:
    """Logits 4, 1, 3, 0 of label 0: DLR is (4 - 3) / (4 - 1), to class 1 (4 - 1) / (4 - 1/2)."""
    logits, label = torch.tensor([[4.0, 1, 3, 0]]), torch.tensor([0])
    assert float(logit_ratios(logits, label)) == pytest.approx(1 / 3)
    assert float(targeted_ratios(logits, label, torch.tensor([1]))) == pytest.approx(3 / 3.5)
    entropy = torch.nn.functional.cross_entropy(logits, label)
    assert float(log_likelihoods(logits, label)) == pytest.approx(-float(entropy))


def test_checkpoints_are_those_of_the_paper() -> None:
    """Shares 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 of 100 steps, and the last one."""
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99, 100]


def test_a_target_finds_what_the_nearest_class_hides() -> None:
    """The second class's logit is a plateau above the third's slope, until far along it."""
    graph = Graph((1,))
    graph.dense(4, torch.tensor([[0.0], [0], [-9], [0]]).double(), torch.tensor([1.0, 0.9, 5, 0]))
    x = torch.tensor([[0.6]])
    problem = ask(graph.network(), x, Ball(Norm.LINF, Fraction(1, 4)))
    assert broken(APGD(loss="dlr", steps=3)(problem)) == []
    assert broken(APGD(steps=3)(problem)) == [0]


@pytest.mark.parametrize("norm", list(Norm))
def test_what_is_found_belongs_to_examples_not_to_batches(norm: Norm) -> None:
    network = of_every_kind()
    x = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    radius = {Norm.LINF: Fraction(1, 20), Norm.L2: Fraction(1, 2), Norm.L1: Fraction(3)}[norm]
    problem = replace(ask(network, x, Ball(norm, radius)), seed=5)
    for attack in (APGD(steps=10), CarliniWagner(steps=10, searches=2)):
        together, again = attack(problem), attack(problem)
        backwards = attack(problem.select(range(5, -1, -1)))[::-1]
        for row, verdict in enumerate(together):
            (alone,) = attack(problem.select([row]))
            others = (again[row], backwards[row], alone)
            assert all(other.status is verdict.status for other in others)
            assert same(verdict.witness, again[row].witness)


def same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other if one is None or other is None else torch.equal(one, other)


@pytest.mark.parametrize("attack", [APGD(steps=10**6), CarliniWagner(steps=10**6)])
def test_an_attack_stops_within_its_budget(attack: Evaluator) -> None:
    """A million steps in a hundredth of a second: it ends, and says that it found nothing."""
    problem = replace(half_space(Norm.L2, Fraction(1, 10**6)), seconds=0.01)
    (verdict,) = attack(problem)
    assert verdict.status is Status.UNKNOWN


def test_a_point_that_only_float32_misclassifies_is_no_witness(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("apgd", "carlini_wagner"):
        name = f"evaluators.falsification.{module}.why_not_witness"
        monkeypatch.setattr(name, lambda *_: "classified as the label in torch.float64")
    problem = half_space(Norm.L2, Fraction(1, 100))
    for attack in (APGD(), CarliniWagner()):
        (verdict,) = attack(problem)
        assert (verdict.status, verdict.note) == (Status.UNKNOWN, "no witness found")


def test_the_weight_is_searched_from_any_first_one() -> None:
    problem = half_space(Norm.L2, Fraction(1, 4800))
    for first in (1e-3, 1.0, 1e3):
        assert broken(CarliniWagner(first=first, steps=40, searches=8)(problem)) == [0], first
