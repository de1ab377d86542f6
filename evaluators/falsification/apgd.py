"""Auto-PGD: gradient descent that adapts its own step, on losses that no scale of logits masks."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import ceil

import torch
from torch import Tensor

from evaluators.attacks.losses import (
    label_margins,
    log_likelihoods,
    logit_ratios,
    targeted_ratios,
)
from evaluators.attacks.restarts import RestartedAttack
from evaluators.evaluator import why_not_witness
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.question.float_region import FloatRegion
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem

MOMENTUM = 0.75
"""Share of a new step in the next one; the rest is the last step again (paper: alpha)."""
ENOUGH = 0.75
"""Share of steps that must lower the loss for the step to keep its length (paper: rho)."""
SPARSER = 1.5
"""In l1, by how much fewer entries a step moves than the best point has moved."""
FEWER = 0.95
"""In l1, above which ratio of entries moved to those moved before steps are shortened."""
SHORTEST = 0.1
"""In l1, the shortest step in units of the longest."""

AttackLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Logits, labels and targets to what is minimised, `[batch]`."""


@dataclass(frozen=True)
class APGD(RestartedAttack):
    """Auto-PGD (Croce and Hein 2020, arXiv 2003.01690, algorithm 1; for l1 2021, arXiv 2103.01208).

    Steps of steepest descent begin with a length of twice the radius, and each adds a quarter of
    the step before. At checkpoints, which follow each other at shrinking distances, the step size
    is halved where fewer than three of four steps lowered the loss or where nothing has changed
    since the last checkpoint, and the run continues from its best point. In l1, a step moves only
    the entries of largest gradient, two thirds as many as the best point has moved so far, and adds
    nothing of the step before.

    The runs minimise, in turn, the label's likelihood (cross-entropy), the difference of logits
    ratio (DLR) and, with four classes or more, the DLR to each of the classes to which the example
    itself is nearest. The first run starts from the example, others from random points of the
    region, drawn from the example's own random stream.

    Differs from the papers: the first start; points of l1 are put onto the ball and then into the
    pixel range, not onto the nearest point of both; no run in l1 begins in larger balls.

    Guarantee: none for examples it does not break; it never certifies. A witness it gives is
    checked by the harness in exact arithmetic and in two precisions.
    Cost: `steps` forward and backward passes in float32 a run; `restarts` x (2 + `targets`) runs.

    Attributes:
        steps: gradient steps of one run.
        restarts: how often all losses are tried.
        targets: classes that are targeted; the paper's nine find no more here, at twice the cost.
        loss: `dlr` or `cross-entropy` for runs of this loss alone, `all` for all.
    """

    steps: int = 50
    restarts: int = 1
    targets: int = 3
    loss: str = "all"

    title = "Auto-PGD"
    node = "falsification"
    version = "1"

    def runs(self, problem: Problem) -> int:
        """As many as losses, by as many as restarts."""
        return self.restarts * len(self._losses(problem.classes))

    def run(self, problem: Problem, run: int, deadline: Deadline) -> list[Tensor | None]:
        """Descend once, by the loss whose turn it is."""
        assert isinstance(problem.network, Network)
        losses = self._losses(problem.classes)
        loss, rank = losses[run % len(losses)]
        logits = problem.network.for_search(problem.x.device)(problem.x)
        others = logits.scatter(1, problem.labels[:, None], -torch.inf)
        targets = others.argsort(stable=True, dim=1, descending=True)[:, rank]
        descent = _Descent(problem, self.start(problem, run), loss, targets)
        return descent.go(self.steps, deadline)

    def _losses(self, classes: int) -> list[tuple[AttackLoss, int]]:
        """Losses in turn, and the rank of the class that each targets."""
        plain: dict[str, AttackLoss] = {
            "cross-entropy": lambda logits, labels, _: log_likelihoods(logits, labels),
            "dlr": lambda logits, labels, _: logit_ratios(logits, labels),
        }
        if self.loss != "all":
            return [(plain[self.loss], 0)]
        if classes < 3:  # Both have the margin's gradient, up to its length.
            return [(plain["dlr"], 0)]
        count = min(self.targets, classes - 1) if classes > 3 else 0
        return [(loss, 0) for loss in plain.values()] + [
            (targeted_ratios, rank) for rank in range(count)
        ]


def checkpoints(steps: int) -> list[int]:
    """After how many steps the length of steps is looked at (paper: section 3.1)."""
    percents = [0, 22]
    while percents[-1] < 100:
        percents.append(percents[-1] + max(percents[-1] - percents[-2] - 3, 6))
    return sorted({min(ceil(percent * steps / 100), steps) for percent in percents[1:]})


