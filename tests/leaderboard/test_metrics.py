from fractions import Fraction

import pandas as pd
import pytest

from leaderboard.results.metrics import METRICS, certified_at, certified_interval, correct
from tests.fixtures.board import rows, smoothed_rows, tally

DECIDED = {
    ("certified", "ibp"): 5,
    ("certified", "crown"): 1,
    ("unknown", "crown"): 1,
    ("falsified", "pgd"): 2,
    ("falsified", "prediction"): 1,
}
TENTH = Fraction(1, 10)


def value(name: str, table: pd.DataFrame, radius: Fraction = TENTH) -> float | None:
    return METRICS[name].value(tally(table), radius)


def smoothed(radii: list[str | None], predictions: list[int | None]) -> pd.DataFrame:
    """Examples of class 0 with these proved radii and predictions (None: abstained)."""
    table = smoothed_rows("digits-noise", "digits-l2-0.25", len(radii))
    prediction = pd.array(predictions, dtype="Int64")
    return table.assign(label=0, prediction=prediction, radius=pd.array(radii, dtype="object"))


@pytest.mark.parametrize(
    ("name", "share"), [("certified", 0.6), ("clean", 0.9), ("attack", 0.7), ("unknown", 0.1)]
)
def test_shares_of_ten_examples_are_those_counted_by_hand(name: str, share: float) -> None:
    table = rows("mnist-ibp", "mnist-linf-0.1", DECIDED)
    assert value(name, table) == pytest.approx(share)


def test_certified_attack_and_unknown_add_up() -> None:
    table = rows("mnist-ibp", "mnist-linf-0.1", DECIDED)
    certified, attack, unknown = (value(name, table) for name in ("certified", "attack", "unknown"))
    assert certified is not None
    assert unknown is not None
    assert certified + unknown == pytest.approx(attack)


def test_times_are_median_and_sum() -> None:
    table = rows("mnist-ibp", "mnist-linf-0.1", DECIDED).assign(seconds=[1.0] * 9 + [11.0])
    assert value("median-seconds", table) == 1.0
    assert value("total-seconds", table) == 20.0


def test_a_smoothed_example_counts_where_its_radius_reaches_and_its_class_is_right() -> None:
    table = smoothed(["0.3", "0.25", "0.2499", None, "0.9"], [0, 0, 0, None, 3])
    assert value("certified", table, Fraction(1, 4)) == pytest.approx(2 / 5)
    assert value("clean", table) == pytest.approx(3 / 5)


def test_a_status_alone_certifies_no_smoothed_example() -> None:
    table = smoothed(["0.2"], [0]).assign(status="certified")
    assert value("certified", table, Fraction(1, 4)) == 0


def test_radii_are_compared_as_exact_fractions() -> None:
    wanted = Fraction(8, 255)
    below = format(float(wanted), ".30f")
    assert Fraction(below) < wanted
    table = smoothed(["8/255", below], [0, 0])
    assert certified_at(table, wanted).tolist() == [True, False]


def test_abstaining_is_not_correct() -> None:
    assert correct(smoothed([None], [None])).tolist() == [False]


def test_a_smoothed_model_has_no_attack_accuracy() -> None:
    assert value("attack", smoothed(["0.3"], [0])) is None


def test_no_rows_give_no_number() -> None:
    table = rows("mnist-ibp", "mnist-linf-0.1", DECIDED).head(0)
    assert [metric.value(tally(table), TENTH) for metric in METRICS.values()] == [None] * len(
        METRICS
    )


def test_the_interval_of_none_of_ten_is_the_closed_form() -> None:
    table = rows("mnist-ibp", "mnist-linf-0.1", {("unknown", "crown"): 10})
    interval = certified_interval(tally(table), TENTH, total=10_000)
    assert interval is not None
    assert interval.low == 0
    assert interval.high == pytest.approx(1 - 0.025 ** (1 / 10))


def test_the_whole_test_set_has_no_interval() -> None:
    table = rows("mnist-ibp", "mnist-linf-0.1", DECIDED)
    assert certified_interval(tally(table), TENTH, total=10) is None
    assert certified_interval(tally(table), TENTH, total=11) is not None


def test_every_metric_describes_itself() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.description.endswith(".")
