import csv
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import pytest

from leaderboard.common.errors import InputError
from leaderboard.datasets.catalogue import load_datasets
from leaderboard.field.literature import (
    ELSEWHERE,
    FILE,
    PAPERS,
    Reported,
    fingerprint,
    join,
    load_literature,
    load_papers,
    paper_key,
    read_literature,
)
from leaderboard.field.sources import CHANGES, COLLECTIONS, load_changes

BOARD: Final = "SoK leaderboard, board"
PROGRESS: Final = "SoK leaderboard, progress"
SINCE: Final = "since 2024"
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


def collected(shared: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of the three collections, in their own order and columns."""
    files = {"board": BOARD, "progress": PROGRESS, "since-2024": SINCE}
    for name, source in files.items():
        with (shared / "literature" / f"{name}.csv").open(encoding="utf-8") as lines:
            yield from ((source, row) for row in csv.DictReader(lines))


def number(text: str | None) -> float | None:
    return float(text) if text else None


def test_every_collected_row_is_there_with_its_values(shared: Path) -> None:
    rows = read_literature(FILE)
    compared = 0
    for row, (source, theirs) in zip(rows, collected(shared), strict=False):
        empirical = theirs.get("kind") == "empirical"
        accuracy = number(
            theirs.get("certified_accuracy_percent") or theirs.get("accuracy_percent")
        )
        assert row.source == source
        assert row.dataset == re.sub("[^a-z0-9]|x64", "", theirs["dataset"].lower())
        assert (row.norm, row.radius) == (theirs["norm"], Fraction(theirs["epsilon"]))
        corrected = re.search(r"the collection has ([0-9.]+)", row.note)
        ours = number(corrected[1]) if corrected else row.attack if empirical else row.certified
        assert ours == accuracy
        assert row.clean == (number(theirs.get("clean_accuracy_percent")) or row.clean)
        assert (row.kind == "empirical") == empirical
        if "certification" in theirs:
            assert row.kind == theirs["certification"]
        if theirs.get("attack_accuracy_percent"):
            assert row.attack == number(theirs["attack_accuracy_percent"])
        assert row.date == theirs.get("date", row.date)
        assert row.venue == theirs["venue"] or theirs["venue"] in UNPUBLISHED
        assert row.extra_data == (theirs.get("extra_data") or row.extra_data)
        compared += 1
    assert compared == 301


UNPUBLISHED = ("", "preprint")
"""What a collection says of a paper that has appeared since."""


def test_every_row_of_the_supplement_is_there_with_where_it_was_read(shared: Path) -> None:
    """Those files stand behind the collections, each with its last two columns."""
    with (shared / "literature" / "more.csv").open(encoding="utf-8") as lines:
        supplement = list(csv.DictReader(lines))
    assert len(supplement) == 201
    for row, theirs in zip(read_literature(FILE)[301:], supplement, strict=False):
        for name in ("dataset", "norm", "kind", "approach", "title", "venue", "date", "url"):
            assert str(getattr(row, name)) == theirs[name]
        for name in ("protocol", "note", "source"):
            assert str(getattr(row, name)) == theirs[name]
        assert theirs["extra_data"] in ("", row.extra_data)
        where = re.sub(NO_ADDRESS, "", theirs["read_in"])
        assert row.read_in.startswith(where) or row.read_in == ABSTRACT
        assert row.radius == Fraction(theirs["radius"])
        for name in ("certified", "clean", "attack"):
            assert getattr(row, name) == number(theirs[name])
        told = "recounted" if "recomputed" in theirs["confidence"] else row.reliability
        assert row.reliability == told
        assert told is not None
        assert (told == "secondary") == theirs["confidence"].startswith("secondary")


NO_ADDRESS = r", file index id [0-9]+"
"""What a reader cannot follow, of where a row was read."""

ABSTRACT = "abstract of arXiv 2407.02811"


def test_no_clean_accuracy_without_where_it_was_read_stands_where_its_collection_has_none() -> None:
    for row in read_literature(FILE):
        if row.source in (BOARD, PROGRESS):
            assert row.clean is None or row.read_in, row


BEST = [
    ("mnist", "l2", "1.58", "probabilistic", 79.22),
    ("cifar10", "l2", "36/255", "probabilistic", 86.11),
    ("cifar10", "l2", "0.25", "probabilistic", 82.2),
    ("cifar10", "l2", "1.0", "probabilistic", 43.2),
    ("cifar10", "linf", "2/255", "probabilistic", 69.17),
    ("imagenet", "l2", "1.0", "deterministic", 22.4),
    ("imagenet", "linf", "1/255", "probabilistic", 38.0),
    ("imagenet", "l1", "1.0", "deterministic", 48.4),
]


@pytest.mark.parametrize(("dataset", "norm", "radius", "kind", "best"), BEST)
def test_the_best_reported_figure_is_the_field_s(
    dataset: str, norm: str, radius: str, kind: str, best: float
) -> None:
    wanted = (dataset, norm, Fraction(radius), kind)
    found = [
        row.certified or 0
        for row in load_literature()
        if (row.dataset, row.norm, row.radius, row.kind) == wanted and row.examples != 100
    ]
    assert max(found) == best


def test_the_protocol_s_number_of_examples_is_the_column_s() -> None:
    for row in read_literature(FILE):
        if told := re.match(r"([0-9,]+) (?:test|validation) (?:images|examples)", row.protocol):
            assert row.examples == int(told[1].replace(",", "")), row.protocol


def words(*texts: str) -> set[str]:
    plain = re.sub(r"\\ell_|\\epsilon|ℓ", " ", " ".join(texts))
    return set(re.findall("[a-z0-9]+", plain.lower()))


def test_title_link_and_comment_of_every_collected_row_are_kept(shared: Path) -> None:
    """Markup is gone, and a comment may lie in another column, or be a better title."""
    for row, (_, theirs) in zip(read_literature(FILE), collected(shared), strict=False):
        told = words(row.title, row.approach, row.protocol, row.note, row.extra_data)
        comment = theirs["comment"].replace(EVERY_ROW_OF_ITS_COLLECTION, "")
        missing = words(theirs["title"], comment, theirs.get("approach", "")) - told
        assert missing <= DROPPED, (row, missing)
        if theirs["link"]:
            assert row.url == theirs["link"]


EVERY_ROW_OF_ITS_COLLECTION = "as in the table of the source"
"""A comment that is told once, of the whole collection."""

DROPPED = {"approach", "name", "accepted", "at", "iccv", "2019", "under", "the", "data", "source"}
"""Words that only introduced a value which now has its own column."""


def test_repeated_results_are_shown_once_and_no_other_is_lost() -> None:
    rows, joined = read_literature(FILE), load_literature()
    assert len(rows) - len(joined) == 65

    def results(of: Iterable[Reported]) -> set[tuple[object, ...]]:
        return {(r.dataset, r.norm, r.radius, r.kind, r.certified, r.attack) for r in of}

    rounded = results(rows) - results(joined)
    assert len(rounded) == 7
    assert {f"{value:g}" for *_, value, _ in rounded} <= {
        note.rpartition(" ")[2] for row in joined if "rounds it to" in (note := row.note)
    }


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


def test_a_count_is_joined_with_what_the_paper_rounds_it_to() -> None:
    counted = reported("authors' per-example certificates", certified=81.44, note="counted")
    (joined,) = join([reported(BOARD, certified=81.0, note="another model"), counted])
    assert (joined.certified, joined.note) == (81.44, "counted; the paper rounds it to 81")
    apart = [reported(BOARD, certified=81.0), reported(PROGRESS, certified=81.44)]
    assert join(apart) == tuple(apart)


def test_a_source_outside_the_collections_says_where_it_was_read() -> None:
    row = reported("a thesis", read_in="its table 3, page 41")
    assert row.source == "a thesis"
    with pytest.raises(ValueError, match=r"no known collection\. Did you mean 'since 2024'"):
        reported("sinc 2024")


def test_the_year_is_the_venue_s_and_not_the_preprint_s() -> None:
    assert reported(SINCE, venue="ICLR 2024", date="2023-05").year == "2024"
    assert reported(SINCE, venue="preprint", date="2023-05").year == "2023"


def test_every_paper_of_the_authors_list_is_in_the_literature_with_several_or_no_commas() -> None:
    papers = {row.paper for row in load_literature()}
    assert set(load_papers()) <= papers
    signed = {title: record.authors for title, record in load_papers().items() if record.authors}
    assert len(signed) >= 71
    for title, authors in signed.items():
        assert all(name == name.strip() and "," not in name for name in authors), title
        assert len(set(authors)) == len(authors), title
    (row,) = [
        one
        for one in load_literature()
        if one.paper
        == paper_key(
            "MACER: attack-free and scalable robust training via maximizing certified radius"
        )
        and (one.dataset, one.radius_text) == ("cifar10", "2.0")
    ]
    assert row.authors[0] == "Runtian Zhai"


def test_no_change_of_the_literature_is_without_a_line_in_its_log() -> None:
    last = load_changes()[-1]
    assert (last.sha256, last.rows) == (fingerprint(), len(read_literature(FILE))), (
        f"append a line with {fingerprint()} to {CHANGES.name} that says what was changed"
    )
    committed = subprocess.run(
        ["git", "show", f"HEAD:./{CHANGES.name}"],
        cwd=CHANGES.parent,
        capture_output=True,
        check=False,
    )
    # Where there is a checkout: lines are only ever added.
    assert CHANGES.read_bytes().startswith(committed.stdout)
    dates = [change.date for change in load_changes()]
    assert dates == sorted(dates)
    assert PAPERS.exists()


def test_every_dataset_is_known_or_not_measured_here() -> None:
    assert {row.dataset for row in load_literature()} - set(load_datasets()) == set(ELSEWHERE)


def test_every_collection_says_where_it_is_from() -> None:
    assert set(COLLECTIONS) == {row.source for row in load_literature()}


@pytest.mark.parametrize(
    ("date", "url", "month"),
    [
        ("2019-02", "https://arxiv.org/abs/1809.03008", "2019-02"),
        ("2024", "https://arxiv.org/abs/2310.02513", "2023-10"),
        ("2024", "https://arxiv.org/pdf/2310.02513.pdf", "2023-10"),
        ("2024", "https://openreview.net/pdf?id=mzyZ4wzKlM", "2024"),
        ("2024-05-07", "https://a.org/", "2024-05"),
    ],
)
def test_the_month_is_the_date_s_or_the_preprint_s(date: str, url: str, month: str) -> None:
    assert reported(BOARD, date=date, url=url).month == month


def test_the_same_line_twice_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "literature.csv"
    line = f'mnist,linf,0.3,deterministic,90,95,,A,2020,,"{BOARD}"\n'
    path.write_text(HEADER + line + line, encoding="utf-8")
    with pytest.raises(InputError, match=r"literature.csv, line 3: repeats line 2\."):
        read_literature(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\xff\xfe", "not UTF-8"), (b'dataset\n"a', "line 1: not CSV"), (None, "cannot be read")],
)
def test_a_file_that_is_no_table_is_told(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "literature.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=told):
        read_literature(path)


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
        ("minst,linf,0.3,deterministic,50,,,A,2020,,{}", "Did you mean 'mnist'?"),
        ('mnist,linf,"0,3",deterministic,50,,,A,2020,,{}', "write 0.3 or 3/10"),
        ("mnist,linf,0.3,deterministic,50,,,A,2020,javascript:x,{}", "https:// or http://"),
        ("mnist,linf,0.3,deterministic,50,,,A,May 2020,,{}", "2024-05"),
        ("mnist,linf,0.3,deterministic,50,,,A,2020,,elsewhere", "source 'elsewhere' is no known"),
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
