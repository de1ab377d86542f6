"""Whatever is wrong with what a user types: a sentence, the right exit code, nothing written."""

from pathlib import Path

import pytest
import torch

from leaderboard.common.errors import unknown_name
from leaderboard.common.places import no_file
from tests.fixtures.project import LINF, MODEL, NOISY, PLAIN, certify
from tests.leaderboard.conftest import Certboard

pytestmark = pytest.mark.usefixtures("nothing_is_written")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"radius": "0,3"}, "--radius is '0,3', but must be a positive decimal or fraction"),
        ({"radius": "nan"}, "--radius is 'nan', but must be a positive decimal or fraction"),
        ({"radius": "-1"}, "--radius is '-1', but must be a positive decimal or fraction"),
        ({"radius": "1e999"}, "--radius is '1e999', but must be a positive decimal or fraction"),
        ({"radius": "0"}, "--radius is '0', but must be"),
        ({"radius": ""}, "--radius is '', but must be"),
        ({"radius": "1/0"}, "--radius is '1/0', but must be"),
        ({"radius": "٣"}, "--radius is '٣', but must be"),
        ({"norm": "l3"}, "--norm is 'l3'; it must be one of linf, l2, l1."),
        ({"dataset": "digit"}, "There is no dataset 'digit'. Did you mean 'digits'? Known: "),
        ({"dataset": "../x"}, "There is no dataset '../x'. Known: "),
        ({"evaluator": "crwn"}, "There is no evaluator 'crwn'. Did you mean 'crown'? Known: "),
        ({"evaluator": "smoothing-gaussian"}, "The evaluator 'smoothing-gaussian' needs a smoot"),
        ({"evaluator": "crown", "sigma": "1"}, "The evaluator 'crown' needs a plain network (no"),
        ({"evaluator": "cascade", "sigma": "1"}, "The cascade is for plain networks; leave --eval"),
        ({"sigma": "-1"}, "--sigma is '-1', but must be a positive decimal"),
        ({"sigma": "0"}, "--sigma is '0', but must be a positive decimal"),
        ({"sigma": "1", "samples": "0"}, "--samples is 0; it must be from 1 to 1,000,000,000."),
        ({"sigma": "1", "failure_probability": "1"}, "--failure-probability is 1; it must lie"),
        ({"sigma": "1", "failure_probability": "nan"}, "--failure-probability is nan; it must"),
        ({"sigma": "1", "failure_probability": "1e-300"}, "--failure-probability is 1e-300; it"),
        ({"samples": "100"}, "--samples is for a smoothed model: give --sigma, too."),
        ({"noise": "laplace", "sides": "2"}, "--noise and --sides are for a smoothed model: give"),
        ({"member": MODEL}, "--member is for a smoothed model: give --sigma, too."),
        ({"denoiser": MODEL}, "--denoiser is for a smoothed model: give --sigma, too."),
        ({"sigma": "1", "noise": "gausian"}, "There is no noise 'gausian'. Did you mean 'gaus"),
        (
            {"norm": "l2", "sigma": "1", "evaluator": "first-order", "procedure": "sequential"},
            "The evaluator 'first-order' needs the procedure 'fixed', not 'sequential': its",
        ),
        ({"sigma": "1", "procedure": "fixd"}, "There is no procedure 'fixd'. Did you mean '"),
        ({"sigma": "1", "sides": "3"}, "--sides is 3; it must be 1 or 2."),
        ({"sigma": "1", "rule": "mean-logits"}, "--rule is for an ensemble: give --member, too."),
        ({"sigma": "1", "member": "gone.onnx"}, "gone.onnx: there is no such file."),
        ({"seconds": "0"}, "--seconds is 0; it must be positive and finite."),
        ({"seconds": "-3"}, "--seconds is -3; it must be positive and finite."),
        ({"seconds": "nan"}, "--seconds is nan; it must be positive and finite."),
        ({"seconds": "inf"}, "--seconds is inf; it must be positive and finite."),
        ({"device": "gpu"}, "--device is 'gpu'; it must be cpu, cuda, cuda:0 or cuda:0,cuda:1."),
        (
            {"device": "cpu:1"},
            "--device is 'cpu:1'; it must be cpu, cuda, cuda:0 or cuda:0,cuda:1.",
        ),
        (
            {"workers": "0"},
            "--workers is '0'; it must be a number from 1 to 1024, 'ray' or 'slurm'.",
        ),
        ({"output": "rows.csv"}, "--output is rows.csv; its name must end in .parquet."),
        ({"output": "no/rows.parquet"}, "--output: there is no folder no."),
        ({"indices": "1,2"}, "Give --examples or --indices, not both."),
        ({"examples": None, "indices": ""}, "--indices names no example."),
        ({"examples": None, "indices": "1,x"}, "--indices: 'x' is not an example; they are 0 to"),
        ({"examples": None, "indices": "449"}, "--indices: '449' is not an example; they are 0 to"),
        ({"examples": None, "indices": "-1"}, "--indices: '-1' is not an example; they are 0 to"),
        ({"examples": None, "indices": "1.5"}, "--indices: '1.5' is not an example; they are 0"),
        ({"examples": None, "indices": "٣"}, "--indices: '٣' is not an example; they are 0 to"),
        ({"examples": None, "indices": "9" * 5000}, "--indices: '999"),
        ({"examples": None, "indices": "3,1,3"}, "--indices names 3 2 times; once is enough."),
        ({"examples": None, "indices": "@gone"}, "--indices: gone cannot be read: No such"),
        ({"examples": None, "indices": f"@{MODEL}"}, "--indices: "),
    ],
)  # fmt: skip
def test_a_value_that_is_not_allowed(
    certboard: Certboard, changed: dict[str, str | None], sentence: str
) -> None:
    outcome = certboard(*certify(**changed))
    assert outcome.code == 1
    assert outcome.sentence.startswith(sentence)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_cuda_where_there_is_none(certboard: Certboard, device: str) -> None:
    outcome = certboard(*certify(device=device))
    assert (outcome.code, outcome.sentence) == (
        1, f"--device is {device}, but PyTorch finds no CUDA device here; use cpu.",
    )  # fmt: skip


