"""The training split of CIFAR-10: the official batches, or others that say what they are."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leaderboard.common.errors import InputError
from leaderboard.datasets import cifar10
from leaderboard.datasets.catalogue import find_dataset
from leaderboard.datasets.split import Split

NOTE = "JPEG copies of the 50,000 training images, near CIFAR-10's own but not equal to them"


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, "JPEG", quality=100)
    return content.getvalue()


COPIES = {
    "airplane/0001.jpg": jpeg((10, 20, 30)),
    "airplane/0000.jpg": jpeg((200, 0, 0)),
    "truck/0000.jpg": jpeg((0, 0, 200)),
    "cat/0000.jpg": jpeg((0, 200, 0)),
}


def write_folder(root: Path, copies: dict[str, bytes]) -> None:
    for name, content in copies.items():
        path = root / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_archive(root: Path, copies: dict[str, bytes], folder: str = "train") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    path = root / "train_jpeg.tar.xz"
    with tarfile.open(path, "w:xz") as archive:
        for name, content in copies.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def train_split() -> Split:
    return find_dataset("cifar10").load("train")


@pytest.mark.parametrize("write", [write_folder, write_archive])
def test_jpeg_copies_are_read_class_by_turn_and_say_what_they_are(
    data: Path, write: object
) -> None:
    assert callable(write)
    write(data / "cifar10", COPIES)
    split = train_split()
    assert not split.complete
    assert split.note == f"4 {NOTE}"
    # The first of each class, then the second.
    assert split.labels.tolist() == [0, 3, 9, 0]
    colours = split.images(range(4))[:, :, 16, 16] * 255
    expected = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (10, 20, 30)]
    assert np.abs(colours - np.array(expected)).max() <= 3


def test_folder_and_archive_hold_the_same_split(data: Path) -> None:
    write_archive(data / "cifar10", COPIES)
    archived = train_split().sha256
    (data / "cifar10" / "train_jpeg.tar.xz").unlink()
    write_folder(data / "cifar10", COPIES)
    assert train_split().sha256 == archived


def test_what_is_not_of_the_training_set_is_passed_over(data: Path) -> None:
    """An archive may hold the test set too; learning from it would be cheating."""
    root = data / "cifar10"
    train = {f"train/{name}": content for name, content in COPIES.items()}
    test = {f"test/{name}": content for name, content in COPIES.items()}
    write_archive(root, {**test, "README.md": b"", **train}, folder=".")
    assert len(train_split()) == len(COPIES)
    write_archive(root, test, folder=".")
    with pytest.raises(InputError, match=r"has no image train/<class>/<number>\.jpg"):
        train_split()


def test_the_official_batches_come_first(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = data / "cifar10"
    write_folder(root, COPIES)
    batches = [bytes([label]) + bytes(3072) for label in range(5)]
    files = []
    for file, content in zip(cifar10._TRAIN, batches, strict=True):
        (root / Path(file.path).name).write_bytes(content)
        files.append(replace(file, sha256=hashlib.sha256(content).hexdigest()))
    monkeypatch.setattr(cifar10, "_TRAIN", tuple(files))
    split = train_split()
    assert (split.labels.tolist(), split.complete, split.note) == ([0, 1, 2, 3, 4], True, "")
    # Some of them: what is missing is told, and nothing else is taken instead.
    (root / "data_batch_3.bin").unlink()
    with pytest.raises(InputError, match=r"There is no .*data_batch_3\.bin"):
        train_split()


def test_copies_never_stand_in_for_the_test_set(data: Path) -> None:
    write_folder(data / "cifar10", COPIES)
    with pytest.raises(InputError, match="certboard data fetch cifar10"):
        find_dataset("cifar10").load("test")


@pytest.mark.parametrize(
    ("copies", "told"),
    [
        ({"cat/0000.jpg": b"not an image"}, "0000.jpg of .* cannot be read"),
        ({"cat/0000.jpg": COPIES["cat/0000.jpg"][:-200]}, "0000.jpg of .* cannot be read"),
        ({"cat/0000.jpg": jpeg((0, 0, 0), (32, 31))}, "32 by 31 pixels, not 32"),
        ({"kitten/0000.jpg": COPIES["cat/0000.jpg"]}, "not in the folder of a class"),
        ({"cat/0000.png": b""}, "has no image train/<class>/<number>.jpg"),
    ],
)
@pytest.mark.parametrize("write", [write_folder, write_archive])
def test_what_is_no_copy_is_told_in_a_sentence(
    data: Path, write: object, copies: dict[str, bytes], told: str
) -> None:
    assert callable(write)
    write(data / "cifar10", copies)
    with pytest.raises(InputError, match=told) as raised:
        train_split()
    (sentence,) = raised.value.problems
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize("broken", ["cut", "not an archive", "empty"])
def test_a_broken_archive_is_told(data: Path, broken: str) -> None:
    path = write_archive(data / "cifar10", COPIES)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-60], "not an archive": b"x" * 999, "empty": b""}[broken])
    with pytest.raises(InputError, match="is not a whole archive"):
        train_split()


def tile(batch: int, record: int) -> tuple[int, int, int]:
    return batch, record // 10, record % 10


def write_sheets(root: Path, present: dict[int, list[int]]) -> None:
    """Five sheets whose tile k of batch b has the colour (b, row, column), and their tables."""
    folder = root / "train_exact"
    folder.mkdir(parents=True)
    for batch in range(5):
        colours = np.array([tile(batch, record) for record in range(100)], dtype=np.uint8)
        grid = colours.reshape(10, 10, 3).repeat(32, 0).repeat(32, 1)
        Image.fromarray(grid).save(folder / f"data_batch_{batch + 1}.webp", lossless=True)
        lines = [
            f"{place},{record % 10},{100 * batch + record}\n"
            for place, record in enumerate(present.get(batch, [0]))
        ]
        table = "record,label,official_train_index\n" + "".join(lines)
        (folder / f"data_batch_{batch + 1}.csv").write_text(table)


@pytest.fixture
def small_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes sheets have 10 by 10 tiles."""
    for name, value in (("_TILES", 10), ("_BATCH", 100), ("_TRAIN_SIZE", 500)):
        monkeypatch.setattr(cifar10, name, value)


