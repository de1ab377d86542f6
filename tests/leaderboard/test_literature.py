import csv
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import pytest

from leaderboard.dataset import load_datasets
from leaderboard.errors import InputError
from leaderboard.literature import FILE, Reported, join, load_literature, read_literature

BOARD, PROGRESS = "SoK leaderboard, board", "SoK leaderboard, progress"
HEADER = "dataset,norm,radius,kind,certified,clean,attack,title,date,url,source\n"


def reported(source: str, certified: float = 93.4, title: str = "A: b", **more: str) -> Reported:
    row = {"dataset": "mnist", "norm": "linf", "radius": "0.3", "kind": "deterministic"}
    return Reported.model_validate(
        {**row, "certified": certified, "title": title, "source": source, **more}
    )


def test_every_collected_row_is_there() -> None:
    rows = read_literature(FILE)
    assert Counter(row.source for row in rows) >= Counter(
        {BOARD: 151, PROGRESS: 72, "since 2024": 78}
    )


def test_the_values_are_the_collected_ones(shared: Path) -> None:
    with (shared / "literature" / "board.csv").open(encoding="utf-8") as lines:
        collected = [
            (row["norm"], Fraction(row["epsilon"]), float(row["certified_accuracy_percent"]))
            for row in csv.DictReader(lines)
        ]
    ours = [(row.norm, row.radius, row.certified) for row in read_literature(FILE)[:151]]
    assert ours == collected


def test_repeated_results_are_shown_once_and_no_other_is_lost() -> None:
    rows, joined = read_literature(FILE), load_literature()
    assert len(rows) - len(joined) == 54

    def results(of: Iterable[Reported]) -> set[object]:
        return {(r.dataset, r.norm, r.radius, r.kind, r.certified, r.attack) for r in of}

    assert results(rows) == results(joined)


def test_a_joined_row_keeps_the_date_and_both_notes() -> None:
    board = reported(BOARD, title="a B", venue="V 2020", date="2020", note="from table 8")
    progress = reported(PROGRESS, date="2019-09", url="https://a.org/", note="preprint")
    (joined,) = join([board, progress])
    assert joined.source == PROGRESS
    assert (joined.date, joined.venue, joined.url) == ("2019-09", "V 2020", "https://a.org/")
    assert joined.note == "preprint; from table 8"


def test_rows_of_one_collection_are_never_joined() -> None:
    rows = [reported("since 2024", approach="X"), reported("since 2024", approach="Y")]
    assert join(rows) == tuple(rows)


def test_different_values_or_titles_are_never_joined() -> None:
    rows = [reported(BOARD), reported(PROGRESS, certified=93.39), reported(PROGRESS, title="A c")]
    assert join(rows) == tuple(rows)


def test_every_dataset_is_known_or_not_measured_here() -> None:
    assert {row.dataset for row in load_literature()} - set(load_datasets()) == {"cifar100"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "mnist,linf,0.3,deterministic,101,,,A,2020,,{}",
            "'certified' is '101', but must be at most 100",
        ),
        ("mnist,linf,0.3,deterministic,nan,,,A,2020,,{}", "'certified' is 'nan'"),
        ("mnist,linf,0.3,deterministic,90,80,,A,2020,,{}", "above the clean one"),
        ("mnist,linf,0.3,deterministic,,,,A,2020,,{}", "must have a certified accuracy"),
        ("mnist,linf,0.3,empirical,50,,,A,2020,,{}", "attack accuracy and no certified one"),
        ("mnist,linf,0.3,certified,50,,,A,2020,,{}", "'kind' is 'certified'"),
        ('mnist,linf,"0,3",deterministic,50,,,A,2020,,{}', "write 0.3 or 3/10"),
        ("mnist,linf,0.3,deterministic,50,,,A,2020,javascript:x,{}", "https:// or http://"),
        ("mnist,linf,0.3,deterministic,50,,,A,May 2020,,{}", "2024-05"),
        ("mnist,linf,0.3,deterministic,50,,,A,2020,,elsewhere", "'source' is 'elsewhere'"),
        ("mnist,linf,0.3,deterministic,50,,,A,2020,,{},more", "'surplus'"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "literature.csv"
    path.write_text(HEADER + line.format(f'"{BOARD}"') + "\n", encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_literature(path)
    (problem,) = raised.value.problems
    assert problem.startswith("literature.csv, line 2: ")
    assert told in problem
