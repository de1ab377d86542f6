"""A training that begins with the weights of a network that has been written."""

from hashlib import sha256

import torch

from evaluators.learning.layers import Affine
from evaluators.learning.learner import Learner
from evaluators.network.affine import Convolution, Dense
from evaluators.network.network import Network

SAME = 1e-3
"""By how much logits may differ, as a share of the largest: both are float32."""


@torch.no_grad()
def begin_with(learner: Learner, network: Network) -> None:
    """Copy a network's matrices and kernels, in order, into a learner of the same architecture.

    Normalisation is folded into what was written, so the learner has none.

    Raises:
        ValueError: the network has another architecture, or the learner's maps are not what is
            trained but made of it.
    """
    layers = [part for part in learner.modules() if isinstance(part, Affine)]
    if any(type(one) is not Affine or one.gain is not None or one.rescaling for one in layers):
        raise ValueError(
            "only networks of plain layers begin with another's weights: without normalisation,"
            " which is folded into what is written, and without 1-Lipschitz layers"
        )
    maps = [n.operation for n in network.nodes if isinstance(n.operation, Dense | Convolution)]
    shapes = [tuple(layer.weight.shape) for layer in layers]
    if shapes != [tuple(one.weight.shape) for one in maps]:
        raise ValueError("its layers have other sizes than those of the architecture")
    digest = sha256()
    for layer, one in zip(layers, maps, strict=True):
        layer.weight.copy_(one.weight)
        layer.bias.zero_()
        if one.bias is not None:
            layer.bias.copy_(one.bias.flatten())
        for weight in (layer.weight, layer.bias):
            digest.update(weight.detach().cpu().numpy().tobytes())
    learner.begun = digest.hexdigest()
    x = torch.rand(4, *learner.input_shape, generator=torch.Generator().manual_seed(0))
    expected = network.to(torch.float32)(x)
    if not bool((learner(x) - expected).abs().max() <= SAME * expected.abs().max()):
        raise ValueError("with its weights the architecture answers otherwise")
