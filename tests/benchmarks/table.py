"""The table of speeds beside peers', each group of rows or all of them, in one command.

    python -m tests.benchmarks.table [GROUP]...

Groups: bounds, search, clipping, margins, front, smoothing, start and import.

CERTBOARD_AUTO_LIRPA names an interpreter in which auto_LiRPA and onnx2torch are installed,
CERTBOARD_ABCROWN a program that takes the arguments of α,β-CROWN's `abcrown.py`, and
CERTBOARD_SIGMOID the file of α,β-CROWN's sigmoid ConvSmall for CIFAR-10. A peer that is not named
leaves its cells empty. Seconds are of the processor, one thread; who is compared takes turns.
"""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from time import process_time
from typing import NamedTuple

import numpy as np
import torch

import evaluators.branching.search as rounds
import evaluators.unrolled.unrolled_network as unrolling
from evaluators.branching.search import Turn
from evaluators.deterministic.alpha_crown import AlphaCROWN
from evaluators.deterministic.branch_and_bound import BranchAndBound
from evaluators.evaluator import Evaluator, predict
from evaluators.network.network import Network
from evaluators.noises.gaussian import GaussianNoise
from evaluators.onnx.reader import import_onnx
from evaluators.onnx.runtime import Runtime
from evaluators.probabilistic.smoothing_gaussian import SmoothingGaussian
from evaluators.question.problem import Problem
from evaluators.recheck.agreement import disagreement
from evaluators.recheck.reader import read_model
from evaluators.sampling.block import block_size
from evaluators.sampling.noise import ESTIMATION, NoiseStream
from evaluators.unrolled.ascent import Rates
from tests.benchmarks import test_smoothing_speed as smoothing
from tests.benchmarks.peers.answer import Answer, Asked, ask, ask_abcrown, children_seconds
from tests.fixtures.published import RADII, about, question

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("CERTBOARD_SHARED", ROOT.parent / "shared"))
AUTO_LIRPA = os.environ.get("CERTBOARD_AUTO_LIRPA", "")
ABCROWN = os.environ.get("CERTBOARD_ABCROWN", "")
SIGMOID = os.environ.get("CERTBOARD_SIGMOID", "")
HEAD = "| work | peer | certboard | certboard / peer | aim |\n| --- | --- | --- | --- | --- |"


class Row(NamedTuple):
    """One line of the table: both sides in words, and their seconds."""

    work: str
    peer: str
    ours: str
    ratio: float | None
    aim: str

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return f"| {self.work} | {self.peer} | {self.ours} | {ratio} | {self.aim} |"


class Bounds(NamedTuple):
    """Bounds by one method: how many examples, how often both take turns, and the aim."""

    examples: int
    turns: int
    aim: str


BOUNDS = {
    "ibp": Bounds(50, 3, "1"),
    "crown-ibp": Bounds(50, 3, "1"),
    "crown": Bounds(50, 2, "0.25"),
    "alpha-crown": Bounds(10, 1, "0.25, margins no less"),
}


def right_ones(problem: Problem, count: int) -> Problem:
    """The first examples that are classified rightly."""
    assert isinstance(problem.network, Network)
    labels, predicted = problem.labels.tolist(), predict(problem.network, problem.x)
    right = [row for row, label in enumerate(labels) if predicted[row] == label]
    return problem.select(right[:count])


def bounds(folder: Path) -> Iterator[Row]:
    """Bounds of whole batches, beside auto_LiRPA's."""
    for method, (count, turns, aim) in BOUNDS.items():
        for model in RADII:
            problem = right_ones(question(SHARED, model, list(range(2 * count))), count)
            asked = Asked.of(problem, SHARED / "models" / f"{model}.onnx", folder, method)
            answers = [(_peer(asked), ask(asked)) for _ in range(turns)]
            ours = min(answer for _, answer in answers)
            peer = min((answer for answer, _ in answers if answer), default=None)
            yield _row(f"`{method}`, {len(problem)} examples of {model}", peer, ours, aim)


def _peer(asked: Asked) -> Answer | None:
    """What auto_LiRPA answers; nothing where it is not there, or fails as it does for memory."""
    try:
        return ask(asked, AUTO_LIRPA) if AUTO_LIRPA else None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip() or "nothing").splitlines()[-1]
        sys.stderr.write(f"auto_LiRPA gave no answer (exit code {error.returncode}): {last}\n")
        return None


