"""A base network on one device, and the votes that it has counted there.

On CUDA nothing in the loop waits for the device, but for one thing: at most `_IN_FLIGHT` blocks of
noise are on their way to it. Noise is drawn ahead by another thread.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from evaluators.evaluator import is_out_of_memory
from evaluators.network.ensemble import Ensemble
from evaluators.network.network import Network
from evaluators.numerics.deadline import Deadline
from evaluators.sampling.block import OvertimeError, winners
from evaluators.sampling.forward import fast_forward, memory_format
from evaluators.sampling.noise import NoiseStream

_IN_FLIGHT = 2


class NoiseBlock(NamedTuple):
    """One block of one stream (of that number), and the examples that meet it."""

    stream: int
    noise: NoiseStream
    rows: Sequence[int]
    start: int
    size: int


class Moments(NamedTuple):
    """Counts, and sums of the noise of the samples in which each example's given class wins.

    The noise has scale one. Samples of even number are summed apart from those of odd number: two
    independent halves.
    """

    votes: Int64[Tensor, "batch classes"]
    sums: Float64[Tensor, "2 batch entries"]


class Replica:
    """Runs a base network on noisy copies of examples, on one device.

    Arguments:
        base: the network, run in float32.
        x: the examples; they and the network are copied to `device`.
        scale: of the noise.
        block: the most copies that are run at once.
        deadline: when to stop; None for never.
    """

    def __init__(
        self,
        base: Network | Ensemble,
        x: Float32[Tensor, "batch *shape"],
        scale: float,
        block: int,
        deadline: Deadline | None,
        device: torch.device,
    ) -> None:
        # Copies made under inference mode would be unusable for gradients later.
        self._base = base.to(torch.float32, device)
        self._forward, self._device = fast_forward(self._base), device
        self._center, self._scale, self._deadline = x.double().to(device), scale, deadline
        self._block = self._most = block
        layout = memory_format(self._base) if x.dim() == 4 else torch.contiguous_format
        shape = block, *base.input_shape
        shifts = torch.empty(shape, dtype=torch.float64, device=device)
        self._shifts = shifts.contiguous(memory_format=layout)
        self._noisy = torch.empty(shape, device=device).contiguous(memory_format=layout)

    # A mode of the thread, and a replica may have one of its own.
    @torch.inference_mode()
    def count(
        self,
        streams: Sequence[Sequence[int]],
        plan: Iterable[NoiseBlock],
        given: Int64[Tensor, " batch"] | None,
    ) -> Moments:
        """Count votes in these blocks, whose streams are met by these rows; on the device.

        Raises:
            OvertimeError: the deadline has passed.
        """
        classes, batch = self._base.classes, len(self._center)
        entries = 0 if given is None else prod(self._base.input_shape)
        # Classes before rows in memory: reductions over classes are then vectorised over rows.
        most = max(map(len, streams))
        logits = self._noisy.new_empty(most, classes, self._block).transpose(1, 2)
        votes = torch.zeros(batch, classes, dtype=torch.int64, device=self._device)
        sums = torch.zeros(2, batch, entries, dtype=torch.float64, device=self._device)
        indices, given = self._indices(streams), None if given is None else given.to(self._device)
        for work, noise in self._arriving(plan):
            shifts = self._shifts[: work.size]
            shifts.copy_(noise, non_blocking=True)
            drawn = None if given is None else shifts.flatten(1).clone()
            shifts.mul_(self._scale)
            for place, row in enumerate(work.rows):
                if self._deadline is not None and self._deadline.passed:
                    raise OvertimeError
                noisy = torch.add(self._center[row], shifts, out=self._noisy[: work.size])
                self._run(noisy, out=logits[place, : work.size])
            won = winners(logits[: len(work.rows), : work.size])
            index = indices[work.stream]
            votes.index_add_(0, index, won.sum(1))
            if given is not None and drawn is not None:
                own = won.gather(2, given[index, None, None].expand(-1, work.size, 1))[..., 0]
                for half in (0, 1):
                    sums[half].index_add_(0, index, own[:, half::2].double() @ drawn[half::2])
        return Moments(votes, sums)

    def _indices(self, streams: Sequence[Sequence[int]]) -> list[Int64[Tensor, " rows"]]:
        """The rows of each stream, all sent to the device at once."""
        ends = np.cumsum([0, *map(len, streams)]).tolist()
        all_rows = torch.as_tensor([row for rows in streams for row in rows], device=self._device)
        return [all_rows[start:end] for start, end in pairwise(ends)]

    def _arriving(
        self, plan: Iterable[NoiseBlock]
    ) -> Iterator[tuple[NoiseBlock, Float64[Tensor, "size *shape"]]]:
        """Each block with its noise, for a device from memory that it can read by itself."""
        if self._device.type == "cpu":
            for work in plan:
                yield work, torch.from_numpy(work.noise.block(work.start, work.size))
            return
        started: deque[torch.cuda.Event] = deque()
        for work, noise in _drawn_ahead(plan):
            if len(started) >= _IN_FLIGHT:
                started.popleft().synchronize()
            # Pinned memory is kept by the library until the copy from it is done.
            yield work, torch.from_numpy(noise).pin_memory()
            started.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
            started[-1].record(torch.cuda.current_stream(self._device))

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


def _drawn_ahead(
    plan: Iterable[NoiseBlock],
) -> Iterator[tuple[NoiseBlock, Float64[np.ndarray, "size *shape"]]]:
    """Each block with its noise, of which the next is drawn while the device is busy."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[tuple[NoiseBlock, Future[Float64[np.ndarray, "size *shape"]]]] = deque()
        for work in plan:
            waiting.append((work, pool.submit(work.noise.block, work.start, work.size)))
            if len(waiting) > 1:
                first, noise = waiting.popleft()
                yield first, noise.result()
        for first, noise in waiting:
            yield first, noise.result()
