"""The answer to a property: unsat only for all boxes, sat only with a confirmed counterexample."""

import csv
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluators.evaluator import Evaluator
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.errors import ContradictionError
from evaluators.properties.decision import PropertyDecision, decide
from evaluators.question.problem import Problem
from evaluators.question.verdict import Status, Verdict
from leaderboard.common.errors import InputError
from leaderboard.vnncomp.instance import Answer, Instance, Word
from leaderboard.vnncomp.verify import verify
from leaderboard.vnncomp.vnnlib import parse_vnnlib, read_vnnlib
from tests.fixtures.effort import fewer
from tests.fixtures.networks import Graph, linear
from tests.fixtures.properties import UNIT, box, difference, model_file, tent

SECONDS = 600.0


def ask(
    folder: Path,
    network: Network,
    text: str,
    evaluator: str | None = None,
    seconds: float = SECONDS,
) -> Answer:
    model = model_file(network, folder / "m.onnx")
    (folder / "p.vnnlib").write_text(text)
    instance = Instance(model, folder / "p.vnnlib", evaluator)
    return verify(instance, time.monotonic() + seconds)


def check(folder: Path, answer: Answer) -> None:
    """That a counterexample meets the property, by the file's own words."""
    pairs = re.findall(r"\(([XY])_\d+ ([-0-9.]+)\)", answer.counterexample)
    x, y = ([Fraction(number) for kind, number in pairs if kind == its] for its in "XY")
    cases = read_vnnlib(folder / "p.vnnlib").cases
    assert any(
        case.box.contains(x)
        and all(row.holds(y) for row in disjunct)
        and all(relation.holds(x, y) for relation in relations)
        for case in cases
        for disjunct, relations in zip(case.disjuncts, case.relations, strict=True)
    )


# Over a, b in [0, 1]: y0 = a + b in [0, 2], y1 = a - b in [-1, 1], y0 - y1 = 2b in [0, 2].
@pytest.mark.parametrize(
    ("asserted", "word"),
    [
        ("(assert (>= Y_0 2.1))", Word.UNSAT),
        ("(assert (>= Y_0 1.9))", Word.SAT),
        ("(assert (<= Y_1 -1.01))", Word.UNSAT),
        ("(assert (or (>= Y_0 3) (<= Y_1 -2)))", Word.UNSAT),
        ("(assert (or (>= Y_0 3) (<= Y_1 -0.9)))", Word.SAT),
        ("(assert (and (>= Y_0 1.5) (<= Y_1 -0.25)))", Word.SAT),
        ("(assert (>= (- Y_1 Y_0) 0.001))", Word.UNSAT),
        ("(assert (<= (- Y_0 (* 0.1 Y_1)) -0.2))", Word.UNSAT),
        ("(assert (<= (- Y_0 (* 3 Y_1)) -1))", Word.SAT),
        # Within a part of the box only.
        ("(assert (<= X_1 0.25)) (assert (<= Y_1 -0.5))", Word.UNSAT),
        # Boxes of their own: both safe, then one not.
        ("(assert (or (and (<= X_0 0.5) (>= Y_0 1.6)) (and (<= X_1 0.5) (<= Y_1 -0.6))))", "unsat"),
        ("(assert (or (and (<= X_0 0.5) (>= Y_0 1.6)) (and (<= X_1 0.5) (<= Y_1 -0.4))))", "sat"),
    ],
)
def test_a_linear_network(asserted: str, word: str, tmp_path: Path) -> None:
    answer = ask(tmp_path, difference(), f"{UNIT}\n{asserted}")
    assert (answer.word, answer.note) == (word, "")
    if word == Word.SAT:
        check(tmp_path, answer)


@pytest.mark.parametrize(
    ("asserted", "word"),
    [
        ("(assert (<= X_0 X_1)) (assert (>= Y_0 2.1))", Word.UNSAT),
        ("(assert (<= X_0 X_1)) (assert (>= Y_0 1.9))", Word.SAT),
        ("(assert (>= Y_0 (+ X_0 2.2)))", Word.UNSAT),
        ("(assert (>= Y_0 (- X_0 0.2)))", Word.SAT),
        ("(assert (>= X_0 (+ X_1 2))) (assert (>= Y_0 1))", Word.UNSAT),
        # There is none, but only inputs of which proofs know nothing say so.
        ("(assert (>= X_0 (+ X_1 0.5))) (assert (>= Y_0 1.8))", Word.UNKNOWN),
        ("(assert (>= Y_0 (+ X_0 1.2)))", Word.UNKNOWN),
        ("(assert (< X_0 1)) (assert (>= Y_0 2))", Word.UNKNOWN),
        ("(assert (not (<= X_0 X_1))) (assert (>= Y_0 2.1))", Word.UNSAT),
    ],
)
def test_conditions_that_relate_inputs_and_outputs(
    asserted: str, word: Word, tmp_path: Path
) -> None:
    answer = ask(tmp_path, difference(), f"{UNIT}\n{asserted}")
    assert answer.word == word
    if word == Word.SAT:
        check(tmp_path, answer)
    if word == Word.UNKNOWN:
        assert "breaks a condition" in answer.note


