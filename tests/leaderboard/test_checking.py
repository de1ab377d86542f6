import re
from pathlib import Path
from types import ModuleType

import pytest

from leaderboard.board.own_files import check_board
from leaderboard.common.errors import InputError
from leaderboard.field import authors_curves, literature, sources, taxonomy
from leaderboard.field.literature import read_literature
from leaderboard.settings import setting
from tests.leaderboard.conftest import Certboard


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Copies of the board's own files, which are read in their place."""
    found = {"literature": literature.FILE, "taxonomy": taxonomy.FILE, "settings": setting.FOLDER}
    copies = {name: tmp_path / "copies" / path.name for name, path in found.items()}
    copies["settings"].mkdir(parents=True)
    for path in setting.FOLDER.glob("*.toml"):
        (copies["settings"] / path.name).write_text(path.read_text())
    for name, module in (("literature", literature), ("taxonomy", taxonomy)):
        copies[name].write_text(found[name].read_text(encoding="utf-8"), encoding="utf-8")
        monkeypatch.setattr(module, "FILE", copies[name])
    monkeypatch.setattr(setting, "FOLDER", copies["settings"])
    return copies


def change(path: Path, old: str, new: str) -> int:
    """Replace what stands there once; its line."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


def test_the_board_s_own_files_have_no_problem(files: dict[str, Path]) -> None:
    assert check_board().problems == []
    assert len(check_board().counts) == 7


def test_problems_in_every_file_are_told_at_once_with_their_lines(files: dict[str, Path]) -> None:
    change(files["literature"], "97.1,,,,MixTrain", "197.1,,,,MixTrain")
    line = change(
        files["taxonomy"], 'title = "Complete verification"', 'titel = "Complete verification"'
    )
    change(files["settings"] / "mnist-linf-0.1.toml", '"0.1"', '"0,1"')
    problems = check_board().problems
    told = "\n".join(problems)
    assert "literature.csv, line 11: 'certified' is '197.1'" in told
    node = line - 2  # the entry's [[node]]
    assert f"taxonomy.toml, line {node}: the key 'node #3.title' is missing" in told
    assert "settings/mnist-linf-0.1.toml" in told


def test_a_node_in_the_wrong_place_is_told_with_its_line(files: dict[str, Path]) -> None:
    entry = '\n[[node]]\npath = "verification/nowhere/here"\ntitle = "A"\nsummary = "B"\n'
    with files["taxonomy"].open("a", encoding="utf-8") as end:
        end.write(entry)
    lines = files["taxonomy"].read_text(encoding="utf-8").count("\n")
    (problem,) = check_board().problems
    assert problem.startswith(f"taxonomy.toml, line {lines - 2}: 'verification/nowhere/here'")


def test_a_paper_without_a_place_in_the_tree_is_told(files: dict[str, Path]) -> None:
    with files["literature"].open("a", encoding="utf-8") as end:
        end.write("mnist,linf,0.3,deterministic,90,95,,,,,A new paper,,2024,,,,,since 2024,,\n")
    (problem,) = check_board().problems
    assert problem.startswith("literature.csv: 'A new paper' has no place in the taxonomy.")


CHANGED = "mnist,linf,0.3,deterministic,90,95,{examples},{title},{url},{date},since 2024\n"
HEAD = "dataset,norm,radius,kind,certified,clean,examples,title,url,date,source\n"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"url": "javascript:alert(1)"}, "'url' is 'javascript:alert(1)', but must be a web addr"),
        ({"url": "data:text/html;x"}, "'url' is 'data:text/html;x', but must be a web address"),
        ({"title": "a\u202eb"}, "must not contain the invisible character U+202E"),
        ({"title": "\u0421ertified"}, "mixes scripts that look alike"),
        ({"title": "x" * 301}, "must have at most 300 characters"),
        ({"date": "9" * 300}, "must be a date such as 2024"),
        ({"examples": "9" * 4000}, "'examples' is '9"),
        ({"examples": "nan"}, "'examples' is 'nan', but must be a whole number"),
    ],
)
def test_a_row_that_is_no_plain_number_of_a_paper_is_refused_in_one_sentence(
    tmp_path: Path, changed: dict[str, str], sentence: str
) -> None:
    usual = {"title": "A", "url": "https://a.org", "date": "2024", "examples": "9"}
    path = tmp_path / "literature.csv"
    path.write_text(HEAD + CHANGED.format(**usual | changed), encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(sentence)) as refused:
        read_literature(path)
    assert len(refused.value.problems) == 1
    assert len(refused.value.problems[0]) < 300


def test_a_column_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "literature.csv"
    line = CHANGED.format(title="A", url="", date="", examples="").strip()
    path.write_text(f"{HEAD.strip()},certified\n{line},99.9\n", encoding="utf-8")
    with pytest.raises(InputError, match="has the column 'certified' more than once"):
        read_literature(path)


def test_papers_whose_titles_have_no_latin_letter_are_not_one_paper() -> None:
    one, other = map(literature.paper_key, ("\u8bc1\u4e66", "\u9c81\u68d2\u6027"))
    assert one != other
    assert literature.paper_key("A: b") == literature.paper_key("a B")


def test_dates_to_come_and_titles_that_imitate_others_are_told(files: dict[str, Path]) -> None:
    with files["literature"].open("a", encoding="utf-8") as end:
        for title in ("Certified Training: SmaII Boxes are AII You Need", "Later"):
            line = "mnist,linf,0.3,deterministic,90,95,,,sabr,,{title},,{date},,,,,since 2024,,\n"
            end.write(line.format(title=title, date="2999-01" if title == "Later" else ""))
    told = [problem.removeprefix("literature.csv: ") for problem in check_board().problems]
    assert told == [
        "'Later' has a date in the future, 2999-01.",
        "the title 'Certified Training: SmaII Boxes are AII You Need' can be mistaken for"
        " 'Certified Training: Small Boxes are All You Need'; write it as that paper does, or as"
        " its rows do.",
    ]


@pytest.mark.parametrize(
    ("module", "name", "line", "sentence"),
    [
        (literature, "PAPERS", "Ours,A. B,javascript:alert(1)", "'code' is 'javascript:alert(1)'"),
        (authors_curves, "FILE", "a/b,data/certify/mnist/noise_1,5,6{zeros}", "must be numbers"),
        (authors_curves, "FILE", "a/b,data/certify/mnist/noise_1,5,1,2{less}", "that fall from"),
        (authors_curves, "FILE", "a/b,javascript:alert(1),5,1{zeros}", "'path' is 'javascript:"),
        (authors_curves, "FILE", "a/b,data/certify/mnist/noise_1,0,0{zeros}", "'examples' is '0'"),
        (sources, "CHANGES", "2026-11-30,many,0,text", "'rows' is 'many'"),
    ],
)
def test_the_other_files_of_the_literature_are_checked_too(
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    name: str,
    line: str,
    sentence: str,
) -> None:
    readers = (literature.load_papers, authors_curves.load_authors_curves, sources.load_changes)
    text = getattr(module, name).read_text(encoding="utf-8")
    copy = tmp_path / getattr(module, name).name
    copy.write_text(text + line.format(zeros=10 * ",0", less=9 * ",0") + "\n", encoding="utf-8")
    monkeypatch.setattr(module, name, copy)
    for reader in readers:
        reader.cache_clear()
    try:
        problems = check_board().problems
    finally:
        for reader in readers:
            reader.cache_clear()
    assert any(sentence in problem for problem in problems), problems
    assert all(copy.name in problem for problem in problems)


def test_the_command_tells_submissions_and_board_together(
    files: dict[str, Path], certboard: Certboard, project: object
) -> None:
    change(files["literature"], "97.1,,,,MixTrain", "197.1,,,,MixTrain")
    outcome = certboard("check")
    assert outcome.code == 1
    assert "literature.csv, line 11" in outcome.err
    assert certboard("check", "plain").code == 0
