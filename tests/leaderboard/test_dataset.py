import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leaderboard import datasets
from leaderboard.common.errors import InputError
from leaderboard.datasets import cifar10, mnist
from leaderboard.datasets.catalogue import Dataset, find_dataset, load_datasets
from leaderboard.datasets.imagenet import prepare


@pytest.fixture
def shared_data(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CERTBOARD_DATA", str(shared / "data"))
    return shared / "data"


@pytest.mark.parametrize("known", load_datasets().values(), ids=lambda known: known.name)
def test_a_dataset_says_what_it_is(known: Dataset) -> None:
    assert len(set(known.classes)) == len(known.classes)
    assert known.test_size > 0
    assert known.source.startswith("http")
    assert known.licence
    assert known.citation.endswith(".")
    assert bool(known.downloads) != bool(known.obtain)


def test_an_unknown_dataset_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'cifar10'"):
        find_dataset("cifar-10")


def test_digits_need_no_download_and_alternate_into_two_splits() -> None:
    digits = find_dataset("digits")
    test, train = digits.load("test"), digits.load("train")
    assert (len(test), len(train)) == (digits.test_size, 1797 - digits.test_size) == (449, 1348)
    assert digits.shape == (1, 8, 8)
    assert test.complete
    images = test.images([0, 1, 448])
    assert images.shape == (3, 1, 8, 8)
    assert images.dtype == np.float32
    assert images.min() == 0
    assert images.max() == 1
    assert np.bincount(test.labels).min() >= 41
    # The file begins 0, 1, 2, 3, …: its fourth example is the first test example.
    assert test.labels[0] == 3
    assert train.labels[:3].tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", load_datasets())
def test_an_unknown_split_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no split 'valid' of"):
        find_dataset(name).load("valid")


FROM_FILES = [
    name for name, known in load_datasets().items() if not known.obtain.startswith("it is embedded")
]


@pytest.mark.parametrize("name", FROM_FILES)
def test_missing_files_are_told_in_a_sentence_that_says_what_to_do(name: str, data: Path) -> None:
    with pytest.raises(InputError) as raised:
        find_dataset(name).load("test")
    (sentence,) = raised.value.problems
    how = find_dataset(name).obtain or f"get it with `certboard data fetch {name}`"
    assert how in sentence
    assert "CERTBOARD_DATA" in sentence


def test_mnist_is_the_official_one(shared_data: Path) -> None:
    for name, total in (("test", 10_000), ("train", 60_000)):
        split = find_dataset("mnist").load(name)
        assert len(split) == total
        assert split.complete
    test = find_dataset("mnist").load("test")
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert test.images([0]).max() == 1


def test_mnist_may_lie_there_plain_and_a_changed_pixel_is_noticed(
    shared_data: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data / "mnist"
    folder.mkdir(parents=True)
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        packed = shared_data / "mnist" / f"{name}.gz"
        (folder / name).write_bytes(gzip.decompress(packed.read_bytes()))
    monkeypatch.setenv("CERTBOARD_DATA", str(data))
    assert len(find_dataset("mnist").load("test")) == 10_000
    images = folder / "t10k-images-idx3-ubyte"
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    with pytest.raises(InputError, match="is not the official file: the SHA-256"):
        find_dataset("mnist").load("test")


def test_a_truncated_gzip_file_is_told(data: Path) -> None:
    folder = data / "mnist"
    folder.mkdir(parents=True)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"x" * 1000)[:-12])
    with pytest.raises(InputError, match="broken gzip file"):
        find_dataset("mnist").load("test")


def idx(count: int, labels: list[int]) -> tuple[bytes, bytes]:
    images = struct.pack(">4I", 0x803, count, 28, 28) + bytes(count * 784)
    return images, struct.pack(">2I", 0x801, len(labels)) + bytes(labels)


def test_idx_files_are_decoded_and_checked() -> None:
    assert mnist.decode(*idx(2, [3, 9])).labels.tolist() == [3, 9]
    images, labels = idx(2, [3, 9])
    for broken, told in [
        ((images[:-1], labels), "as many bytes"),
        ((images, labels[:-1]), "as many as the images"),
        (idx(2, [3]), "as many as the images"),
        (idx(2, [3, 10]), "label 10"),
        ((images, images), "begin as idx files"),
        ((b"", labels), "too short"),
    ]:
        with pytest.raises(InputError, match=told):
            mnist.decode(*broken)


