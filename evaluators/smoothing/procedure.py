"""What a sampling procedure is: how many samples to draw, and what the counts then prove.

A procedure sees counts of classes only, never the network: where the counts come from (`Votes`) and
what radius they give (`RadiusTarget`) are others' business, so the same code runs on simulated
counts.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, nextafter
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from evaluators.noises.distribution import Probabilities
from evaluators.sampling.block import OvertimeError
from evaluators.sampling.noise import ESTIMATION, SELECTION
from evaluators.smoothing.confidence import (
    check_trials,
    clopper_pearson_lower,
    clopper_pearson_upper,
)
from evaluators.smoothing.radius import RadiusTarget

Statistics = tuple[tuple[str, float], ...]


@runtime_checkable
class Votes(Protocol):
    """It counts classes among noisy copies of the examples of a batch."""

    @property
    def classes(self) -> int:
        """Number of classes."""

    @property
    def block(self) -> int:
        """Samples that are drawn at once: looks at the counts lie at multiples of this."""

    def __len__(self) -> int:
        """Number of examples."""

    def count(
        self, stream: str, rows: Sequence[int], start: int, samples: int
    ) -> Int64[Tensor, "rows classes"]:
        """Count how often each class wins in samples `start` to `start + samples`, on the CPU.

        Raises:
            OvertimeError: the time budget is used up.
        """

    def moments(
        self, rows: Sequence[int], given: Int64[Tensor, " rows"], samples: int
    ) -> tuple[Int64[Tensor, "rows classes"], Float64[Tensor, "2 rows entries"]]:
        """Count the first `samples` of the estimation stream, and sum their noise.

        The sums are of the noise, of scale one, over the samples where each example's `given`
        class wins; over samples of even number first, over those of odd number second.
        """


@dataclass(frozen=True, eq=False)
class Estimate:
    """What is known about one example's class probabilities.

    Attributes:
        prediction: the class that the selection samples chose.
        n, count: estimation samples that the bounds refer to, and those that gave the prediction.
        runner_up: the largest count of another class.
        probabilities: bounds that hold together, except with the failure probability.
        statistics: what else the bounds were computed from.
        note: why sampling ended before the radius was decided, else empty.
        moments: sums of noise, `[2, entries]`, where the certificate asks for them.
    """

    prediction: int
    n: int
    count: int
    runner_up: int
    probabilities: Probabilities
    statistics: Statistics = ()
    note: str = ""
    moments: Float64[Tensor, "2 entries"] | None = None


Estimates = list[Estimate | None]
"""Of the examples, in order; None where time ran out."""


@dataclass(frozen=True)
class SamplingProcedure(ABC):
    """A procedure decides how samples are spent, and what their counts prove.

    Attributes:
        n0: samples that select the class.
        n: the most further samples that bound its probability.
        failure_probability: chance that an example's bounds are wrong.
        sides: 1 bounds the class's probability; 2 bounds those of the other classes too.
        moments: whether sums of noise come with the counts, as first-order certificates need; their
            bounds are about a number of samples that none of the samples has chosen.
    """

    moments: ClassVar[bool] = False

    n0: int
    n: int
    failure_probability: float
    sides: int = 1

    def __post_init__(self) -> None:
        check_trials(0, self.n0, self.failure_probability)
        check_trials(0, self.n, self.failure_probability)
        if self.sides not in (1, 2):
            raise ValueError(f"Bounds have 1 or 2 sides, not {self.sides}.")

    @abstractmethod
    def __call__(self, votes: Votes, asked: RadiusTarget, moments: bool = False) -> Estimates:
        """Estimate each example's probabilities.

        Raises:
            ValueError: `moments` were asked for and this procedure has none.
        """

    def unanimous(self, classes: int) -> Probabilities:
        """Bound a class that all `n` samples vote for: no bounds can be better."""
        return exact_bounds(self, self.n, 0, self.n, classes)

    @property
    def own_share(self) -> float:
        """Failure probability of the bound of the selected class."""
        return self.failure_probability / self.sides

    def other_share(self, classes: int) -> float:
        """Failure probability of the bound of each other class (Bonferroni)."""
        return self.failure_probability / 2 / max(1, classes - 1)


class VoteTally(NamedTuple):
    """The votes of one example that have been counted so far.

    Attributes:
        prediction, selected: the class that the selection samples chose, and how many gave it.
        drawn, won: estimation samples so far, and those that gave the prediction.
        runner_up: the largest count of another class among them.
    """

    prediction: int
    selected: int
    drawn: int
    won: int
    runner_up: int


Look = Callable[[VoteTally], Estimate | None]
"""Whether the counts of one example are enough: its estimate, or None to go on."""


@dataclass(frozen=True)
class Stepwise(SamplingProcedure):
    """A procedure that looks at the counts at times fixed in advance, and may stop at each."""

    @abstractmethod
    def look(self, asked: RadiusTarget, votes: Votes) -> Look:
        """Return the rule by which an example stops; at `n` samples it always does."""

    def __call__(self, votes: Votes, asked: RadiusTarget, moments: bool = False) -> Estimates:
        """Bound from as many samples as each example needs, whatever the others need."""
        if moments:
            raise ValueError("This procedure has no sums of noise for a first-order certificate.")
        estimates: Estimates = [None] * len(votes)
        look, active, start = self.look(asked, votes), list(range(len(votes))), 0
        try:
            chosen = votes.count(SELECTION, active, 0, self.n0)
            top = chosen.argmax(1)
            selected = chosen.gather(1, top[:, None])[:, 0]
            counts = torch.zeros_like(chosen)
            for end in looks(self.n, votes.block):
                counts[active] += votes.count(ESTIMATION, active, start, end - start)
                won, others = counts.gather(1, top[:, None])[:, 0], largest_other(counts, top)
                for row in active:
                    of_row = (int(values[row]) for values in (won, others))
                    tally = VoteTally(int(top[row]), int(selected[row]), end, *of_row)
                    estimates[row] = look(tally)
                active = [row for row in active if estimates[row] is None]
                start = end
                if not active:
                    break
        except OvertimeError:
            pass  # those that have stopped keep what they have; the others have None
        return estimates


def looks(n: int, block: int) -> Iterator[int]:
    """Yield when to look: at multiples of `block` that grow by a tenth, and at `n` samples."""
    end = min(block, n)
    while end < n:
        yield end
        end = min(max(end + block, ceil(end * 11 / 10 / block) * block), n)
    yield n


def one_sided(lower: float) -> Probabilities:
    """Bound any other class by one minus the lower bound of the class, rounded up."""
    # From 1/2 on the difference is exact; below, its rounding is made good.
    upper = 1.0 - lower
    return Probabilities(lower, upper if lower >= 0.5 else min(1.0, nextafter(upper, 2.0)))


def two_sided(lower: float, other: float) -> Probabilities:
    """Take the better of two upper bounds, since the probabilities sum to at most one."""
    return Probabilities(lower, min(other, one_sided(lower).upper))


def largest_other(counts: Int64[Tensor, "rows classes"], chosen: Int64[Tensor, " rows"]) -> Tensor:
    """Find the largest count of a class that was not chosen, `[rows]`; 0 if there is one class."""
    return counts.scatter(1, chosen[:, None], 0).amax(1)


def exact_bounds(
    procedure: SamplingProcedure, count: int, other: int, n: int, classes: int
) -> Probabilities:
    """Bound by Clopper and Pearson, from a number `n` that no estimation sample has chosen."""
    lower = clopper_pearson_lower(count, n, procedure.own_share)
    if procedure.sides == 1:
        return one_sided(lower)
    return two_sided(lower, clopper_pearson_upper(other, n, procedure.other_share(classes)))
