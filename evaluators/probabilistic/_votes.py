"""Counting the classes of noisy copies of an input: where all the time of smoothing goes.

A forward pass always runs on one block of copies of one example, so that the numbers which a sample
meets do not depend on what else is evaluated. Blocks begin at multiples of their size, so counting
in several steps meets the same numbers as counting at once. Shared noise is drawn once for all
examples of a batch; an example's own noise is drawn from a stream of its dataset index.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod
from typing import NamedTuple, overload

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

from evaluators.ensemble import Ensemble
from evaluators.evaluator import is_out_of_memory
from evaluators.network import Network, SmoothedNetwork
from evaluators.probabilistic._distribution import Distribution
from evaluators.probabilistic._forward import fast_forward, memory_format, plain_float32
from evaluators.probabilistic._noise import ESTIMATION, GRAIN, NoiseStream
from evaluators.problem import Problem

_ENTRIES = {"cpu": 2**20, "cuda": 2**26}
"""Entries of a block's largest layer: it stays in a cache (CPU), or fills the device (CUDA)."""

_LOGITS = 2**22
"""Logits kept before they are counted; bounds how many examples share one drawing of noise."""


class OvertimeError(Exception):
    """The time budget is used up."""


def block_size(network: Network | Ensemble, device: torch.device) -> int:
    """Copies of one example per forward pass: a power of two, fixed by network and device kind."""
    members = network.members if isinstance(network, Ensemble) else (network,)
    largest = max(prod(node.shape) for member in members for node in member.nodes)
    fitting = _ENTRIES["cpu" if device.type == "cpu" else "cuda"] // largest
    return min(max(1 << max(fitting.bit_length() - 1, 0), GRAIN), 1024)


