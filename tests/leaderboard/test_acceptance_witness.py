"""Counterexamples from elsewhere, in steps or in full: the model is asked about their points."""

from typing import Any

import numpy as np
import pandas as pd

from leaderboard.results.witness import SteppedPoint, is_in_full, point_of
from tests.fixtures.forged import Made, changed, falsified
from tests.leaderboard.test_acceptance_replay import REFUTED, center_of

PIXELS = 64


def witness_of(plain: Made, where: "pd.Series[bool]") -> "np.ndarray[Any, Any]":
    """The pixels of the first fitting example's witness."""
    row = plain.rows[where].iloc[0]
    center = plain.known().split.images([int(row["example"])])[0]  # type: ignore[union-attr]
    return point_of(row["witness"], center).reshape(-1)


def test_a_witness_refutes_and_lies_in_the_ball(plain: Made) -> None:
    rows = plain.rows
    right = falsified(rows)
    label = int(rows["label"][right].iloc[0])
    other = witness_of(plain, right & (rows["label"] != label)).tobytes()
    far = witness_of(plain, right)
    far[0] = far[0] + 0.5 if far[0] < 0.5 else far[0] - 0.5
    assert "outside the region" in plain.said(changed(rows, right, witness=other))
    assert "outside the region" in plain.said(changed(rows, right, witness=far.tobytes()))
    certified = rows["status"] == "certified"
    forged = changed(rows, certified, **REFUTED, witness=center_of(plain, certified), stage="pgd")
    assert "is classified as the label" in plain.said(forged)


def test_a_witness_a_step_outside_the_ball_is_refused(plain: Made) -> None:
    """In exact arithmetic: the next float32 beyond a face of the ball."""
    rows = plain.rows
    right = falsified(rows)
    example = int(rows["example"][right].iloc[0])
    center = plain.known().split.images([example])[0].reshape(-1)  # type: ignore[union-attr]
    point = witness_of(plain, right)
    place = int(center.argmin())
    point[place] = np.nextafter(np.float32(center[place] + np.float32(0.1)), np.float32(1))
    assert "outside the region" in plain.said(changed(rows, right, witness=point.tobytes()))


def test_a_witness_in_full_is_as_good_as_one_in_steps(plain: Made) -> None:
    """As all were, once."""
    rows = plain.rows.copy()
    right = falsified(rows)
    assert not all(is_in_full(one, PIXELS) for one in rows["witness"][right])
    whole = [
        witness_of(plain, pd.Series(rows.index == at, rows.index)).tobytes() if hit else None
        for at, hit in right.items()
    ]
    assert not plain.said(rows.assign(witness=pd.Series(whole, rows.index)))


def test_steps_out_of_the_ball_are_refused(plain: Made) -> None:
    right = falsified(plain.rows)
    stored = SteppedPoint(0.25, 1, np.ones(PIXELS, np.int8)).packed()
    assert "outside the region" in plain.said(changed(plain.rows, right, witness=stored))


def test_steps_that_go_nowhere_refute_nothing(plain: Made) -> None:
    right = falsified(plain.rows)
    stored = SteppedPoint(0.0625, 1, np.zeros(PIXELS, np.int8)).packed()
    assert "is classified as the label" in plain.said(changed(plain.rows, right, witness=stored))


def test_steps_of_another_example_lead_elsewhere(plain: Made) -> None:
    """They are added to the example of their row, whatever they were found for."""
    rows, right = plain.rows, falsified(plain.rows)
    label = int(rows["label"][right].iloc[0])
    others = rows["witness"][right & (rows["label"] != label)]
    other = next(one for one in others if not is_in_full(one, PIXELS))
    assert "is classified as the label" in plain.said(changed(rows, right, witness=other))
