"""Counting the classes of noisy copies of an input: where all the time of smoothing goes.

A forward pass always runs on one block of copies of one example, so that the numbers which a sample
meets do not depend on what else is evaluated. The noise of a block is drawn once and shared by the
examples of a batch.
"""

import time
from math import prod

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from evaluators.network import Network, SmoothedNetwork
from evaluators.probabilistic._forward import fast_forward, memory_format
from evaluators.probabilistic._noise import GRAIN, NoiseStream

_ENTRIES = {"cpu": 2**20, "cuda": 2**26}
"""Entries of a block's largest layer: it stays in a cache (CPU), or fills the device (CUDA)."""

_LOGITS = 2**22
"""Logits kept before they are counted; bounds how many examples share one drawing of noise."""


def block_size(network: Network, device: torch.device) -> int:
    """Copies of one example per forward pass: a power of two, fixed by network and device kind."""
    largest = max(prod(node.shape) for node in network.nodes)
    fitting = _ENTRIES["cpu" if device.type == "cpu" else "cuda"] // largest
    return min(max(1 << max(fitting.bit_length() - 1, 0), GRAIN), 1024)


def group_size(network: Network, device: torch.device) -> int:
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


def count_votes(
    network: SmoothedNetwork,
    x: Float32[Tensor, "batch *shape"],
    noise: NoiseStream,
    samples: int,
    deadline: float = float("inf"),
) -> Int64[Tensor, "batch classes"] | None:
    """How often each class wins among `samples` noisy copies of each example.

    Rows sum to less than `samples` where some copies have no winner. None when the clock
    (`time.perf_counter`) passed `deadline` before all samples were drawn.
    """
    # Copies made under inference mode would be unusable for gradients later.
    base = network.base.to(torch.float32, x.device)
    with torch.inference_mode():
        return _count(base, x, float(network.scale), noise, samples, deadline)


def _count(
    base: Network, x: Tensor, scale: float, noise: NoiseStream, samples: int, deadline: float
) -> Tensor | None:
    forward, layout = fast_forward(base), memory_format(base)
    rows = min(block_size(base, x.device), samples)
    center = x.double()
    shifts = torch.empty(rows, *base.input_shape, dtype=torch.float64, device=x.device)
    noisy = torch.empty(rows, *base.input_shape, dtype=torch.float32, device=x.device)
    if x.dim() == 4:
        shifts, noisy = (buffer.contiguous(memory_format=layout) for buffer in (shifts, noisy))
    # Classes before rows in memory: reductions over classes are then vectorised over rows.
    logits = noisy.new_empty(len(x), base.classes, rows).transpose(1, 2)
    counts = torch.zeros(len(x), base.classes, dtype=torch.int64, device=x.device)
    for start in range(0, samples, rows):
        size = min(rows, samples - start)
        shifts[:size].copy_(torch.from_numpy(noise.block(start, size))).mul_(scale)
        for example in range(len(x)):
            if time.perf_counter() > deadline:
                return None
            torch.add(center[example], shifts[:size], out=noisy[:size])
            logits[example, :size] = forward(noisy[:size])
        counts += winners(logits[:, :size]).sum(1)
    return counts
