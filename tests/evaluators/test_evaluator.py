"""The harness that no method can bypass: liars are caught, failures stay their own example's."""

import math
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evaluators import listing as listing
from evaluators.evaluator import PREDICTION, Evaluator
from evaluators.listing import catalogue, find_evaluator
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.numerics.errors import CatalogueError, ContradictionError
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict
from tests.fixtures.networks import linear

RADIUS = Fraction(1, 10)
Answer = Callable[[Problem], list[Verdict]]


@dataclass(frozen=True)
class Method(Evaluator):
    """Says whatever a test wants."""

    answer: Answer

    title = "A method made for a test"
    version = "1"

    def solve(self, problem: Problem) -> list[Verdict]:
        return self.answer(problem)


@dataclass(frozen=True)
class Attack(Method):
    certifies = False


@dataclass(frozen=True)
class Batched(Evaluator):
    """Fails for batches above a size, and for examples with an index of its list."""

    limit: int
    error: Exception
    bad: tuple[int, ...] = ()
    batches: list[int] = field(default_factory=list)

    title = "A method that fails"
    version = "1"

    def solve(self, problem: Problem) -> list[Verdict]:
        self.batches.append(len(problem))
        if len(problem) > self.limit or set(problem.examples) & set(self.bad):
            raise self.error
        return [certificate(problem, row) for row in range(len(problem))]


def question(*xs: float, region: Ball | None = None) -> Problem:
    """Label 1 where x > 1/2, of logits [1/2, x]; the label asked about is always 1."""
    network = linear([[0.0], [1.0]], [0.5, 0.0])
    x = torch.tensor(xs)[:, None]
    labels = torch.ones(len(xs), dtype=torch.long)
    return Problem(network, x, labels, region or Ball(Norm.LINF, RADIUS))


def certificate(problem: Problem, row: int) -> Verdict:
    return Verdict(Status.CERTIFIED, int(problem.labels[row]), problem.region.radius, margin=0.1)


def witness(x: float) -> Verdict:
    return Verdict(Status.FALSIFIED, None, witness=torch.tensor([x]))


def forged(verdict: Verdict, **changes: object) -> Verdict:
    """A verdict that the executed type annotations would not let pass."""
    copy = replace(verdict)
    for name, value in changes.items():
        object.__setattr__(copy, name, value)
    return copy


def test_an_honest_certificate_passes() -> None:
    (verdict,) = Method(lambda p: [certificate(p, 0)])(question(0.9))
    assert verdict.status is Status.CERTIFIED
    assert verdict.radius == RADIUS
    assert verdict.seconds > 0
    assert verdict.stage == Method.name()


def test_an_honest_witness_passes() -> None:
    (verdict,) = Method(lambda _: [witness(0.48)])(question(0.55))
    assert verdict.status is Status.FALSIFIED
    assert verdict.prediction == 1
    assert verdict.witness is not None


