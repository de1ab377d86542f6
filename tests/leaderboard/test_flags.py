"""Fraud and mistakes: found by what networks answer, and never by what they are called."""

import json
import secrets
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import pytest
import torch

from evaluators.network.network import Network
from leaderboard.board.decisions import Decision, read_decisions
from leaderboard.board.fingerprints import (
    Checks,
    Twin,
    known_since,
    read_checks,
    sketch,
    store_checks,
    twins,
)
from leaderboard.board.flags import RULES, Flag, flags_of, static_flags, unfounded
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.evaluation.inspection import EXAMPLES, answers, inspect, observe, probes
from leaderboard.submissions.manifest import Submission
from tests.fixtures.board import assemble_with, board_with, rows, submission
from tests.fixtures.networks import Graph
from tests.fixtures.project import bent, linear, question_about
from tests.leaderboard.conftest import Certboard

Weights = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def weights(seed: int = 0) -> Weights:
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random).double()

    return draw(24, 64) / 8, draw(24) / 4, draw(10, 24) / 5, draw(10)


def network(values: Weights, identities: int = 0) -> Network:
    first, shift, second, bias = values
    graph = Graph((1, 8, 8))
    graph.flatten()
    graph.dense(24, first, shift)
    graph.relu()
    for _ in range(identities):
        graph.dense(24, torch.eye(24).double(), torch.zeros(24).double())
    graph.dense(10, second, bias)
    return graph.network()


def checks(net: Network, seen: str = "2026-01-01") -> Checks:
    return Checks(
        model_sha256=secrets.token_hex(32),
        first_seen=seen,
        answers=tuple(answers(net)),
        units=sketch(observe(net, probes(net.input_shape)).units),
    )


def permuted(values: Weights) -> Weights:
    first, shift, second, bias = values
    order = torch.randperm(24, generator=torch.Generator().manual_seed(5))
    return first[order], shift[order], second[:, order], bias


def rescaled_neurons(values: Weights) -> Weights:
    first, shift, second, bias = values
    factor = torch.linspace(0.3, 3, 24).double()
    return first * factor[:, None], shift * factor, second / factor, bias


def rescaled_logits(values: Weights) -> Weights:
    first, shift, second, bias = values
    return first, shift, 7.3 * second, 7.3 * bias + 4


def in_float32(values: Weights) -> Weights:
    first, shift, second, bias = (value.float().double() for value in rescaled_neurons(values))
    return first, shift, second, bias


def nudged(values: Weights) -> Weights:
    random = torch.Generator().manual_seed(1)
    first, shift, second, bias = values
    return first * (1 + 1e-4 * torch.randn(first.shape, generator=random)), shift, second, bias


DISGUISES = [permuted, rescaled_neurons, rescaled_logits, in_float32, nudged]


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("seed", range(4))
def test_the_same_network_in_disguise_is_found(disguise: object, seed: int) -> None:
    assert callable(disguise)
    original = weights(seed)
    found = list(
        twins({"a": checks(network(original)), "b": checks(network(disguise(original)), "2026-02")})
    )
    ((slug, twin),) = found
    assert (slug, twin.other, twin.answers) == ("b", "a", True)


def test_added_layers_that_do_nothing_hide_nothing() -> None:
    pair = {"a": checks(network(weights())), "b": checks(network(weights(), 2), "2026-02")}
    ((_, twin),) = twins(pair)
    assert twin.distance < 1e-6


def test_another_head_on_the_same_layers_is_found_by_its_units() -> None:
    first, shift, _, _ = permuted(weights())
    _, _, second, bias = weights(9)
    pair = {
        "a": checks(network(weights())),
        "b": checks(network((first, shift, second, bias)), "2027"),
    }
    ((slug, twin),) = twins(pair)
    assert (slug, twin.answers) == ("b", False)
    assert twin.shared > 0.8


def test_networks_trained_apart_are_not_confused() -> None:
    many = {f"n{i}": checks(network(weights(i))) for i in range(30)}
    assert list(twins({**many, "linear": checks(linear()), "bent": checks(bent())})) == []


def test_the_earlier_one_is_not_flagged() -> None:
    pair = {"z": checks(network(weights()), "2025"), "a": checks(network(weights()), "2026")}
    assert [(slug, twin.other) for slug, twin in twins(pair)] == [("a", "z")]


def test_constant_networks_are_nobodys_copies() -> None:
    first, shift, second, bias = weights()
    constant = network((first, shift, 0 * second, bias))
    assert not any(answers(constant))
    assert list(twins({"a": checks(constant), "b": checks(network(weights(3)))})) == []


