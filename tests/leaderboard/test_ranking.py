from pathlib import Path

import pytest

from leaderboard.board.ranking import Standing, leader, standings
from leaderboard.field.literature import Reported
from leaderboard.results.store import Results
from leaderboard.settings.setting import LEAST_EXAMPLES
from leaderboard.submissions.manifest import Submission
from tests.fixtures.board import provenance, rows, setting_named, smoothed_rows, submission

SETTING = "mnist-linf-0.1"


def result(slug: str, certified: int, of: int = 10, setting: str = SETTING) -> Results:
    decided = {("certified", "ibp"): certified, ("unknown", "crown"): of - certified}
    table = rows(slug, setting, decided)
    return Results(Path(f"{slug}.parquet"), table, provenance(table))


def reported(certified: float | None, title: str = "A paper", **other: str) -> Reported:
    row: dict[str, object] = {
        "dataset": "mnist",
        "norm": "linf",
        "radius": "0.1",
        "kind": "deterministic" if certified is not None else "empirical",
        "certified": certified,
        "attack": None if certified is not None else 90.0,
        "title": title,
        "source": "since 2024",
    }
    return Reported.model_validate({**row, **other})


def submissions(*slugs: str) -> dict[str, Submission]:
    return {slug: submission(slug, slug) for slug in slugs}


def ranks(lines: list[Standing]) -> list[tuple[str, int | None]]:
    return [(line.title, line.rank) for line in lines]


def test_equal_accuracies_share_a_rank_and_the_next_is_skipped() -> None:
    results = [result("a", 5), result("b", 8), result("c", 8), result("d", 2)]
    slugs = submissions("a", "b", "c", "d")
    lines = standings(setting_named(SETTING), results, [], slugs, least=1)
    assert ranks(lines) == [("b", 1), ("c", 1), ("a", 3), ("d", 4)]


def test_of_equal_accuracies_who_was_here_first_is_listed_first() -> None:
    results = [result("a", 8), result("b", 8), result("c", 8)]
    titled = {slug: submission(slug, "AAA" if slug == "c" else slug) for slug in "abc"}
    seen = {"a": "2026-02-01", "b": "2026-01-01"}  # the rows of 'c' are of March
    lines = standings(setting_named(SETTING), results, [], titled, least=1, first_seen=seen)
    assert [line.slug for line in lines] == ["b", "a", "c"]
    assert [line.rank for line in lines] == [1, 1, 1]


def test_of_equal_papers_the_older_is_listed_first_and_one_without_a_date_last() -> None:
    papers = [reported(9.0, "A"), reported(9.0, "B", date="2024"), reported(9.0, "C", date="2023")]
    lines = standings(setting_named(SETTING), [], papers, {})
    assert [line.title for line in lines] == ["C", "B", "A"]


def test_a_copy_of_a_network_has_no_rank_and_says_whose_it_is() -> None:
    results = [result("a", 8), result("b", 9), result("c", 5)]
    lines = standings(
        setting_named(SETTING),
        results,
        [],
        submissions("a", "b", "c"),
        least=1,
        copies={"b": "a"},
    )
    assert ranks(lines) == [("a", 1), ("c", 2), ("b", None)]
    assert lines[2].short == "same network as 'a', which was here before"
    assert [line.of for line in lines] == [2, 2, 2]
    assert leader(lines) is lines[0]


def test_a_reported_number_neither_outranks_nor_precedes_a_measured_one() -> None:
    measured = result("a", 300, of=LEAST_EXAMPLES)
    lines = standings(setting_named(SETTING), [measured], [reported(99.0)], submissions("a"))
    assert [(line.tier, line.rank) for line in lines] == [("re-evaluated", 1), ("reported", 1)]
    assert lines[1].result is None
    assert lines[0].reported is None


def test_too_few_examples_give_no_rank_and_say_why() -> None:
    results = [result("a", 40, of=LEAST_EXAMPLES - 1), result("b", 30, of=LEAST_EXAMPLES)]
    lines = standings(setting_named(SETTING), results, [], submissions("a", "b"))
    assert ranks(lines) == [("b", 1), ("a", None)]
    assert [line.short for line in lines] == ["", "489 examples; a rank takes 490"]
    assert [line.of for line in lines] == [1, 1]


