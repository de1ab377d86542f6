"""Base classifiers made of several networks: votes of members, or a denoiser before a classifier.

Smoothing proves nothing about what is inside a base classifier, so any fixed function of the
members' logits is one.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from evaluators.network.affine import Reshape
from evaluators.network.network import Network, Node
from evaluators.numerics.arrays import Shape

Combination = Literal["mean-logits", "mean-softmax", "max-margin"]
"""How members become one classifier.

    mean-logits    the mean of the logits (Horvath et al., ICLR 2022, arXiv 2106.06946)
    mean-softmax   the mean of the softmax: the weighted ensemble WE of Yang et al. with equal
                   weights (ICLR 2022, arXiv 2107.10873)
    max-margin     the softmax of the member whose two largest entries lie furthest apart, of the
                   first such member: the max-margin ensemble MME (same paper)
"""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Several networks with the same inputs and classes, answering as one.

    Where a logit of any member is not finite, all answers are NaN: no class wins there.

    Attributes:
        rule: how members become one.
        denoiser: what runs before all of them, once for each input; its answers are the entries of
            an image in the order of the members' inputs.
    """

    members: tuple[Network, ...]
    rule: Combination
    denoiser: Network | None = None

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("An ensemble needs at least one member.")
        if self.rule not in get_args(Combination):
            known = ", ".join(get_args(Combination))
            raise ValueError(f"No rule of ensembles is called '{self.rule}'; there are {known}.")
        first = self.members[0]
        for position, member in enumerate(self.members[1:], start=2):
            if member.input_shape != first.input_shape:
                raise ValueError(
                    f"Member {position} of the ensemble takes inputs of shape"
                    f" {member.input_shape}, the first of shape {first.input_shape}."
                )
            if member.classes != first.classes:
                raise ValueError(
                    f"Member {position} of the ensemble has {member.classes} classes, the first"
                    f" {first.classes}."
                )
        if self.denoiser is not None:
            _check_denoiser(self.denoiser, first.input_shape)

    @property
    def networks(self) -> tuple[Network, ...]:
        """All that is run: the members and what is before them."""
        return self.members if self.denoiser is None else (self.denoiser, *self.members)

    @property
    def input_shape(self) -> Shape:
        """Shape of one input."""
        return self.networks[0].input_shape

    @property
    def classes(self) -> int:
        """Number of answers."""
        return self.members[0].classes

    @property
    def parameters(self) -> int:
        """Number of weights of all networks."""
        return sum(network.parameters for network in self.networks)

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> "Ensemble":
        """Copy the ensemble with weights of another type or on another device."""
        members = tuple(member.to(dtype, device) for member in self.members)
        denoiser = None if self.denoiser is None else self.denoiser.to(dtype, device)
        return Ensemble(members, self.rule, denoiser)

    def __call__(self, x: Float[Tensor, "rows *shape"]) -> Float[Tensor, "rows classes"]:
        """Compute the answers; `x` has the members' type and device."""
        if self.denoiser is not None:
            x = self.denoiser(x).reshape(-1, *self.members[0].input_shape)
        return combine(torch.stack([member(x) for member in self.members]), self.rule)


def _check_denoiser(denoiser: Network, shape: Shape) -> None:
    if denoiser.classes != prod(shape):
        raise ValueError(
            f"The denoiser returns {denoiser.classes} entries, the classifier reads"
            f" {prod(shape)} (shape {shape})."
        )


def combine(
    logits: Float[Tensor, "members rows classes"], rule: Combination
) -> Float[Tensor, "rows classes"]:
    """Combine each member's logits into one row of answers, each row by itself."""
    finite = logits.isfinite().all(2).all(0)[:, None]
    if rule == "mean-logits":
        answers = logits.mean(0)
    elif rule == "mean-softmax":
        answers = logits.softmax(2).mean(0)
    else:
        shares = logits.softmax(2)
        best = shares.topk(min(2, shares.shape[2]), 2).values
        # NaN would be the largest margin; those rows have no answer anyway.
        margins = (best[:, :, 0] - best[:, :, -1]).nan_to_num(0)
        largest = margins == margins.amax(0)
        first = largest & (largest.cumsum(0) == 1)
        # A sum with one term: exact, and no gather over a dimension of two or three.
        answers = (shares * first[:, :, None]).sum(0)
    return answers.masked_fill(~finite, torch.nan)


def chain(denoiser: Network, classifier: Network) -> Network:
    """Chain a denoiser and a classifier into one network (Salman et al. 2020, arXiv 2003.01908).

    The denoiser's answers are the entries of an image in the order of the classifier's input; it
    meets the noisy input, and its own preparation of it is part of its graph.

    Raises:
        ValueError: the denoiser returns another number of entries than the classifier reads.
    """
    _check_denoiser(denoiser, classifier.input_shape)
    nodes = list(denoiser.nodes)
    last = nodes[-1].operation
    # A file's image was flattened to stand for logits: that is undone without a trace.
    if isinstance(last, Reshape) and last.bias is None and len(nodes[-1].parents) == 1:
        (source,) = nodes[-1].parents
        if nodes[source].shape == classifier.input_shape and source == len(nodes) - 2:
            nodes.pop()
    if nodes[-1].shape != classifier.input_shape:
        shape = classifier.input_shape
        image = Reshape(nodes[-1].shape, shape, None)
        nodes.append(Node("denoised image", image, (len(nodes) - 1,), shape))
    offset = len(nodes) - 1
    for node in classifier.nodes[1:]:
        parents = tuple(parent + offset for parent in node.parents)
        nodes.append(Node(f"classifier {node.name}", node.operation, parents, node.shape))
    return Network(tuple(nodes))


@dataclass(frozen=True, eq=False)
class SmoothedNetwork:
    """The classifier x -> most likely class of base(x + noise).

    Attributes:
        base: the network, or the ensemble of networks, that is run on noisy inputs.
        distribution: name of the noise, such as "gaussian".
        scale: its scale in pixel units (sigma for Gaussian noise).
    """

    base: Network | Ensemble
    distribution: str
    scale: Fraction

    @property
    def input_shape(self) -> Shape:
        """Shape of one input."""
        return self.base.input_shape

    @property
    def classes(self) -> int:
        """Number of logits of the base."""
        return self.base.classes