LIES: dict[str, Verdict] = {
    "a smaller radius": Verdict(Status.CERTIFIED, 1, RADIUS - Fraction(1, 10**30), margin=0.1),
    "no radius": Verdict(Status.CERTIFIED, 1, None, margin=0.1),
    "no margin": Verdict(Status.CERTIFIED, 1, RADIUS),
    "a margin of zero": Verdict(Status.CERTIFIED, 1, RADIUS, margin=0.0),
    "a negative margin": Verdict(Status.CERTIFIED, 1, RADIUS, margin=-1.0),
    "a margin that is not a number": Verdict(Status.CERTIFIED, 1, RADIUS, margin=math.nan),
    "an infinite margin": Verdict(Status.CERTIFIED, 1, RADIUS, margin=math.inf),
    "no confidence": Verdict(Status.CERTIFIED, 1, RADIUS, 0.0, 0.1),
    "too much confidence": Verdict(Status.CERTIFIED, 1, RADIUS, 1.5, 0.1),
    "confidence that is not a number": Verdict(Status.CERTIFIED, 1, RADIUS, math.nan, 0.1),
    "no witness": Verdict(Status.FALSIFIED, 1),
    "a witness of the right class": witness(0.6),
    "a witness outside the region": witness(0.44),
    "a witness that is not a number": witness(math.nan),
    "a witness that is infinite": witness(-math.inf),
    "a witness of another shape": Verdict(Status.FALSIFIED, 1, witness=torch.tensor([[0.48]])),
    "a witness between float32 numbers": Verdict(
        Status.FALSIFIED, 1, witness=torch.tensor([0.48], dtype=torch.float64)
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_refused(lie: str) -> None:
    (verdict,) = Method(lambda _: [LIES[lie]])(question(0.55))
    assert verdict.status is Status.UNKNOWN
    assert verdict.note.startswith("refused: ")
    assert verdict.witness is None
    assert verdict.radius is None


@pytest.mark.parametrize("radius", [math.nan, math.inf, 0.1, "1/10"])
def test_a_radius_that_is_no_fraction_is_refused(radius: object) -> None:
    """Straight to the check: the types executed in tests would stop such a verdict before."""
    lie = forged(Verdict(Status.CERTIFIED, 1, RADIUS, margin=0.1), radius=radius)
    verdict = Method(lambda _: [])._check(question(0.9), 0, lie)
    assert verdict.status is Status.UNKNOWN
    assert verdict.note == "refused: the radius proved is not an exact fraction"


def test_a_tie_with_the_label_is_a_witness() -> None:
    (verdict,) = Method(lambda _: [witness(0.5)])(question(0.55))
    assert verdict.status is Status.FALSIFIED


def test_a_witness_holds_in_both_precisions() -> None:
    """A float32 sum loses 2^-30; in float64 the label still wins."""
    network = linear([[0.0], [1.0]], [1.0, 0.5 + 2.0**-30])
    problem = replace(question(0.55), network=network)
    (verdict,) = Method(lambda _: [witness(0.5)])(problem)
    assert verdict.status is Status.UNKNOWN
    assert "float64" in verdict.note


def test_an_attack_cannot_certify() -> None:
    (verdict,) = Attack(lambda p: [certificate(p, 0)])(question(0.9))
    assert verdict.status is Status.UNKNOWN
    assert "attack" in verdict.note


def test_a_certificate_with_a_witness_is_a_contradiction() -> None:
    both = Verdict(Status.CERTIFIED, 1, RADIUS, margin=0.1, witness=torch.tensor([0.48]))
    with pytest.raises(ContradictionError):
        Method(lambda _: [both])(question(0.55))


@pytest.mark.parametrize("answered", [0, 1, 3, 4])
def test_a_wrong_number_of_answers_is_a_bug_that_stops_the_run(answered: int) -> None:
    """Three would be as many as the batch has, but only two rightly classified are asked about."""
    method = Method(lambda p: [certificate(p, 0)] * answered)
    with pytest.raises(ContradictionError, match=f"answered {answered} of 2"):
        method(question(0.3, 0.9, 0.8))


def test_a_wrong_prediction_is_falsified_by_the_example_itself() -> None:
    asked: list[int] = []

    def answer(problem: Problem) -> list[Verdict]:
        asked.extend(problem.examples)
        return [certificate(problem, row) for row in range(len(problem))]

    found = Method(answer)(question(0.9, 0.2, 0.8))
    assert [v.status for v in found] == [Status.CERTIFIED, Status.FALSIFIED, Status.CERTIFIED]
    assert asked == [0, 2]
    assert found[1].stage == PREDICTION
    assert found[1].prediction == 0
    assert found[1].witness is not None
    assert found[1].witness.tolist() == [pytest.approx(0.2)]


def test_predictions_are_the_networks_not_the_methods() -> None:
    lie = Verdict(Status.CERTIFIED, 0, RADIUS, margin=0.1)
    (verdict,) = Method(lambda _: [lie])(question(0.9))
    assert verdict.prediction == 1


def test_a_tie_at_the_example_itself_is_no_certificate() -> None:
    """Argmax takes the first of two equal logits; label 1 is the second."""
    (verdict,) = Method(lambda p: [certificate(p, 0)])(question(0.5))
    assert verdict.status is Status.FALSIFIED


@pytest.mark.parametrize("x", [math.nan, math.inf, -0.1, 1.1])
def test_examples_that_are_no_image_are_not_asked_about(x: float) -> None:
    found = Method(lambda p: [certificate(p, r) for r in range(len(p))])(question(0.9, x))
    assert found[0].status is Status.CERTIFIED
    assert found[1].status is Status.UNKNOWN


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: not enough memory")]
)
def test_out_of_memory_halves_the_batch(error: Exception) -> None:
    method = Batched(4, error)
    found = method(question(*[0.9] * 13))
    assert [v.status for v in found] == [Status.CERTIFIED] * 13
    assert max(b for b in method.batches if b <= 4) > 1


def test_out_of_memory_for_a_single_example_is_its_own_unknown() -> None:
    found = Batched(0, MemoryError())(question(0.9, 0.8))
    assert {v.status for v in found} == {Status.UNKNOWN}
    assert {v.note for v in found} == {"failed: out of memory"}


@pytest.mark.parametrize("error", [ValueError("no\nluck"), ZeroDivisionError(), AssertionError()])
def test_one_examples_exception_is_its_own_unknown(error: Exception) -> None:
    found = Batched(99, error, bad=(2,))(question(*[0.9] * 5))
    expected = [Status.CERTIFIED] * 5
    expected[2] = Status.UNKNOWN
    assert [v.status for v in found] == expected
    assert type(error).__name__ in found[2].note
    assert "\n" not in found[2].note


def test_an_interrupt_is_not_swallowed() -> None:
    def answer(_: Problem) -> list[Verdict]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Method(answer)(question(0.9))


def test_an_answer_that_is_no_verdict_is_unknown() -> None:
    answers: list[object] = [None]
    (verdict,) = Method(lambda _: answers)(question(0.9))  # type: ignore[arg-type, return-value]
    assert verdict.status is Status.UNKNOWN


def test_no_question_no_answer() -> None:
    assert Method(lambda _: [])(question()) == []


def test_a_method_is_asked_only_about_its_kind_of_model() -> None:
    smoothed = SmoothedNetwork(linear([[0.0], [1.0]], [0.5, 0.0]), "gaussian", Fraction(1, 4))
    with pytest.raises(TypeError, match="needs a Network, not a SmoothedNetwork"):
        Method(lambda p: [certificate(p, 0)])(replace(question(0.9), network=smoothed))


def test_a_time_that_a_method_measured_is_kept() -> None:
    timed = replace(certificate(question(0.9), 0), seconds=12.5)
    (verdict,) = Method(lambda _: [timed])(question(0.9))
    assert verdict.seconds == pytest.approx(12.5, abs=1)


# The catalogue -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An evaluator folder of its own."""
    package = types.ModuleType("trial_evaluators")
    package.__path__ = [str(tmp_path)]
    monkeypatch.setitem(sys.modules, "trial_evaluators", package)
    monkeypatch.setattr(listing, "FOLDERS", (package,))
    catalogue.cache_clear()
    yield tmp_path
    catalogue.cache_clear()
    for name in [name for name in sys.modules if name.startswith("trial_evaluators.")]:
        del sys.modules[name]


GOOD = """
from dataclasses import dataclass
from evaluators.evaluator import Evaluator

@dataclass(frozen=True)
class Trial(Evaluator):
    title = "Trial"
    version = "1"
    def solve(self, problem):
        return []
"""


def test_a_file_is_all_it_takes(folder: Path) -> None:
    (folder / "my_method.py").write_text(GOOD)
    (folder / "_shared.py").write_text("raise RuntimeError('not to be imported')")
    assert list(catalogue()) == ["my-method"]


def test_an_evaluator_is_found_by_its_name_without_importing_the_others(folder: Path) -> None:
    (folder / "my_method.py").write_text(GOOD)
    (folder / "method.py").write_text("raise RuntimeError('not to be imported')")
    found = find_evaluator("my-method")
    assert found is not None
    assert found.name() == "my-method"
    assert [find_evaluator(name) for name in ("my_method", "my", "", "listing")] == [None] * 4


def test_every_evaluator_is_found_by_its_name() -> None:
    assert {name: find_evaluator(name) for name in catalogue()} == catalogue()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "defines 0 evaluators"),
        (GOOD + GOOD.replace("Trial", "Second"), "defines 2 evaluators"),
        ("import no_such_module", "cannot be imported"),
        ("this is no python", "cannot be imported"),
    ],
)
def test_a_broken_file_is_told(folder: Path, text: str, message: str) -> None:
    (folder / "broken.py").write_text(text)
    with pytest.raises(CatalogueError, match=message):
        catalogue()


def test_two_evaluators_of_one_name_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "ibp.py").write_text(GOOD)
    from evaluators import deterministic

    monkeypatch.setattr(listing, "FOLDERS", (*listing.FOLDERS, deterministic))
    with pytest.raises(CatalogueError, match="Two evaluators are called 'ibp'"):
        catalogue()


def test_every_evaluator_says_what_it_is() -> None:
    for name, evaluator in catalogue().items():
        assert evaluator.title, name
        assert evaluator.version, name
        text = f"{sys.modules[evaluator.__module__].__doc__} {evaluator.__doc__}"
        assert "Guarantee" in text, name
        assert "Cost" in text, name
        assert len(evaluator().options()) <= 6, name
        assert evaluator.accepts in (Network, SmoothedNetwork), name


def test_attacks_never_claim_to_certify() -> None:
    for name, evaluator in catalogue().items():
        attack = evaluator.__module__.startswith("evaluators.falsification")
        assert evaluator.certifies is not attack, name


def test_witness_is_checked_on_the_shape_it_has() -> None:
    point: Tensor = torch.zeros(2)
    verdict = Verdict(Status.FALSIFIED, 0, witness=point)
    (found,) = Method(lambda _: [verdict])(question(0.9))
    assert "shape" in found.note
