"""Whether a base classifier is a function of each input alone.

A smoothing certificate is about one fixed function of the noisy input. A base that draws numbers of
its own, or whose answer to an input depends on the others in its batch (batch normalisation in
training mode), is none. No operator of the canonical graph does so; this notices one that does,
before anything is certified.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from evaluators.network.ensemble import SmoothedNetwork
from evaluators.sampling.forward import fast_forward, memory_format, plain_float32

ROWS, ALONE = 16, 4
"""Inputs that are compared, and how many of them are run one by one."""

TOLERANCE = 1e-3
"""Difference of logits, relative to the largest of a row, that the order of sums may make.

Kernels differ with the number of rows, so the same input may be rounded in another way in another
batch. What couples rows does so by far more than that.
"""


def refusal(network: SmoothedNetwork, x: Float[Tensor, "batch *shape"]) -> str:
    """Say why the base is no function of one input; empty where nothing speaks against it.

    The first example is run with noise in a block: twice as it is, and then permuted, beside other
    inputs, and some one by one.
    """
    base = network.base.to(torch.float32, x.device)
    forward, layout = fast_forward(base), memory_format(base)
    # Fixed numbers: what a probe sees shall not depend on the seed of an evaluation.
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(ROWS, *network.input_shape, generator=generator).to(x.device)
    inputs = x[:1] + float(network.scale) * noise

    @torch.inference_mode()
    @plain_float32()
    def run(rows: Tensor) -> Tensor:
        # A clone: nothing may be written into an input, nor kept from it.
        rows = rows.contiguous(memory_format=layout) if rows.dim() == 4 else rows
        return forward(rows.clone(memory_format=torch.preserve_format)).double()

    whole = run(inputs)
    if not _same(whole, run(inputs)):
        return "the model is not deterministic: it answers the same inputs differently"
    order = torch.randperm(ROWS, generator=generator).to(x.device)
    others = torch.cat((inputs[: ROWS // 2], 1 - 3 * inputs[ROWS // 2 :].flip(0)))
    alone = torch.cat([run(inputs[row : row + 1]) for row in range(ALONE)])
    for seen, expected in (
        (run(inputs[order]), whole[order]),
        (run(others)[: ROWS // 2], whole[: ROWS // 2]),
        (alone, whole[:ALONE]),
    ):
        if not _alike(seen, expected):
            return "the model's answer to an input depends on the others in its batch"
    return ""


def _same(first: Float[Tensor, "rows classes"], second: Float[Tensor, "rows classes"]) -> bool:
    """Whether logits agree bit for bit, NaN with NaN."""
    return torch.allclose(first, second, rtol=0, atol=0, equal_nan=True)


def _alike(first: Float[Tensor, "rows classes"], second: Float[Tensor, "rows classes"]) -> bool:
    """Whether logits agree up to rounding; rows that are not finite are so in both."""
    finite = first.isfinite().all(1)
    if not torch.equal(finite, second.isfinite().all(1)):
        return False
    first, second = first[finite], second[finite]
    size = torch.maximum(first.abs(), second.abs()).amax(1, keepdim=True)
    return bool(((first - second).abs() <= TOLERANCE * size).all())