@dataclass
class _State:
    """Where each example's run is.

    Attributes:
        point, before: now, and one step ago.
        gradient: of the loss at the point.
        best, slope, least: the point of least loss so far, its gradient and its loss.
        loss: at the point.
        length: of the steps, as a share of the radius.
        lowered: how many steps lowered the loss since the last checkpoint.
        stuck, seen: whether the last checkpoint shortened steps, and the least loss there.
        entries, moved: in l1, how many a step moves, and how many the best point had moved.
    """

    point: Tensor
    before: Tensor
    gradient: Tensor
    best: Tensor
    slope: Tensor
    least: Tensor
    loss: Tensor
    length: Tensor
    lowered: Tensor
    stuck: Tensor
    seen: Tensor
    entries: Tensor
    moved: Tensor

    def keep(self, rows: Tensor) -> None:
        """Go on with some examples."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[rows])

    def back_to_best(self, rows: Tensor) -> None:
        """Let some examples go on from their best points, at rest."""
        there = _wide(rows, self.point)
        self.point = torch.where(there, self.best, self.point)
        self.before = torch.where(there, self.best, self.before)
        self.gradient = torch.where(there, self.slope, self.gradient)
        self.loss = torch.where(rows, self.least, self.loss)


class _Descent:
    """One run of some examples; those that are broken leave at checkpoints."""

    def __init__(self, problem: Problem, start: Tensor, loss: AttackLoss, targets: Tensor) -> None:
        assert isinstance(problem.network, Network)
        self.network = problem.network.for_search(problem.x.device)
        self.whole, self.loss = problem, loss
        self.witnesses: list[Tensor | None] = [None] * len(problem)
        self.sparse = problem.region.norm is Norm.L1
        self._about(list(range(len(problem))), targets)
        point = self.region.project(start)
        loss_now, slope = self._look(point)
        count, inputs = torch.zeros_like(loss_now), point[0].numel()
        self.state = _State(
            *(point, point, slope, point, slope, loss_now, loss_now),
            length=count + (1.0 if self.sparse else 2.0),
            lowered=count,
            stuck=count.bool(),
            seen=loss_now,
            entries=count + max(1.0, 0.2 * inputs),
            moved=count + inputs,
        )

    def _about(self, rows: list[int], targets: Tensor) -> None:
        self.rows, self.targets = rows, targets
        self.problem = self.whole.select(rows)
        self.region = FloatRegion(self.problem.region, self.problem.x)

    def go(self, steps: int, deadline: Deadline) -> list[Tensor | None]:
        """Take the steps; a witness of each example, where one was met."""
        every = max(1, steps // 25)
        looks = range(every, steps, every) if self.sparse else checkpoints(steps)
        since = 0
        for index in range(1, steps + 1):
            self._step(first=index == 1)
            since += 1
            if deadline.passed:
                break
            if index in looks and index < steps:
                if not self._leave_broken():
                    break
                if self.sparse:
                    self._sparser()
                else:
                    self._shorter(since)
                since = 0
        return self.witnesses

    def _step(self, *, first: bool) -> None:
        state = self.state
        length = _wide(state.length, state.point)
        if self.sparse:
            step = -_largest(state.gradient, state.entries) * self.region.reach
            point = self.region.project(state.point + length * step)
        else:
            step = self.region.descent(state.gradient)
            point = self.region.project(state.point + length * step)
            if not first:
                ahead = MOMENTUM * (point - state.point)
                kept = (1 - MOMENTUM) * (state.point - state.before)
                point = self.region.project(state.point + ahead + kept)
        loss, slope = self._look(point)
        state.lowered = state.lowered + (loss < state.loss)
        better = loss < state.least
        state.best = torch.where(_wide(better, point), point, state.best)
        state.slope = torch.where(_wide(better, point), slope, state.slope)
        state.least = torch.where(better, loss, state.least)
        state.before, state.point, state.gradient, state.loss = state.point, point, slope, loss

    def _look(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """The loss at a point and its gradient; a witness is kept."""
        point = point.detach().requires_grad_(True)
        logits = self.network(point)
        loss = self.loss(logits, self.problem.labels, self.targets)
        (slope,) = torch.autograd.grad(loss.sum(), point)
        margins = label_margins(logits.detach(), self.problem.labels)
        for row in (margins <= 0).nonzero()[:, 0].tolist():
            if self.witnesses[self.rows[row]] is None:
                witness = point[row].detach().clone()
                # What float32 alone sees is no witness, and the run goes on.
                if not why_not_witness(self.problem, row, witness):
                    self.witnesses[self.rows[row]] = witness
        return loss.detach(), slope

    def _leave_broken(self) -> bool:
        """Go on with the examples that are not broken, if there are any."""
        left = [row for row, whole in enumerate(self.rows) if self.witnesses[whole] is None]
        if left and len(left) < len(self.rows):
            index = torch.tensor(left, device=self.targets.device)
            self.state.keep(index)
            self._about([self.rows[row] for row in left], self.targets[index])
        return bool(left)

    def _shorter(self, steps: int) -> None:
        """Halve the steps of whoever gets nowhere with them (paper: conditions 1 and 2)."""
        state = self.state
        few = state.lowered < ENOUGH * steps
        same = ~state.stuck & (state.seen <= state.least)
        state.stuck = few | same
        state.length = torch.where(state.stuck, state.length / 2, state.length)
        state.back_to_best(state.stuck)
        state.seen, state.lowered = state.least, torch.zeros_like(state.lowered)

    def _sparser(self) -> None:
        """Move fewer entries, with long steps; shorten steps where as many as before are moved."""
        state = self.state
        moved = (state.best != self.problem.x).flatten(1).sum(1).float()
        fewer = moved < FEWER * state.moved
        shorter = (state.length / SPARSER).clamp(min=SHORTEST)
        state.length = torch.where(fewer, torch.ones_like(shorter), shorter)
        state.entries, state.moved = (moved / SPARSER).clamp(min=1), moved
        state.back_to_best(fewer)


def _wide(values: Tensor, like: Tensor) -> Tensor:
    """One value for each example, in the shape of its point."""
    return values.reshape(-1, *(1,) * (like.dim() - 1))


def _largest(gradient: Tensor, entries: Tensor) -> Tensor:
    """Signs of each example's so many largest entries, of sum one in size; zeros elsewhere."""
    flat = gradient.flatten(1)
    places = entries.long().clamp(1, flat.shape[1])[:, None] - 1
    bar = flat.abs().sort(dim=1, descending=True).values.gather(1, places)
    signs = flat.sign() * (flat.abs() >= bar)
    return (signs / signs.abs().sum(1, keepdim=True).clamp(min=1)).reshape(gradient.shape)
