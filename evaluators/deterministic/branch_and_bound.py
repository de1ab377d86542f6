"""Branch and bound with linear bounds: complete for networks of (leaky) ReLUs."""

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from evaluators.deadline import Deadline
from evaluators.deterministic._around import Around
from evaluators.deterministic._ascent import Rates
from evaluators.deterministic._input_splitting import LOW_DIMENSION, InputSearch
from evaluators.deterministic._margins import verdicts
from evaluators.deterministic._search import Search
from evaluators.deterministic._unrolling import UnrollingError
from evaluators.evaluator import Evaluator, why_not_witness
from evaluators.falsification.pgd import PGD
from evaluators.network import Network
from evaluators.problem import Norm, Problem
from evaluators.verdict import Status, Verdict

POINTS = 8
"""Points of a round from which the attack goes on."""


@dataclass(frozen=True)
class BranchAndBound(Evaluator):
    """β-CROWN branch and bound (Wang et al. 2021, arXiv 2103.06624).

    All examples are attacked together, in one batch. Then one after the other is bounded by
    α-CROWN; margins still open are split at undecided ReLUs (filtered smart branching, De Palma et
    al. 2021, arXiv 2104.06718), all open domains of all margins of an example in common batches.
    (Each example's network is unrolled to its own undecided neurons, so that domains of several
    examples would share no matrix; common batches of them hardly pay, see PERFORMANCE.md.) Domains
    near a proof are clipped: the half-space in which their counterexamples lie narrows the bounds
    of the units that matter (Clip-and-Verify, Zhou et al. 2025, arXiv 2512.11087), for them and
    their parts. A domain without undecided ReLUs is decided by a linear program.
    Boxes of few inputs are first split along the inputs. Minimisers of the relaxed domains are
    starting points of further attacks.

    Guarantee: a certified example's label has the strictly largest logit, in real arithmetic on
    the given weights, for every input of the region. The search runs in float32; every domain is
    closed by a bound in float64, lowered by its rounding error. On balls of l2 and l1, and on
    networks with other functions than (leaky) ReLU and max-pooling, it may end without an answer.
    Trusted: IEEE float64 and the sums of products of PyTorch and SciPy; not the ascent, the
    branching, or the solver of linear programs.
    Cost: exponential in the worst case; it ends with the time budget, and says what it proved.

    Attributes:
        steps: of the ascent at a domain.
        root_steps: of the ascent without splits.
        intermediate_steps: of the ascents for the bounds of neurons.
        restarts: runs of the attack.
    """

    steps: int = 6
    root_steps: int = 20
    intermediate_steps: int = 15
    restarts: int = 5

    title: ClassVar[str] = "Branch and bound"
    version: ClassVar[str] = "1"
    accepts: ClassVar[type[Network]] = Network
    cascade: ClassVar[int | None] = 50
    complete: ClassVar[bool] = True

    def solve(self, problem: Problem) -> list[Verdict]:
        """Attack all examples at once, then decide one after the other."""
        started = time.perf_counter()
        # Another stream than that of the attack which the cascade begins with.
        attack = replace(problem, seed=problem.seed + 1)
        found = PGD(restarts=self.restarts).solve(attack)
        share = (time.perf_counter() - started) / len(problem)
        for row, verdict in enumerate(found):
            started = time.perf_counter()
            # A point that only float32 misclassifies is no answer.
            if why_not_witness(problem, row, verdict.witness):
                one = problem.select([row])
                verdict = self._search(one, Deadline(max(problem.seconds - share, 0.0)))
            found[row] = replace(verdict, seconds=share + time.perf_counter() - started)
        return found

    def _search(self, problem: Problem, deadline: Deadline) -> Verdict:
        with torch.no_grad():
            few = problem.x[0].numel() <= LOW_DIMENSION and problem.region.norm is Norm.LINF
            if few and not problem.evidence:
                verdict = self._split_inputs(problem, deadline)
                if verdict.status is not Status.UNKNOWN:
                    return verdict
            return self._split_units(problem, deadline)

    def _split_inputs(self, problem: Problem, deadline: Deadline) -> Verdict:
        # Half of the time, for what it cannot decide may have few units.
        search = InputSearch(problem, Deadline(deadline.left / 2), partial(falsify, problem))
        witness = search()
        if witness is not None:
            return Verdict(Status.FALSIFIED, None, witness=witness)
        return verdicts(problem, search.lower_bounds[None])[0]

    def _split_units(self, problem: Problem, deadline: Deadline) -> Verdict:
        try:
            around = Around.of(problem, self.intermediate_steps, deadline)
        except UnrollingError as error:
            return Verdict(Status.UNKNOWN, None, note=str(error))
        rates = Rates(self.steps, slope=0.2)
        search = Search.of(around, Rates(self.root_steps), deadline)
        witness = search(rates, partial(falsify, problem))
        if witness is not None:
            return Verdict(Status.FALSIFIED, None, witness=witness)
        (verdict,) = verdicts(problem, search.lower_bounds()[None])
        if verdict.status is Status.CERTIFIED:
            return replace(verdict, certificate=around.certificate(search.proof()))
        return replace(verdict, note=search.note or verdict.note)


def falsify(problem: Problem, points: Tensor) -> Tensor | None:
    """A checked witness for the only example, if a short descent from some of the points finds one.

    Args:
        problem: of one example.
        points: in its region or near it, `[points, *shape]`; the most promising are used.
    """
    assert isinstance(problem.network, Network)
    device, label = problem.x.device, int(problem.labels[0])
    points = points.float().to(device)
    logits = problem.network.to(torch.float32, device)(points)
    others = torch.cat((logits[:, :label], logits[:, label + 1 :]), 1).amax(1)
    near = (logits[:, label] - others).argsort()[:POINTS]
    with torch.enable_grad():
        witnesses = PGD(steps=10).descend(problem.select([0] * len(near)), points[near])
    for witness in witnesses:
        if witness is not None and not why_not_witness(problem, 0, witness):
            return witness
    return None