def test_a_declared_part_of_cifar10_says_that_it_is_a_part(shared_data: Path) -> None:
    part = find_dataset("cifar10").load("test")
    missing = sorted({*range(10_000)} - {*part.examples})
    assert missing[:3] == [1259, 1369, 1422]
    assert len(part) == len(part.examples) == 10_000 - len(missing) == 9980
    assert not part.complete
    assert part.note.startswith("9,980 of the 10,000 official test images, without 1259, 1369, ")
    assert part.note.endswith(", 9254")
    assert part.labels[:5].tolist() == [3, 8, 8, 0, 6]
    content = (shared_data / "cifar10" / "test_batch.bin").read_bytes()
    # Behind the first gap, a record's place is no longer its official index.
    for place, example in ((1, 1), (1258, 1258), (1259, 1260), (9979, 9999)):
        record = np.frombuffer(content, dtype=np.uint8)[3073 * place : 3073 * (place + 1)]
        green = record[1 + 1024 : 1 + 2048].reshape(32, 32)
        np.testing.assert_array_equal(part.images([example])[0, 1] * np.float32(255), green)
        assert part.labels_of([example]).tolist() == [record[0]]
    with pytest.raises(InputError, match=r"Example 1259 is missing: here are 9,980 of the 10,000"):
        part.images([1258, 1259])


