"""What a plagiarist does to a network cheaply is seen through; honest networks share nothing."""

import json
import secrets
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from evaluators.network.elementwise import Elementwise, Sigmoid, Tanh
from evaluators.network.network import Network
from evaluators.onnx.reader import import_onnx
from leaderboard.board.fingerprints import (
    AGREED,
    CLOSEST,
    SAME_UNITS,
    Checks,
    closest,
    overlap,
    read_checks,
    sketch,
    twins,
)
from leaderboard.board.likeness import Observed, same_answers, same_units
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.datasets.files import sha256_of
from leaderboard.evaluation.inspection import answers, fresh_images, observe, probes
from leaderboard.submissions import weights
from leaderboard.submissions.manifest import load_submission
from tests.fixtures.networks import Graph
from tests.fixtures.project import CHECKOUT, bent, submit
from tests.leaderboard.conftest import Certboard

HIDDEN, SALT = 24, 2026


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def layers(seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Two hidden layers and the logits: weights and shifts."""
    return [
        (draw(HIDDEN, 64, seed=seed) / 8, draw(HIDDEN, seed=seed + 100) / 4),
        (draw(HIDDEN, HIDDEN, seed=seed + 200) / 5, draw(HIDDEN, seed=seed + 300) / 4),
        (draw(10, HIDDEN, seed=seed + 400) / 5, draw(10, seed=seed + 500)),
    ]


def network(layers: list[tuple[Tensor, Tensor]], function: Elementwise | None = None) -> Network:
    graph = Graph((1, 8, 8))
    graph.flatten()
    for place, (weight, shift) in enumerate(layers):
        graph.dense(len(weight), weight, shift)
        if place < len(layers) - 1:
            graph.relu() if function is None else graph.add(function, (len(weight),))
    return graph.network()


def permuted(seed: int) -> Network:
    (w1, b1), (w2, b2), (w3, b3) = layers(seed)
    one, two = (torch.randperm(HIDDEN, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    return network([(w1[one], b1[one]), (w2[two][:, one], b2[two]), (w3[:, two], b3)])


def rescaled(seed: int, units: int = 0, active: bool = False) -> Network:
    """Neurons times powers of two, and more units that are dead, or active on public images."""
    (w1, b1), (w2, b2), (w3, b3) = layers(seed)
    one, two = (2.0 ** torch.randint(-3, 4, (HIDDEN,)).double() for _ in range(2))
    w1, b1, w2 = w1 * one[:, None], b1 * one, w2 * two[:, None] / one
    more, shift = draw(units, 64, seed=7), torch.full((units,), -1000.0).double()
    if active:
        # Each is above zero on half of the probes, and anywhere else as it happens.
        shift = -(probes((1, 8, 8)).flatten(1) @ more.T).median(0).values
    w1, b1 = torch.cat((w1, more)), torch.cat((b1, shift))
    w2 = torch.cat((w2, 3 * draw(HIDDEN, units, seed=8)), 1)
    return network([(w1, b1), (w2, b2 * two), (w3 / two, b3)])


def dead_units(seed: int) -> Network:
    return rescaled(seed, 40)


def active_on_the_probes(seed: int) -> Network:
    return rescaled(seed, 1, active=True)


def identities(seed: int) -> Network:
    """Layers that pass on what they are given: before everything, and in between."""
    first, second, third = layers(seed)
    pixels = torch.eye(64).double(), torch.zeros(64).double()
    units = torch.eye(HIDDEN).double(), torch.zeros(HIDDEN).double()
    return network([pixels, first, units, second, units, third])


def split_in_two(seed: int) -> Network:
    (weight, shift), *rest = layers(seed)
    turn = torch.linalg.qr(draw(64, 64, seed=3)).Q
    graph = Graph((1, 8, 8))
    graph.flatten()
    graph.dense(64, turn, torch.zeros(64).double())
    graph.dense(HIDDEN, weight @ turn.T, shift)
    for more, other in rest:
        graph.relu()
        graph.dense(len(more), more, other)
    return graph.network()


def changed(seed: int, change: Callable[[Tensor], Tensor]) -> Network:
    return network([(change(weight), change(shift)) for weight, shift in layers(seed)])


def noisy(seed: int) -> Network:
    return changed(seed, lambda values: values * (1 + 0.01 * draw(*values.shape, seed=5)))


def quantised(seed: int) -> Network:
    def rounded(values: Tensor) -> Tensor:
        step = values.abs().max() / 127
        return (values / step).round() * step

    return changed(seed, rounded)


def fine_tuned(seed: int) -> Network:
    """One step of gradient descent that takes every logit of every class down."""
    return changed(seed, lambda values: values - 0.002 * draw(*values.shape, seed=6).sign())


def shifted_logits(seed: int) -> Network:
    *hidden, (weight, shift) = layers(seed)
    return network([*hidden, (7.3 * weight, 7.3 * shift + 5 * draw(10, seed=9))])


def another_head(seed: int) -> Network:
    *hidden, _ = layers(seed)
    return network([*hidden, layers(seed + 1)[-1]])


def squashed_logits(seed: int) -> Network:
    """A monotone function after the logits."""
    graph = Graph((1, 8, 8))
    graph.flatten()
    for weight, shift in layers(seed):
        if weight.shape[1] != 64:
            graph.relu()
        graph.dense(len(weight), weight, shift)
    graph.add(Sigmoid(), (10,))
    graph.dense(10, torch.eye(10).double(), torch.zeros(10).double())
    return graph.network()


DISGUISES = [
    *(permuted, rescaled, dead_units, active_on_the_probes, identities, split_in_two),
    *(noisy, quantised, fine_tuned, shifted_logits, another_head, squashed_logits),
]


def found(one: Observed, other: Observed) -> bool:
    return same_answers(one, other) >= AGREED or same_units(one, other) >= SAME_UNITS


def seen(net: Network, salt: int = SALT) -> Observed:
    return observe(net, fresh_images("digits", salt))


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("seed", [0, 1000])
def test_a_network_in_disguise_is_found(disguise: Callable[[int], Network], seed: int) -> None:
    copy, original = seen(disguise(seed)), seen(network(layers(seed)))
    assert found(copy, original)
    assert found(original, copy)
    assert not found(copy, seen(network(layers(seed + 1))))


def test_turning_the_signs_of_tanh_units_hides_nothing() -> None:
    (w1, b1), (w2, b2), (w3, b3) = layers()
    sign = draw(HIDDEN, seed=4).sign()
    turned = [(w1 * sign[:, None], b1 * sign), (w2 * sign, b2), (w3, b3)]
    one, other = seen(network(layers(), Tanh())), seen(network(turned, Tanh()))
    assert same_units(one, other) == 1.0
    assert same_answers(one, seen(network([*turned[:2], (w3, b3 - 3)], Tanh()))) == 1.0


def test_networks_drawn_apart_share_nothing() -> None:
    many = [seen(network(layers(1000 * seed))) for seed in range(8)]
    for one, other in combinations([*many, seen(bent())], 2):
        assert same_answers(one, other) < 0.1
        assert same_units(one, other) < 0.1


def test_honest_submissions_of_one_architecture_share_nothing() -> None:
    """Trained by several recipes on the same images."""
    models = sorted((CHECKOUT / "submissions").glob("digits-*/model.onnx"))
    assert len(models) >= 3
    for salt in (1, 2):
        for one, other in combinations([seen(import_onnx(path), salt) for path in models], 2):
            assert same_answers(one, other) < 0.1
            assert same_units(one, other) < 0.1


def test_networks_without_answers_or_units_are_nobodys_copies() -> None:
    constant = Observed(np.ones((9, 10)), np.ones((30, 9)))
    few = Observed(np.eye(9), np.eye(9)[:3])
    assert same_answers(constant, constant) == same_units(constant, constant) == 0.0
    assert same_answers(few, constant) == same_units(few, few) == 0.0


def test_images_are_others_with_another_salt() -> None:
    assert torch.equal(fresh_images("digits", 1), fresh_images("digits", 1))
    assert not torch.equal(fresh_images("digits", 1), fresh_images("digits", 2))
    assert fresh_images("digits", 3).aminmax().min >= 0


@pytest.mark.parametrize("disguise", [permuted, rescaled, dead_units, identities, noisy])
def test_sketches_alone_bring_the_original_to_the_front(
    disguise: Callable[[int], Network],
) -> None:
    """Among more than can be run."""
    others = {f"n{seed}": checks(network(layers(1000 + seed))) for seed in range(CLOSEST + 8)}
    others["z"] = checks(network(layers()))
    assert closest(checks(disguise(0)), others)[0] == "z"
    assert len(others) > CLOSEST


def test_equal_sets_of_units_have_equal_sketches_whatever_their_order() -> None:
    units = np.random.default_rng(3).standard_normal((2000, 32))
    moved = 5 - 3 * units[::-1]
    assert sketch(moved) == sketch(units)
    assert len(sketch(units)) == 256
    other = np.concatenate((units[:1000], np.random.default_rng(4).standard_normal((1000, 32))))
    assert overlap(sketch(units), sketch(other)) == pytest.approx(0.5, abs=0.12)
    assert overlap(sketch(units), sketch(units[:500])) == pytest.approx(1.0, abs=0.05)


def kept_of(project: Project) -> dict[str, Checks]:
    return {path.stem: read_checks(path) for path in project.checks.glob("*.json")}


def checks(net: Network, when: str = "2026-01-01", sha256: str | None = None) -> Checks:
    return Checks(
        model_sha256=sha256 or secrets.token_hex(32),
        first_seen=when,
        answers=tuple(answers(net)),
        units=sketch(observe(net, probes(net.input_shape)).units),
    )


def test_a_copy_that_the_sketches_miss_is_found_on_fresh_images(
    project: Project, certboard: Certboard
) -> None:
    """Every hidden unit behind the first layer, and every logit, is changed on the probes."""
    submit(project, "a", network(layers()))
    submit(project, "copy", hidden_from_sketches())
    assert certboard("inspect", "a").code == 0
    outcome = certboard("inspect", "copy")
    assert "copy: flag: Its answers are those of 'a'" in outcome.err
    kept = kept_of(project)
    assert overlap(kept["copy"].units, kept["a"].units) < SAME_UNITS
    ((slug, twin),) = twins(kept)
    assert (slug, twin.other) == ("copy", "a")
    assert (twin.agreed or 0) >= AGREED
    assert twin.distance > 0.1
    # What was found about a network says nothing of the one that replaced it.
    assert list(twins({**kept, "a": checks(bent(), "2025")})) == []


def hidden_from_sketches() -> Network:
    """Units for pixels, and one that is active on rough and bright images, as most probes are."""
    (weight, shift), *rest = layers()
    probing = probes((1, 8, 8)).flatten(1)
    real = torch.cat([fresh_images("digits", salt).flatten(1).double() for salt in range(5)])
    direction = probing.mean(0) - real.mean(0)
    above = (real @ direction).max()
    first = torch.cat((torch.eye(64).double(), direction[None])), torch.zeros(65).double()
    first[1][-1] = -above
    gated = torch.cat((weight, 20 * draw(HIDDEN, 1, seed=11)), 1)
    return network([first, (gated, shift), *rest])


def test_again_compares_on_other_images(project: Project, certboard: Certboard) -> None:
    submit(project, "one", network(layers()))
    submit(project, "two", permuted(0))
    assert certboard("inspect", "one", "two").code == 0
    before = kept_of(project)["two"]
    assert certboard("inspect", "two").code == 0
    assert kept_of(project)["two"] == before
    assert certboard("inspect", "two", "--again").code == 0
    after = kept_of(project)["two"]
    assert after.compared[0].salt != before.compared[0].salt
    assert after.first_seen == before.first_seen
    assert after.compared[0].answers == 1.0


def test_a_model_that_is_gone_is_told_and_not_compared(
    project: Project, certboard: Certboard
) -> None:
    gone = submit(project, "gone", network(layers()))
    submit(project, "here", permuted(0))
    assert certboard("inspect", "gone").code == 0
    gone.write_bytes(b"")
    outcome = certboard("inspect", "here")
    assert "gone: was not compared: " in outcome.err


@pytest.fixture
def elsewhere(project: Project, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network whose weights have an address, at which nobody answers; they are here, moved."""
    path = submit(project, "afar", network(layers()))
    toml = path.with_name("submission.toml")
    address = f'url = "https://example.org/far.onnx"\nsize = {path.stat().st_size}'
    toml.write_text(toml.read_text().replace('file = "model.onnx"', address))

    def silent(url: str, _: int) -> bytes:
        raise InputError(f"{url}: nobody answers")

    monkeypatch.setattr(weights, "_read", silent)
    return path.rename(project.root / "far.onnx")


def test_who_was_not_at_hand_is_kept_and_compared_as_soon_as_it_is(
    project: Project, elsewhere: Path, certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(project, "copy", hidden_from_sketches())
    monkeypatch.setenv(weights.VARIABLE, str(elsewhere.parent))
    assert certboard("inspect", "afar").code == 0
    monkeypatch.delenv(weights.VARIABLE)
    outcome = certboard("inspect", "copy")
    assert "afar: was not compared: https://example.org/far.onnx: nobody answers" in outcome.err
    before = kept_of(project)["copy"]
    assert (before.missed, "afar" in {one.other for one in before.compared}) == (("afar",), False)
    assert certboard("inspect", "copy").code == 0
    assert kept_of(project)["copy"] == before  # and nobody is asked again
    monkeypatch.setenv(weights.VARIABLE, str(elsewhere.parent))
    assert "copy: flag: Its answers are those of 'afar'" in certboard("inspect", "copy").err
    assert kept_of(project)["copy"].missed == ()


def test_what_an_evaluation_needs_are_the_weights_of_others_too(
    project: Project, elsewhere: Path, certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(project, "mine", permuted(0))
    outcome = certboard("intake", "prepare", "mine")
    assert (outcome.code, outcome.out) == (0, "yes\n")
    assert "afar: will not be compared with mine: https://example.org/far.onnx" in outcome.err
    monkeypatch.setattr(weights, "_read", lambda *_: elsewhere.read_bytes())
    assert "afar" not in certboard("intake", "prepare", "mine").err
    assert load_submission(project, "afar").at_hand


def test_what_was_kept_before_is_read_and_worked_out_again(
    project: Project, certboard: Certboard
) -> None:
    submit(project, "one", network(layers()))
    project.checks.mkdir(parents=True)
    old = {"version": 1, "model_sha256": sha256_of(project.submissions / "one" / "model.onnx")}
    old |= {"first_seen": "2026-05-01", "answers": [0.5, -0.5], "units": [], "lookup": None}
    (project.checks / "one.json").write_text(json.dumps(old))
    assert kept_of(project)["one"].units == ()
    assert certboard("inspect", "one").code == 0
    found = kept_of(project)["one"]
    assert found.first_seen == "2026-05-01"
    assert len(found.units) > 8
