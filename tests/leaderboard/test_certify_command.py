import gzip
import json
import os
import signal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from evaluators.onnx.writer import export_onnx
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import find_dataset
from leaderboard.evaluation import forecast
from leaderboard.evaluation.radius_bracket import PRECISION, RadiusScale
from leaderboard.results.store import read
from tests.fixtures.project import PLAIN, finish, keep_salt, linear, start
from tests.leaderboard.conftest import Certboard

KEYS = ["model", "dataset", "norm", "radius", "evaluator", "seconds", "counts", "rows"]
ROW_KEYS = [
    "example", "label", "prediction", "status", "radius", "margin", "seconds", "stage", "note",
]  # fmt: skip


@pytest.fixture
def model(project: Project) -> str:
    return str((project.submissions / PLAIN / "model.onnx").relative_to(project.root))


def asked(model: str, *more: str, norm: str = "linf", radius: str = "0.1") -> list[str]:
    return ["certify", model, "--dataset", "digits", "--norm", norm, "--radius", radius, *more]


def answer(certboard: Certboard, *arguments: str) -> dict[str, Any]:
    """The one JSON object on standard output, read as strictly as JSON is written down."""
    outcome = certboard(*arguments, "--json")
    assert outcome.code == 0, outcome.err

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert outcome.out.count("\n") == 1
    found: dict[str, Any] = json.loads(outcome.out, parse_constant=refuse)
    return found


def test_stored_rows_say_what_was_left_out_of_the_model(certboard: Certboard, model: str) -> None:
    proto = onnx.load(model)
    logits = proto.graph.output[0].name
    proto.graph.node[-1].output[0] = "before"
    proto.graph.node.append(onnx.helper.make_node("Softmax", ["before"], [logits], axis=1))
    onnx.save(proto, "head.onnx")
    outcome = certboard(*asked("head.onnx", "--examples", "1", "--output", "rows.parquet"))
    assert outcome.code == 0, outcome.err
    note = read(Path("rows.parquet")).provenance.model_note
    assert note.startswith("The final Softmax")
    assert note in outcome.err


def test_json_is_one_object_with_the_documented_keys(certboard: Certboard, model: str) -> None:
    found = answer(certboard, *asked(model, "--examples", "101"))
    assert list(found) == KEYS
    assert (found["model"], found["dataset"], found["norm"]) == (model, "digits", "linf")
    assert (found["radius"], found["evaluator"]) == ("0.1", "cascade")
    assert list(found["counts"]) == ["certified", "falsified", "unknown"]
    assert [row["example"] for row in found["rows"]] == [*range(101)]
    labels = find_dataset("digits").load("test").labels
    for row in found["rows"]:
        assert list(row) == ROW_KEYS
        assert isinstance(row["label"], int)
        assert isinstance(row["prediction"], int)
        assert row["label"] == labels[row["example"]]
        assert row["seconds"] >= 0
    for status, count in found["counts"].items():
        rows = [row for row in found["rows"] if row["status"] == status]
        assert len(rows) == count
        assert count > 0 or status == "unknown"
        if status == "certified":
            assert all(row["margin"] > 0 and row["radius"] == "0.1" for row in rows)
        else:
            assert all(row["radius"] is None for row in rows)
    assert {row["stage"] for row in found["rows"]} >= {"prediction", "pgd", "ibp"}


def test_progress_goes_to_standard_error(certboard: Certboard, model: str) -> None:
    outcome = certboard(*asked(model, "--examples", "3"), "--json")
    assert outcome.err.splitlines()[0] == "model.onnx · linf 0.1"
    assert "3/3" in outcome.err
    assert "certified" not in outcome.out.replace('"certified"', "")


def test_the_table_fits_a_terminal_and_rounds_bounds_down(certboard: Certboard, model: str) -> None:
    found = answer(certboard, *asked(model, "--examples", "30"))
    outcome = certboard(*asked(model, "--examples", "30"))
    table = outcome.out.splitlines()
    assert max(map(len, table)) <= 80
    assert f"{found['counts']['certified']} of 30 certified" in table[-1]
    assert "… and 10 more: --json or --output FILE.parquet gives all" in table
    shown = next(line.split() for line in table if line.startswith("0 "))
    assert shown[:4] == ["0", "3", "3", "certified"]
    assert 0 <= found["rows"][0]["margin"] - float(shown[5]) < 1e-4


def test_indices_choose_and_order_the_examples(
    certboard: Certboard, model: str, tmp_path: Path
) -> None:
    found = answer(certboard, *asked(model, "--indices", "314,15,92"))
    assert [row["example"] for row in found["rows"]] == [314, 15, 92]
    (tmp_path / "some").write_text("314 15\n92,\n")
    again = answer(certboard, *asked(model, "--indices", f"@{tmp_path / 'some'}"))
    for row in (*found["rows"], *again["rows"]):
        del row["seconds"]
    assert again["rows"] == found["rows"]


