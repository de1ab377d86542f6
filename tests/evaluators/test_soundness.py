"""No evaluator of the catalogue ever proves what is false.

Tiny networks, wide regions, dense grids with corners. A new evaluator joins by being in its folder.
All tests of a region stand together, since they ask about the same verdicts.
"""

from dataclasses import replace
from functools import cache
from itertools import product

import pytest
from torch import Tensor

from evaluators.cascade import Cascade, default_stages
from evaluators.evaluator import PREDICTION, Evaluator
from evaluators.listing import catalogue
from evaluators.network.network import Network
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict
from tests.fixtures import effort
from tests.fixtures.cases import cases
from tests.fixtures.effort import only
from tests.fixtures.methods import LONG, quick_first
from tests.fixtures.tiny import FAMILIES, REGIONS, ask, centers, least_margins, points_of

DETERMINISTIC = {name: e for name, e in catalogue().items() if e.accepts is Network}
QUICK = [name for name, e in DETERMINISTIC.items() if e.certifies and name not in LONG]
"""Methods of which `make test` asks; attacks prove nothing, which `make test-all` sees of them."""

SEEDS = (3, 1, 2, 0)
"""The first ones leave most to prove in every region."""

EXAMPLES = 4
SLACK = 1e-12
"""What evaluating a grid point in float64 may cost, relative to the margin's size."""

SECONDS = 5.0
"""For an example: a search that needs more ends with a counterexample, which proves nothing."""

AROUND_A_RUN, FLOAT32 = ("lipschitz-margin",), 1e-5
"""Methods whose margins begin with what one float32 run computes, and how far two runs differ."""

Case = tuple[Problem, list[float]]


FAST = "linf"
"""The region of which `make test` asks; `make test-all` asks of all."""


