"""Solvers, Lipschitz constants and balls beside what they are built on, in one run.

    python -m tests.benchmarks.leaves [programs] [constants] [balls]

Seconds are of the processor, one thread, the least of three; who is compared takes turns.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

import highspy
import numpy as np
import torch
from highspy import Highs, HighsModelStatus, HighsVarType
from numpy.typing import NDArray

from evaluators.deterministic.crown import CROWN
from evaluators.deterministic.lipschitz_margin import LipschitzMargin
from evaluators.deterministic.lp import LP
from evaluators.deterministic.milp import MILP
from evaluators.deterministic.sdp_crown import SdpCROWN
from evaluators.network.affine import Dense
from evaluators.network.network import Network
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.benchmarks.table import SHARED, right_ones
from tests.benchmarks.test_bounds_speed import forward_seconds, question, seconds
from tests.fixtures.networks import Graph, two_convolutions
from tests.fixtures.published import about

ROOT = Path(__file__).parents[2]
HIDDEN, EXAMPLES = (30, 30), 5
Values = NDArray[np.float64]


class Plain:
    """The triangle relaxation or the mixed-integer program as a user of HiGHS would write it.

    Bounds of neurons are those of the relaxation; each layer is added when its bounds are known,
    and each program starts from the last one's basis.
    """

    def __init__(self, layers: Sequence[tuple[Values, Values]], x: Values, radius: float) -> None:
        self.solver, self.layers = Highs(), layers
        self.solver.setOptionValue("output_flag", False)
        self.solver.setOptionValue("threads", 1)
        self.low, self.high = np.maximum(x - radius, 0), np.minimum(x + radius, 1)
        self.before = [self._column(*ends) for ends in zip(self.low, self.high, strict=True)]
        self.binaries: list[int] = []

    def _column(self, low: float, high: float) -> int:
        self.solver.addCol(0.0, low, high, 0, np.zeros(0, np.int32), np.zeros(0))
        return int(self.solver.getNumCol()) - 1

    def _row(
        self, low: float, high: float, columns: Sequence[int], values: Sequence[float]
    ) -> None:
        self.solver.addRow(low, high, len(columns), np.array(columns, np.int32), np.array(values))

    def least(self, columns: Sequence[int], values: Sequence[float]) -> float:
        """Minimise a function of columns."""
        count = self.solver.getNumCol()
        costs = np.zeros(count)
        costs[list(columns)] = values
        self.solver.changeColsCost(count, np.arange(count, dtype=np.int32), costs)
        self.solver.run()
        assert self.solver.getModelStatus() == HighsModelStatus.kOptimal
        return float(self.solver.getInfo().objective_function_value)

    def hidden(self, binary: bool) -> None:
        """Add all layers but the last."""
        inf = highspy.kHighsInf
        for position, (weight, bias) in enumerate(self.layers[:-1]):
            middle, reach = (self.high + self.low) / 2, (self.high - self.low) / 2
            center, around = weight @ middle + bias, np.abs(weight) @ reach
            ends = []
            for row, (z, r, own) in enumerate(zip(center, around, bias, strict=True)):
                low, high = z - r, z + r
                if low < 0 < high and position:
                    low = max(low, self.least(self.before, weight[row]) + own)
                    high = min(high, own - self.least(self.before, -weight[row]))
                ends.append((low, high))
            after = []
            for row, (low, high) in enumerate(ends):
                after.append(out := self._column(0.0, max(high, 0.0)))
                columns, values = [out, *self.before], [1.0, *-weight[row]]
                if low >= 0:
                    self._row(bias[row], bias[row], columns, values)
                elif high > 0 and not binary:
                    self._row(bias[row], inf, columns, values)
                    chord = high / (high - low)
                    scaled = [1.0, *(-chord * weight[row])]
                    self._row(-inf, chord * (bias[row] - low), columns, scaled)
                elif high > 0:
                    on = self._column(0.0, 1.0)
                    self.binaries.append(on)
                    self._row(bias[row], inf, columns, values)
                    self._row(-inf, bias[row] - low, [*columns, on], [*values, -low])
                    self._row(-inf, 0.0, [out, on], [1.0, -high])
            self.before = after
            self.low = np.array([max(low, 0.0) for low, _ in ends])
            self.high = np.array([max(high, 0.0) for _, high in ends])

    def certified(self, label: int, binary: bool) -> bool:
        """Tell whether the solver says that all margins are positive."""
        self.hidden(binary)
        for column in self.binaries:
            self.solver.changeColIntegrality(column, HighsVarType.kInteger)
        weight, bias = self.layers[-1]
        rows = ((weight[label] - weight[j], bias[label] - bias[j]) for j in range(len(bias)))
        others = (pair for j, pair in enumerate(rows) if j != label)
        return all(self.least(self.before, row) + own > 0 for row, own in others)


def programs() -> Iterator[str]:
    """LP-ALL and MILP of a small perceptron, and LP-ALL of one of MNIST that others trained."""
    graph = Graph((1, 8, 8))
    graph.flatten()
    for width in HIDDEN:
        graph.dense(width)
        graph.relu()
    graph.dense(10)
    small = question(graph.network(), EXAMPLES, Fraction(1, 100))
    for method in (LP(), MILP()):
        yield f"{method.name()}, 64-30-30-10: {beside_solver(method, small)}"
    file = SHARED / "models" / "published" / "salman_lpd_mlp_b_0.2.onnx"
    if file.exists():
        of_mnist = about(file, "mnist", [0, 2, 3, 4, 5], Fraction(1, 5))
        yield f"lp, 784-100-100-10 (MNIST): {beside_solver(LP(), of_mnist)}"


def beside_solver(method: LP | MILP, problem: Problem) -> str:
    """Seconds of a method and of the solver alone, and what both say."""
    assert isinstance(problem.network, Network)
    nodes = problem.network.nodes
    dense = [node.operation for node in nodes if isinstance(node.operation, Dense)]
    layers = [(one.weight.double().numpy(), biases_of(one)) for one in dense]
    alone = partial(said_alone, layers, problem, method.name() == "milp")
    ours, theirs = in_turns(partial(method, problem), alone)
    proved = [verdict.status is Status.CERTIFIED for verdict in method(problem)]
    return (
        f"{ours / len(problem):.3f} s an image, HiGHS alone {theirs / len(problem):.3f} s;"
        f" certified {sum(proved)}, it says {sum(alone())}"
    )


def said_alone(
    layers: Sequence[tuple[Values, Values]], problem: Problem, binary: bool
) -> list[bool]:
    """What the solver says of each example."""
    radius, pixels = float(problem.region.radius), problem.x.flatten(1).double().numpy()
    pairs = zip(pixels, problem.labels.tolist(), strict=True)
    return [Plain(layers, x, radius).certified(label, binary) for x, label in pairs]


def biases_of(dense: Dense) -> Values:
    """A layer's biases."""
    return np.zeros(len(dense.weight)) if dense.bias is None else dense.bias.double().numpy()


