"""What executors share: the time that is left, and the shards that end their workers."""

import math
import time
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from leaderboard.common.errors import InputError
from leaderboard.common.progress import tell
from leaderboard.settings.question import Shard

if TYPE_CHECKING:
    import pandas as pd

Finished = tuple[Shard, "pd.DataFrame"]
Run = Generator[Finished, None, None]
Work = Callable[[Shard], "pd.DataFrame"]

RAY, SLURM = "ray", "slurm"
"""What `--workers` names that is no number of processes."""
TRIES = 4
"""How often a cluster begins a shard: a lost node is nobody's fault."""
AT_ONCE = 1000
"""Shards that a cluster has at once; more would only wait there."""


def engine(workers: str, module: str) -> Any:
    """Import the library behind a kind of `--workers`, which its extra of the same name installs.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"--workers {workers} needs the extra '{workers}': pip install 'certboard[{workers}]'."
        ) from error


class Queue(deque[Shard]):
    """Shards that wait to be computed, the first of them next.

    More may be put among them while some are computed: what those leave open needs no new workers,
    and waits for no others.
    """

    def put(self, shards: Iterable[Shard], rank: Callable[[Shard], Any]) -> None:
        """Put shards where `rank`, by which those that are here are sorted, places them."""
        for shard in shards:
            insort(self, shard, key=rank)

    @property
    def most(self) -> int:
        """How many shards there may be: cheap methods may leave each of their examples open."""
        return sum(len(one.examples) if one.stages == "cheap" else 1 for one in self)


@dataclass
class TimeLeft:
    """Whether there is time for one more shard: as long as the longest one until now took.

    `until` is a time on the monotonic clock.
    """

    until: float = math.inf
    longest: float = 0.0

    def has_time(self) -> bool:
        """Whether one more shard would probably be done in time."""
        return self.now() + self.longest < self.until

    def now(self) -> float:
        """The time on the monotonic clock."""
        return time.monotonic()

    def finished(self, began: float) -> None:
        """Take the time of a shard that is done."""
        self.longest = max(self.longest, self.now() - began)


def name_of(shard: Shard) -> str:
    """Name a shard by its model and its first and last example."""
    model = shard.question.model
    first, last = shard.examples[0], shard.examples[-1]
    which = f"example {first}" if first == last else f"examples {first} to {last}"
    return f"{which} of {model.parent.name}/{model.name}"


def at(shard: Shard) -> str:
    """A sentence on which shard ended in an error."""
    return f"That was at {name_of(shard)}."


def located(error: Exception, shard: Shard) -> Exception:
    """An error of a node, which names the shard unless it knows it anyway (`evaluate`)."""
    if type(error) is InputError and "shard" not in vars(error):
        return InputError(*error.problems, at(shard))
    return error


@dataclass
class Failures:
    """The shards that ended their workers: how often each, and which are given up.

    Attributes:
        tries: how often a shard is begun at most.
        advice: a sentence on what may help.
    """

    tries: int
    advice: str
    _counts: Counter[Shard] = field(default_factory=Counter)
    _given_up: dict[Shard, str] = field(default_factory=dict)

    def again(self, shard: Shard, reason: str) -> bool:
        """Whether a shard is tried again; it is told either way."""
        self._counts[shard] += 1
        if self._counts[shard] >= self.tries:
            self._given_up[shard] = reason
            tell(f"{name_of(shard)}: {reason}; given up after {self.tries} tries, others go on")
            return False
        tell(f"{name_of(shard)}: {reason}; tried again")
        return True

    def check(self) -> None:
        """Name the shards that were given up.

        Raises:
            InputError: there are some.
        """
        if self._given_up:
            raise InputError(
                *(
                    f"{name_of(shard)}: not measured in {self.tries} tries: {reason}."
                    for shard, reason in self._given_up.items()
                ),
                f"What was finished is kept. {self.advice}",
            )
