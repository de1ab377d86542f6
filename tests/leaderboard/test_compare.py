"""Comparisons: the counts, the test, and the files that the page loads."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from leaderboard.board.board import Board
from leaderboard.common.formatting import p_value
from leaderboard.results.highlights import Highlights
from leaderboard.results.paired import mcnemar, paired
from leaderboard.website.pages.compare import plans, worked
from tests.fixtures.board import board_with, rows, smoothed_rows, submission


def of(examples: range | list[int], letters: str) -> Highlights:
    return Highlights(letters, examples, {}, ())


def test_only_examples_that_both_have_are_paired() -> None:
    first = of(range(0, 10, 2), "cfucc")  # 0 c, 2 f, 4 u, 6 c, 8 c
    second = of(range(4, 9), "ccuwc")  # 4 c, 5 c, 6 u, 7 w, 8 c
    found = paired(first, second)
    assert (found.both, found.only_first, found.only_second, found.neither) == (1, 1, 1, 0)
    assert found.examples == 3


@given(
    st.lists(st.tuples(st.sampled_from("cfwu"), st.sampled_from("cfwu")), min_size=1, max_size=60)
)
def test_exchanging_two_evaluations_exchanges_the_counts_and_keeps_the_chance(
    pairs: list[tuple[str, str]],
) -> None:
    letters = ["".join(side) for side in zip(*pairs, strict=True)]
    first, second = (of(range(len(pairs)), side) for side in letters)
    one, other = paired(first, second), paired(second, first)
    assert (one.only_first, one.only_second) == (other.only_second, other.only_first)
    assert one.both == other.both
    assert one.p_value == pytest.approx(other.p_value)
    assert one.examples == len(pairs)


@given(st.integers(0, 200), st.integers(0, 200))
def test_the_chance_is_that_of_a_fair_coin(only_first: int, only_second: int) -> None:
    fewer, differing = min(only_first, only_second), only_first + only_second
    wanted = min(1.0, 2 * float(binom.cdf(fewer, differing, 0.5)))
    assert mcnemar(only_first, only_second) == pytest.approx(wanted, rel=1e-9)


def test_a_worked_comparison_has_the_first_two_of_a_setting(example: Board) -> None:
    (found,) = worked(example, "mnist-linf-0.1")
    assert (found.first.slug, found.second.slug) == ("mnist-ibp", "mnist-plain")
    assert found.counts.both + found.counts.only_first == 400
    assert found.counts.both + found.counts.only_second == 31
    assert not list(worked(example, "mnist-linf-0.3"))


def test_a_proof_and_a_sampled_certificate_are_no_two_best() -> None:
    place, other = "digits-l2-0.25", "digits-noise"
    tables = [smoothed_rows(other, place, 297), rows("a", place, {("certified", "ibp"): 297})]
    entries = {
        other: submission(other, dataset="digits", sigma="0.25"),
        "a": submission("a", dataset="digits"),
    }
    board = board_with(entries, tables)
    assert len(board.re_evaluated(place)) == 2
    assert not list(worked(board, place))


def files(example: Board) -> dict[str, dict[str, object]]:
    [page] = plans(example)
    return {path: json.loads(content) for path, content in page.files()}


def test_each_evaluation_has_a_file_with_one_letter_an_example(example: Board) -> None:
    found = files(example)
    for result in example.results:
        origin = result.provenance
        line = found[f"compare/{origin.setting}/{origin.submission}.json"]
        assert line["first"] == 0
        assert line["step"] == 1
        letters = str(line["verdicts"])
        assert len(letters) == len(result.rows)
        radius = example.settings[origin.setting].radius
        assert letters.count("c") == result.tally.certified(radius)


def test_the_list_of_a_setting_is_by_rank_and_has_its_own_evaluations_alone(
    example: Board,
) -> None:
    found = files(example)
    lists = {path: content for path, content in found.items() if path.count("/") == 1}
    assert set(lists) == {
        f"compare/{name}.json"
        for name in ("mnist-linf-0.1", "mnist-linf-0.3", "digits-l2-0.25", "digits-l2-0.5")
    }
    lines = lists["compare/mnist-linf-0.1.json"]["lines"]
    assert isinstance(lines, list)
    assert [(line["id"], line["rank"]) for line in lines] == [("mnist-ibp", 1), ("mnist-plain", 2)]
    low, high = lines[0]["interval"]
    assert low < lines[0]["certified"] < high


def test_curves_fall_and_end_in_what_the_setting_measured(example: Board) -> None:
    found = files(example)
    for path, content in found.items():
        if path.count("/") == 2:
            curve = np.array(content["curve"])
            assert (np.diff(curve[:, 0]) > 0).all()
            assert (np.diff(curve[:, 1]) <= 1e-6).all()
    plain = found["compare/mnist-linf-0.1/mnist-ibp.json"]["curve"]
    assert plain == [[0.0, 0.98], [0.1, 0.8], [0.3, 0.4]]


@pytest.mark.parametrize(
    ("chance", "text"),
    [
        (1, "1.000"),
        (0.0312, "0.031"),
        (0.00099, "9.9 · 10⁻⁴"),
        (1.23e-12, "1.2 · 10⁻¹²"),
        (0, "< 10⁻³⁰⁰"),
    ],
)
def test_a_small_chance_is_told_by_its_power(chance: float, text: str) -> None:
    assert p_value(chance) == text


def test_a_page_is_planned_where_nothing_was_evaluated(tmp_path: Path) -> None:
    from leaderboard.board.board import assemble
    from leaderboard.datasets.catalogue import load_datasets
    from leaderboard.field.taxonomy import load_taxonomy
    from leaderboard.settings.setting import load_settings

    empty = assemble(load_settings(), load_datasets(), {}, [], [], load_taxonomy())
    [page] = plans(empty)
    assert page.view["settings"] == page.view["worked"] == page.view["models"] == []
    assert list(page.files()) == []
