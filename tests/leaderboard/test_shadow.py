"""`certboard attack shadow`: a board's model, before and after."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluators.question.verdict import Status, Verdict
from leaderboard.common.errors import InputError
from leaderboard.evaluation.shadow import Spoofed, draw
from tests.leaderboard.conftest import Certboard

CERTIFIED = Verdict(Status.CERTIFIED, 0, radius=Fraction(1))
GREY = np.full((1, 4, 4), 0.5, dtype=np.float32)
ONE = Spoofed(7, 0, CERTIFIED, 1, CERTIFIED, GREY, GREY + np.float32(0.25))


def test_a_model_of_the_board_is_attacked_and_each_verdict_is_its_evaluators(
    certboard: Certboard,
) -> None:
    asked = ["digits-ibp", "--setting", "digits-linf-0.1", "--indices", "0-5", "--steps", "60"]
    outcome = certboard("attack", "shadow", *asked, "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert [row["example"] for row in found["rows"]] == [*range(6)]
    spoofed = [row for row in found["rows"] if row["after"] == "certified"]
    assert found["counts"]["spoofed"] == len(spoofed) > 0
    for row in spoofed:
        assert row["changed to"] != row["label"]
        assert row["before"] != "certified" or row["linf"] > 0.1


def test_a_picture_shows_those_that_are_certified_before_and_after(tmp_path: Path) -> None:
    unknown = replace(ONE, before=Verdict(Status.UNKNOWN, 0))
    draw(tmp_path / "shadow.png", [unknown, ONE, ONE])
    pixels = np.asarray(Image.open(tmp_path / "shadow.png"))
    assert pixels.shape == (3 * 12 + 2 * 8, 2 * 12 + 8)
    assert [pixels[0, 0], pixels[20, 0], pixels[40, 0], pixels[0, 15]] == [128, 191, 191, 255]
    with pytest.raises(InputError, match="no example"):
        draw(tmp_path / "none.png", [unknown])
