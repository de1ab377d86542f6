"""Splitting noise against brute force: every grid point and many real points of tiny images."""

import random
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from itertools import product
from math import ceil, floor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from evaluators.deterministic import splitting_noise
from evaluators.deterministic.splitting_noise import (
    SplittingNoise,
    count_splits,
    most_crossings,
    real_radius,
    robust_crossings,
)
from evaluators.listing import catalogue
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.noises.splitting import (
    CUTS,
    LEVELS,
    distance_to_grid,
    noisy_inputs,
    offsets,
    on_grid,
)
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict
from tests.fixtures.effort import first_alone
from tests.fixtures.networks import Graph, linear, two_convolutions

SPLITS = 12
NOISES = {cuts: noise for noise, cuts in CUTS.items()}


def steep(seed: int, entries: int = 2, classes: int = 3) -> Network:
    """A small network whose class changes often within a few steps of the grid."""
    graph = Graph((entries,), seed)
    graph.dense(8, 90 * graph.random(8, entries), 30 * graph.random(8))
    graph.relu()
    graph.dense(classes, graph.random(classes, 8), graph.random(classes))
    return graph.network()


def smoothed(network: Network, splits: int = SPLITS, cuts: int = 1) -> SmoothedNetwork:
    return SmoothedNetwork(network, NOISES[cuts], Fraction(splits, 2 * LEVELS * cuts))


def votes_at(network: SmoothedNetwork, pixels: Iterable[int], cuts: int = 1) -> list[int]:
    return count_splits(network, torch.tensor([*pixels]), SPLITS, cuts=cuts).tolist()


def image(*pixels: int) -> Tensor:
    return (torch.tensor(pixels).double() / LEVELS).float()


def ask(
    network: SmoothedNetwork, x: Tensor, label: int, radius: str, norm: Norm = Norm.L1
) -> Verdict:
    ball = Ball(norm, Fraction(radius))
    (verdict,) = SplittingNoise()(Problem(network, x[None], torch.tensor([label]), ball))
    return verdict


def exact_input(point: list[Fraction], split: int, splits: int, cuts: int = 1) -> list[Fraction]:
    """The paper's noisy input of a real point, by its formula, in fractions.

    Its s is the place of a cut; with two cuts between pixel values they lie at thirds.
    """
    scale, inputs = Fraction(splits, LEVELS * cuts), []
    for value, offset in zip(point, offsets(len(point), splits).tolist(), strict=True):
        step, place = divmod((split + offset) % splits, cuts)
        s = (step + Fraction(place + 1, cuts + 1)) / LEVELS
        upper = min(scale * ceil((value - s) / scale) + s, Fraction(1))
        lower = max(scale * (ceil((value - s) / scale) - 1) + s, Fraction(0))
        inputs.append((upper + lower) / 2)
    return inputs


def exact_votes(
    network: SmoothedNetwork, point: list[Fraction], splits: int, cuts: int = 1
) -> list[int]:
    """Votes at any real point, from the formula."""
    rows = [[float(v) for v in exact_input(point, t, splits, cuts)] for t in range(splits)]
    x = torch.tensor(rows, dtype=torch.float64).float().reshape(splits, *network.input_shape)
    answers = network.base.to(torch.float32)(x).argmax(1).tolist()
    counted = Counter(answers)
    return [counted[c] for c in range(network.classes)]


@pytest.mark.parametrize("cuts", NOISES)
@pytest.mark.parametrize("seed", first_alone(range(6)))
def test_no_grid_point_within_the_steps_changes_the_class(seed: int, cuts: int) -> None:
    network = smoothed(steep(seed), cuts=cuts)
    checked = 0
    for center in ((3, 200), (128, 128), (90, 40), (255, 0), (10, 250), (60, 61)):
        prediction, crossings = robust_crossings(votes_at(network, center, cuts))
        if prediction is None:
            continue
        steps = crossings // cuts
        for move in product(range(-steps, steps + 1), repeat=2):
            other = [k + m for k, m in zip(center, move, strict=True)]
            if sum(map(abs, move)) > steps or not all(0 <= k <= LEVELS for k in other):
                continue
            votes = votes_at(network, other, cuts)
            assert robust_crossings(votes)[0] == prediction, (center, other)
            checked += steps > 0
    assert checked > 20 // cuts