def test_a_declared_shape_must_be_the_networks(tmp_path: Path) -> None:
    text = (
        "(vnnlib-version <2.0>)(declare-network N (declare-input X real {shape})"
        "(declare-output Y real [2]))(assert (and {bounds} (>= Y[0] 5)))"
    )
    bounds = "(>= X[0,0] 0) (<= X[0,0] 1) (>= X[0,1] 0) (<= X[0,1] 1)"
    right = text.format(shape="[1,2]", bounds=bounds)
    assert ask(tmp_path, difference(), right).word == Word.UNSAT
    square = Graph((1, 2, 2))
    square.flatten()
    square.dense(2, torch.ones(2, 4).double(), torch.zeros(2).double())
    bounds = " ".join(f"(>= X[{k}] 0) (<= X[{k}] 1)" for k in range(4))
    with pytest.raises(InputError, match=r"have the shape \[1, 2, 2\], the property's \[4\]"):
        ask(tmp_path, square.network(), text.format(shape="[4]", bounds=bounds))


@pytest.mark.parametrize(("limit", "word"), [("1", "sat"), ("0.999999", "sat"), ("1.001", "unsat")])
def test_a_maximum_at_a_corner(limit: str, word: str, tmp_path: Path) -> None:
    """|a| over [-1, 1] reaches 1 only at the ends, where a tie is a counterexample."""
    text = box(("-1", "1"), ("0", "1")) + f"(assert (>= Y_0 {limit}))"
    answer = ask(tmp_path, tent(), text)
    assert answer.word == word


def test_a_strict_condition_is_not_met_by_equality(tmp_path: Path) -> None:
    """a + b > 2 has no solution, and only 2 itself keeps bounds with a charge from saying so."""
    text = UNIT + "(assert (> Y_0 2))"
    assert ask(tmp_path, difference(), text).word == Word.UNSAT
    answer = ask(tmp_path, difference(), text, "crown")
    assert answer.word == Word.UNKNOWN
    assert ask(tmp_path, difference(), UNIT + "(assert (>= Y_0 2))").word == Word.SAT


def test_an_edge_is_no_counterexample_however_it_is_written(tmp_path: Path) -> None:
    text = box(("-1", "1"), ("0", "1")) + "(assert (or (> Y_0 1) (not (<= Y_1 1))))"
    assert ask(tmp_path, tent(), text).word == Word.UNSAT


def test_an_edge_that_rounding_may_pass_is_left_open(tmp_path: Path) -> None:
    """Weights of 24 bits: the sum 1 + 2^-23 + 1 is rounded, so that no exact interval is known."""
    network = linear([[1.0 + 2.0**-23, 1.0], [1.0, 0.0]], [0.0, 0.0])
    answer = ask(tmp_path, network, UNIT + "(assert (> Y_0 2.00000011920928955078125))")
    assert answer.word == Word.UNKNOWN


def test_an_input_fixed_to_a_number_between_two_floats(tmp_path: Path) -> None:
    fixed = box(("0.1", "0.1"), ("0", "1"))
    answer = ask(tmp_path, difference(), fixed + "(assert (>= Y_0 1.05))")
    assert answer.word == Word.SAT
    assert answer.counterexample.startswith("((X_0 0.1)")
    check(tmp_path, answer)
    assert ask(tmp_path, difference(), fixed + "(assert (>= Y_0 1.11))").word == Word.UNSAT


def test_inputs_are_in_row_major_order(tmp_path: Path) -> None:
    """The third of four pixels, in a layout [1, 2, 2], is the one that counts."""
    graph = Graph((1, 2, 2))
    graph.flatten()
    weight = torch.tensor([[0.0, 0, 1, 0], [0, 0, 0, 0]]).double()
    graph.dense(2, weight, torch.zeros(2).double())
    bounds = [("0", "0.1"), ("0", "0.2"), ("0.5", "0.75"), ("0", "0.3")]
    text = box(*bounds) + "(assert (or (<= Y_0 0.49) (>= Y_0 0.76)))"
    assert ask(tmp_path, graph.network(), text).word == Word.UNSAT
    text = box(*bounds) + "(assert (>= Y_0 0.7))"
    assert ask(tmp_path, graph.network(), text).word == Word.SAT


