import csv
from fractions import Fraction
from pathlib import Path
from typing import get_args

import pytest

from leaderboard.common.errors import InputError
from leaderboard.evaluation.smoothing import procedures
from leaderboard.settings.setting import (
    FOLDER,
    Procedure,
    Selection,
    Setting,
    exact_fraction,
    find_setting,
    load_settings,
    parse_radius,
    read_settings,
)

GOOD = 'dataset = "mnist"\nnorm = "linf"\nradius = "0.3"\nexamples = "all"\nseconds = 60\n'


def problems_of(folder: Path, name: str, text: str) -> tuple[str, ...]:
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_settings(folder)
    return raised.value.problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("8/255", Fraction(8, 255)), ("0.3", Fraction(3, 10)), ("2.0", Fraction(2)), ("1", 1)),
        *(("3e-2", Fraction(3, 100)), ("1.5E+1", 15), (" 2 / 255\n", Fraction(2, 255))),
        *((".5", Fraction(1, 2)), ("5.", 5), ("8/255.", Fraction(8, 255)), ("1.5 / .5", 3)),
    ],
)
def test_a_radius_is_read_exactly(text: str, value: Fraction) -> None:
    assert parse_radius(text, "radius") == value


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "0",
            "0.0",
            "0/5",
            "1/0",
            "-1",
            "+1",
            "nan",
            "inf",
            "1e999",
            "1e-999",
            "0e3",
            "0,3",
            "3 e-2",
        ),
        *("٣", "3/", ".", "1e", "1e-2/3", "1/2/3", "0x1", "1_0", "9" * 1000, "0" * 40),
    ],
)
def test_what_is_no_radius_is_refused_in_one_sentence_that_says_what_to_write(text: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_radius(text, "The radius")
    (sentence,) = raised.value.problems
    assert sentence.startswith("The radius is ")
    assert '"0.3" or "8/255"' in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 250


@pytest.mark.parametrize("text", ["1e-3", " 0.3", "0.3\n", ".5", "5.", "2 / 255"])
def test_files_hold_radii_in_one_way_only(text: str) -> None:
    with pytest.raises(ValueError, match=r'"0\.3" or "8/255"'):
        exact_fraction(text)


def test_a_decimal_comma_is_answered_with_the_same_number_written_rightly() -> None:
    with pytest.raises(InputError, match=r"write 0\.3 or 3/10"):
        parse_radius("0,3", "radius")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        *(("5%", r"write 0\.05"), ("12.5 %", r"write 0\.125"), ("-8/255", "it is negative")),
        *(("-.1", "it is negative"), ("1e-300", "its exponent has at most two digits")),
    ],
)
def test_what_is_often_typed_for_a_radius_is_told_apart(text: str, hint: str) -> None:
    with pytest.raises(InputError, match=rf": {hint}\.$"):
        parse_radius(text, "radius")


@pytest.mark.parametrize("setting", load_settings().values(), ids=lambda setting: setting.id)
def test_every_setting_tells_its_own_file(setting: Setting) -> None:
    assert (FOLDER / f"{setting.id}.toml").is_file()
    assert setting.radius == exact_fraction(setting.radius_text) > 0


def test_the_settings_are_sorted_by_dataset_norm_and_radius() -> None:
    norms = ["linf", "l2", "l1"]
    settings = list(load_settings().values())
    assert settings == sorted(
        settings, key=lambda one: (one.dataset, norms.index(one.norm), one.radius)
    )
    assert [id for id in load_settings() if id.startswith("digits-")][:1] == ["digits-linf-0.05"]


def test_every_setting_of_the_published_board_is_there(shared: Path) -> None:
    with (shared / "literature" / "board.csv").open(encoding="utf-8") as lines:
        board = {
            (
                row["dataset"].lower().replace("-", "").replace(" 64x64", "64"),
                row["norm"],
                row["epsilon"],
            )
            for row in csv.DictReader(lines)
        }
    ours = {(one.dataset, one.norm, one.radius_text) for one in load_settings().values()}
    assert len(board) == 18
    assert board - ours == set()


def test_a_setting_knows_its_title_and_protocol() -> None:
    setting = find_setting("cifar10-l2-1.0")
    assert setting.title == "CIFAR-10 · ℓ2 · 1.0"
    assert setting.examples.label == "every 20th"
    assert setting.smoothing is not None
    assert (setting.smoothing.n0, setting.smoothing.n) == (100, 100_000)
    assert setting.smoothing.failure_probability == 0.001


def test_only_the_embedded_settings_leave_the_complete_methods_out() -> None:
    cheap = [one.id for one in load_settings().values() if not one.complete]
    assert cheap == [id for id in load_settings() if id.startswith("digits-")]
    assert len(cheap) == 6


def test_a_setting_asks_the_complete_methods_unless_it_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "mnist-linf-0.3.toml"
    path.write_text(GOOD)
    assert read_settings(tmp_path)["mnist-linf-0.3"].complete
    path.write_text(GOOD + "complete = false\n")
    assert not read_settings(tmp_path)["mnist-linf-0.3"].complete
    (problem,) = problems_of(tmp_path, path.name, GOOD + "complete = 0\n")
    assert "'complete' is 0, but must be" in problem


def test_smoothed_models_may_be_measured_on_fewer_examples() -> None:
    setting = find_setting("mnist-l2-1.58")
    assert setting.selection(False).label == "all"
    assert setting.selection(True).label == "every 20th"
    other = find_setting("digits-l2-0.25")
    assert other.selection(True) == other.selection(False) == other.examples


