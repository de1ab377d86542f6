"""The one interface of every method, and the harness that no method can bypass."""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from evaluators.network.deployment import TIED
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.numerics.errors import ContradictionError
from evaluators.numerics.memory import fitting
from evaluators.question.problem import Problem
from evaluators.question.verdict import Deployment, Status, Verdict, charged_in_all
from evaluators.recheck.replay import why_not_replayed

PREDICTION = "prediction"
"""Stage of an example that is decided by running the network on it."""

PREDICTED_AT_ONCE = 128


@dataclass(frozen=True)
class Evaluator(ABC):
    """A method: a batch of questions in, a verdict each out.

    A subclass is a frozen dataclass whose at most six fields are its options, and defines `solve`.
    Its name is its file's, with hyphens.

    Attributes:
        title: the method's name in the literature.
        node: the end of the path of its node in the taxonomy, as long as it takes to name one node.
        version: raised whenever a verdict may change.
        accepts: the kind of model it applies to; a plain network where it says nothing.
        certifies: whether it can prove; an attack cannot.
        cascade: its place in the default cascade, fast ones first; None keeps it out.
        complete: whether it goes on until it has an answer or the time budget is used up.
    """

    title: ClassVar[str]
    node: ClassVar[str]
    version: ClassVar[str]
    accepts: ClassVar[type[Network] | type[SmoothedNetwork]] = Network
    certifies: ClassVar[bool] = True
    cascade: ClassVar[int | None] = None
    complete: ClassVar[bool] = False

    @classmethod
    def name(cls) -> str:
        """The method's name on the command line: its file's name with hyphens."""
        return cls.__module__.rsplit(".", 1)[-1].replace("_", "-")

    def options(self) -> dict[str, Any]:
        """The options, for the record."""
        return asdict(self)

    @final
    def __call__(self, problem: Problem) -> list[Verdict]:
        """One checked verdict for each example, in order; their seconds sum to what all took.

        Whatever `solve` does, no example can end up certified by an error: a witness is run
        again, a certificate is refused unless it carries all that a certificate needs, out of
        memory halves the batch, and an exception becomes its own example's `unknown`.

        Raises:
            TypeError: the method does not apply to this kind of model.
            ContradictionError: a witness and a certificate for the same example, or another
                number of answers than of questions.
        """
        if not isinstance(problem.network, self.accepts):
            kind = type(problem.network).__name__
            raise TypeError(f"'{self.name()}' needs a {self.accepts.__name__}, not a {kind}.")
        if len(problem) == 0:
            return []
        work = problem.stopwatch()
        try:
            solved = self._solve_right_ones(problem)
            verdicts = [self._checked(problem, row, its) for row, its in enumerate(solved)]
        except ContradictionError:
            raise
        except Exception as error:
            verdicts = self._smaller(problem, error)
        return charged_in_all(verdicts, work.spent)

    @abstractmethod
    def solve(self, problem: Problem) -> list[Verdict]:
        """The method itself; what it returns is checked by `__call__`.

        Of a deterministic network it is asked only about examples that are classified rightly.
        What it charges no example with is shared by all of them.
        """

    def _solve_right_ones(self, problem: Problem) -> list[Verdict]:
        """Answer wrongly classified examples by themselves, ask `solve` about the others."""
        if not isinstance(problem.network, Network):
            return self._solve_counted(problem)
        predictions = predict(problem.network, problem.x)
        right = [a == b for a, b in zip(predictions, problem.labels.tolist(), strict=True)]
        # Around an example outside the pixel range the region may be empty: nothing to prove.
        inside = problem.region.holds_centers(problem.x).tolist()
        rows = [row for row in range(len(problem)) if right[row] and inside[row]]
        solved = self._solve_counted(problem.select(rows)) if rows else []
        verdicts = [
            Verdict(Status.FALSIFIED, prediction, witness=x, stage=PREDICTION)
            for prediction, x in zip(predictions, problem.x, strict=True)
        ]
        for row, verdict in zip(rows, solved, strict=True):
            verdicts[row] = replace(verdict, prediction=predictions[row])
        return verdicts

    def _solve_counted(self, problem: Problem) -> list[Verdict]:
        work, verdicts = problem.stopwatch(), self.solve(problem)
        if len(verdicts) != len(problem):
            raise ContradictionError(
                f"'{self.name()}' answered {len(verdicts)} of {len(problem)} questions."
            )
        return charged_in_all(verdicts, work.spent)

    def _smaller(self, problem: Problem, error: Exception) -> list[Verdict]:
        """Halve a batch that failed; a single example that fails is unknown.

        Who works on a method sets the variable `CERTBOARD_DEBUG`, and sees its exceptions.
        """
        if os.environ.get("CERTBOARD_DEBUG") and not is_out_of_memory(error):
            raise error
        if len(problem) > 1:
            half = len(problem) // 2
            rows = range(len(problem))
            return self(problem.select(rows[:half])) + self(problem.select(rows[half:]))
        reason = "out of memory" if is_out_of_memory(error) else f"{type(error).__name__}: {error}"
        note = " ".join(f"failed: {reason}".split())[:200]
        return [Verdict(Status.UNKNOWN, None, stage=self.name(), note=note)]

    def _checked(self, problem: Problem, row: int, verdict: Verdict) -> Verdict:
        """The verdict after its check, which is work for this example alone."""
        work = problem.stopwatch()
        checked = self._check(problem, row, replace(verdict, stage=verdict.stage or self.name()))
        return replace(checked, seconds=checked.seconds + work.spent)

    def _check(self, problem: Problem, row: int, verdict: Verdict) -> Verdict:
        """Pass on an honest verdict; make anything else unknown, with the reason."""
        reason = ""
        if verdict.status is Status.CERTIFIED:
            reason = self._why_not_certified(problem, row, verdict)
        elif verdict.status is Status.FALSIFIED:
            reason = why_not_witness(problem, row, verdict.witness)
        if not reason:
            if verdict.status is Status.CERTIFIED and self.accepts is Network:
                kind = Deployment.FLOAT32 if problem.deployed else Deployment.REAL
                return replace(verdict, deployment=kind)
            return verdict
        return Verdict(
            Status.UNKNOWN,
            verdict.prediction,
            seconds=verdict.seconds,
            stage=verdict.stage,
            note=f"refused: {reason}",
        )

    def _why_not_certified(self, problem: Problem, row: int, verdict: Verdict) -> str:
        if not self.certifies:
            return "an attack cannot certify"
        if not bool(torch.isfinite(problem.x[row]).all()):
            return "the example is not finite"
        if verdict.witness is not None:
            raise ContradictionError(f"'{verdict.stage}' certified and gave a witness.")
        if verdict.prediction != int(problem.labels[row]):
            return "the prediction is not the label"
        if not isinstance(verdict.radius, Fraction):
            return "the radius proved is not an exact fraction"
        if verdict.radius < problem.region.radius:
            return "the radius proved is smaller than the one asked about"
        margin, least = verdict.margin, TIED if problem.deployed else 0.0
        if self.accepts is Network and not (margin is not None and least < margin < math.inf):
            return "no positive margin was proved"
        if not 0 < verdict.confidence <= 1:
            return "the confidence is not a probability"
        return ""