@pytest.mark.parametrize("cuts", NOISES)
def test_the_steps_cannot_be_more(cuts: int) -> None:
    """A network that sees one pixel, at the cut of each split: the bound is met exactly."""
    network = smoothed(linear([[LEVELS * 10.0], [0.0]], [-LEVELS * 5.0, 0.0]), cuts=cuts)
    tight = 0
    for k in range(100, 156):
        prediction, crossings = robust_crossings(votes_at(network, [k], cuts))
        steps = crossings // cuts + 1
        after = [votes_at(network, [k + sign * steps], cuts) for sign in (-1, 1)]
        tight += any(robust_crossings(votes)[0] != prediction for votes in after)
    assert tight > 5 // cuts


@pytest.mark.parametrize("cuts", NOISES)
@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("seed", first_alone(range(3)))
def test_no_real_point_of_the_ball_changes_the_class(seed: int, norm: Norm, cuts: int) -> None:
    network, generator = smoothed(steep(seed), cuts=cuts), random.Random(seed)
    checked = 0
    for center in ((3, 200), (128, 128), (90, 40), (255, 0), (60, 61), (17, 17)):
        x = image(*center)
        label = robust_crossings(votes_at(network, center, cuts))[0]
        if label is None:
            continue
        radius = ask(network, x, label, "9", norm).radius
        assert radius is not None
        if not radius:
            continue
        own = [Fraction(v) for v in x.tolist()]
        for trial in range(60):
            shift = _shift(generator, norm, radius, own, cuts if trial % 2 == 0 else None)
            point = [a + d for a, d in zip(own, shift, strict=True)]
            votes = exact_votes(network, point, SPLITS, cuts)
            assert votes[label] == max(votes)
            assert votes.count(votes[label]) == 1
            checked += 1
    assert checked


def _shift(
    generator: random.Random, norm: Norm, radius: Fraction, own: list[Fraction], cuts: int | None
) -> list[Fraction]:
    """A shift within the ball; given the cuts, it goes just across one, where it does most harm."""
    split = Fraction(generator.random())
    lengths = {
        Norm.L1: [radius * split, radius * (1 - split)],
        Norm.L2: [radius * Fraction(3, 5), radius * Fraction(4, 5)],
        Norm.LINF: [radius, radius],
    }[norm]
    generator.shuffle(lengths)
    shift = []
    for value, length in zip(own, lengths, strict=True):
        sign = generator.choice((-1, 1))
        if cuts is not None:
            # The farthest cut that lies within reach, and a hair beyond it.
            parts = (value + sign * length) * LEVELS * (cuts + 1)
            cut = floor(parts) if sign > 0 else ceil(parts)
            cut -= sign * (cut % (cuts + 1) == 0)
            target = Fraction(cut, LEVELS * (cuts + 1)) + sign * Fraction(1, 10**9)
            if 0 <= sign * (target - value) <= length:
                length = sign * (target - value)
        shift.append(sign * length)
    return shift


