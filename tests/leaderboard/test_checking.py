from pathlib import Path

import pytest

from leaderboard.board.own_files import check_board
from leaderboard.field import literature, taxonomy
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
    assert len(check_board().counts) == 4


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
        end.write("mnist,linf,0.3,deterministic,90,95,,,,,A new paper,,2030,,,,,since 2024,,\n")
    (problem,) = check_board().problems
    assert problem.startswith("literature.csv: 'A new paper' has no place in the taxonomy.")


def test_the_command_tells_submissions_and_board_together(
    files: dict[str, Path], certboard: Certboard, project: object
) -> None:
    change(files["literature"], "97.1,,,,MixTrain", "197.1,,,,MixTrain")
    outcome = certboard("check")
    assert outcome.code == 1
    assert "literature.csv, line 11" in outcome.err
    assert certboard("check", "plain").code == 0