def by_heart(count: int) -> Network:
    """A network that knows the first test images, and nothing else.

    A unit is 1 at its image and 0 wherever any pixel differs by more than a thousandth in sum.
    """
    from leaderboard.datasets.catalogue import load_split

    split = load_split("digits")
    images = torch.from_numpy(split.images(range(count))).double().flatten(1)
    graph = Graph((1, 8, 8))
    graph.flatten()
    away = torch.cat([torch.cat((torch.eye(64), -torch.eye(64))) for _ in range(count)]).double()
    offset = torch.cat([torch.cat((-image, image)) for image in images])
    graph.dense(128 * count, away, offset)
    graph.relu()
    total = torch.kron(torch.eye(count), -1000 * torch.ones(1, 128)).double()
    graph.dense(count, total, torch.ones(count).double())
    graph.relu()
    vote = torch.zeros(10, count).double()
    vote[split.labels[:count], range(count)] = 1
    graph.dense(10, vote, torch.zeros(10).double())
    return graph.network()


def looked_at(net: Network, tmp_path: Path) -> Checks:
    return inspect(question_about(net, tmp_path, "ibp", Fraction(1, 100)))


def test_a_network_that_knows_test_images_by_heart_is_flagged(tmp_path: Path) -> None:
    found = looked_at(by_heart(EXAMPLES), tmp_path)
    assert found.lookup is not None
    assert found.lookup.clean == 1.0
    assert found.lookup.noisy < 0.3
    assert "test-lookup" in [flag.rule for flag in flags_with(found)]


@pytest.mark.parametrize("net", [linear(), bent()], ids=["linear", "bent"])
def test_honest_networks_are_not_flagged(net: Network, tmp_path: Path) -> None:
    assert flags_with(looked_at(net, tmp_path)) == []


def test_a_network_without_slopes_is_flagged(tmp_path: Path) -> None:
    first, shift, second, bias = weights()
    found = looked_at(network((first, shift - 1000, second, bias)), tmp_path)
    assert "flat-gradient" in [flag.rule for flag in flags_with(found)]


def flags_with(found: Checks) -> list[Flag]:
    board = assemble_with({"a": submission("a", dataset="digits")}, {"a": found})
    return list(flags_of(board, "a"))


def test_a_twin_is_told_on_the_later_ones_page_with_a_maintainers_decision() -> None:
    entries = {slug: submission(slug, f"Network {slug}", dataset="digits") for slug in ("a", "b")}
    kept = {"a": checks(network(weights())), "b": checks(network(permuted(weights())), "2026-02")}
    kept = {slug: one.model_copy(update={"model_sha256": "0" * 64}) for slug, one in kept.items()}
    decision = about_copy(entries["b"], "dismissed")
    board = replace(assemble_with(entries, kept), decisions=(decision,))
    assert flags_of(board, "a") == []
    (flag,) = flags_of(board, "b")
    assert (flag.rule, flag.decision) == ("same-model", decision)
    assert "'a' (Network a)" in flag.sentence


def about_copy(
    copied: Submission, decision: Literal["upheld", "dismissed"], **changes: str
) -> Decision:
    """What was decided of a submission whose model is that of `a`."""
    told = {"model": copied.model_hash, "other": "a", "date": "2026", "by": "M."}
    about = {"slug": copied.slug, "rule": "same-model", "reason": "Ours."}
    return Decision.model_validate({**about, **told, "decision": decision, **changes})


@pytest.mark.parametrize(
    ("said", "changes", "rank"),
    [
        (None, {}, None),
        ("upheld", {}, None),
        ("dismissed", {}, 1),
        ("dismissed", {"model": "1" * 64}, None),  # it was about the model before this one
        ("dismissed", {"other": "c"}, None),  # and this one is like another submission's
    ],
    ids=str,
)
def test_a_copy_has_no_rank_until_a_maintainer_dismisses_the_flag(
    said: Literal["upheld", "dismissed"] | None, changes: dict[str, str], rank: int | None
) -> None:
    place = "mnist-linf-0.1"
    entries = {slug: submission(slug, slug) for slug in ("a", "b")}
    one = checks(network(weights())).model_copy(update={"model_sha256": "0" * 64})
    tables = [rows(slug, place, {("certified", "ibp"): 500}) for slug in entries]
    decisions = [about_copy(entries["b"], said, **changes)] if said else []
    kept = {"a": one, "b": one.model_copy(update={"first_seen": "2026-02"})}
    board = board_with(entries, tables, checks=kept, decisions=decisions)
    assert [(line.slug, line.rank) for line in board.re_evaluated(place)] == [("a", 1), ("b", rank)]
    (flag,) = flags_of(board, "b")
    assert flag.decision == (decisions[0] if said and not changes else None)
    assert bool([*unfounded(board)]) == bool(changes)


def test_an_own_entry_with_another_noise_hides_nobody_elses() -> None:
    entries = {
        "a": submission("a", dataset="digits", sigma="0.25"),
        "b": submission("b", dataset="digits", sigma="0.25"),
        "c": submission("c", dataset="digits", sigma="0.5"),
    }
    entries["a"] = entries["a"].model_copy(update={"authors": ("Somebody Else",)})
    one = checks(network(weights()))
    kept = {
        slug: one.model_copy(update={"first_seen": f"2026-0{at}"})
        for at, slug in enumerate(entries, start=1)
    }
    # Nearest to 'c' is its own 'b'.
    kept["a"] = checks(network(permuted(weights()))).model_copy(update={"first_seen": "2026-01"})
    twins = assemble_with(entries, kept).twins
    assert {slug: [twin.other for twin in found] for slug, found in twins.items()} == {
        "b": ["a"],
        "c": ["a"],
    }