@given(
    st.lists(st.integers(0, LEVELS), min_size=1, max_size=4),
    st.sampled_from((1, 2, 7, 12, 255, 700)),
    st.sampled_from(list(NOISES)),
)
def test_noisy_inputs_are_the_papers_rounded_once(pixels: list[int], steps: int, cuts: int) -> None:
    splits = steps * cuts
    numbers = torch.arange(splits)[:: max(1, splits // 5)]
    noisy = noisy_inputs(torch.tensor(pixels), splits, numbers, cuts)
    for row, split in zip(noisy, numbers.tolist(), strict=True):
        exact = exact_input([Fraction(k, LEVELS) for k in pixels], split, splits, cuts)
        for mine, theirs in zip(row.tolist(), exact, strict=True):
            assert abs(Fraction(mine) - theirs) <= max(theirs, Fraction(1, 10**9)) / 2**24


@pytest.mark.parametrize("cuts", NOISES)
def test_a_pixel_that_moves_by_k_steps_changes_as_many_splits_as_it_crosses_cuts(cuts: int) -> None:
    numbers = torch.arange(40)
    before = noisy_inputs(torch.tensor([100]), 40, numbers, cuts)
    for steps in (0, 1, 5, 39, 40, 60):
        after = noisy_inputs(torch.tensor([100 + steps]), 40, numbers, cuts)
        assert int((before != after).sum()) == min(cuts * steps, 40)


@given(
    st.lists(st.fractions(-1, 1), min_size=1, max_size=5),
    st.sampled_from(list(Norm)),
    st.sampled_from(list(NOISES)),
)
def test_a_real_shift_crosses_no_more_cuts_than_stated(
    shift: list[Fraction], norm: Norm, cuts: int
) -> None:
    sizes = {
        Norm.L1: sum((abs(d) for d in shift), Fraction(0)),
        Norm.LINF: max(abs(d) for d in shift),
    }
    if norm is Norm.L2:
        square = sum((d * d for d in shift), Fraction(0))
        # A rational number just above the root.
        size = Fraction(int((float(square) ** 0.5 + 1e-9) * 10**12) + 1, 10**12)
    else:
        size = sizes[norm]
    places = [Fraction(place, cuts + 1) for place in range(1, cuts + 1)]
    # One by one: in each step that is entered, the cuts that are reached.
    crossed = sum(
        step + place <= abs(d) * LEVELS
        for d in shift
        for step in range(int(abs(d) * LEVELS) + 1)
        for place in places
    )
    assert crossed <= most_crossings(size, norm, len(shift), cuts)


@pytest.mark.parametrize("cuts", NOISES)
@pytest.mark.parametrize("norm", list(Norm))
def test_a_hair_more_than_a_part_of_a_step_in_every_pixel_crosses_a_cut_in_every_pixel(
    norm: Norm, cuts: int
) -> None:
    for root in range(1, 30):
        part = Fraction(1, (cuts + 1) * LEVELS) + Fraction(1, 10**9)
        size = part * {Norm.L1: root**2, Norm.L2: root, Norm.LINF: 1}[norm]
        assert most_crossings(size, norm, root**2, cuts) >= root**2


@given(
    st.integers(0, 3000),
    st.sampled_from(list(Norm)),
    st.integers(1, 1000),
    st.fractions(0, Fraction(1, 10**6)),
    st.sampled_from(list(NOISES)),
)
def test_the_radius_crosses_as_many_cuts_and_no_larger_one_does(
    crossings: int, norm: Norm, dimension: int, slack: Fraction, cuts: int
) -> None:
    radius = real_radius(crossings, norm, dimension, slack, cuts)
    assert most_crossings(radius + slack, norm, dimension, cuts) <= crossings or radius == 0
    larger = radius + slack + Fraction(1, 10**6)
    assert most_crossings(larger, norm, dimension, cuts) > crossings


def test_the_real_radius_is_half_the_papers_and_two_thirds_with_cuts_at_thirds() -> None:
    for cuts, parts in ((1, 510), (2, 765)):
        radius = real_radius(10 * cuts, Norm.L1, 5, Fraction(0), cuts)
        assert radius == Fraction((10 * cuts + 1) * 10**6 // parts, 10**6)
        radius = real_radius(parts - 1, Norm.L1, 5, Fraction(0), cuts)
        assert radius == Fraction(999_999, 10**6)


@pytest.mark.parametrize("cuts", NOISES)
def test_an_exact_boundary_is_not_certified(cuts: int) -> None:
    """The first shift that could cross one cut too many proves nothing, any smaller one does."""
    network = smoothed(linear([[-1.0], [1.0]], [0.5, -0.5]), 51 * cuts, cuts)
    votes = count_splits(network, torch.tensor([110]), 51 * cuts, cuts=cuts).tolist()
    prediction, crossings = robust_crossings(votes)
    assert prediction == 0
    assert crossings > 3
    x, hair = image(110), Fraction(1, 10**5)
    first_lost = Fraction(crossings + 1, (cuts + 1) * LEVELS)
    assert ask(network, x, 0, str(first_lost)).status is Status.UNKNOWN
    rounding = distance_to_grid(x, torch.tensor([110]), Norm.L1)
    assert 0 < rounding < hair
    assert ask(network, x, 0, str(first_lost - rounding / 2)).status is Status.UNKNOWN
    assert ask(network, x, 0, str(first_lost - rounding)).status is Status.UNKNOWN
    verdict = ask(network, x, 0, str(first_lost - hair))
    assert (verdict.status, verdict.confidence) == (Status.CERTIFIED, 1.0)
    assert verdict.note == f"on the pixel grid: l1 radius {crossings}/{255 * cuts}"


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ([5, 5, 0], (None, 0)),
        ([0, 0, 0], (None, 0)),
        ([1, 0, 0], (0, 0)),
        ([3, 5, 0], (1, 0)),
        ([3, 6, 0], (1, 1)),
        ([12, 0, 0], (0, 5)),
        ([7], (0, 3)),
    ],
)
def test_ties_prove_nothing_and_leads_are_halved(
    votes: list[int], expected: tuple[int | None, int]
) -> None:
    assert robust_crossings(votes) == expected


def test_tied_votes_are_abstained_on() -> None:
    verdict = ask(smoothed(linear([[1.0], [1.0]], [0, 0])), image(7), 0, "1/1000")
    assert (verdict.status, verdict.note) == (Status.UNKNOWN, "abstained: the votes are tied")


def test_a_network_without_finite_answers_is_never_certified() -> None:
    verdict = ask(smoothed(linear([[1e308], [-1e308]], [1, 0])), image(7), 0, "1/1000")
    assert verdict.status is Status.UNKNOWN


def test_a_wrong_prediction_is_unknown() -> None:
    verdict = ask(smoothed(linear([[0.0], [0.0]], [1, 0])), image(7), 1, "1/1000")
    assert (verdict.status, verdict.note) == (Status.UNKNOWN, "predicted 0")


@pytest.mark.parametrize("value", [0.3, 1.2, -1 / 255, float("nan"), 0.5, float("inf")])
def test_an_example_off_the_grid_is_unknown(value: float) -> None:
    verdict = ask(smoothed(linear([[0.0], [0.0]], [1, 0])), torch.tensor([value]), 0, "1/1000")
    assert verdict.status is Status.UNKNOWN
    assert verdict.note == "not a multiple of 1/255 in every pixel"


def test_every_eight_bit_image_is_on_the_grid_and_its_rounding_is_charged() -> None:
    pixels = torch.arange(LEVELS + 1)
    found = on_grid(image(*range(LEVELS + 1)))
    assert found is not None
    assert torch.equal(found, pixels)
    x = image(1, 7, 255, 7)
    each = [abs(Fraction(float(x[i])) - Fraction(k, LEVELS)) for i, k in enumerate((1, 7, 255, 7))]
    for norm, expected in ((Norm.L1, sum(each)), (Norm.LINF, max(each))):
        assert distance_to_grid(x, torch.tensor([1, 7, 255, 7]), norm) == expected


@pytest.mark.parametrize("scale", ["1/7", "1/1000", "0.25"])
def test_a_scale_without_whole_splits_is_unknown(scale: str) -> None:
    network = SmoothedNetwork(steep(0), "splitting", Fraction(scale))
    verdict = ask(network, image(1, 2), 0, "1/100")
    assert verdict.note.startswith("unsupported: 2·255·scale")


def test_other_noise_and_no_time_certify_nothing() -> None:
    other = SmoothedNetwork(steep(0), "gaussian", Fraction(1, 2))
    assert ask(other, image(1, 2), 0, "1/100").note == "unsupported: the noise is gaussian"
    problem = Problem(
        smoothed(steep(0)), image(1, 2)[None], torch.tensor([0]), Ball(Norm.L1, Fraction(1)), 0.0
    )
    assert SplittingNoise()(problem)[0].note == "timeout"


def test_images_are_voted_on_in_any_memory_format() -> None:
    network = smoothed(two_convolutions((1, 8, 8)), splits=300)
    pixels = torch.randint(0, 256, (1, 8, 8), generator=torch.Generator().manual_seed(2))
    votes = count_splits(network, pixels, 300)
    exact = exact_votes(network, [Fraction(int(k), LEVELS) for k in pixels.flatten()], 300)
    assert votes.tolist() == exact


def test_offsets_are_fixed_once_for_all() -> None:
    assert offsets(6, 255).tolist() == offsets(8, 255).tolist()[:6]
    assert len(set(offsets(200, 10**6).tolist())) > 190
    assert int(offsets(5000, 3).bincount().min()) > 1500


def test_the_evaluator_is_in_the_catalogue() -> None:
    assert catalogue()["splitting-noise"] is splitting_noise.SplittingNoise