def search(folder: Path) -> Iterator[Row]:
    """Branch and bound, beside α,β-CROWN, an example after the other."""
    usual = {name: SHARED / "models" / f"{name}.onnx" for name in RADII}
    adv = question(SHARED, "mnist_cnn_a_adv", [1, 2, 3, 4, 9, 11, 15, 19])
    cases = [
        ("MNIST CNN-A-Adv, 8 examples", usual["mnist_cnn_a_adv"], adv, 60, "0.5"),
        (
            "CIFAR CNN-A-Adv, 10 examples",
            usual["cifar_cnn_a_adv"],
            right_ones(question(SHARED, "cifar_cnn_a_adv", list(range(20))), 10),
            60,
            "0.5",
        ),
    ]
    sixes = right_ones(question(SHARED, "mnist_6_100", list(range(6))), 6)
    decided = sixes.select([0, 1, 3])
    cases += [("MNIST 6x100, 3 decided ones", usual["mnist_6_100"], decided, 60, "0.5")]
    cases += [("MNIST 6x100, 6 together", usual["mnist_6_100"], sixes, 60, "at most 1 GB")]
    if SIGMOID:
        curved = about(Path(SIGMOID), "cifar10", list(range(16)), Fraction(2, 255))
        cases += [
            (
                "sigmoid ConvSmall (CIFAR), 8 examples",
                Path(SIGMOID),
                right_ones(curved, 8),
                60,
                "0.5",
            )
        ]
    for work, model, problem, seconds, aim in cases:
        asked = Asked.of(problem, model, folder, "branch-and-bound", seconds)
        peer = ask_abcrown(asked, ABCROWN) if ABCROWN else None
        yield _row(work, peer, ask(asked), aim)


def _row(work: str, peer: Answer | None, ours: Answer, aim: str) -> Row:
    ratio = None if peer is None else ours.seconds / peer.seconds
    return Row(work, "" if peer is None else str(peer), str(ours), ratio, aim)


def clipping(_folder: Path) -> Iterator[Row]:
    """The share of clipping in a search that ends with a timeout."""
    spent, clip = [0.0], rounds.clip

    def counted(turns: Sequence[Turn], rates: Rates) -> list[Turn]:
        started = process_time()
        found = clip(turns, rates)
        spent[0] += process_time() - started
        return found

    problem = about(SHARED / "models" / "mnist_6_100.onnx", "mnist", [2], Fraction("0.026"), 8)
    rounds.clip = counted
    try:
        started = process_time()
        BranchAndBound()(problem)
        share = spent[0] / (process_time() - started)
    finally:
        rounds.clip = clip
    yield Row("clipping's share of a timeout on 6x100", "", f"{share:.2f}", None, "where it pays")


def margins(_folder: Path) -> Iterator[Row]:
    """Of how many domains one margin's are the most: joint domains could be no fewer than those."""
    counts, prove = Counter[int](), rounds.prove

    def counted(turn: Turn) -> Turn:
        counts.update(turn.domains.rows.tolist())
        return prove(turn)

    rounds.prove = counted
    try:
        for place in (1, 2, 3, 4, 9, 11, 15, 19):
            counts.clear()
            BranchAndBound()(question(SHARED, "mnist_cnn_a_adv", [place]))
            most, total = max(counts.values()), counts.total()
            work = f"domains of MNIST CNN-A-Adv, position {place}: of one margin, of all"
            yield Row(work, "", f"{most} of {total}", most / total, "")
    finally:
        rounds.prove = prove


def front(_folder: Path) -> Iterator[Row]:
    """Searches that multiply by a perceptron's first matrix once in each pass, and for every layer.

    In the second column, as they did before `unrolled/members.py` had a front.
    """
    cases: list[tuple[str, Evaluator, list[int]]] = [
        ("alpha-crown, 10 examples of 6x100", AlphaCROWN(), list(range(10)))
    ]
    cases += [
        (f"branch-and-bound, position {place} of 6x100", BranchAndBound(), [place])
        for place in (5, 9, 12)
    ]
    for work, method, places in cases:
        problem = question(SHARED, "mnist_6_100", places)
        every, once = _best([partial(_unfronted, method, problem), partial(method, problem)], 1)
        yield Row(work, f"{every:.2f} s", f"{once:.2f} s", once / every, "1")


def _unfronted(method: Evaluator, problem: Problem) -> None:
    usual = unrolling.NARROW
    unrolling.NARROW = sys.maxsize
    try:
        method(problem)
    finally:
        unrolling.NARROW = usual


