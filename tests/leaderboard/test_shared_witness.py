"""One counterexample in the same bytes for many images: of each it must be one."""

from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from evaluators.evaluator import clean_margins, predict, why_not_witness
from evaluators.falsification.pgd import PGD
from evaluators.network.network import Network
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from leaderboard.common.project import Project
from leaderboard.evaluation import shared_witness
from leaderboard.evaluation.shared_witness import shared
from leaderboard.evaluation.short_witness import stored_witnesses
from leaderboard.results.store import Results, read, write
from leaderboard.results.witness import point_of
from tests.fixtures.networks import linear, perceptron
from tests.fixtures.project import LINF, PLAIN
from tests.leaderboard.conftest import Certboard

SHAPE = (1, 8, 8)
RADII = {Norm.LINF: Fraction(1, 5), Norm.L2: Fraction(6, 5), Norm.L1: Fraction(7)}


@cache
def stored(norm: Norm, count: int = 40) -> tuple[Problem, list[bytes]]:
    """Images that have a counterexample, and what is stored of it."""
    network = perceptron(SHAPE, hidden=20)
    x = torch.randint(0, 256, (count, *SHAPE), generator=torch.Generator().manual_seed(0)) / 255
    labels = torch.tensor([label or 0 for label in predict(network, x)])
    problem = Problem(network, x, labels, Ball(norm, RADII[norm]))
    verdicts = enumerate(PGD()(problem))
    found = {row: one.witness for row, one in verdicts if one.witness is not None}
    return problem.select([*found]), [*stored_witnesses(problem, found).values()]


def points(problem: Problem, some: Iterable[tuple[int, bytes]]) -> Tensor:
    x = problem.x.numpy()
    return torch.from_numpy(np.stack([point_of(packed, x[row]) for row, packed in some]))


def margins(problem: Problem, some: Iterable[tuple[int, bytes]]) -> list[float]:
    assert isinstance(problem.network, Network)
    pairs = [*some]
    labels = problem.labels[[row for row, _ in pairs]]
    return clean_margins(problem.network, points(problem, pairs), labels)


@pytest.mark.parametrize("norm", list(Norm))
def test_what_images_share_is_a_counterexample_of_each_and_no_closer_to_a_tie(norm: Norm) -> None:
    problem, before = stored(norm)
    after = shared(problem, before)
    assert len(after) > 10
    for row, point in zip(after, points(problem, after.items()), strict=True):
        assert why_not_witness(problem, row, point) == ""
    old = margins(problem, ((row, before[row]) for row in after))
    assert all(new <= one for new, one in zip(margins(problem, after.items()), old, strict=True))


def test_images_share_bytes() -> None:
    problem, before = stored(Norm.LINF)
    after = [*(dict(enumerate(before)) | shared(problem, before)).values()]
    assert len(before) == 40
    assert len(set(after)) < len(set(before)) / 2


def test_what_the_check_refuses_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the same for each image: here, of every other one."""
    problem, before = stored(Norm.LINF)
    all_of_them = shared(problem, before)
    refused = set(range(0, len(before), 2))
    monkeypatch.setattr(
        shared_witness, "why_not_witness", lambda _, row, __: "no" if row in refused else ""
    )
    assert shared(problem, before).keys() == all_of_them.keys() - refused


def test_a_network_without_slopes_is_no_obstacle() -> None:
    network = linear([[0.0] * 64, [0.0] * 64], [0.0, 1.0])
    labels = torch.zeros(4).long()
    problem = Problem(network, torch.zeros(4, 64), labels, Ball(Norm.LINF, Fraction(1, 2)))
    before = [np.full(64, place / 8, "<f4").tobytes() for place in range(4)]
    for row, point in zip(range(4), points(problem, shared(problem, before).items()), strict=False):
        assert why_not_witness(problem, row, point) == ""


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_where_memory_is_short_rows_keep_what_they_have(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    problem, before = stored(Norm.LINF, 8)
    monkeypatch.setattr(shared_witness, "margin_slopes", fails)
    assert shared(problem, before) == {}


def test_a_file_is_smaller_and_the_same_however_it_was_computed(
    project: Project, certboard: Certboard
) -> None:
    command = ("run", PLAIN, "--setting", LINF, "--evaluator", "pgd", "--examples", "50")
    assert certboard(*command, "--results", "together").code == 0
    for share in ("2/2", "1/2"):
        assert certboard(*command, "--results", "shares", "--shard", share).code == 0
    found = [read(part).rows for part in sorted(Path("shares").rglob("0*.parquet"))]
    assert certboard("merge", "shares", "--results", "merged").code == 0
    together, merged = (
        read(Path(folder) / LINF / f"{PLAIN}.pgd.parquet") for folder in ("together", "merged")
    )
    alone = Results(together.path, pd.concat(found, ignore_index=True), together.provenance)
    same, rows, before = (one.rows.drop(columns="seconds") for one in (merged, together, alone))
    pd.testing.assert_frame_equal(same, rows, check_exact=False, rtol=1e-9)
    rest, old = rows.drop(columns="witness"), before.drop(columns="witness")
    pd.testing.assert_frame_equal(rest, old, check_exact=False, rtol=1e-9)
    assert rows["witness"].nunique() < before["witness"].nunique() - 5
    write(Path("alone.parquet"), alone.rows, alone.provenance)
    assert together.path.stat().st_size < Path("alone.parquet").stat().st_size
