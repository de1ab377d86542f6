"""Counting the classes of noisy copies of an input: where all the time of smoothing goes.

A forward pass always runs on one block of copies of one example, so that the numbers which a sample
meets do not depend on what else is evaluated. Blocks begin at multiples of their size, so counting
in several steps meets the same numbers as counting at once. Where there are several devices of one
kind, each takes every so many-th block: a block's noise is a function of its number, whoever counts
it, and counts are whole numbers, so that their sum is the same for any number of devices.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from evaluators.network.ensemble import SmoothedNetwork
from evaluators.numerics.deadline import Deadline
from evaluators.sampling.block import block_size
from evaluators.sampling.forward import plain_float32
from evaluators.sampling.noise import NoiseStream
from evaluators.sampling.replica import Moments, NoiseBlock, Replica


class Counter:
    """Runs a base network on noisy copies of examples and counts which class wins.

    Arguments:
        network: its base is run in float32 on the device of the examples.
        x: the examples.
        deadline: when to stop; None for never.
        devices: others of the same kind, which count along.
    """

    def __init__(
        self,
        network: SmoothedNetwork,
        x: Float32[Tensor, "batch *shape"],
        deadline: Deadline | None = None,
        devices: Sequence[torch.device] = (),
    ) -> None:
        if any(device.type != x.device.type for device in devices):
            raise ValueError("All devices that count are of one kind.")
        self.classes, self.block = network.classes, block_size(network.base, x.device)
        self._replicas = [
            Replica(network.base, x, float(network.scale), self.block, deadline, device)
            for device in (x.device, *devices)
        ]

    @torch.inference_mode()
    @plain_float32()
    def count(
        self,
        streams: Sequence[tuple[NoiseStream, Sequence[int]]],
        start: int,
        samples: int,
        given: Int64[Tensor, " batch"] | None = None,
    ) -> Moments:
        """Count votes in samples `start` to `start + samples` of each stream, for its rows.

        Sums of noise are kept where `given` names a class of each example; by the first device
        alone, because they are no whole numbers and would depend on the order of adding up.

        Raises:
            OvertimeError: the deadline has passed.
        """
        rows = [rows for _, rows in streams]
        first, *others = self._replicas if given is None else self._replicas[:1]
        plan = list(self._plan(streams, start, samples))
        if not others:
            return first.count(rows, plan, given)
        number = 1 + len(others)
        with ThreadPoolExecutor(number) as pool:
            counted = [
                pool.submit(replica.count, rows, plan[place::number], given)
                for place, replica in enumerate((first, *others))
            ]
            votes, *more = [future.result() for future in counted]
        for part in more:
            votes.votes.add_(part.votes.to(votes.votes.device))
        return votes

    def _plan(
        self, streams: Sequence[tuple[NoiseStream, Sequence[int]]], start: int, samples: int
    ) -> Iterator[NoiseBlock]:
        """Blocks begin at multiples of their size, whatever is counted."""
        for number, (noise, rows) in enumerate(streams):
            first = start
            while first < start + samples:
                end = min((first // self.block + 1) * self.block, start + samples)
                yield NoiseBlock(number, noise, rows, first, end - first)
                first = end