def test_an_evaluator_is_told_how_to_sample_and_nothing_else(tmp_path: Path) -> None:
    smoothing = "[smoothing]\nn0 = 5\nn = 9\nfailure_probability = 0.1\n"
    path = tmp_path / "mnist-linf-0.3.toml"
    path.write_text(GOOD + smoothing + 'procedure = "curtailed"\nexamples = { first = 3 }\n')
    protocol = read_settings(tmp_path)["mnist-linf-0.3"].smoothing
    assert protocol is not None
    assert protocol.options == {
        "n0": 5, "n": 9, "failure_probability": 0.1, "procedure": "curtailed",
    }  # fmt: skip
    (problem,) = problems_of(tmp_path, path.name, GOOD + smoothing + "examples = 3\n")
    assert "'smoothing.examples' is 3, but must be" in problem


@pytest.mark.parametrize(
    "setting", [one for one in load_settings().values() if one.smoothing], ids=lambda one: one.id
)
def test_every_setting_names_a_procedure_that_there_is(setting: Setting) -> None:
    assert setting.smoothing is not None
    assert setting.smoothing.procedure in procedures()


def test_an_unknown_setting_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"Did you mean 'mnist-linf-0\.3'"):
        find_setting("mnist-linf-03")


@pytest.mark.parametrize(
    ("value", "indices", "label"),
    [
        ("all", [0, 1, 2, 3, 4, 5, 6], "all"),
        ({"first": 3}, [0, 1, 2], "first 3"),
        ({"first": 300}, [0, 1, 2, 3, 4, 5, 6], "first 300"),
        ({"every": 3}, [0, 3, 6], "every 3rd"),
        ({"every": 12}, [0], "every 12th"),
        ({"every": 21}, [0], "every 21st"),
    ],
)
def test_a_selection_lists_its_examples(value: object, indices: list[int], label: str) -> None:
    selection = Selection.model_validate(value)
    assert selection.indices(7) == indices
    assert selection.label == label


def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    text = (
        'dataset = "mnist"\nnorm = "linv"\nradius = 0.3\nexample = "all"\nexamples = { last = 3 }\n'
        "[smoothing]\nn0 = 0\nn = 1.5\nfailure_probability = 1\n"
    )
    problems = problems_of(tmp_path, "mnist-linf-0.3.toml", text)
    where = f"{tmp_path.name}/mnist-linf-0.3.toml: "
    assert set(problems) == {
        f"{where}'norm' is 'linv', but must be one of 'linf', 'l2' or 'l1'. Did you mean 'linf'?",
        f"{where}'radius' is 0.3, but must be text in quotes.",
        f"{where}there is no key 'last' in [examples]. Allowed here: first, every.",
        f"{where}the key 'seconds' is missing.",
        f"{where}'smoothing.n0' is 0, but must be at least 1.",
        f"{where}'smoothing.n' is 1.5, but must be a whole number.",
        f"{where}'smoothing.failure_probability' is 1, but must be less than 1.0.",
        f"{where}there is no key 'example'. Did you mean 'examples'? Allowed here: dataset, norm,"
        " radius, examples, seconds, complete, smoothing.",
    }


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("mnist-linf-0.4.toml", GOOD, "must be called mnist-linf-0.3.toml"),
        ("mnist-linf-0.3.toml", GOOD.replace("mnist", "minst"), "Did you mean 'mnist'?"),
        ("mnist-linf-0.3.toml", 'id = "x"\n' + GOOD, "there is no key 'id'"),
        ("mnist-linf-0.3.toml", GOOD + "seconds = 3\n", "not valid TOML"),
        ("mnist-linf-0.3.toml", GOOD + "x = [", "not valid TOML"),
        ("mnist-linf-0.3.toml", GOOD.replace("60", "inf"), "finite"),
        ("mnist-linf-0.3.toml", GOOD.replace("60", "true"), "'seconds' is true"),
        ("mnist-linf-0.3.toml", GOOD.replace('"all"', '"first 3"'), '"all", { first = n }'),
        (
            "mnist-linf-0.3.toml",
            GOOD.replace('"all"', "{ first = 1, every = 2 }"),
            "one of the keys",
        ),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, name: str, text: str, told: str) -> None:
    (problem,) = problems_of(tmp_path, name, text)
    assert told in problem
    assert name in problem


def test_a_procedure_that_is_not_there_is_refused_when_it_is_read(tmp_path: Path) -> None:
    smoothing = "[smoothing]\nn0 = 5\nn = 9\nfailure_probability = 0.1\n"
    text = GOOD + smoothing + 'procedure = "sequentail"\n'
    (problem,) = problems_of(tmp_path, "mnist-linf-0.3.toml", text)
    assert "'smoothing.procedure' is 'sequentail', but must be one of" in problem
    assert "Did you mean 'sequential'?" in problem
    assert set(get_args(Procedure)) == set(procedures())


def test_two_settings_with_the_same_radius_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mnist-linf-0.3.toml").write_text(GOOD, encoding="utf-8")
    (problem,) = problems_of(tmp_path, "mnist-linf-3_10.toml", GOOD.replace("0.3", "3/10"))
    assert problem == "The settings mnist-linf-0.3 and mnist-linf-3_10 ask the same question."


def test_bytes_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mnist-linf-0.3.toml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        read_settings(tmp_path)
