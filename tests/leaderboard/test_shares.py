"""Shares of a run on machines that know nothing of each other, and their merge."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.__main__ import run
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.evaluation import plan
from leaderboard.evaluation.shares import Share
from leaderboard.intake import merge
from leaderboard.intake.merge import UNASKED
from leaderboard.results.store import COLUMNS, read, results_path, write
from tests.fixtures.project import L2, LINF, NOISY, PLAIN, new_project
from tests.leaderboard.conftest import Certboard

COMMAND = ("run", PLAIN, "--setting", LINF, "--examples", "40", "--results")
FOLDERS = ["share-1", "share-2", "share-3"]


@given(st.lists(st.integers(), max_size=50), st.integers(1, 60))
def test_shares_are_all_examples_each_once_and_alike_in_size(
    examples: list[int], count: int
) -> None:
    shares = [Share(number, count).of(examples) for number in range(1, count + 1)]
    assert [one for share in shares for one in share] == examples
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["0/5", "6/5", "2", "-1/5", "1/0", "1/10001", "٣/٥", "1/5 "])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="it must be a share such as 2/5"):
        Share.parse(text)


@pytest.mark.parametrize("option", ["--quick", "--fresh", "--evidence"])
def test_what_a_share_alone_cannot_do_is_refused(
    project: Project, certboard: Certboard, option: str
) -> None:
    outcome = certboard(*COMMAND, "there", "--shard", "1/2", option)
    assert outcome.code == 1
    assert option in outcome.sentence
    assert not Path("there").exists()


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the folders of three shares, and of the whole."""
    root = tmp_path_factory.mktemp("computed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(new_project(root).root)
        for number, folder in enumerate(FOLDERS, 1):
            assert run([*COMMAND, folder, "--shard", f"{number}/{len(FOLDERS)}"]) == 0
            assert not [*Path(folder).glob("*/*.parquet")]
        assert run([*COMMAND, "whole"]) == 0
    return root


@pytest.fixture
def shares(computed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders of three shares, in a copy of that project."""
    monkeypatch.chdir(shutil.copytree(computed, tmp_path / "copy"))
    return FOLDERS


def parts(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("*/*.parts/*/*.parquet"))


def rows_in(folder: str, setting: str = LINF, slug: str = PLAIN) -> pd.DataFrame:
    return read(Path(folder) / setting / f"{slug}.parquet").rows.drop(columns="seconds")


def test_merged_shares_are_the_rows_of_one_process(shares: list[str], certboard: Certboard) -> None:
    assert certboard("merge", *shares, "--results", "merged").code == 0
    merged, whole = rows_in("merged"), rows_in("whole")
    # Sums of batches of other sizes differ in the last digits.
    pd.testing.assert_frame_equal(merged, whole, check_exact=False, rtol=1e-9)
    path = Path(LINF) / f"{PLAIN}.parquet"
    one, other = (read(folder / path).provenance for folder in (Path("merged"), Path("whole")))
    assert (one.unchecked, other.unchecked) == (UNASKED, "")
    same = {"created": "", "salt": "", "unchecked": ""}
    assert one.model_copy(update=same) == other.model_copy(update=same)
    assert certboard("merge", *shares, "--results", "merged").code == 0  # and again


def test_merged_shares_are_unchecked_until_the_model_was_asked(
    project: Project, certboard: Certboard
) -> None:
    for number in (1, 2):
        typed = ("--results", "shared", "--shard", f"{number}/2")
        assert certboard("run", PLAIN, "--setting", LINF, *typed).code == 0
    assert certboard("merge", "shared").code == 0
    stored = results_path(project, LINF, PLAIN)
    rows = read(stored).rows
    assert read(stored).provenance.unchecked == UNASKED
    folder = Path("asked") / LINF
    folder.mkdir(parents=True)
    shutil.move(stored, folder)
    outcome = certboard("intake", "accept", PLAIN, "asked")
    assert outcome.code == 0, outcome.err
    found = read(stored)
    assert found.provenance.unchecked == ""
    pd.testing.assert_frame_equal(found.rows, rows)


def test_shares_of_a_smoothed_model_in_one_folder_are_merged_there(
    project: Project, certboard: Certboard
) -> None:
    typed = ("run", NOISY, "--setting", L2, "--examples", "5", "--samples", "200", "--results")
    for number in (2, 1):
        assert certboard(*typed, "shared", "--shard", f"{number}/2").code == 0
    assert certboard(*typed, "whole").code == 0
    assert certboard("merge", "shared", "--results", "shared").code == 0
    assert rows_in("shared", L2, NOISY).equals(rows_in("whole", L2, NOISY))
    assert parts("shared") == []


def test_a_missing_share_is_named(shares: list[str], certboard: Certboard) -> None:
    outcome = certboard("merge", shares[0], shares[2], "--results", "merged")
    assert outcome.code == 1
    assert outcome.sentence == (
        f"{PLAIN} · {LINF}: 13 of 40 examples are missing: run --shard 2/3 again, to its end."
    )
    assert not Path("merged").exists()


def altered(path: Path) -> None:
    """Flip a bit of the seconds."""
    column = pq.ParquetFile(path).metadata.row_group(0).column(COLUMNS.index("seconds"))
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 2] ^= 1
    path.write_bytes(content)


def renamed(path: Path) -> None:
    path.rename(path.with_name("00000000-00000099.parquet"))


def shortened(path: Path) -> None:
    part = read(path)
    write(path, part.rows[1:], part.provenance)


def of_another_question(path: Path) -> None:
    part = read(path)
    write(path, part.rows, part.provenance.model_copy(update={"fingerprint": "0" * 64}))


@pytest.mark.parametrize("change", [altered, renamed, shortened, of_another_question])
def test_a_part_that_is_not_what_it_was_is_refused(
    shares: list[str], certboard: Certboard, change: Callable[[Path], None]
) -> None:
    change(parts(shares[1])[0])
    outcome = certboard("merge", *shares, "--results", "merged")
    assert outcome.code == 1
    assert shares[1] in outcome.err
    assert "damaged, or not of this evaluation" in outcome.err
    assert not Path("merged").exists()


def test_shares_of_two_questions_are_not_mixed(shares: list[str], certboard: Certboard) -> None:
    shutil.rmtree(shares[2])
    assert certboard(*COMMAND, shares[2], "--shard", "3/3", "--seconds", "7").code == 0
    outcome = certboard("merge", *shares, "--results", "merged")
    assert outcome.code == 1
    assert f"{shares[2]}/{LINF}" in outcome.err
    assert "budgets or options than the other shares" in outcome.err


def test_shares_of_other_code_are_not_mixed(
    shares: list[str], certboard: Certboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "code_digest", lambda question: "1" * 64)
    outcome = certboard("merge", *shares, "--results", "merged")
    assert outcome.code == 1
    assert "rows of two versions are not mixed" in outcome.err


def test_shares_of_two_kinds_of_device_are_not_mixed(shares: list[str]) -> None:
    for path in parts(shares[2]):
        part = read(path)
        write(path, part.rows, part.provenance.model_copy(update={"device": "GPU"}))
    with pytest.raises(InputError, match="computed on GPU and on cpu"):
        merge.merge(Project(Path.cwd(), Path("merged")), [*map(Path, shares)])


Change = dict[str, Any]


@pytest.mark.parametrize(
    ("was", "changed", "sentence"),
    [
        ("falsified", {"status": "certified"}, "it has a witness, but is not falsified"),
        ("falsified", {"status": "certified", "witness": None}, "its radius is not 0.1"),
        ("falsified", {"radius": "0.1"}, "it has a radius, but is not certified"),
        ("falsified", {"deployment": "float32"}, "its deployment is that of a certified one"),
        ("certified", {"label": 3, "prediction": 3}, "its label is not the one of the data"),
        ("certified", {"deployment": "real"}, "it is certified, but not for every float32 run"),
        ("certified", {"radius": "0.2"}, "its radius is not 0.1"),
        ("certified", {"margin": -1.0}, "its margin is not positive"),
        ("certified", {"evaluator": "crown"}, "its evaluator is not cascade"),
        ("certified", {"evaluator_version": "99"}, "its evaluator_version is not"),
        ("certified", {"submission": "noisy"}, "it is about another submission"),
        ("certified", {"setting": "digits-l2-0.25"}, "it is about another setting"),
        ("certified", {"seed": "1"}, "it has a seed, but the model is not smoothed"),
        ("certified", {"stage": "pgd"}, "its stage cannot certify"),
        ("certified", {"confidence": 0.5}, "its confidence is not 1"),
        ("certified", {"status": "proved"}, "damaged, or not of this evaluation"),
        ("certified", {"margin": float("inf")}, "damaged, or not of this evaluation"),
        ("certified", {"note": "<script>"}, "damaged, or not of this evaluation"),
    ],
)
def test_a_share_whose_rows_claim_what_they_cannot_is_refused(
    shares: list[str], certboard: Certboard, was: str, changed: Change, sentence: str
) -> None:
    path = next(path for path in parts(shares[1]) if was in [*_right(path)["status"]])
    rows = read(path).rows
    row = _right(path).index[_right(path)["status"] == was][0]
    for name, value in changed.items():
        rows.loc[row, name] = value
    write(path, rows, read(path).provenance)
    outcome = certboard("merge", *shares, "--results", "merged")
    assert outcome.code == 1
    assert sentence in outcome.err
    assert not Path("merged").exists()


def _right(path: Path) -> pd.DataFrame:
    """The rows of examples that the model reads rightly."""
    rows = read(path).rows
    return rows[rows["prediction"] == rows["label"]]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"created": "9999-12-31T23:59:59+00:00"}, "lies in the future"),
        ({"created": "yesterday"}, "is not one in seconds, with a zone"),
        ({"machine": "<img src=x>"}, "its machine is '<img src=x>', which it cannot be"),
        ({"commit": "main"}, "its commit is 'main', which it cannot be"),
        ({"threads": 10**9}, "its threads are 1,000,000,000"),
    ],
)
def test_a_share_whose_origin_is_none_is_refused(
    shares: list[str], certboard: Certboard, changed: Change, sentence: str
) -> None:
    path = parts(shares[0])[0]
    part = read(path)
    write(path, part.rows, part.provenance.model_copy(update=changed))
    outcome = certboard("merge", *shares, "--results", "merged")
    assert outcome.code == 1
    assert sentence in outcome.err
    assert not Path("merged").exists()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_share_that_is_no_plain_file_is_refused_and_not_waited_for(
    shares: list[str], certboard: Certboard, kind: str
) -> None:
    path = parts(shares[1])[0]
    real = path.rename(Path("elsewhere.parquet"))
    if kind == "link":
        path.symlink_to(real.absolute())
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    outcome = certboard("merge", *shares, "--results", "merged")
    assert outcome.code == 1
    assert f"{path}: is damaged" in outcome.err
    assert not Path("merged").exists()


def test_nothing_to_merge_is_said(project: Project, certboard: Certboard) -> None:
    assert certboard("merge").sentence.startswith("There are no finished shards in ")
    assert certboard("merge", "nowhere").sentence == "There is no folder nowhere."