def smoothing_shares(_folder: Path) -> Iterator[Row]:
    """The share of the raw forward pass's speed, beside the usual loop's, in processor time.

    No more can be reached than where nothing but drawing the noise comes to the forward passes.
    """
    names, aims = ("two convolutions", "perceptron 784-100-10"), ("0.9", "0.5")
    for name, aim in zip(names, aims, strict=True):
        case = smoothing.CASES[name]
        network = case.make()
        for examples in (1, 4, case.examples):
            samples = case.samples
            x = torch.rand(examples, *network.input_shape)
            problem = smoothing.smoothed(network, x)
            method = SmoothingGaussian(n0=16, n=samples - 16)
            passes = smoothing.fastest(network, examples * samples)
            usual = partial(smoothing.usual_loop, network, x, samples)
            drawing = partial(_draw, network, samples)
            raw, loop, ours, drawn = _best([passes, usual, partial(method, problem), drawing], 3)
            work = f"smoothing {name}, {examples} examples: share of the raw pass"
            share = f"{raw / ours:.2f} of at most {raw / (raw + drawn):.2f}"
            yield Row(work, f"{raw / loop:.2f}", share, ours / loop, aim)


def _draw(network: Network, samples: int) -> None:
    """Draw the noise that all examples of a batch share, and no more."""
    stream = NoiseStream(GaussianNoise(), network.input_shape, 0, ESTIMATION)
    block = block_size(network, torch.device("cpu"))
    for first in range(0, samples, block):
        stream.block(first, min(block, samples - first))


def start(_folder: Path) -> Iterator[Row]:
    """What commands take before the first bound: all of a run whose bounds take no time."""
    certboard = [sys.executable, "-m", "leaderboard"]
    file = str(ROOT / "submissions" / "mnist-ibp" / "model.onnx")
    certify = ["certify", file, "--dataset", "mnist", "--norm", "linf", "--radius", "0.1"]
    certify += ["--evaluator", "ibp", "--examples", "10"]
    for work, command, aim in (("`certify` of ten examples", certify, "1.5 s"),
                               ("`--help`", ["--help"], "0.3 s")):  # fmt: skip
        # An installed certboard is compiled once, so that the first of three may be slower.
        data = {"CERTBOARD_DATA": str(SHARED / "data"), "PYTHONDONTWRITEBYTECODE": ""}
        taken = min(children_seconds([*certboard, *command], data) for _ in range(3))
        yield Row(work, "", f"{taken:.2f} s", None, aim)


def reading(_folder: Path) -> Iterator[Row]:
    """An import with all its comparisons, beside onnxruntime's loading and one run.

    And the checker's own reading of the same file, held against the import.
    """
    for slug in ("digits-ibp", "mnist-ibp", "cifar10-ibp-cnn5", "cifar10-consistency-15"):
        path = ROOT / "submissions" / slug / "model.onnx"
        zeros = np.zeros(import_onnx(path).input_shape, dtype=np.float32)

        def deployed(path: Path = path, zeros: np.ndarray = zeros) -> object:
            return Runtime(path.read_bytes())(zeros)

        theirs, ours = _best([deployed, partial(import_onnx, path)], 8)
        cells = f"{1e3 * theirs:.1f} ms", f"{1e3 * ours:.1f} ms"
        yield Row(f"reading {slug}", *cells, ours / theirs, "2")
        (again,) = _best([partial(_read_again, path, import_onnx(path), zeros)], 3)
        yield Row(f"the checker's reading of {slug}", "", f"{1e3 * again:.1f} ms", None, "")


def _read_again(path: Path, network: Network, image: np.ndarray) -> None:
    """Read a file as the checker does, and compare that with the import."""
    four = image[None].repeat(4, 0)
    assert not disagreement(read_model(path.read_bytes()), network, four)


def _best(functions: list[Callable[[], object]], turns: int) -> list[float]:
    """The least processor seconds of each; they take turns."""
    taken = [float("inf")] * len(functions)
    for _ in range(turns):
        for place, function in enumerate(functions):
            started = process_time()
            function()
            taken[place] = min(taken[place], process_time() - started)
    return taken


GROUPS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "bounds": bounds,
    "search": search,
    "clipping": clipping,
    "margins": margins,
    "front": front,
    "smoothing": smoothing_shares,
    "start": start,
    "import": reading,
}


def main(*names: str) -> None:
    """Print the rows of the groups named, or of all."""
    torch.set_num_threads(1)
    os.environ |= {"CERTBOARD_DATA": str(SHARED / "data"), "OMP_NUM_THREADS": "1"}
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in names or GROUPS:
            for row in GROUPS[name](Path(folder)):
                print(row, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