@pytest.mark.parametrize(
    ("setting", "kind", "examples", "rank"),
    [
        ("mnist-linf-0.1", "deterministic", None, 1),  # nobody said how many
        ("mnist-linf-0.1", "deterministic", 10_000, 1),
        ("mnist-linf-0.1", "deterministic", 1_000, None),  # a part, without an interval
        ("cifar10-l2-36_255", "probabilistic", 500, 1),  # as usual for smoothed models
        ("cifar10-l2-36_255", "probabilistic", 100, None),
    ],
)
def test_a_reported_number_on_a_part_of_what_is_asked_has_no_rank(
    setting: str, kind: str, examples: int | None, rank: int | None
) -> None:
    place = setting_named(setting)
    question = {"dataset": place.dataset, "norm": place.norm, "radius_text": place.radius_text}
    told = {**question, "kind": kind, "examples": examples}
    (line,) = standings(place, [], [reported(90.0).model_copy(update=told)], {})
    assert line.rank == rank
    assert bool(line.short) == (rank is None)


def test_kinds_of_guarantee_are_ranked_apart() -> None:
    rows = [reported(90.0, "proof"), reported(95.0, "sampled", kind="probabilistic")]
    lines = standings(setting_named(SETTING), [], rows, {})
    assert [(line.title, line.rank, line.of) for line in lines] == [
        ("proof", 1, 1),
        ("sampled", 1, 1),
    ]


def test_an_equal_radius_written_otherwise_is_the_same_setting_and_another_is_not() -> None:
    rows = [reported(90.0, "same", radius="1/10"), reported(91.0, "other", radius="0.11")]
    lines = standings(setting_named(SETTING), [], rows, {})
    assert [line.title for line in lines] == ["same"]


@pytest.mark.parametrize("other", [{"norm": "l2"}, {"dataset": "cifar10"}])
def test_another_norm_or_dataset_is_another_setting(other: dict[str, str]) -> None:
    assert standings(setting_named(SETTING), [], [reported(90.0, **other)], {}) == []


def test_results_of_another_setting_or_of_a_withdrawn_submission_are_left_out() -> None:
    results = [result("a", 5, setting="mnist-linf-0.3"), result("gone", 9)]
    assert standings(setting_named(SETTING), results, [], submissions("a")) == []


def test_an_empirical_number_has_no_rank_and_stands_last() -> None:
    lines = standings(setting_named(SETTING), [], [reported(None, "AA"), reported(1.0, "ZZ")], {})
    assert ranks(lines) == [("ZZ", 1), ("AA", None)]
    assert lines[1].attack == pytest.approx(0.9)


def test_a_subset_keeps_its_interval() -> None:
    [line] = standings(setting_named(SETTING), [result("a", 5)], [], submissions("a"))
    assert line.interval is not None
    assert line.certified is not None
    assert line.interval.low < line.certified < line.interval.high


def test_how_names_what_certified_most_first() -> None:
    table = rows("a", SETTING, {("certified", "ibp"): 1, ("certified", "crown"): 3})
    [line] = standings(
        setting_named(SETTING),
        [Results(Path("a"), table, provenance(table))],
        [],
        submissions("a"),
    )
    assert line.how == "crown 75 %, ibp 25 %"


def test_the_kind_follows_from_the_rows() -> None:
    table = smoothed_rows("a", "digits-l2-0.25", 20)
    smoothed = submission("a", dataset="digits", sigma="0.25")
    found = Results(Path("a"), table, provenance(table))
    [line] = standings(setting_named("digits-l2-0.25"), [found], [], {"a": smoothed})
    assert line.kind == "probabilistic"
    assert line.attack is None


def test_the_order_of_the_input_does_not_matter() -> None:
    results = [result("a", 5), result("b", 8), result("c", 8)]
    papers = [reported(90.0, "x"), reported(90.0, "y"), reported(95.0, "z")]
    there = standings(setting_named(SETTING), results, papers, submissions("a", "b", "c"))
    back = standings(
        setting_named(SETTING), results[::-1], papers[::-1], submissions("a", "b", "c")
    )
    assert ranks(there) == ranks(back)
