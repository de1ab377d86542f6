"""The semidefinite methods: what they prove holds, and is more than lines and products prove."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.deterministic.alpha_crown import AlphaCROWN
from evaluators.deterministic.lipsdp import LipSDP
from evaluators.deterministic.lmi import LMI
from evaluators.deterministic.lp import LP
from evaluators.deterministic.op_norm import OpNorm
from evaluators.deterministic.sdp import SDP
from evaluators.evaluator import Evaluator
from evaluators.lipschitz.constants import here
from evaluators.network.network import Network
from evaluators.propagation.intervals import interval_bounds
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.unrolled.quadratic import Forms, Goal, ProductMultipliers, least
from evaluators.unrolled.relus import as_relus
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from tests.fixtures.certificates import ball, least_margin
from tests.fixtures.effort import examples, first_alone
from tests.fixtures.networks import Graph
from tests.fixtures.tiny import FAMILIES, ask, centers, least_margins, points_of

METHODS = (SDP(), LMI(), LipSDP())
RELU = ("relu 2-3-2", "relu 2-4-4-3", "leaky 2-4-3-3", "residual", "pooled")


def asked(family: str, seed: int, norm: Norm, radius: Fraction) -> Problem:
    network = FAMILIES[family](seed)
    return ask(network, centers(network, seed, 3), Ball(norm, radius)).select([seed % 3])


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(0, 10**4), st.sampled_from(METHODS), st.sampled_from([Norm.LINF, Norm.L1]))
def test_no_margin_is_above_the_enumeration_of_all_linear_regions(
    seed: int, method: Evaluator, norm: Norm
) -> None:
    problem = asked(RELU[seed % 4], seed, norm, Fraction(1, 5))
    assert isinstance(problem.network, Network)
    polygon = ball(norm.value, problem.x[0], Fraction(1, 5), 0.0, 1.0)
    exact = least_margin(problem.network, polygon, int(problem.labels[0]))
    (verdict,) = method(problem)
    assert not verdict.note.startswith(("failed", "refused"))
    assert verdict.margin is None or Fraction(verdict.margin) <= exact


@settings(max_examples=examples(40), deadline=None)
@given(
    st.sampled_from(RELU),
    st.integers(0, 99),
    st.sampled_from(list(Norm)),
    st.integers(-3, 6),
    st.sampled_from(["own", "crossed", "differences"]),
)
def test_whatever_the_multipliers_are_no_point_of_the_region_is_below(
    family: str, seed: int, norm: Norm, power: int, pairs: str
) -> None:
    problem = asked(family, seed, norm, Fraction(1, 4))
    around = as_relus(UnrolledProblem.of(problem, 0, problem.deadline()))
    forms = Forms.of(around)
    if forms is None:
        return
    constants, generator = None, torch.Generator().manual_seed(seed)
    if pairs != "own":
        products = torch.randn(forms.variables + 1, forms.variables + 1, generator=generator)
        forms = forms.crossed(products.double(), 9)
    if pairs == "differences":
        forms = forms.between_points()
        logits = interval_bounds(around.unrolled.network, around.x, around.x)[-1]
        constants = here(logits, problem.labels)[0]
    drawn = [
        torch.randn(count, generator=generator).double() * 10.0**power
        for count in (len(forms.low), len(forms.left), 1)
    ]
    # Pairs may have any sign here, which `least` must trust of a unit's own alone.
    chosen = ProductMultipliers(drawn[0].abs() + 10.0**power, drawn[1] / 4, drawn[2][0].abs())
    assert isinstance(problem.network, Network)
    assert isinstance(problem.region, Ball)
    points = points_of(problem.region, problem.x[0], 9)
    true = least_margins(problem.network, points, int(problem.labels[0]))
    for row, margin in enumerate(true.tolist()):
        goal = Goal.of(around, forms, row)
        if constants is not None:
            goal = goal._replace(constant=constants[row], lost=2 * goal.lost)
        assert least(forms, goal, chosen) <= margin + 1e-9 * max(1.0, abs(margin))


def test_between_two_points_a_multiplier_of_pairs_below_zero_counts_as_none() -> None:
    problem = asked("relu 2-4-4-3", 1, Norm.L2, Fraction(1, 4))
    around = UnrolledProblem.of(problem, 0, problem.deadline())
    forms = Forms.of(around)
    assert forms is not None
    changes, goal = forms.between_points(), Goal.of(around, forms, 0)
    one = torch.ones(len(forms.low)).double()
    below, none = (
        ProductMultipliers(one, torch.full((forms.units,), pairs).double(), one[0])
        for pairs in (-0.5, 0.0)
    )
    assert least(changes, goal, below) == least(changes, goal, none) > -torch.inf
    assert least(forms, goal, below) != least(forms, goal, none)


def test_of_two_units_a_multiplier_above_zero_counts_as_none() -> None:
    problem = asked("pooled", 2, Norm.LINF, Fraction(1, 4))
    around = UnrolledProblem.of(problem, 0, problem.deadline())
    forms = Forms.of(around)
    assert forms is not None
    low = -torch.ones(forms.variables + 1, forms.variables + 1).double()
    forms, goal = forms.crossed(low, 2), Goal.of(around, forms, 0)
    assert len(forms.left) == forms.units + 2
    assert not bool(forms.own[-2:].any())
    one = torch.ones(len(forms.low)).double()
    pairs = torch.zeros(len(forms.left)).double()
    above, none, below = (
        least(forms, goal, ProductMultipliers(one, pairs.index_fill(0, last, of), one[0]))
        for last, of in ((torch.arange(-2, 0) + len(pairs), of) for of in (0.5, 0.0, -0.5))
    )
    assert above == none > -torch.inf
    assert below != none


def test_products_of_two_neurons_raise_what_the_matrix_proves() -> None:
    raised = 0
    for seed in range(3):
        network, region = FAMILIES["pooled"](seed), Ball(Norm.LINF, Fraction(3, 5), -9.0, 9.0)
        problem = ask(network, centers(network, seed, 3), region).select([seed % 3])
        (alone,), (coupled,) = SDP()(problem), LMI()(problem)
        assert alone.margin is not None
        assert coupled.margin is not None
        assert coupled.margin >= alone.margin
        raised += coupled.margin > alone.margin + 0.01
    assert raised


@pytest.mark.parametrize("norm", first_alone([Norm.L2, Norm.L1]))
def test_in_balls_no_margin_is_below_that_of_lines(norm: Norm) -> None:
    more = 0
    for seed in range(6):
        problem = asked(RELU[1], seed, norm, Fraction(3, 5))
        (lines,) = AlphaCROWN()(problem)
        for method in (SDP(), LMI()):
            (matrix,) = method(problem)
            assert lines.margin is not None
            assert matrix.margin is not None
            assert matrix.margin >= lines.margin
            more += matrix.margin > lines.margin
    assert more


def test_a_leaky_network_has_the_bounds_of_its_twin_of_plain_relus() -> None:
    for seed in range(6):
        problem = asked("leaky 2-4-3-3", seed, Norm.L2, Fraction(1, 4))
        around = UnrolledProblem.of(problem, 0, problem.deadline())
        twin = as_relus(around)
        forms = Forms.of(twin)
        if forms is None:
            continue
        assert bool((twin.lines.leak == 0).all())
        x = problem.x.double()
        values, n = x.flatten(), around.unrolled.inputs
        plain = values.clone()
        for leaky, layer in zip(around.unrolled.layers, twin.unrolled.layers, strict=True):
            z = leaky.rows.weight @ values + leaky.rows.bias
            assert torch.allclose(z, layer.rows.weight @ plain + layer.rows.bias, atol=1e-12)
            leak = around.lines.leak[layer.first - n :][: len(z)]
            values = torch.cat((values, torch.where(z > 0, z, leak * z)))
            plain = torch.cat((plain, z.clamp(min=0)))
        goals = around.goals.weight @ values + around.goals.bias
        assert torch.allclose(goals, twin.goals.weight @ plain + twin.goals.bias, atol=1e-12)


def wide(seed: int, gap: float) -> Problem:
    """Layers of neurons that cannot all be at their worst at once; the margin at 1/2 is the gap."""
    graph = Graph((4,), seed)
    for width in (4, 10):
        graph.dense(10, 3 * graph.random(10, width), graph.random(10))
        graph.relu()
    row, x = graph.random(1, 10), torch.full((1, 4), 0.5)
    graph.dense(2, torch.cat((row, 0 * row)), torch.zeros(2).double())
    value = graph.network()(x.double())[0, :1]
    graph.nodes.pop()
    graph.dense(2, torch.cat((row, 0 * row)), torch.cat((gap - value, 0 * value)))
    region = Ball(Norm.LINF, Fraction(1, 20))
    return Problem(graph.network(), x, torch.tensor([0]), region, 1000.0, deployed=False)


def test_in_a_box_the_matrix_proves_more_than_the_triangles() -> None:
    gained = 0
    for seed in range(6):
        (lines,) = LP()(wide(seed, 1.0))
        assert lines.margin is not None
        loss = 1 - lines.margin
        # What triangles lose is the gap and a fiftieth more.
        problem = wide(seed, loss / 1.02)
        (lines,), (matrix,) = LP()(problem), SDP()(problem)
        assert lines.status is Status.UNKNOWN
        gained += matrix.status is Status.CERTIFIED
        # At the gap itself they prove what the triangles do.
        problem = wide(seed, loss * (1 + 1e-6))
        assert {method(problem)[0].status for method in (LP(), SDP())} == {Status.CERTIFIED}
    assert gained > 1


@pytest.mark.parametrize("norm", first_alone(Norm))
def test_what_products_of_norms_prove_multipliers_prove(norm: Norm) -> None:
    both = alone = 0
    for family in RELU[:2]:
        for seed in range(6):
            for radius in (Fraction(1, 100), Fraction(1, 20), Fraction(1, 8)):
                problem = asked(family, seed, norm, radius)
                (product,), (matrix,) = OpNorm()(problem), LipSDP()(problem)
                proved = matrix.status is Status.CERTIFIED
                if product.status is Status.CERTIFIED:
                    assert proved, (family, seed, radius)
                both += product.status is Status.CERTIFIED
                alone += proved
    assert alone > both


def test_of_three_logits_each_margin_has_a_bound_though_one_is_not_positive() -> None:
    for seed in range(6):
        (verdict,) = LipSDP()(asked("relu 2-4-4-3", seed, Norm.L2, Fraction(1)))
        assert verdict.status is Status.CERTIFIED or verdict.note == "bound too loose"
        assert verdict.margin is not None


@pytest.mark.parametrize("method", METHODS)
def test_what_has_no_quadratic_constraints_is_unknown_with_the_reason(method: Evaluator) -> None:
    (verdict,) = method(asked("sigmoid 2-3-3-2", 2, Norm.L2, Fraction(1)))
    assert verdict.status is Status.UNKNOWN
    assert verdict.note.startswith("unsupported: ")


@pytest.mark.parametrize("method", METHODS)
def test_past_its_time_a_method_proves_nothing_and_says_so(method: Evaluator) -> None:
    problem = replace(wide(0, 0.5), seconds=1e-9)
    (verdict,) = method(problem)
    assert verdict.status is Status.UNKNOWN
    assert "time" in verdict.note