@pytest.mark.usefixtures("small_sheets")
def test_lossless_sheets_are_the_training_images_that_their_tables_declare(data: Path) -> None:
    write_sheets(data / "cifar10", {0: [0, 1, 23], 4: [99]})
    write_folder(data / "cifar10", COPIES)
    split = train_split()
    assert list(split.examples) == [0, 1, 23, 100, 200, 300, 499]
    assert split.labels.tolist() == [0, 1, 3, 0, 0, 0, 9]
    colours = (split.images([23, 499])[:, :, 31, 0] * 255).round().astype(int).tolist()
    assert colours == [list(tile(0, 23)), list(tile(4, 99))]
    assert split.note.startswith("7 of the 500 official training images, without 2 to 22, ")
    assert not split.complete


@pytest.mark.usefixtures("small_sheets")
def test_a_sheet_that_is_lossy_or_not_declared_is_refused(data: Path) -> None:
    root = data / "cifar10"
    write_sheets(root, {})
    table = root / "train_exact" / "data_batch_2.csv"
    for line, told in (("0,3,99", "from 100 to 199"), ("0,10,100", "label 10")):
        table.write_text(f"record,label,official_train_index\n{line}\n")
        with pytest.raises(InputError, match=told):
            train_split()
    table.write_text("record,label,official_train_index\n0,3,100\n")
    assert len(train_split()) == 5
    sheet = root / "train_exact" / "data_batch_5.webp"
    Image.new("RGB", (320, 320)).save(sheet, lossless=False)
    with pytest.raises(InputError, match="not a lossless WebP file"):
        train_split()
    Image.new("RGB", (320, 32)).save(sheet, lossless=True)
    with pytest.raises(InputError, match="320 by 32 pixels, not 320"):
        train_split()
    sheet.unlink()
    with pytest.raises(InputError, match=r"There is no train_exact/data_batch_5\.webp"):
        train_split()


@pytest.mark.slow
def test_the_exact_training_images_have_the_published_means(shared_data: Path) -> None:
    split = train_split()
    assert len(split) == 49_923
    means = split.images(split.examples[::7]).mean((0, 2, 3))
    assert means == pytest.approx([0.4914, 0.4822, 0.4465], abs=2e-3)
    assert (np.bincount(split.labels) > 4900).all()