def test_an_update_that_answers_the_same_is_as_old_as_what_it_updates() -> None:
    former = checks(network(weights()), "2026-01")
    assert known_since(None, former) == "2026-01"
    now = checks(network(permuted(weights())), "2026-03")
    assert known_since(former, now) == "2026-01"
    assert known_since(former, former.model_copy(update={"first_seen": "2026-03"})) == "2026-01"
    other = checks(network(weights(7)), "2026-03")
    assert known_since(former, other) == "2026-03"  # or a place could be taken before there is one


def test_one_network_with_two_noises_of_the_same_authors_is_no_fraud() -> None:
    entries = {
        "a": submission("a", dataset="digits", sigma="0.25"),
        "b": submission("b", dataset="digits", sigma="0.5"),
    }
    kept = {slug: checks(network(weights())) for slug in entries}
    assert flags_of(assemble_with(entries, kept), "b") == []


def test_a_claim_that_may_be_a_fraction_is_flagged_at_once() -> None:
    entry = submission("a", claims={"mnist-linf-0.1": (98.0, 0.93)})
    assert [flag.rule for flag in static_flags(entry)] == ["claim-fraction"]
    assert "was 93 meant?" in static_flags(entry)[0].sentence


def test_checks_are_kept_and_damage_is_told(tmp_path: Path) -> None:
    project = Project(tmp_path)
    one = checks(network(weights()))
    store_checks(project, "a", one)
    assert read_checks(project.checks / "a.json") == one
    (project.checks / "a.json").write_text(json.dumps({"answers": []}))
    with pytest.raises(InputError, match="is damaged at"):
        read_checks(project.checks / "a.json")


DECISION = (
    '[[decision]]\nslug = "{slug}"\nrule = "{rule}"\ndecision = "dismissed"\n'
    'reason = "R."\ndate = "2026-05-07"\nby = "M."\n'
    f'model = "{"0" * 64}"\nother = "b"\n'
)


def test_decisions_are_read_strictly_each_by_itself(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert read_decisions(project) == ((), ())
    (project.site / "data").mkdir(parents=True)
    path = project.site / "data" / "decisions.toml"
    good = DECISION.format(slug="a", rule="same-model")
    both = good.replace("rule =", 'setting = "digits-linf-0.1"\nrule =')
    model = f'model = "{"0" * 64}"\n'
    disputed = good.replace("dismissed", "disputed").replace('other = "b"\n', "")
    disputed = disputed.replace('rule = "same-model"', 'setting = "digits-linf-0.1"')
    wrong = [
        (good.replace("dismissed", "maybe"), "must be one of"),
        (good.replace("dismissed", "disputed"), "'disputed' for a row"),
        (both, "must have a rule, of a flag, or a setting, of a row"),
        (both.replace('rule = "same-model"\n', ""), "'disputed' for a row"),
        (good.replace('reason = "R."\n', ""), "'reason' is missing"),
        (good.replace(model, ""), "must have the 'model' of a flag"),
        (good.replace(model, model.replace("00", "0")), "64 small hexadecimal digits"),
        (disputed, "and none of a row"),
        (good.replace('other = "b"\n', ""), "must have the 'other' submission by the rules"),
        (good.replace("same-model", "flat-gradient"), "by the rules 'same-model' and"),
    ]
    path.write_text("".join([good, *(text for text, _ in wrong), good]))
    found = read_decisions(project)
    assert [one.slug for one in found.decisions] == ["a", "a"]
    assert len(found.problems) == len(wrong)
    for number, (_, told) in enumerate(wrong, start=2):
        assert f"decision #{number}" in found.problems[number - 2]
        assert told in found.problems[number - 2]


def test_what_is_no_list_of_decisions_is_refused_whole(tmp_path: Path) -> None:
    """What it disputes must not come back into the ranking."""
    project = Project(tmp_path)
    (project.site / "data").mkdir(parents=True)
    for text in ("decision = [", "decision = 1", "decisions = []"):
        (project.site / "data" / "decisions.toml").write_text(text)
        with pytest.raises(InputError, match=r"decisions\.toml"):
            read_decisions(project)


def test_run_keeps_checks_and_tells_flags(certboard: Certboard, project: Project) -> None:
    assert certboard("run", "plain", "--setting", "digits-linf-0.1", "--examples", "2").code == 0
    assert [path.name for path in project.checks.iterdir()] == ["plain.json"]


def test_every_rule_of_flags_says_what_it_means() -> None:
    assert all(text.endswith(".") for text in RULES.values())
    assert Twin("a", 0.0, 1.0).answers