def constants() -> Iterator[str]:
    """Lipschitz margins of test images, after the bounds of a network, beside forward passes."""
    cases = (
        ("cifar10-bcop", "cifar10", Norm.L2, Fraction(36, 255)),
        ("mnist-linf-distance", "mnist", Norm.LINF, Fraction(1, 10)),
    )
    for name, dataset, norm, radius in cases:
        file = ROOT / "submissions" / name / "model.onnx"
        problem = right_ones(within(about(file, dataset, list(range(160)), radius), norm), 64)
        LipschitzMargin()(problem.select([0]))
        (ours,) = in_turns(partial(LipschitzMargin(), problem))
        raw = forward_seconds(problem)
        each = ours / len(problem) * 1e3
        yield f"{name}: {ours / raw:.1f} forward passes ({each:.2f} ms an image)"


def balls() -> Iterator[str]:
    """SDP-CROWN beside CROWN in balls of l2."""
    network = two_convolutions()
    problem = within(question(network, 4, Fraction(1, 5)), Norm.L2)
    for steps in (0, SdpCROWN().steps):
        ours, theirs = in_turns(partial(SdpCROWN(steps=steps), problem), partial(CROWN(), problem))
        yield f"sdp-crown of {steps} steps: {ours / theirs:.2f} times CROWN's {theirs:.2f} s"


def within(problem: Problem, norm: Norm) -> Problem:
    """The same question of another norm's ball."""
    return Problem(problem.network, problem.x, problem.labels, Ball(norm, problem.region.radius))


def in_turns(*functions: Callable[[], object], least_of: int = 3) -> list[float]:
    """Run one after the other, several times; the least seconds of each."""
    taken = [[seconds(one) for one in functions] for _ in range(least_of)]
    return [min(each) for each in zip(*taken, strict=True)]


def main() -> None:
    """Print the groups that are named, or all."""
    torch.set_num_threads(1)
    groups = {each.__name__: each for each in (programs, constants, balls)}
    for name in sys.argv[1:] or groups:
        for line in groups[name]():
            print(line, flush=True)


if __name__ == "__main__":
    main()
