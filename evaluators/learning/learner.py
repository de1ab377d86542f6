"""The network in training: a module whose parameters are learned, and the graph that it is now."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from evaluators.learning.layers import Affine, LearnedLayer
from evaluators.network.maxima import GraphBuilder
from evaluators.network.network import Input, Network, Node
from evaluators.numerics.arrays import Shape


class Learner(nn.Module):
    """A chain of layers that ends with logits.

    Attributes:
        input_shape: of one image.
        begun: SHA-256 of the weights that it began with, where they were not random; a checkpoint
            of a training that began otherwise is another training's.
    """

    def __init__(self, input_shape: Shape, layers: Sequence[LearnedLayer]) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.begun = ""
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Compute the logits; in training, normalise by this batch, which is remembered."""
        for layer in self.layers:
            x = layer(x)
        return x

    def extra_repr(self) -> str:
        """Tell what it began with."""
        return self.begun

    def network(self) -> Network:
        """Write the canonical graph of the present parameters, differentiable in them.

        In training, normalisation is by the batch that was computed last.
        """
        graph = GraphBuilder([Node("input", Input(), (), self.input_shape)], "learned")
        for layer in self.layers:
            assert isinstance(layer, LearnedLayer)
            layer.write(graph)
        return Network(tuple(graph.nodes))

    def learned(self) -> Network:
        """Return the network as it is used after training, without derivatives."""
        training = self.training
        self.eval()
        # By way of another type, so that no tensor is shared with the parameters.
        network = self.network().to(torch.float64, "cpu").to(torch.float32)
        self.train(training)
        for node in network.nodes:
            for tensor in vars(node.operation).values():
                if isinstance(tensor, Tensor):
                    tensor.detach_()
        return network

    @property
    def normalised(self) -> bool:
        """Whether any layer has batch normalisation."""
        return any(isinstance(part, Affine) and part.gain is not None for part in self.modules())

    def settle(self) -> None:
        """Normalise from now on by the averages of what was seen, in training too."""
        for part in self.modules():
            if isinstance(part, Affine):
                part.settled = True
