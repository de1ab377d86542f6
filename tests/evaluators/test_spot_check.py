"""A deployed model that is not what was proved something about is found inside certified balls."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from evaluators.deterministic.ibp import IBP
from evaluators.network.network import Network
from evaluators.onnx.reader import import_onnx
from evaluators.onnx.writer import export_onnx
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict
from evaluators.spot_check import _points, disagreement
from tests.fixtures.tiny import FAMILIES

RADIUS = Fraction(1, 50)


def asked(tmp_path: Path, norm: Norm = Norm.LINF) -> tuple[Problem, list[Verdict]]:
    """Questions about a network in a file that IBP mostly answers."""
    path = tmp_path / "m.onnx"
    export_onnx(FAMILIES["relu 2-4-4-3"](0), path)
    network = import_onnx(path)
    x = torch.rand(12, 2, generator=torch.Generator().manual_seed(0))
    labels = network(x.double()).argmax(1)
    problem = Problem(network, x, labels, Ball(norm, RADIUS))
    verdicts = IBP()(problem)
    assert sum(verdict.status is Status.CERTIFIED for verdict in verdicts) > 5
    return problem, verdicts


@pytest.mark.parametrize("norm", list(Norm))
def test_an_honest_file_agrees(norm: Norm, tmp_path: Path) -> None:
    problem, verdicts = asked(tmp_path, norm)
    for salt in ("one", "two"):
        assert disagreement(problem, verdicts, salt) == ""


@pytest.mark.parametrize("norm", list(Norm))
def test_all_points_lie_in_their_balls(norm: Norm, tmp_path: Path) -> None:
    problem, _ = asked(tmp_path, norm)
    for name, points in _points(problem, "salt").items():
        for x, point in zip(problem.x, points, strict=False):
            assert problem.region.contains(x, point), name


@pytest.mark.parametrize("where", ["corner", "steepest", "everywhere but at the center"])
def test_a_backdoor_in_the_ball_is_found(where: str, tmp_path: Path) -> None:
    problem, verdicts = asked(tmp_path)
    assert isinstance(problem.network, Network)
    honest = problem.network.runtime
    assert honest is not None
    points = _points(problem, "salt")
    doors = {
        "corner": points["a random corner"],
        "steepest": points["the steepest corner"],
    }

    def backdoor(x: NDArray[np.float32]) -> NDArray[np.float32]:
        given = torch.from_numpy(x)
        if where in doors:
            open_ = any(torch.equal(given, point.reshape(given.shape)) for point in doors[where])
        else:
            open_ = not any(torch.equal(given, x.reshape(given.shape)) for x in problem.x)
        logits = honest(x)
        return -logits if open_ else logits

    problem.network.runtime = backdoor
    said = disagreement(problem, verdicts, "salt")
    assert "was proved" in said
    assert "salt" in said


@pytest.mark.parametrize("logit", [np.nan, np.inf])
def test_logits_that_are_not_finite_agree_with_nothing(logit: float, tmp_path: Path) -> None:
    problem, verdicts = asked(tmp_path)
    assert isinstance(problem.network, Network)
    problem.network.runtime = lambda _: np.full((1, 3), logit, dtype=np.float32)
    assert disagreement(problem, verdicts, "salt")


def test_a_margin_below_the_proved_one_is_a_disagreement_though_the_class_is_right(
    tmp_path: Path,
) -> None:
    problem, verdicts = asked(tmp_path)
    raised = [
        replace(verdict, margin=verdict.margin and verdict.margin + 50.0) for verdict in verdicts
    ]
    assert "onnxruntime computes" in disagreement(problem, raised, "salt")


def test_random_corners_come_of_the_salt(tmp_path: Path) -> None:
    problem, _ = asked(tmp_path)
    one, again, other = (
        _points(problem, salt)["a random corner"] for salt in ("one", "one", "other")
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_what_is_not_certified_is_not_asked(tmp_path: Path) -> None:
    problem, verdicts = asked(tmp_path)
    assert isinstance(problem.network, Network)
    problem.network.runtime = lambda _: np.full((1, 3), np.nan, dtype=np.float32)
    unknown = [replace(verdict, status=Status.UNKNOWN) for verdict in verdicts]
    assert disagreement(problem, unknown, "salt") == ""
