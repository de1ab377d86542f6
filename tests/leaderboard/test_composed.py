"""Ensembles and denoisers, as submissions and on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from evaluators.onnx.writer import export_onnx
from leaderboard.common.project import Project
from leaderboard.evaluation.networks import check_model
from leaderboard.results.store import read
from leaderboard.settings.question import Part, combined_sha256
from tests.fixtures.networks import Graph
from tests.fixtures.project import L2, NOISY, bent, digest, other_network
from tests.leaderboard.conftest import Certboard

MODEL = f"submissions/{NOISY}/model.onnx"


def blanking(path: Path) -> None:
    """A denoiser that leaves nothing of any image."""
    graph = Graph((1, 8, 8))
    graph.flatten()
    graph.dense(64, torch.zeros(64, 64, dtype=torch.float64), torch.zeros(64, dtype=torch.float64))
    export_onnx(graph.network(), path)


def certify(certboard: Certboard, *more: str) -> dict[str, Any]:
    outcome = certboard(
        "certify", MODEL, "--dataset", "digits", "--norm", "l2", "--radius", "0.1",
        "--sigma", "0.25", "--samples", "500", "--examples", "20", "--json", *more,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def radii(found: dict[str, Any]) -> list[str | None]:
    return [row["radius"] for row in found["rows"]]


@pytest.fixture
def second(project: Project) -> str:
    export_onnx(bent(), project.root / "second.onnx")
    return "second.onnx"


def test_an_ensemble_is_another_model_with_other_noise(certboard: Certboard, second: str) -> None:
    alone, together = certify(certboard), certify(certboard, "--member", second)
    assert radii(alone) != radii(together)
    rules = [
        radii(certify(certboard, "--member", second, "--rule", rule))
        for rule in ("mean-logits", "mean-softmax", "max-margin")
    ]
    assert rules[0] == radii(together)
    assert len({str(found) for found in rules}) == 3


def test_a_denoiser_runs_before_the_classifier(certboard: Certboard, project: Project) -> None:
    blanking(project.root / "blank.onnx")
    found = certify(certboard, "--denoiser", "blank.onnx", "--output", "rows.parquet")
    # All images are the same to the classifier, and so are all answers.
    assert len({row["prediction"] for row in found["rows"]}) == 1
    assert len({row["prediction"] for row in certify(certboard)["rows"]}) > 3
    parts = [
        Part("denoiser", Path("blank.onnx"), digest(project.root / "blank.onnx")),
        Part("member", Path(MODEL), digest(project.root / MODEL)),
    ]
    assert read(Path("rows.parquet")).provenance.model_sha256 == combined_sha256(parts, "")


def test_a_denoiser_of_other_images_is_told(certboard: Certboard, project: Project) -> None:
    other_network(project.root / "ten.onnx", (1, 8, 8), 10)
    other_network(project.root / "large.onnx", (3, 8, 8), 64)
    asked = (
        "certify", MODEL, "--dataset", "digits", "--norm", "l2", "--radius", "1", "--sigma", "1",
        "--samples", "100", "--examples", "2",
    )  # fmt: skip
    outcome = certboard(*asked, "--denoiser", "ten.onnx")
    assert (outcome.code, outcome.sentence) == (
        1, "ten.onnx: a denoiser gives an image back, 64 numbers, not 10 (rule onnx-output).",
    )  # fmt: skip
    assert certboard(*asked, "--denoiser", "large.onnx").code == 1
    assert certboard(*asked, "--member", "ten.onnx").code == 0
    assert "64 numbers, not 10" in check_model(project.root / "ten.onnx", "digits", "denoiser")[0]


def test_a_submitted_ensemble_is_checked_measured_and_resumed(
    certboard: Certboard, project: Project, second: str
) -> None:
    folder = project.submissions / NOISY
    (folder / "second.onnx").write_bytes(Path(second).read_bytes())
    manifest = folder / "submission.toml"
    before = manifest.read_text()
    member = f'[[member]]\nfile = "second.onnx"\nsha256 = "{digest(folder / "second.onnx")}"\n'
    manifest.write_text(before + member + '[ensemble]\nrule = "mean-logits"\n')
    assert certboard("check", NOISY).code == 0
    run = ("run", NOISY, "--setting", L2, "--examples", "3")
    assert certboard(*run).code == 0
    stored = read(project.results / L2 / f"{NOISY}.parquet")
    assert stored.provenance.model_sha256 not in (digest(folder / "model.onnx"), "")
    assert stored.provenance.distribution == "gaussian"
    assert set(stored.rows["procedure"]) == {"fixed"}
    assert "already measured" in certboard(*run).err
    manifest.write_text(before + member + '[ensemble]\nrule = "max-margin"\n')
    again = certboard(*run)
    assert "already measured" not in again.err
    assert read(project.results / L2 / f"{NOISY}.parquet").provenance.seed != stored.provenance.seed


def test_a_family_evaluator_is_asked_by_its_name(certboard: Certboard, project: Project) -> None:
    found = certify(certboard, "--evaluator", "pixeldp")
    assert found["evaluator"] == "pixeldp"
    tight = certify(certboard)
    for loose, best in zip(radii(found), radii(tight), strict=True):
        assert float(loose or 0) <= float(best or 0)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            ("--noise", "splitting", "--evaluator", "renyi"),
            "The evaluator 'renyi' has no certificate for splitting noise in l2; for this model: ",
        ),
        (
            ("--noise", "splitting", "--samples", "9"),
            "The evaluator 'splitting-noise' has no --samples.",
        ),
        (
            ("--noise", "laplace", "--evaluator", "smoothing-gaussian"),
            "The evaluator 'smoothing-gaussian' has no certificate for laplace noise in l2; for",
        ),
        (
            ("--evaluator", "reny"),
            "There is no evaluator 'reny'. Did you mean 'renyi'? Known: ",
        ),
    ],
)
def test_what_does_not_fit_together_is_told(
    certboard: Certboard, project: Project, more: tuple[str, ...], told: str
) -> None:
    outcome = certboard(
        "certify", MODEL, "--dataset", "digits", "--norm", "l2", "--radius", "0.1",
        "--sigma", "0.25", *more,
    )  # fmt: skip
    assert outcome.code == 1
    assert outcome.sentence.startswith(told)