def test_more_examples_than_there_are_are_all(certboard: Certboard, model: str) -> None:
    found = answer(certboard, *asked(model, "--examples", "10000", "--evaluator", "ibp"))
    assert len(found["rows"]) == 449


def test_the_rows_can_be_stored(certboard: Certboard, model: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    found = answer(certboard, *asked(model, "--examples", "20", "--output", str(path)))
    stored = read(path)
    assert stored.rows["status"].tolist() == [row["status"] for row in found["rows"]]
    assert stored.provenance.examples == "20 chosen by index"
    assert (stored.provenance.submission, stored.provenance.setting) == ("model", "digits-linf-0.1")
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".tmp"]


def test_a_smoothed_model(certboard: Certboard, model: str) -> None:
    options = ("--sigma", "0.25", "--samples", "500", "--failure-probability", "0.01")
    found = answer(certboard, *asked(model, "--examples", "20", *options, norm="l2"))
    assert found["evaluator"] == "smoothing-gaussian"
    radii = {row["example"]: row["radius"] for row in found["rows"] if row["radius"]}
    for row in found["rows"]:
        assert row["margin"] is None
        proved = row["example"] in radii and Fraction(radii[row["example"]]) >= Fraction("0.1")
        right = row["prediction"] == row["label"]
        assert (row["status"] == "certified") == (proved and right)
        assert isinstance(row["prediction"], int | None)
    # The largest radius is already the verdict's.
    assert [
        row["radius"]
        for row in answer(
            certboard, *asked(model, "--examples", "20", *options, "--max-radius", norm="l2")
        )["rows"]
    ] == [row["radius"] for row in found["rows"]]