def test_one_evaluator_alone(tmp_path: Path) -> None:
    safe, unsafe = UNIT + "(assert (>= Y_0 2.1))", UNIT + "(assert (>= Y_0 1.9))"
    assert ask(tmp_path, difference(), safe, "crown").word == Word.UNSAT
    assert ask(tmp_path, difference(), unsafe, "crown").word == Word.UNKNOWN
    assert ask(tmp_path, difference(), safe, "pgd").word == Word.UNKNOWN
    assert ask(tmp_path, difference(), unsafe, "pgd").word == Word.SAT


def test_no_time_is_a_timeout(tmp_path: Path) -> None:
    model = model_file(tent(), tmp_path / "m.onnx")
    (tmp_path / "p.vnnlib").write_text(UNIT + "(assert (>= Y_0 2.1))")
    assert verify(Instance(model, tmp_path / "p.vnnlib"), time.monotonic()).word == Word.TIMEOUT


@pytest.mark.parametrize(
    ("text", "evaluator", "problem"),
    [
        (box(("0", "1")) + "(assert (<= Y_0 1))", None, "p.vnnlib: The network has 2 inputs"),
        (UNIT + "(assert (<= Y_0 Y_5))", None, "'Y_5' is neither a number nor"),
        (UNIT + "(assert (<= Y_0 1))", "crwn", "Did you mean 'crown'?"),
        (UNIT + "(assert (<= Y_0 1))", "smoothing-gaussian", "no evaluator for plain networks"),
        (box(("0", "1e39"), ("0", "1")) + "(assert (<= Y_0 1))", None, "beyond the range of float"),
        (UNIT + "(assert (<= (* 1e200 Y_0) Y_1))", None, "p.vnnlib: The coefficients of one"),
    ],
)
def test_what_cannot_be_asked_is_told(
    text: str, evaluator: str | None, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        ask(tmp_path, difference(), text, evaluator)
    assert problem in str(error.value)


@dataclass(frozen=True)
class Liar(Evaluator):
    """Claims a witness at the box's upper end, whatever is there."""

    title = "Liar"
    version = "1"

    def solve(self, problem: Problem) -> list[Verdict]:
        ends = problem.region.hull(problem.x)[1].float()
        return [Verdict(Status.FALSIFIED, 0, witness=end) for end in ends]


def rounded(network: Network, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """A deployed network: its outputs in float32."""
    outputs = network(torch.from_numpy(x).double().reshape(1, *network.input_shape))
    made: NDArray[np.float32] = outputs[0].float().numpy()
    return made


def decided(
    network: Network,
    text: str,
    *stages: Evaluator,
    deployed: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
) -> PropertyDecision:
    """What stages (the default ones if none) decide about a property of a network."""
    if deployed is None:
        deployed = partial(rounded, network)
    specification = parse_vnnlib(text, "p.vnnlib")
    return decide(network, deployed, specification, Deadline(SECONDS), stages or None)


def test_a_false_witness_neither_falsifies_nor_certifies() -> None:
    decision = decided(difference(), UNIT + "(assert (>= Y_0 2.1))", Liar())
    assert decision.status is Status.UNKNOWN


def test_what_the_runtime_does_not_confirm_is_unknown_with_a_note() -> None:
    def contrary(_x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros(2, dtype=np.float32)

    text = UNIT + "(assert (>= Y_0 1.5))"
    decision = decided(difference(), text, deployed=contrary)
    assert decision.status is Status.UNKNOWN
    assert decision.note == "a candidate is a counterexample in float64 only"


def test_a_tie_that_rounding_hides_is_broken_by_a_margin() -> None:
    """A runtime that computes a little less: only a counterexample by a margin convinces it."""

    def shy(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return rounded(difference(), x) - np.float32(1e-4)

    decision = decided(difference(), UNIT + "(assert (>= Y_0 1.00001))", deployed=shy)
    assert decision.status is Status.FALSIFIED
    assert decision.counterexample is not None
    assert decision.counterexample.outputs[0] >= Fraction("1.00001")


@dataclass(frozen=True)
class Half(Evaluator):
    """Proves every second box and knows nothing about the others."""

    title = "Half"
    version = "1"

    def solve(self, problem: Problem) -> list[Verdict]:
        good = Verdict(Status.CERTIFIED, 0, problem.region.radius, margin=1.0)
        return [Verdict(Status.UNKNOWN, 0) if row % 2 else good for row in range(len(problem))]


def test_one_open_box_is_enough_not_to_certify() -> None:
    safe = "(assert (>= Y_0 2.1))"
    two = f"(assert (or (<= X_0 0.5) (>= X_0 0.25))) {safe}"
    assert decided(difference(), UNIT + two, Half()).status is Status.UNKNOWN
    assert decided(difference(), UNIT + safe, Half()).status is Status.CERTIFIED
    # The second stage is asked about the second box only, as the first of its batch.
    assert decided(difference(), UNIT + two, Half(), Half()).status is Status.CERTIFIED


def test_of_a_box_in_pieces_all_have_to_be_proved() -> None:
    """Each piece is asked about by itself, for the whole property, by the last stage only."""
    asked: list[tuple[Tensor, Tensor]] = []

    @dataclass(frozen=True)
    class Except(Evaluator):
        """Proves every box but those that hold the point whose entries are all `point`."""

        title = "Except"
        version = "1"
        point: float = 9.0

        def solve(self, problem: Problem) -> list[Verdict]:
            lower, upper = problem.region.hull(problem.x)
            asked.append((lower, upper))
            inside = ((lower <= self.point) & (self.point <= upper)).flatten(1).all(1)
            good = Verdict(Status.CERTIFIED, 0, problem.region.radius, margin=1.0)
            return [Verdict(Status.UNKNOWN, 0) if hit else good for hit in inside.tolist()]

    graph = Graph((16,), seed=1)
    for _ in range(4):
        graph.dense(20)
        graph.relu()
    graph.dense(2)
    # No attack reaches the 5, but the network is far from linear over a box so wide.
    wide = box(*[("-4", "4")] * 16) + "(assert (>= Y_0 5))"
    network = graph.network()
    assert decided(network, wide, Except(point=0.1), Except()).status is Status.CERTIFIED
    (lower, upper), *pieces = asked
    assert len(pieces) > 1
    assert all(len(low) == 1 for low, _ in pieces)
    volume = sum(float((high - low).prod()) for low, high in pieces)
    assert volume == pytest.approx(float((upper - lower).prod()))
    assert decided(network, wide, Except(point=0.1), Except(point=0.1)).status is Status.UNKNOWN


@dataclass(frozen=True)
class Contradictory(Evaluator):
    """Certifies with a witness in its hand."""

    title = "Contradictory"
    version = "1"

    def solve(self, problem: Problem) -> list[Verdict]:
        radius = problem.region.radius
        return [Verdict(Status.CERTIFIED, 0, radius, margin=1.0, witness=x) for x in problem.x]


def test_a_contradiction_is_raised() -> None:
    with pytest.raises(ContradictionError):
        decided(difference(), UNIT + "(assert (>= Y_0 2.1))", Contradictory())


def test_a_box_at_the_edge_of_a_counterexample_is_exact(tmp_path: Path) -> None:
    """y0 = 10 a: at a <= 0.1 it is at most 1; the float32 next to 0.1 would give more."""
    network = linear([[10.0], [0.0]], [0.0, 0.0])
    text = box(("0", "0.1")) + "(assert (>= Y_0 1.00000001))"
    answer = ask(tmp_path, network, text, seconds=2.0)  # no proof comes later, either
    assert answer.word in (Word.UNSAT, Word.UNKNOWN, Word.TIMEOUT)


def soundness_rows(shared: Path) -> list[dict[str, str]]:
    folder = shared / "soundness"
    if not folder.is_dir():
        pytest.skip("needs shared/soundness")
    with (folder / "instances.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_networks_with_known_answers_are_never_proved_wrongly(shared: Path) -> None:
    """Hidden counterexamples: never unsat. Robust controls: unsat."""
    folder, words = shared / "soundness", {}
    for row in soundness_rows(shared):
        instance = Instance(folder / row["onnx"], folder / row["vnnlib"])
        seconds = SECONDS if row["truth"] == "robust" else fewer(3, 1) / 2
        answer = verify(instance, time.monotonic() + seconds)
        words[row["name"]] = (row["truth"], answer.word)
    wrong = {name for name, found in words.items() if found == ("falsifiable", Word.UNSAT)}
    wrong |= {name for name, found in words.items() if found == ("robust", Word.SAT)}
    assert not wrong
    assert all(word == Word.UNSAT for truth, word in words.values() if truth == "robust")
