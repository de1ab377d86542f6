"""Transposed convolutions by matrix products are those of PyTorch."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evaluators.network import transposed
from evaluators.network.transposed import transposed_convolution


@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    part=st.sampled_from([1, 3000, 2**20]),
)
@example((4, 4), (2, 2), (1, 1), (1, 1), (9, 8), 3000)  # some places no window reaches
@example((3, 4), (1, 2), (2, 0), (1, 1), (5, 9), 1)
@settings(max_examples=60, deadline=None)
def test_it_is_the_gradient_of_the_convolution(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    size: tuple[int, int],
    part: int,
) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 2, *kernel, dtype=torch.float64, generator=generator)
    x = torch.zeros(5, 2, *size, dtype=torch.float64, requires_grad=True)
    try:
        z = F.conv2d(x, weight, None, stride, padding, dilation)
    except RuntimeError:  # the kernel is larger than the padded input
        return
    y = torch.randn(z.shape, dtype=torch.float64, generator=generator)
    (expected,) = torch.autograd.grad(z, x, y)
    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(transposed, "CACHED_BYTES", part)
        found = transposed_convolution(y, weight, size, (stride, padding, dilation), 1)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
