"""Which examples a page shows, and their pictures."""

import io
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from leaderboard.common.errors import InputError
from leaderboard.datasets.catalogue import Dataset, load_datasets, load_split
from leaderboard.datasets.split import Split
from leaderboard.results.highlights import MOST, Group, Shown
from leaderboard.results.store import Provenance, Results, read, scan, write
from leaderboard.results.witness import SteppedPoint
from leaderboard.settings.setting import load_settings
from leaderboard.website.example_pictures import Gallery, amplified, png
from tests.fixtures.board import provenance, rows, smoothed_rows

SETTING = "digits-linf-0.1"
PARTS = {
    ("certified", "ibp"): 20,
    ("falsified", "pgd"): 5,
    ("falsified", "prediction"): 3,
    ("unknown", "crown"): 6,
}


def table(parts: dict[tuple[str, str], int] = PARTS) -> pd.DataFrame:
    made = rows("digits-ibp", SETTING, parts)
    made["margin"] = pd.array(np.linspace(-1, 3, len(made))[::-1], dtype="Float64")
    return made


def groups(made: pd.DataFrame) -> tuple[Group, ...]:
    return Results(Path("a.parquet"), made, provenance(made)).highlights.groups


def chosen(made: pd.DataFrame) -> dict[str, list[int]]:
    return {group.title: [one.example for one in group.examples] for group in groups(made)}


def test_highlights_are_the_same_from_a_file_as_from_rows(tmp_path: Path) -> None:
    made = table()
    made["witness"] = [b"1234" if one == "falsified" else None for one in made["status"]]
    write(tmp_path / "a.parquet", made, provenance(made))
    scanned = scan(tmp_path / "a.parquet").highlights
    assert scanned == read(tmp_path / "a.parquet").highlights
    assert scanned.groups[2].examples[0].witness == b"1234"
    assert scanned.groups[0].examples[0].witness is None


def test_the_letters_count_as_the_tally_does() -> None:
    for setting in ("digits-l2-0.25", "digits-l2-0.5"):
        made = smoothed_rows("digits-noise", setting, 200)
        result = Results(Path("a.parquet"), made, provenance(made))
        radius = load_settings()[setting].radius
        assert result.highlights.letters.count("c") == result.tally.certified(radius)
    counted = Counter(Results(Path("a.parquet"), table(), provenance(table())).highlights.letters)
    assert counted == {"c": 20, "f": 5, "w": 3, "u": 6}


def test_a_radius_of_exactly_the_settings_own_is_certified_and_one_below_is_not() -> None:
    made = smoothed_rows("digits-noise", "digits-l2-0.25", 4)
    radius = pd.Series(["0.25", "1/4", "0.249999", None], dtype=object)
    made = made.assign(prediction=made["label"], radius=radius)
    assert Results(Path("a"), made, provenance(made)).highlights.letters == "ccuu"
    abstained = made.assign(prediction=pd.array([None] * 4, dtype="Int64"))
    assert Results(Path("a"), abstained, provenance(made)).highlights.letters == "uuuu"


def test_indices_in_steps_are_kept_as_such() -> None:
    made = table()
    for indices in (range(0, 680, 20), [*range(33), 50]):
        result = Results(Path("a"), made.assign(example=list(indices)), provenance(made))
        assert list(result.highlights.examples) == list(indices)


def test_the_hardest_certificates_have_the_smallest_margins_and_the_easiest_the_largest() -> None:
    made = table()
    proved = made[made["status"] == "certified"].sort_values("margin")["example"].tolist()
    found = chosen(made)
    assert found["Hardest to certify"] == proved[:MOST]
    assert found["Easiest to certify"] == proved[::-1][:MOST]


def test_perturbed_counterexamples_come_before_misread_examples_longest_search_first() -> None:
    made = table()
    attacked = made[made["stage"] == "pgd"].sort_values("seconds", ascending=False)
    assert chosen(made)["Falsified"] == attacked["example"].tolist()[:MOST]
    few = table({("falsified", "prediction"): 3, ("falsified", "pgd"): 1})
    assert len(chosen(few)["Falsified"]) == 4
    assert few.set_index("example")["stage"][chosen(few)["Falsified"][0]] == "pgd"


def test_what_is_left_unknown_is_shown_nearest_to_a_proof_first() -> None:
    made = table()
    unknown = made[made["status"] == "unknown"].sort_values("margin", ascending=False)
    assert chosen(made)["Left unknown"] == unknown["example"].tolist()[:MOST]


@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_few_certificates_are_shown_once(count: int) -> None:
    found = chosen(table({("certified", "ibp"): count}))
    shown = found["Hardest to certify"] + found.get("Easiest to certify", [])
    assert len(shown) == len(set(shown)) == count


def test_a_smoothed_model_is_ordered_by_its_radii_as_numbers() -> None:
    made = smoothed_rows("digits-noise", "digits-l2-0.25", 200)
    radius = made["radius"].map(lambda text: Fraction(text) if pd.notna(text) else Fraction(0))
    proved = made[(radius >= Fraction(1, 4)) & (made["prediction"] == made["label"])]
    found = {group.title: group for group in groups(made)}
    hardest = [Fraction(one.radius or 0) for one in found["Hardest to certify"].examples]
    assert hardest == sorted(Fraction(text) for text in proved["radius"])[:MOST]
    assert found["Hardest to certify"].measure == "certified with the smallest radius"


def test_without_margins_time_tells_the_hardest() -> None:
    made = table().assign(margin=pd.array([None] * 34, dtype="Float64"))
    [first, *_] = groups(made)
    assert first.measure == "certified with the most time"
    proved = made[made["status"] == "certified"]
    assert first.examples[0].seconds == proved["seconds"].max()