def test_a_number_that_is_none_is_told_in_plain_words(certboard: Certboard) -> None:
    outcome = certboard(*certify(examples="1.5"))
    assert (outcome.code, outcome.sentence) == (
        2, "Invalid value for '--examples': not a whole number. Help: certboard certify --help",
    )  # fmt: skip


def test_a_missing_file_is_answered_with_one_of_nearly_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "mnist_6_100.onnx").touch()
    meant = "there is no such file. Did you mean 'mnist_6_100.onnx'?"
    assert no_file(tmp_path / "mnist_6_100.onx").endswith(meant)
    assert no_file(tmp_path / "gone.onnx").endswith("gone.onnx: there is no such file.")
    assert no_file(tmp_path / "gone" / "m.onnx").endswith("m.onnx: there is no such file.")


def test_all_bad_values_are_told_in_one_go(certboard: Certboard) -> None:
    outcome = certboard(*certify("gone.onnx", radius="nan", norm="l3", seconds="0", sigma="x"))
    assert outcome.code == 1
    assert [line.split()[1] for line in outcome.err.splitlines()] == [
        "gone.onnx:", "--norm", "--seconds", "--radius", "--sigma",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["certify"], "Missing argument 'model'."),
        (["certify", MODEL], "Missing option '--dataset'. Help: certboard certify --help"),
        (
            ["certify", MODEL, "--datset", "x"],
            "No such option: --datset (Possible options: --dataset). Help: ",
        ),
        (certify(examples="0"), "Invalid value for '--examples': "),
        (certify(examples="many"), "Invalid value for '--examples': "),
        (certify(samples="1.5"), "Invalid value for '--samples': "),
        (["run", "--examples", "0"], "Invalid value for '--examples': "),
        (["list", "evaluator"], "Invalid value for 'catalogue': "),
        (["list"], "Missing argument 'catalogue'. Choose from: evaluators, settings, datasets,"),
        (["certfy"], "No such command 'certfy'. Did you mean 'certify', 'verify'? Help: "),
    ],
)
def test_wrong_usage_exits_with_2(
    certboard: Certboard, arguments: list[str], sentence: str
) -> None:
    outcome = certboard(*arguments)
    assert outcome.code == 2
    assert outcome.sentence.startswith(sentence)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "../plain"], "The submission '../plain' must be called by small letters, digits"),
        (["check", "../../etc"], "The submission '../../etc' must be called by small letters"),
        (["check", "/nowhere/x"], "The submission '/nowhere/x' must be called by small letters"),
        (["new", "../x"], "The submission '../x' must be called by small letters, digits"),
        (["run", "pian"], "There is no submission 'pian'. Did you mean 'plain'? Known: noisy, pl"),
        (["run", "--setting", "digits-linf-.1"], "There is no setting 'digits-linf-.1'. Did you"),
        (["run", PLAIN, "--setting", "mnist-linf-0.1"], "The submission 'plain' is not for mnist"),
        (["run", NOISY, "--setting", LINF], f"The submission 'noisy' is not for {LINF}; its sett"),
        (["run", PLAIN, "--setting", LINF, "--evaluator", "idp"], "There is no evaluator 'idp'."),
        (["run", PLAIN, "--evaluator", "../../x", "--setting", LINF], "There is no evaluator '../"),
        (["run", "--seconds", "0"], "--seconds is 0; it must be positive and finite."),
        (["run", "--seconds", "nan"], "--seconds is nan; it must be positive and finite."),
        (["run", "--workers", "x"], "--workers is 'x'; it must be a number from 1 to 1024"),
        (["run", "--device", "tpu"], "--device is 'tpu'; it must be cpu, cuda, cuda:0 or cuda:0,"),
        (["data", "fetch", "mnits"], "There is no dataset 'mnits'. Did you mean 'mnist'? Known: "),
    ],
)  # fmt: skip
def test_a_name_that_does_not_exist(
    certboard: Certboard, arguments: list[str], sentence: str
) -> None:
    outcome = certboard(*arguments)
    assert outcome.code == 1
    assert outcome.sentence.startswith(sentence)


@pytest.mark.parametrize(
    "typed", ["submissions/pian", "./submissions/pian/", "{}/submissions/pian"]
)
def test_a_submission_may_be_named_by_the_path_of_its_folder(
    certboard: Certboard, typed: str
) -> None:
    """A wrong name, so that nothing is evaluated."""
    outcome = certboard("run", typed.format(Path.cwd()))
    assert outcome.sentence.startswith("There is no submission 'pian'. Did you mean 'plain'?")


def test_a_catalogue_of_thousands_is_not_printed_for_one_wrong_name() -> None:
    names = [f"model-{number:04}" for number in range(1000)]
    said = str(unknown_name("submission", "modle-0500", names))
    assert "Did you mean 'model-0500'?" in said
    assert said.endswith("model-0059 and 940 more.")