@pytest.fixture(
    scope="module",
    params=[r if r == FAST else pytest.param(r, marks=pytest.mark.slow) for r in REGIONS],
)
def region(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@cache
def problems(family: str, region: str) -> list[Case]:
    """Problems with the least margin on each example's grid."""
    found = []
    for seed in SEEDS:
        network = FAMILIES[family](seed)
        asked = ask(network, centers(network, seed, EXAMPLES), REGIONS[region])
        problem = replace(asked, seconds=SECONDS)
        found.append((problem, [float(m.min()) for m in grid_margins(problem)]))
    return found


def grid_margins(problem: Problem) -> list[Tensor]:
    assert isinstance(problem.network, Network)
    assert isinstance(problem.region, Ball)
    steps = 21 if problem.x[0].numel() == 2 else 5
    return [
        least_margins(problem.network, points_of(problem.region, x, steps), int(label))
        for x, label in zip(problem.x, problem.labels, strict=True)
    ]


def families(name: str, region: str) -> list[str]:
    """The families that a method is asked about in a region.

    Methods that take long, and attacks, which can prove nothing, are asked about half of them
    within the pixel range, and about the other half in the region of the same norm that nothing
    clips; every night about all.
    """
    if effort.share == 1 or (name not in LONG and DETERMINISTIC[name].certifies):
        return [*FAMILIES]
    return [*FAMILIES]["unclipped" in region :: 2]


@cache
def verdicts(name: str, family: str, region: str) -> list[list[Verdict]]:
    evaluator = DETERMINISTIC[name]()
    # The regions beyond the first three have fewer, and so have attacks, which can prove nothing,
    # and methods that take long: thousands more are asked about by enumeration (test_exact.py),
    # and more here every night.
    count = len(SEEDS) // (1 if region in ("linf", "l2", "l1") else 2)
    if name in LONG or not evaluator.certifies:
        count = max(1, count // (2 if effort.share == 1 else 4))
    return [evaluator(problem) for problem, _ in problems(family, region)[:count]]


@pytest.mark.parametrize("name", only(DETERMINISTIC, QUICK))
def test_what_is_proved_holds_on_a_dense_grid(name: str, region: str) -> None:
    with cases() as case:
        for family in families(name, region):
            with case(family):
                _holds_on_a_dense_grid(name, family, region)


def _holds_on_a_dense_grid(name: str, family: str, region: str) -> None:
    for (_, least), found in zip(
        problems(family, region), verdicts(name, family, region), strict=False
    ):
        for margin, verdict in zip(least, found, strict=True):
            assert not verdict.note.startswith(("failed", "refused")), verdict.note
            if verdict.margin is not None:
                assert verdict.margin <= margin + SLACK * max(1.0, abs(margin))
            if verdict.status is Status.CERTIFIED:
                assert margin > 0


def test_crown_proves_all_that_ibp_proves(region: str) -> None:
    with cases() as case:
        for family in FAMILIES:
            with case(family):
                _crown_proves_all_that_ibp_proves(family, region)


def _crown_proves_all_that_ibp_proves(family: str, region: str) -> None:
    pairs = zip(verdicts("ibp", family, region), verdicts("crown", family, region), strict=True)
    for loose, tight in pairs:
        for before, after in zip(loose, tight, strict=True):
            if before.stage == PREDICTION:  # A tie at the example itself: no method was asked.
                assert after.stage == PREDICTION
                continue
            assert before.margin is not None
            assert after.margin is not None
            assert after.margin >= before.margin - SLACK * max(1.0, abs(before.margin))


@pytest.mark.slow
def test_no_attack_breaks_anything_that_is_proved(region: str) -> None:
    attacks = [name for name, evaluator in DETERMINISTIC.items() if not evaluator.certifies]
    for family in families(attacks[0], region):
        found = [_of_status(name, family, region, Status.FALSIFIED) for name in attacks]
        broken = [any(each) for each in zip(*found, strict=True)]
        for name, evaluator in DETERMINISTIC.items():
            if evaluator.certifies:
                proved = _of_status(name, family, region, Status.CERTIFIED)
                both = [a and b for a, b in zip(broken, proved, strict=False)]
                assert not any(both), (family, name)


def _of_status(name: str, family: str, region: str, status: Status) -> list[bool]:
    return [v.status is status for vs in verdicts(name, family, region) for v in vs]


@pytest.mark.parametrize(
    "region",
    [FAST, *(pytest.param(norm, marks=pytest.mark.slow) for norm in ("l2", "l1"))],
    indirect=True,
)
def test_the_cascade_decides_all_that_any_stage_decides(region: str) -> None:
    with cases() as case:
        for family in FAMILIES:
            with case(family):
                _cascade_decides_all_that_any_stage_decides(family, region)


def _cascade_decides_all_that_any_stage_decides(family: str, region: str) -> None:
    stages = default_stages()
    problem, _ = problems(family, region)[0]
    for row, verdict in enumerate(Cascade(stages)(problem)):
        alone = {verdicts(stage.name(), family, region)[0][row].status for stage in stages}
        decided = alone - {Status.UNKNOWN}
        assert len(decided) <= 1
        assert {verdict.status} == (decided or {Status.UNKNOWN})


@pytest.mark.parametrize("name", quick_first(n for n, e in DETERMINISTIC.items() if e.certifies))
def test_in_every_region_each_method_proves_some_and_not_all(name: str, region: str) -> None:
    """Bounds that hold for the whole space at once prove some in a smaller one of its kind."""
    proved = [
        each
        for family in families(name, region)
        for each in _of_status(name, family, region, Status.CERTIFIED)
    ]
    assert sum(proved) < len(proved)
    assert any(proved) or _proves_in_a_smaller_one(name, region)


def _proves_in_a_smaller_one(name: str, region: str) -> bool:
    smaller = replace(REGIONS[region], radius=REGIONS[region].radius / 20)
    for family in families(name, region):
        (problem, _), *_ = problems(family, region)
        verdicts_there = DETERMINISTIC[name]()(replace(problem, region=smaller))
        if any(v.status is Status.CERTIFIED for v in verdicts_there):
            return True
    return False


def test_every_family_has_some_to_prove_and_some_to_break() -> None:
    for family in FAMILIES:
        least = [m for region in REGIONS for _, ms in problems(family, region) for m in ms]
        assert min(least) < 0 < max(least), family


@pytest.mark.parametrize("name", only(DETERMINISTIC, QUICK))
def test_answers_do_not_depend_on_the_batch(name: str) -> None:
    evaluator: Evaluator = DETERMINISTIC[name]()
    for family in ("relu 2-4-4-3", "residual", "pooled"):
        problem, _ = problems(family, "linf")[0]
        together = evaluator(problem)
        for row, verdict in enumerate(together):
            (alone,) = evaluator(problem.select([row]))
            assert alone.status is verdict.status
            if verdict.margin is not None:
                alike = FLOAT32 if name in AROUND_A_RUN else 1e-9
                assert alone.margin == pytest.approx(verdict.margin, rel=alike, abs=1e-12)


@pytest.mark.parametrize("name", quick_first(DETERMINISTIC))
def test_an_example_that_is_no_image_is_unknown(name: str) -> None:
    problem, _ = problems("relu 2-4-4-3", "linf")[0]
    with cases() as case:
        for value in (float("nan"), float("inf"), -0.5, 1.5):
            x = problem.x.clone()
            x[2, 0] = value
            with case(value):
                found = DETERMINISTIC[name]()(
                    Problem(problem.network, x, problem.labels, problem.region, deployed=False)
                )
                assert found[2].status is Status.UNKNOWN
                assert found[0].status is verdicts(name, "relu 2-4-4-3", "linf")[0][0].status


@pytest.mark.parametrize("name", quick_first(DETERMINISTIC))
def test_a_network_that_leaves_the_numbers_is_never_certified(name: str) -> None:
    with cases() as case:
        for value, layer in product((float("nan"), float("inf"), 1e300), (1, 3, 5)):
            with case((value, layer)):
                _never_certified(name, value, layer)


def _never_certified(name: str, value: float, layer: int) -> None:
    problem, _ = problems("relu 2-4-4-3", "linf")[0]
    assert isinstance(problem.network, Network)
    network = FAMILIES["relu 2-4-4-3"](SEEDS[0])
    weight = vars(network.nodes[layer].operation)["weight"]
    weight[0, 0] = value
    found = DETERMINISTIC[name]()(
        Problem(network, problem.x, problem.labels, problem.region, deployed=False)
    )
    if value == 1e300:  # finite, so only what the grid allows
        changed = Problem(network, problem.x, problem.labels, problem.region, deployed=False)
        least = [float(margin.min()) for margin in grid_margins(changed)]
    else:
        least = [-1.0] * len(found)
    for verdict, margin in zip(found, least, strict=True):
        assert verdict.status is not Status.CERTIFIED or margin > 0
