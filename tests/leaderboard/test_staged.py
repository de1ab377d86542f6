"""Counts by methods in stages, as the comparison with published figures makes them."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from evaluators.evaluator import predict
from evaluators.listing import catalogue
from evaluators.onnx.reader import import_onnx
from evaluators.question.verdict import Status
from tests.benchmarks import staged
from tests.benchmarks.staged import Count, KeptAnswers, Stage
from tests.fixtures.onnx_models import classifier

COUNT = Count("exact", (Stage("ibp"), Stage("pgd"), Stage("branch-and-bound")))
SECONDS = (1.0, 5.0)


class TwelveImages:
    """Twelve random images; the model is right about all but the first."""

    examples = range(100, 112)

    def __init__(self, model: Path) -> None:
        pixels = np.random.default_rng(0).random((len(self.examples), 3, 2, 2))
        self.pixels = pixels.astype(np.float32)
        found = predict(import_onnx(model), torch.from_numpy(self.pixels))
        self.labels = np.array([label or 0 for label in found])
        self.labels[0] = (self.labels[0] + 1) % 3

    def images(self, examples: Sequence[int]) -> NDArray[np.float32]:
        return self.pixels[[example - 100 for example in examples]]

    def labels_of(self, examples: Sequence[int]) -> NDArray[np.int64]:
        return self.labels[[example - 100 for example in examples]]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeptAnswers:
    model = classifier(tmp_path / "model.onnx")
    monkeypatch.setattr(staged, "load_split", lambda _: TwelveImages(model))
    answers = KeptAnswers(model, Fraction(1, 10), tmp_path / "rows")
    answers.ask(COUNT, SECONDS)
    return answers


def again(kept: KeptAnswers) -> KeptAnswers:
    """The same answers, read from their file."""
    return KeptAnswers(kept.model, kept.radius, kept.folder)


def lines(kept: KeptAnswers) -> list[str]:
    return kept.file.read_text().splitlines()


def test_each_stage_is_asked_about_what_is_open_alone(kept: KeptAnswers) -> None:
    open_, settled = set(kept.split.examples), kept.settled(COUNT)
    assert settled.keys() == open_, "a network this small has an answer for every image"
    assert settled[100] is Status.FALSIFIED, "the first image is classified wrongly"
    assert set(settled.values()) == {Status.CERTIFIED, Status.FALSIFIED}
    for method in COUNT.methods:
        asked = {a.image: a.status for a in kept.known if a.method == method and a.deployed}
        assert asked.keys() == open_
        open_ -= {image for image, status in asked.items() if status is not Status.UNKNOWN}


def test_an_interrupted_count_goes_on_where_it_stopped(kept: KeptAnswers) -> None:
    whole, answers = kept.settled(COUNT), lines(kept)
    again(kept).ask(COUNT, SECONDS)
    assert lines(kept) == answers, "nothing is asked twice"
    kept.file.write_text("\n".join(answers[:8]) + "\n" + answers[8][:12])
    resumed = again(kept)
    assert len(resumed.known) == 7, "a line that was cut short is no answer"
    resumed.ask(COUNT, SECONDS)
    assert again(resumed).settled(COUNT) == whole


def test_answers_of_another_version_are_asked_for_again(kept: KeptAnswers) -> None:
    whole = kept.settled(COUNT)
    version = catalogue()["ibp"].version
    kept.file.write_text(kept.file.read_text().replace(f",ibp,{version},", ",ibp,0,"))
    later = again(kept)
    assert all(answer.method != "ibp" for answer in later.known)
    later.ask(COUNT, SECONDS)
    assert later.settled(COUNT) == whole


def test_a_count_stops_at_an_image_that_is_certified_and_falsified(kept: KeptAnswers) -> None:
    first = next(a for a in kept.known if a.status is Status.CERTIFIED)
    kept.known.append(replace(first, method="pgd", status=Status.FALSIFIED))
    with pytest.raises(AssertionError, match=f"{first.image}.*certified and falsified"):
        kept.settled(COUNT)


def test_a_certificate_counts_only_where_the_count_names_its_method(kept: KeptAnswers) -> None:
    """One of branch and bound says nothing about linear programs; a counterexample says all."""
    other = Count("LP-ALL", (Stage("ibp"), Stage("lp")))
    proved = {a.image for a in kept.known if a.status is Status.CERTIFIED and a.method == "ibp"}
    settled = kept.settled(other)
    found = kept.settled(COUNT)
    assert {image for image, status in settled.items() if status is Status.CERTIFIED} == proved
    assert {i for i, s in settled.items() if s is Status.FALSIFIED} == {
        i for i, s in found.items() if s is Status.FALSIFIED
    }