def group_size(network: Network | Ensemble, device: torch.device) -> int:
    """Examples that `count_votes` takes at once."""
    return max(1, _LOGITS // (block_size(network, device) * network.classes))


def winners(logits: Float[Tensor, "*rows classes"]) -> Bool[Tensor, "*rows classes"]:
    """One-hot rows of the winning classes; all zero where no class wins.

    The base classifier answers with the class of the one largest logit; with no class at all when
    the largest is tied, or when any logit is not finite. It is a fixed function of its input.
    """
    highest, lowest = logits.amax(-1, keepdim=True), logits.amin(-1, keepdim=True)
    largest = logits == highest
    # NaN is both the highest and the lowest of its row.
    finite = highest.isfinite() & lowest.isfinite()
    return largest & (finite & (largest.sum(-1, keepdim=True) == 1))


class Moments(NamedTuple):
    """Counts, and sums of the noise over the samples where each example's given class wins.

    The noise has scale one. Samples of even number are summed apart from those of odd number: two
    independent halves.
    """

    votes: Int64[Tensor, "batch classes"]
    sums: Float64[Tensor, "2 batch entries"]


class _Work(NamedTuple):
    """One block of one stream, and the examples that meet it."""

    noise: NoiseStream
    rows: Sequence[int]
    start: int
    size: int


def _drawn(
    plan: Iterator[_Work], ahead: bool
) -> Iterator[tuple[_Work, Float64[np.ndarray, "size *shape"]]]:
    """Each block with its noise; drawn one `ahead` while a device is busy with the one before."""
    if not ahead:
        yield from ((work, work.noise.block(work.start, work.size)) for work in plan)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting: list[tuple[_Work, Future[Float64[np.ndarray, "size *shape"]]]] = []
        for work in plan:
            waiting.append((work, pool.submit(work.noise.block, work.start, work.size)))
            if len(waiting) > 1:
                first, noise = waiting.pop(0)
                yield first, noise.result()
        for first, noise in waiting:
            yield first, noise.result()


class Counter:
    """Runs a base network on noisy copies of examples and counts which class wins.

    Arguments:
        network: its base is run in float32 on the device of the examples.
        x: the examples.
        deadline: on the clock `time.perf_counter`.
    """

    def __init__(
        self,
        network: SmoothedNetwork,
        x: Float32[Tensor, "batch *shape"],
        deadline: float = float("inf"),
    ) -> None:
        # Copies made under inference mode would be unusable for gradients later.
        self._base = network.base.to(torch.float32, x.device)
        self._forward = fast_forward(self._base)
        self._center, self._scale, self._deadline = x.double(), float(network.scale), deadline
        self.classes = network.classes
        self.block = self._most = block_size(self._base, x.device)
        layout = memory_format(self._base) if x.dim() == 4 else torch.contiguous_format
        shape = self.block, *self._base.input_shape
        shifts = torch.empty(shape, dtype=torch.float64, device=x.device)
        self._shifts = shifts.contiguous(memory_format=layout)
        self._noisy = torch.empty(shape, device=x.device).contiguous(memory_format=layout)

    @torch.inference_mode()
    @plain_float32()
    def count(
        self,
        streams: Sequence[tuple[NoiseStream, Sequence[int]]],
        start: int,
        samples: int,
        given: Int64[Tensor, " batch"] | None = None,
    ) -> Moments:
        """Votes in samples `start` to `start + samples` of each stream, for the rows beside it.

        Sums of noise are kept where `given` names a class of each example.

        Raises:
            OvertimeError: the deadline has passed.
        """
        device = self._center.device
        batch, entries = len(self._center), prod(self._base.input_shape)
        most = max(len(rows) for _, rows in streams)
        # Classes before rows in memory: reductions over classes are then vectorised over rows.
        logits = self._noisy.new_empty(most, self.classes, self.block).transpose(1, 2)
        votes = torch.zeros(batch, self.classes, dtype=torch.int64, device=device)
        sums = torch.zeros(2, batch, 0 if given is None else entries, device=device).double()
        for work, noise in _drawn(self._plan(streams, start, samples), device.type != "cpu"):
            shifts = self._shifts[: work.size]
            shifts.copy_(torch.from_numpy(noise))
            drawn = None if given is None else shifts.flatten(1).clone()
            shifts.mul_(self._scale)
            for place, row in enumerate(work.rows):
                if time.perf_counter() > self._deadline:
                    raise OvertimeError
                noisy = torch.add(self._center[row], shifts, out=self._noisy[: work.size])
                self._run(noisy, out=logits[place, : work.size])
            won = winners(logits[: len(work.rows), : work.size])
            index = torch.as_tensor(work.rows, device=device)
            votes.index_add_(0, index, won.sum(1))
            if given is not None and drawn is not None:
                own = won.gather(2, given[index, None, None].expand(-1, work.size, 1))[..., 0]
                for half in (0, 1):
                    sums[half].index_add_(0, index, own[:, half::2].double() @ drawn[half::2])
        return Moments(votes, sums)

    def _run(self, noisy: Tensor, out: Tensor) -> None:
        """The logits of a block; where memory runs out, of ever smaller parts of it.

        Noise and samples stay as they are.
        """
        for first in range(0, len(noisy), self._most):
            part = slice(first, first + self._most)
            try:
                out[part] = self._forward(noisy[part])
            except Exception as error:
                if not is_out_of_memory(error) or self._most <= 1:
                    raise
                break
        else:
            return
        # Outside the handler, so that what it holds is freed before the next attempt.
        self._most = min(self._most, len(noisy)) // 2 or 1
        self._run(noisy, out)

    def _plan(
        self, streams: Sequence[tuple[NoiseStream, Sequence[int]]], start: int, samples: int
    ) -> Iterator[_Work]:
        """Blocks begin at multiples of their size, whatever is counted."""
        for noise, rows in streams:
            first = start
            while first < start + samples:
                end = min((first // self.block + 1) * self.block, start + samples)
                yield _Work(noise, rows, first, end - first)
                first = end


class NoisyVotes:
    """The counts of a problem's examples, as a procedure asks for them.

    Arguments:
        distribution: of the noise.
        own: whether each example has its own noise, keyed by its index in the dataset.
        deadline: on the clock `time.perf_counter`.
    """

    def __init__(
        self, problem: Problem, distribution: Distribution, own: bool, deadline: float
    ) -> None:
        assert isinstance(problem.network, SmoothedNetwork)
        self._problem, self._distribution, self._own = problem, distribution, own
        self._counter = Counter(problem.network, problem.x, deadline)
        self.classes, self.block = problem.classes, self._counter.block

    def __len__(self) -> int:
        return len(self._problem)

    def count(
        self, stream: str, rows: Sequence[int], start: int, samples: int
    ) -> Int64[Tensor, "rows classes"]:
        """As `Votes.count`."""
        votes = self._counter.count(self._streams(stream, rows), start, samples).votes
        return votes.cpu()[list(rows)]

    def moments(
        self, rows: Sequence[int], given: Int64[Tensor, " rows"], samples: int
    ) -> tuple[Int64[Tensor, "rows classes"], Float64[Tensor, "2 rows entries"]]:
        """As `Votes.moments`."""
        device = self._problem.x.device
        of_all = torch.zeros(len(self), dtype=torch.int64, device=device)
        of_all[list(rows)] = given.to(device)
        streams = self._streams(ESTIMATION, rows)
        votes, sums = self._counter.count(streams, 0, samples, of_all)
        return votes.cpu()[list(rows)], sums.cpu()[:, list(rows)]

    def _streams(self, name: str, rows: Sequence[int]) -> list[tuple[NoiseStream, Sequence[int]]]:
        shape, seed = self._problem.network.input_shape, self._problem.seed
        if not self._own:
            return [(NoiseStream(self._distribution, shape, seed, name), rows)]
        examples = self._problem.examples
        return [
            (
                NoiseStream(self._distribution, shape, seed, f"{name}, example {examples[row]}"),
                [row],
            )
            for row in rows
        ]


@overload
def count_votes(
    network: SmoothedNetwork,
    x: Float32[Tensor, "batch *shape"],
    noise: NoiseStream,
    samples: int,
    deadline: float = ...,
) -> Int64[Tensor, "batch classes"] | None: ...


@overload
def count_votes(
    network: SmoothedNetwork,
    x: Float32[Tensor, "batch *shape"],
    noise: NoiseStream,
    samples: int,
    deadline: float = ...,
    *,
    given: Int64[Tensor, " batch"],
) -> Moments | None: ...


def count_votes(
    network: SmoothedNetwork,
    x: Float32[Tensor, "batch *shape"],
    noise: NoiseStream,
    samples: int,
    deadline: float = float("inf"),
    *,
    given: Int64[Tensor, " batch"] | None = None,
) -> Int64[Tensor, "batch classes"] | Moments | None:
    """How often each class wins among `samples` noisy copies of each example.

    Rows sum to less than `samples` where some copies have no winner. With a `given` class for each
    example the sums of the noise where it wins are returned beside the counts. None when the clock
    passed `deadline` before all samples were drawn.
    """
    try:
        counter = Counter(network, x, deadline)
        moments = counter.count([(noise, range(len(x)))], 0, samples, given)
    except OvertimeError:
        return None
    return moments.votes if given is None else moments