def one_by_one(problem: Problem, solve: Callable[[Problem], Verdict]) -> list[Verdict]:
    """Solve for one example after the other; each is charged with its own time."""
    verdicts = list[Verdict]()
    for row in range(len(problem)):
        work = problem.stopwatch()
        verdicts += charged_in_all([solve(problem.select([row]))], work.spent)
    return verdicts


def predict(network: Network, x: Tensor) -> list[int | None]:
    """The class of the largest float32 logit of each example.

    None where one is not finite, or where two are the largest: a tie is no answer.
    """
    logits = _logits(network, x)
    largest, classes = logits.max(1)
    alone = (logits == largest[:, None]).sum(1) == 1
    good = (torch.isfinite(logits).all(1) & alone).tolist()
    return [chosen if one else None for chosen, one in zip(classes.tolist(), good, strict=True)]


def clean_margins(network: Network, x: Tensor, labels: Tensor) -> list[float]:
    """The label's float32 logit minus the best other of each example: a hint, no proof."""
    logits = _logits(network, x)
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return [float(margin) for margin in own - others]


def _logits(network: Network, x: Tensor) -> Tensor:
    """The network's answers in float32."""
    run = network.to(torch.float32, x.device)
    with torch.inference_mode():
        # In parts: activations that outgrow the caches, or the memory, cost more than they save.
        largest = max(prod(node.shape) for node in network.nodes)
        count = fitting(PREDICTED_AT_ONCE, 12 * largest, 1 / 8)
        return torch.cat([run(x[first : first + count]) for first in range(0, len(x), count)])


def why_not_witness(problem: Problem, row: int, witness: Tensor | None) -> str:
    """Why a claimed witness is none; empty when it is one.

    A witness lies in the region (exact arithmetic), is finite, and is not classified as the label
    by the network in float64 and in float32, nor by onnxruntime where the network came from a file;
    a tie with the label counts as another class.
    """
    if witness is None:
        return "there is no witness"
    if tuple(witness.shape) != problem.network.input_shape:
        return "the witness has another shape than the input"
    if not torch.equal(witness.float().to(witness.dtype), witness):
        return "the witness is not finite or not a float32 input"
    if not isinstance(problem.network, Network):
        return "a smoothed network's answer cannot be refuted by one input"
    if not problem.region.select([row]).contains(problem.x[row], witness):
        return "the witness lies outside the region"
    label = int(problem.labels[row])
    for dtype in (torch.float64, torch.float32):
        network = problem.network.to(dtype, problem.x.device)
        logits = network(witness[None].to(problem.x.device, dtype))[0]
        others = torch.cat((logits[:label], logits[label + 1 :]))
        if not bool(torch.isfinite(logits).all()) or float(logits[label]) > float(others.max()):
            return f"the witness is classified as the label in {dtype}"
    if problem.network.runtime is None:
        return ""
    return why_not_replayed(problem.network.runtime, witness.detach().cpu().float().numpy(), label)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception means that something did not fit into memory."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    # PyTorch's words on the CPU: Windows, and elsewhere.
    told = ("not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(words in str(error) for words in told)
