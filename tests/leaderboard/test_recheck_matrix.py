"""Every noise with every certificate: what was measured is accepted, claims of more are not."""

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from evaluators.listing import catalogue
from evaluators.network.ensemble import SmoothedNetwork
from leaderboard.common.project import Project
from leaderboard.evaluation.smoothing import _fitting, noises
from leaderboard.recheck.claims import family_of
from leaderboard.recheck.rows import recheck_results
from leaderboard.results.store import Results, read, write
from tests.fixtures.project import NOISY
from tests.leaderboard.conftest import Certboard

pytestmark = pytest.mark.slow

SIGMA = {
    "exponential-l2": "0.03",
    "exponential-linf": "0.006",
    "gaussian": "0.25",
    "laplace": "0.2",
    "uniform": "0.5",
    "uniform-ball": "2",
}
"""Noise of about a quarter in each of 64 entries."""

PAIRS = [
    (noise, noises()[noise][0], evaluator)
    for noise in SIGMA
    for evaluator in _fitting(noise, noises()[noise][0])
]


def measure(certboard: Certboard, noise: str, norm: str, *more: str) -> Results:
    outcome = certboard(
        "certify", f"submissions/{NOISY}/model.onnx", "--dataset", "digits", "--norm", norm,
        "--radius", "0.01", "--noise", noise, "--sigma", SIGMA[noise], "--samples", "300",
        "--examples", "4", "--output", "rows.parquet", *more,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return read(Path("rows.parquet"))


def verdicts(result: Results, **columns: Any) -> list[tuple[Any, str]]:
    """What comes of the rows with some columns replaced, each by one value or a list of them."""
    rows = result.rows.copy()
    for name, value in columns.items():
        rows[name] = value if isinstance(value, list) else [value] * len(rows)
    write(Path("changed.parquet"), rows, result.provenance)
    return [(row["accepted"], row["reason"]) for row in recheck_results(Path("changed.parquet"))]


def replaced(values: Sequence[Any], place: int, value: Any) -> list[Any]:
    return [value if at == place else old for at, old in enumerate(values)]


def test_every_noise_and_certificate_is_known_to_the_recheck() -> None:
    for name, kind in catalogue().items():
        if kind.accepts is not SmoothedNetwork or name == "splitting-noise":
            continue
        for noise in SIGMA:
            fits = any(name in _fitting(noise, norm) for norm in noises()[noise])
            assert (family_of(name, noise) is not None) == fits, (name, noise)
    assert set(noises()) == {*SIGMA, "splitting", "splitting-thirds"}


@pytest.mark.parametrize(("noise", "norm", "evaluator"), PAIRS)
def test_only_what_was_measured_is_accepted(
    project: Project, certboard: Certboard, noise: str, norm: str, evaluator: str
) -> None:
    result = measure(certboard, noise, norm, "--evaluator", evaluator)
    rows = result.rows
    found = list(recheck_results(Path("rows.parquet")))
    assert [row["accepted"] for row in found] == [True] * 4, found
    radii, counts = rows["radius"].tolist(), rows["count"].tolist()
    place = next(at for at, radius in enumerate(radii) if isinstance(radius, str))
    refusals = {
        "its radius is": {
            "radius": replaced(
                radii, place, str(Fraction(found[place]["recomputed"]) + Fraction(1, 10**5))
            )
        },
        "p_lower is": {"count": replaced(counts, place, counts[place] - 3)},
        "its sigma is not": {"sigma": replaced(rows["sigma"].tolist(), place, "7")},
        "its seed is not": {"seed": replaced(rows["seed"].tolist(), place, "7")},
    }
    for reason, columns in refusals.items():
        outcome = verdicts(result, **columns)
        assert outcome[place][0] is False
        assert reason in outcome[place][1]
        assert [accepted for accepted, _ in outcome].count(True) == 3
    larger = verdicts(result, sigma=str(2 * Fraction(SIGMA[noise])))
    assert all(
        accepted is not True
        for (accepted, _), radius in zip(larger, radii, strict=True)
        if isinstance(radius, str)
    )


@pytest.mark.parametrize("sides", ["1", "2"])
@pytest.mark.parametrize("procedure", ["curtailed", "sequential", "input-specific"])
@pytest.mark.parametrize(
    ("noise", "norm", "evaluator"), [pair for pair in PAIRS if pair[2] != "first-order"][::5]
)
def test_every_procedure_is_accepted_with_any_certificate(
    project: Project,
    certboard: Certboard,
    noise: str,
    norm: str,
    evaluator: str,
    procedure: str,
    sides: str,
) -> None:
    result = measure(
        certboard, noise, norm,
        "--evaluator", evaluator, "--procedure", procedure, "--sides", sides,
    )  # fmt: skip
    assert all(accepted for accepted, _ in verdicts(result))
    assert result.rows["radius"].notna().any()


def test_a_gradient_that_does_not_follow_from_its_sums_is_refused(
    project: Project, certboard: Certboard
) -> None:
    result = measure(certboard, "gaussian", "l2", "--evaluator", "first-order")
    told = [json.loads(text) for text in result.rows["statistics"].tolist()]
    smaller = [json.dumps({**one, "gradient_bound": 0.01}) for one in told]
    assert {reason.split("bound is")[0] for _, reason in verdicts(result, statistics=smaller)} == {
        "its gradient's "
    }
    missing = [json.dumps({"noise": "shared"})] * 4
    assert all("no sums" in reason for _, reason in verdicts(result, statistics=missing))


def test_input_specific_numbers_of_samples_follow_from_the_selection(
    project: Project, certboard: Certboard
) -> None:
    result = measure(certboard, "gaussian", "l2", "--procedure", "input-specific")
    numbers = result.rows["n"].tolist()
    told = result.rows["statistics"].tolist()
    same = [at for at, text in enumerate(told) if text == told[0]]
    assert len(same) > 1, "the example has nothing to compare"
    outcome = verdicts(result, n=replaced(numbers, same[1], 299))
    assert outcome[same[1]][0] is False
