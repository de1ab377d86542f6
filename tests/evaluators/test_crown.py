"""CROWN against a peer, and on networks with hidden counterexamples."""

import csv
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.cascade import Cascade, default_stages
from evaluators.deterministic.crown import CROWN
from evaluators.onnx.reader import import_onnx
from evaluators.propagation.linear_bounds import (
    interval_relaxation,
    linear_relaxation,
    margins,
)
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.evaluators.test_backward import by_hand
from tests.fixtures.peer import RADII, peer

BATCHING = 0.1
"""The peer merges unstable neurons over its batch, which moves its margins by so much."""


def test_a_margin_by_hand() -> None:
    """As in `test_backward`, 7/4, where IBP has 0 - 3/2 + 3."""
    region = Ball(Norm.LINF, Fraction(1, 2), -1.0, 1.0)
    x = torch.tensor([[0.5, 0.0]])
    (verdict,) = CROWN()(Problem(by_hand(), x, torch.tensor([0]), region, deployed=False))
    assert verdict.status is Status.CERTIFIED
    assert verdict.margin == pytest.approx(1.75, abs=1e-12)
    assert verdict.stage == "crown"


@pytest.mark.parametrize("model", RADII)
def test_margins_equal_a_peers(shared: Path, shared_data: Path, model: str) -> None:
    given = peer(shared, model, "crown", 8)
    with torch.inference_mode():
        ours = margins(linear_relaxation(given.problem), given.problem.labels, to_input=True)
    assert bool((ours >= given.margins - BATCHING).all())
    assert float(ours.mean()) >= float(given.margins.mean())


@pytest.mark.parametrize("model", RADII)
def test_crown_ibp_margins_equal_a_peers(shared: Path, shared_data: Path, model: str) -> None:
    given = peer(shared, model, "crown-ibp", 10)
    with torch.inference_mode():
        ours = margins(interval_relaxation(given.problem), given.problem.labels, to_input=True)
    assert bool((ours >= given.margins - 1e-4 * given.margins.abs().clamp(min=1)).all())


def box(path: Path) -> tuple[list[Fraction], list[Fraction], list[int]]:
    """A property's input box and the classes whose logits must not reach the label's."""
    text = path.read_text(encoding="utf-8")
    number = r"\(assert \((<=|>=) X_(\d+) (\S+)\)\)"
    bounds: dict[str, dict[int, Fraction]] = {"<=": {}, ">=": {}}
    for sign, index, value in re.findall(number, text):
        bounds[sign][int(index)] = Fraction(value)
    others = [int(other) for other, _ in re.findall(r"\(>= Y_(\d+) Y_(\d+)\)", text)]
    return list(bounds[">="].values()), list(bounds["<="].values()), others


def instances(shared: Path) -> list[dict[str, str]]:
    with (shared / "soundness" / "instances.csv").open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def question(shared: Path, row: dict[str, str]) -> Problem | None:
    """The property as a ball; None where the box is no ball around a float32 point."""
    lower, upper, _ = box(shared / "soundness" / row["vnnlib"])
    widths = {u - lo for lo, u in zip(lower, upper, strict=True)}
    centers = [(lo + u) / 2 for lo, u in zip(lower, upper, strict=True)]
    exact = all(Fraction(float(np.float32(float(c)))) == c for c in centers)
    if len(widths) != 1 or not exact:
        return None
    # Their weights cancel: now and then the comparison on random inputs refuses one of them.
    network = import_onnx(shared / "soundness" / row["onnx"], salt="0" * 32)
    x = torch.tensor([float(c) for c in centers], dtype=torch.float32)
    return Problem(
        network,
        x.reshape(1, *network.input_shape),
        torch.tensor([int(row["label"])]),
        Ball(Norm.LINF, widths.pop() / 2, -1e6, 1e6),
        deployed=False,
    )


@pytest.mark.slow
def test_hidden_counterexamples_are_never_certified(shared: Path) -> None:
    asked = certified = 0
    for row in instances(shared):
        problem = question(shared, row)
        if problem is None:
            continue
        asked += 1
        (verdict,) = Cascade(default_stages())(problem)
        least = float(row["cex_margin"] or 0)
        if row["truth"] == "falsifiable":
            assert verdict.status is not Status.CERTIFIED, row["name"]
            assert verdict.margin is None or verdict.margin <= least + 1e-5 * abs(least)
        else:
            assert verdict.status is not Status.FALSIFIED, row["name"]
            certified += verdict.status is Status.CERTIFIED
    assert asked >= 20
    assert certified >= 3


def test_known_counterexamples_lie_in_the_ball_asked_about(shared: Path) -> None:
    """That the test above asks about the right regions."""
    for row in instances(shared):
        problem = question(shared, row)
        if problem is None or not row["cex"]:
            continue
        witness = torch.from_numpy(np.load(shared / "soundness" / row["cex"])).float()
        assert problem.region.contains(problem.x[0], witness.reshape(problem.x[0].shape))