def test_a_long_run_is_announced_and_a_short_one_is_not(
    certboard: Certboard, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--sigma", "0.25", "--samples", "500", "--examples", "3")
    short = certboard(*asked(model, *options, norm="l2"))
    assert short.err.splitlines()[0] == "model.onnx · l2 0.1"
    monkeypatch.setattr(forecast, "LONG", 0.0)
    plain = certboard(*asked(model, "--examples", "3"))
    assert plain.err.splitlines()[0] == "model.onnx · linf 0.1"
    told = certboard(*asked(model, *options, norm="l2")).err.splitlines()
    assert told[0].startswith("model.onnx · l2 0.1: at most 1,800 samples of 3 examples, ")
    assert " a second: up to " in told[0]
    assert told[1] == "model.onnx · l2 0.1"


def test_a_setting_and_the_same_question_typed_use_the_same_noise(
    project: Project, certboard: Certboard
) -> None:
    """Where the board drew no salt for it."""
    keep_salt(project, "noisy", "")
    assert certboard("run", "noisy", "--setting", "digits-l2-0.25", "--examples", "3").code == 0
    stored = read(project.results / "digits-l2-0.25" / "noisy.parquet").rows
    model = "submissions/noisy/model.onnx"
    options = ("--sigma", "0.25", "--samples", "10000", "--examples", "3")
    found = answer(certboard, *asked(model, *options, norm="l2", radius="0.25"))
    assert [row["radius"] for row in found["rows"]] == stored["radius"].tolist()


def worst_margin(x: NDArray[np.float64], label: int, radius: float) -> float:
    """The least margin of the linear network over the ℓ∞ ball in [0, 1], in closed form."""
    dense = linear().nodes[-1].operation
    weight, bias = (getattr(dense, name).numpy() for name in ("weight", "bias"))
    lower, upper = np.clip(x - radius, 0, 1), np.clip(x + radius, 0, 1)
    margins = []
    for other in range(10):
        if other != label:
            slope = weight[label] - weight[other]
            worst = np.where(slope > 0, lower, upper)
            margins.append(float(slope @ worst + bias[label] - bias[other]))
    return min(margins)


def test_max_radius_is_the_true_one_of_a_linear_network(
    project: Project, certboard: Certboard
) -> None:
    export_onnx(linear(), project.root / "linear.onnx")
    largest = Fraction("0.3")
    found = answer(
        certboard,
        *asked("linear.onnx", "--max-radius", "--evaluator", "crown", radius=str(largest)),
        *("--examples", "25"),
    )
    images = find_dataset("digits").load("test").images(range(25)).reshape(25, -1)
    searched = 0
    for row, x in zip(found["rows"], images.astype(np.float64), strict=True):
        radius = Fraction(row["radius"] or 0)
        scale = RadiusScale()
        assert radius in (0, largest, scale.radius(scale.number(radius or largest)))
        assert (row["status"] == "certified") == (radius == largest)
        if row["prediction"] == row["label"] and row["status"] != "certified":
            searched += 1
            assert worst_margin(x, row["label"], float(radius)) > 0
            failed = Fraction(row["failed_radius"])
            assert radius < failed <= radius * (1 + Fraction(1, PRECISION))
            # A proof is charged for what onnxruntime may round.
            assert worst_margin(x, row["label"], float(failed)) < 1e-3
            assert row["note"].endswith(f"not proved at {row['failed_radius']}")
        elif row["prediction"] != row["label"]:
            assert row["radius"] is None
    assert searched > 10


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_max_radius_does_not_depend_on_the_limit_given(
    project: Project, certboard: Certboard, norm: str
) -> None:
    export_onnx(linear(), project.root / "linear.onnx")
    found = []
    for limit in ("1", "10", "1000"):
        chosen = ("--max-radius", "--evaluator", "crown", "--examples", "6")
        rows = answer(certboard, *asked("linear.onnx", *chosen, norm=norm, radius=limit))["rows"]
        found.append([(row["radius"], row["failed_radius"]) for row in rows])
    assert found[1] == found[2]
    below = [(one, other) for one, other in zip(*found[:2], strict=True) if one[1] is not None]
    assert all(one == other for one, other in below)
    assert len(below) > 3


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.slow
def test_max_radius_lies_below_every_radius_that_an_attack_breaks(
    certboard: Certboard, model: str, norm: str
) -> None:
    largest = "0.25" if norm == "linf" else "1.0"
    chosen = ("--examples", "8")
    search = ("--max-radius", "--evaluator", "crown")
    found = answer(certboard, *asked(model, *search, *chosen, norm=norm, radius=largest))
    radii = [Fraction(row["radius"] or 0) for row in found["rows"]]
    assert len(set(radii)) > 3
    broken = 0
    for percent in (5, 15, 30, 60, 100):
        radius = Fraction(largest) * percent / 100
        attack = answer(
            certboard, *asked(model, "--evaluator", "pgd", *chosen, norm=norm, radius=str(radius))
        )
        for row, proved in zip(attack["rows"], radii, strict=True):
            if row["status"] == "falsified":
                broken += 1
                assert proved < radius
    assert broken > 10


@pytest.mark.slow
def test_max_radius_keeps_the_status_at_the_radius_asked_about(
    certboard: Certboard, model: str, tmp_path: Path
) -> None:
    chosen = ("--examples", "10")
    plain = answer(certboard, *asked(model, *chosen))
    path = tmp_path / "radii.parquet"
    found = answer(certboard, *asked(model, "--max-radius", *chosen, "--output", str(path)))
    for before, row in zip(plain["rows"], found["rows"], strict=True):
        if before["status"] == "unknown":
            assert row["status"] in ("unknown", "falsified")
        else:
            assert row["status"] == before["status"]
        assert Fraction(row["radius"] or 0) >= Fraction(before["radius"] or 0)
    assert any(row["radius"] and row["status"] != "certified" for row in found["rows"])
    assert read(path).provenance.options["max_radius"] is True


def test_max_radius_needs_an_evaluator_that_proves(certboard: Certboard, model: str) -> None:
    outcome = certboard(*asked(model, "--max-radius", "--evaluator", "pgd"))
    assert (outcome.code, outcome.sentence) == (
        1, "--max-radius needs a proof, but 'pgd' only refutes.",
    )  # fmt: skip


@pytest.mark.slow
def test_ctrl_c_is_one_sentence_and_stores_nothing(project: Project, model: str) -> None:
    stored = project.root / "rows.parquet"
    process = start(project, *asked(model, "--output", str(stored)), size=10, pause=0.3)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("model.onnx · linf 0.1")
    os.killpg(process.pid, signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert outcome.err.splitlines()[-1] == "certboard: stopped."
    assert not stored.exists()


def test_a_packed_model_and_one_of_flat_inputs_are_read(certboard: Certboard, model: str) -> None:
    whole = onnx.load(model)
    expected = answer(certboard, *asked(model, "--examples", "2"))
    Path("packed.onnx.gz").write_bytes(gzip.compress(Path(model).read_bytes()))
    found = answer(certboard, *asked("packed.onnx.gz", "--examples", "2"))
    assert found["counts"] == expected["counts"]
    flat = [onnx.helper.make_tensor_value_info("flat", onnx.TensorProto.FLOAT, ["batch", 64])]
    source = whole.graph.input[0].name
    back = onnx.numpy_helper.from_array(np.array([-1, 1, 8, 8]), "back")
    whole.graph.initializer.append(back)
    whole.graph.node.insert(0, onnx.helper.make_node("Reshape", ["flat", "back"], [source]))
    del whole.graph.input[:]
    whole.graph.input.extend(flat)
    onnx.save(whole, "flat.onnx")
    outcome = certboard(*asked("flat.onnx", "--examples", "2"))
    assert outcome.code == 1
    assert "--input-shape 64" in outcome.err
    found = answer(certboard, *asked("flat.onnx", "--examples", "2", "--input-shape", "64"))
    assert found["counts"] == expected["counts"]
    wrong = certboard(*asked("flat.onnx", "--input-shape", "64,-1"))
    assert "--input-shape is '64,-1'; it must be sizes" in wrong.err
    made = certboard(
        "export", "flat.onnx", "--dataset", "digits", "--input-shape", "64", "--output", "o.onnx"
    )
    assert made.code == 0, made.err
    found = answer(certboard, *asked("o.onnx", "--examples", "2"))
    assert found["counts"] == expected["counts"]