def write_cifar10(folder: Path, labels: list[int], declaration: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = b"".join(bytes([label]) + bytes(3072) for label in labels)
    (folder / "test_batch.bin").write_bytes(content)
    if declaration is not None:
        (folder / "test_batch.csv").write_text(declaration, encoding="utf-8")


COLUMNS = "record,label,official_test_index\n"


@pytest.mark.parametrize(
    ("labels", "declaration", "told"),
    [
        ([3, 8], None, "is not the official file"),
        ([3, 8], COLUMNS + "0,3,0\n", "does not declare the records"),
        ([3, 8], COLUMNS + "0,3,0\n1,7,1\n", "does not declare the records"),
        ([3, 8], COLUMNS + "1,8,0\n0,3,1\n", "does not number its records from 0"),
        ([3, 8], COLUMNS + "0,3,0\n2,8,1\n", "does not number its records from 0"),
        ([3, 8], COLUMNS + "0,3,0\n1,8,0\n", "once, in ascending order, from 0 to 9999"),
        ([3, 8], COLUMNS + "0,3,1\n1,8,0\n", "once, in ascending order, from 0 to 9999"),
        ([3, 8], COLUMNS + "0,3,0\n1,8,10000\n", "once, in ascending order, from 0 to 9999"),
        ([3, 8], COLUMNS + "0,3,-1\n1,8,0\n", "once, in ascending order, from 0 to 9999"),
        ([3, 8], COLUMNS + "0,3,0\n1,8,\n", "cannot be read"),
        ([3, 8], COLUMNS + "0,3,0\n1,8\n", "cannot be read"),
        ([3, 8], "", "cannot be read"),
        ([3, 8], "a,b,c\n0,3,0\n1,8,1\n", "has the columns"),
        ([3, 10], COLUMNS + "0,3,0\n1,10,1\n", "label 10"),
        ([], COLUMNS, "whole number of records"),
    ],
)
def test_a_part_of_cifar10_that_is_not_declared_is_refused(
    data: Path, labels: list[int], declaration: str | None, told: str
) -> None:
    write_cifar10(data / "cifar10", labels, declaration)
    with pytest.raises(InputError, match=told):
        find_dataset("cifar10").load("test")


def test_examples_are_called_by_the_official_index_that_is_declared(data: Path) -> None:
    write_cifar10(data / "cifar10", [3, 8, 5], COLUMNS + "0,3,7\n1,8,40\n2,5,9998\n")
    part = find_dataset("cifar10").load("test")
    assert list(part.examples) == [7, 40, 9998]
    assert part.labels_of([9998, 7]).tolist() == [5, 3]
    assert part.note == (
        "3 of the 10,000 official test images, without 0 to 6, 8 to 39, 41 to 9997, 9999"
    )
    write_cifar10(data / "cifar10", [3, 8, 5], COLUMNS + "0,3,7\n1,8,41\n2,5,9998\n")
    assert find_dataset("cifar10").load("test").sha256 != part.sha256


def test_a_whole_test_set_that_is_not_the_official_one_is_refused(data: Path) -> None:
    """A declaration is for images that are missing, not for images that are others."""
    lines = "".join(f"{index},3,{index}\n" for index in range(10_000))
    write_cifar10(data / "cifar10", [3] * 10_000, COLUMNS + lines)
    with pytest.raises(InputError, match="is not the official file"):
        find_dataset("cifar10").load("test")


def test_half_a_record_is_refused() -> None:
    with pytest.raises(InputError, match="whole number of records"):
        cifar10.decode(bytes(3072), "x")


def test_imagenet_photographs_are_opened_when_asked_for(shared_data: Path) -> None:
    split = find_dataset("imagenet").load("test")
    assert len(split) == 100
    assert not split.complete
    assert split.note == "100 images in place of the 50,000"
    assert (np.diff(split.labels) > 0).all()
    images = split.images([0, 99])
    assert images.shape == (2, 3, 224, 224)
    assert images.dtype == np.float32
    assert 0 <= images.min() < images.max() <= 1


@pytest.mark.parametrize("size", [(512, 256), (256, 512), (300, 301), (100, 90)])
def test_imagenet_preparation_takes_the_central_square(size: tuple[int, int]) -> None:
    left_white = Image.new("RGB", size)
    left_white.paste((255, 255, 255), (0, 0, size[0] // 2, size[1]))
    pixels = np.asarray(prepare(left_white))
    assert pixels.shape == (224, 224, 3)
    assert (pixels[:, :100] == 255).all()
    assert (pixels[:, 124:] == 0).all()


def write_image(path: Path, size: tuple[int, int], colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Grey: many of these photographs are, and are to be three equal channels.
    Image.new("L", size, colour).save(path, "JPEG")


def test_a_broken_photograph_is_named_and_an_unknown_class_refused(data: Path) -> None:
    root = data / "imagenet"
    write_image(root / "val/n00000002/a.JPEG", (300, 300), 7)
    (root / "val/n00000002/b.JPEG").write_bytes(b"not an image")
    wnids = [f"n{number:08}" for number in range(1000)]
    (root / "wnids.txt").write_text("\n".join(wnids), encoding="utf-8")
    split = find_dataset("imagenet").load("test")
    assert split.labels.tolist() == [2, 2]
    assert split.images([0])[0, :, 0, 0].tolist() == [np.float32(7) / np.float32(255)] * 3
    with pytest.raises(InputError, match=r"b\.JPEG cannot be read"):
        split.images([1])
    (root / "val/extra").mkdir()
    with pytest.raises(InputError, match="not the folder of a class"):
        find_dataset("imagenet").load("test")
    (root / "wnids.txt").write_text("\n".join(wnids[:-1]), encoding="utf-8")
    with pytest.raises(InputError, match="1,000 different classes"):
        find_dataset("imagenet").load("test")


def test_tiny_imagenet_numbers_classes_in_sorted_order(data: Path) -> None:
    root = data / "tinyimagenet" / "tiny-imagenet-200"
    wnids = [f"n{number:08}" for number in reversed(range(200))]
    write_image(root / "val/images/val_10.JPEG", (64, 64), 10)
    write_image(root / "val/images/val_9.JPEG", (64, 64), 9)
    (root / "wnids.txt").write_text("\n".join(wnids), encoding="utf-8")
    annotations = root / "val" / "val_annotations.txt"
    annotations.write_text("val_10.JPEG\tn00000003\t0\t0\nval_9.JPEG\tn00000001\t0\t0\n", "utf-8")
    split = find_dataset("tinyimagenet").load("test")
    assert split.labels.tolist() == [1, 3]
    assert split.images([0, 1])[:, 0, 0, 0].round(4).tolist() == pytest.approx(
        [9 / 255, 10 / 255], abs=1e-4
    )
    assert split.note == "2 images in place of the 10,000"
    annotations.write_text("val_11.JPEG\tn00000003\t0\t0\n", "utf-8")
    with pytest.raises(InputError, match=r"no image .*val_11\.JPEG"):
        find_dataset("tinyimagenet").load("test")
    annotations.write_text("val_9.JPEG n00000003\n", "utf-8")
    with pytest.raises(InputError, match="not one image and its class"):
        find_dataset("tinyimagenet").load("test")


def test_imagenet64_labels_are_counted_from_one_in_the_file(data: Path) -> None:
    folder = data / "imagenet64"
    folder.mkdir(parents=True)
    pixels = np.zeros((2, 12288), dtype=np.uint8)
    pixels[1, 4096:8192] = 51
    np.savez(folder / "val_data.npz", data=pixels, labels=np.array([1, 1000]))
    split = find_dataset("imagenet64").load("test")
    assert split.labels.tolist() == [0, 999]
    assert split.images([1])[0, :, 5, 5].tolist() == [0, np.float32(0.2), 0]
    assert not split.complete
    np.savez(folder / "val_data.npz", data=pixels, labels=np.array([0, 1000]))
    with pytest.raises(InputError, match="label -1"):
        find_dataset("imagenet64").load("test")
    np.savez(folder / "val_data.npz", data=pixels.astype(np.float32), labels=np.array([1, 1]))
    with pytest.raises(InputError, match="not uint8"):
        find_dataset("imagenet64").load("test")
    (folder / "val_data.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="no readable arrays"):
        find_dataset("imagenet64").load("test")


def test_a_file_that_defines_no_dataset_of_its_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "svhn.py").write_text("DATASET = None\n", encoding="utf-8")
    monkeypatch.setattr(datasets, "__path__", [str(tmp_path)])
    with pytest.raises(TypeError, match=r"datasets/svhn\.py must define DATASET, named 'svhn'"):
        load_datasets.__wrapped__()