@given(st.floats(2.0**-20, 1), st.floats(0, 1))
def test_a_difference_is_drawn_as_large_as_it_fits_and_grey_where_there_is_none(
    size: float, at: float
) -> None:
    original = np.full((1, 2, 2), at, dtype=np.float32)
    witness = original.copy()
    witness[0, 0, 0] += np.float32(size)
    drawn, factor = amplified(original, witness)
    assert drawn[0, 1, 1] == 0.5
    assert drawn[0, 0, 0] >= 0.5
    moved = float(witness[0, 0, 0]) - float(original[0, 0, 0])
    assert drawn[0, 0, 0] == pytest.approx(0.5 + factor * moved)
    assert factor == 1 or factor * moved <= 0.5


def shown(index: int, shift: float = 0.05, **changed: object) -> Shown:
    pixels = load_split("digits").images((index,))[0] + np.float32(shift)
    label = int(load_split("digits").labels[index])
    one = Shown(index, label, label, "falsified", "pgd", None, None, 0.1, pixels.tobytes())
    return replace(one, **changed)  # type: ignore[arg-type]


@pytest.fixture
def origin() -> Provenance:
    made = provenance(table())
    return made.model_copy(update={"data_sha256": load_split("digits").sha256})


def counting(dataset: Dataset, calls: list[str]) -> Dataset:
    def read() -> Split:
        calls.append("test")
        return dataset.load("test")

    return replace(dataset, splits={"test": read})


def test_a_counterexample_has_original_witness_and_difference_with_words_for_each(
    origin: Provenance,
) -> None:
    pictures = Gallery(load_datasets()).pictures(origin, "digits", shown(17))
    assert [one.caption for one in pictures] == ["original", "witness", "difference × 5"]
    label = load_split("digits").labels[17]
    assert all(one.alt.startswith(f"test example 17, label {label}") for one in pictures)
    assert f"not read as {label}" in pictures[1].alt
    assert "multiplied by 5 around grey" in pictures[2].alt
    with Image.open(io.BytesIO(pictures[0].make())) as image:
        assert image.size == (pictures[0].width, pictures[0].height) == (8, 8)
        original = np.asarray(image) / 255
    assert np.abs(original - load_split("digits").images((17,))[0, 0]).max() <= 0.5 / 255
    assert pictures[1].make() == pictures[1].make()


def test_a_counterexample_in_steps_is_drawn_like_the_same_one_in_full(origin: Provenance) -> None:
    pixels = load_split("digits").images((17,))[0]
    steps = SteppedPoint(0.0625, 1, np.where(np.arange(64) % 3, 1, -1).astype(np.int8))
    forms = (steps.packed(), steps.point(pixels).tobytes())
    gallery = Gallery(load_datasets())
    drawn = [
        [one.make() for one in gallery.pictures(origin, "digits", shown(17, witness=form))]
        for form in forms
    ]
    assert drawn[0] == drawn[1]
    assert len({*drawn[0]}) == 3
    # Without the example nobody knows where the steps lead.
    other = origin.model_copy(update={"data_sha256": "0" * 64})
    assert gallery.pictures(other, "digits", shown(17, witness=forms[0])) == ()


def test_a_misread_example_is_shown_as_it_is(origin: Provenance) -> None:
    [picture] = Gallery(load_datasets()).pictures(origin, "digits", shown(17, 0.0, prediction=3))
    assert picture.alt.endswith("read as 3")


def test_the_data_are_opened_once_for_all_submissions(origin: Provenance) -> None:
    calls: list[str] = []
    gallery = Gallery({"digits": counting(load_datasets()["digits"], calls)})
    for index in range(20):
        other = origin.model_copy(update={"submission": f"number-{index}"})
        assert gallery.pictures(other, "digits", shown(index))
        assert gallery.missing("digits") == ""
    assert calls == ["test"]


def test_images_of_other_data_than_were_measured_are_never_shown(origin: Provenance) -> None:
    other = origin.model_copy(update={"data_sha256": "0" * 64})
    gallery = Gallery(load_datasets())
    pictures = gallery.pictures(other, "digits", shown(17))
    assert [one.caption for one in pictures] == ["witness"]


def test_without_the_data_the_witness_stands_alone_and_readers_hear_no_word_of_it(
    origin: Provenance,
) -> None:
    def read() -> Split:
        raise InputError("There is no such file.")

    absent = replace(load_datasets()["mnist"], splits={"test": read}, shape=(1, 8, 8))
    gallery = Gallery({"mnist": absent})
    assert [one.caption for one in gallery.pictures(origin, "mnist", shown(17))] == ["witness"]
    assert gallery.missing("mnist") == ""


@pytest.mark.parametrize("name", ["imagenet", "imagenet64", "tinyimagenet"])
def test_images_under_terms_of_their_own_are_not_shown(origin: Provenance, name: str) -> None:
    gallery = Gallery(load_datasets())
    assert gallery.pictures(origin, name, shown(17)) == ()
    assert "licence" in gallery.missing(name)


def _nan(pixels: bytes) -> bytes:
    return np.full(64, np.nan, dtype="<f4").tobytes() if pixels else b""


@pytest.mark.parametrize("spoil", [lambda one: one[:-1], lambda one: one * 2, _nan])
def test_a_witness_that_is_no_image_has_no_picture(
    origin: Provenance, spoil: Callable[[bytes], bytes]
) -> None:
    spoilt = spoil(shown(17).witness or b"")
    found = Gallery(load_datasets()).pictures(origin, "digits", shown(17, witness=spoilt))
    assert [one.caption for one in found] == ["original"]


def test_a_large_picture_is_made_smaller() -> None:
    with Image.open(io.BytesIO(png(np.zeros((3, 64, 256), dtype=np.float32)))) as image:
        assert image.size == (96, 24)
        assert image.mode == "RGB"
