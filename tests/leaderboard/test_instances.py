"""VNN-COMP's tables as they come, and results that survive a crash."""

from pathlib import Path

import pytest

from leaderboard.common.errors import InputError
from leaderboard.vnncomp.instances import InstanceRow, ResultsFile, read_instances

ROW = InstanceRow("onnx/a.onnx", "vnnlib/p.vnnlib", 30.0)


def table(folder: Path, text: str) -> Path:
    path = folder / "instances.csv"
    path.write_text(text)
    return path


def test_rows_without_a_header(tmp_path: Path) -> None:
    path = table(tmp_path, "onnx/a.onnx,vnnlib/p.vnnlib,30\r\n\r\n./b.onnx, q.vnnlib ,116.5\n")
    assert read_instances(path, None) == [ROW, InstanceRow("./b.onnx", "q.vnnlib", 116.5)]


def test_a_header_names_the_columns(tmp_path: Path) -> None:
    text = "name,VNNLIB,onnx,timeout,note\nx,vnnlib/p.vnnlib,onnx/a.onnx,30,hello\n"
    assert read_instances(table(tmp_path, text), None) == [ROW]
    text = "name,onnx,vnnlib\nx,onnx/a.onnx,vnnlib/p.vnnlib\n"
    assert read_instances(table(tmp_path, text), None) == [InstanceRow(ROW.onnx, ROW.vnnlib, 60.0)]


def test_given_seconds_replace_the_tables(tmp_path: Path) -> None:
    path = table(tmp_path, "a.onnx,p.vnnlib,30\nb.onnx,q.vnnlib\n")
    assert [row.seconds for row in read_instances(path, 7.0)] == [7.0, 7.0]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["there are no instances; rows are onnx,vnnlib,timeout."]),
        ("onnx,vnnlib,timeout\n", ["there are no instances"]),
        ("a.onnx,p.vnnlib\n", ["line 1: the timeout is ''; it must be a positive number"]),
        (
            "a.onnx,p.vnnlib,soon\na.onnx,p.vnnlib,5\na.onnx\n,p,-3\nx,p,-3\nx,p,nan\n",
            [
                "line 1: the timeout is 'soon'",
                "line 3: a row is onnx,vnn",
                "line 4: a row",
                "line 5: the timeout is '-3'",
                "line 6",
            ],
        ),
    ],
)
def test_rows_that_are_none_are_all_told(text: str, problems: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_instances(table(tmp_path, text), None)
    assert len(error.value.problems) == len(problems)
    for found, expected in zip(error.value.problems, problems, strict=True):
        assert expected in found


def test_a_missing_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_instances(tmp_path / "none.csv", None)


def test_a_table_that_is_no_text_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\xf6\x00")
    with pytest.raises(
        InputError, match=r"is not a text file; a table with rows onnx,vnnlib,timeout"
    ):
        read_instances(tmp_path / "m.onnx", None)


def of_names(row: InstanceRow) -> str:
    """Files that never change."""
    return row.title


def results(path: Path, category: str, rows: list[InstanceRow]) -> ResultsFile:
    found = ResultsFile(path, category, of_names)
    found.remaining(rows)
    return found


def test_results_are_in_vnncomps_columns(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    results(path, "acasxu", [ROW]).add(ROW, "unsat", 1.23456)
    assert path.read_text() == "acasxu,onnx/a.onnx,vnnlib/p.vnnlib,0.0,unsat,1.235\n"


def test_what_is_there_is_not_repeated(tmp_path: Path) -> None:
    """An instance that is listed twice needs two results; another category's count for nothing."""
    path, other = tmp_path / "results.csv", InstanceRow("b.onnx", "p.vnnlib", 1.0)
    results(path, "one", [ROW]).add(ROW, "unsat", 1.0)
    found = ResultsFile(path, "one", of_names)
    assert found.words == ["unsat"]
    assert found.remaining([ROW, other, ROW]) == [other, ROW]
    assert ResultsFile(path, "two", of_names).remaining([ROW]) == [ROW]


def test_a_line_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    results(path, "one", [ROW]).add(ROW, "unsat", 1.0)
    whole = path.read_text()
    path.write_text(whole + "one,b.onnx,p.vnnl")
    found = results(path, "one", [ROW])
    assert path.read_text() == whole
    found.add(ROW, "sat", 2.0)
    assert path.read_text().startswith(whole)
    assert len(path.read_text().splitlines()) == 2


def test_a_result_of_what_a_name_stood_for_before_is_none(tmp_path: Path) -> None:
    """It is taken out; results of other rows and of other tables stay."""
    path, other = tmp_path / "results.csv", InstanceRow("b.onnx", "p.vnnlib", 1.0)
    rows = [ROW, other]
    for category in ("two", "one"):
        found = results(path, category, rows)
        found.add(ROW, "unsat", 1.0)
        found.add(other, "unsat", 2.0)
    now = {ROW: "changed since", other: other.title}
    assert ResultsFile(path, "one", now.__getitem__).remaining(rows) == [ROW]
    told = [line.split(",")[:2] for line in path.read_text().splitlines()]
    assert told == [["two", ROW.onnx], ["two", "b.onnx"], ["one", "b.onnx"]]


def test_a_result_counts_for_nothing_whose_files_were_changed_meanwhile(tmp_path: Path) -> None:
    told = iter(["before", "after", "after"])
    path = tmp_path / "results.csv"
    found = ResultsFile(path, "one", lambda _: next(told))
    found.remaining([ROW])
    found.add(ROW, "unsat", 1.0)
    assert ResultsFile(path, "one", lambda _: next(told)).remaining([ROW]) == [ROW]


def test_results_of_nobody_knows_what_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("one,onnx/a.onnx,vnnlib/p.vnnlib,0.0,unsat,1.235\n")
    before = path.read_bytes()
    with pytest.raises(InputError, match="does not say what was in the files"):
        results(path, "one", [ROW])
    assert path.read_bytes() == before
    assert ResultsFile(path, "two", of_names).remaining([ROW]) == [ROW]


@pytest.mark.parametrize("content", [b"hello\n", b"hello", b"a,b\n", b"\xff\xfe,\n", b"\x08\n\x00"])
def test_another_file_is_not_written_to(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a table of results"):
        ResultsFile(path, "one", of_names)
    assert path.read_bytes() == content


def test_counterexamples_are_named_as_vnncomp_names_them() -> None:
    row = InstanceRow("onnx/net.v2.onnx.gz", "vnnlib/prop_1_0.03.vnnlib", 1.0)
    assert row.file_name == "net.v2_prop_1_0.03.counterexample"
