"""Two questions in a line each: what does a network compute in a region, and is that robust?

They take what is at hand (a path, a PyTorch module, a name) and make of it what evaluators work on.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from fractions import Fraction
from numbers import Rational
from typing import Any, Literal, overload

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluators.cascade import Cascade
from evaluators.evaluator import Evaluator
from evaluators.learning.loss_bounds import LossBounds, loss_bounds
from evaluators.listing import catalogue
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.onnx.file import OnnxFile
from evaluators.onnx.module import import_module
from evaluators.onnx.reader import import_onnx
from evaluators.propagation.bounds import NetworkBounds, bounds
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball, Box, Region
from evaluators.question.verdict import Verdict

ModelLike = Network | SmoothedNetwork | nn.Module | OnnxFile
"""A network that was read, a PyTorch module, or an ONNX file: its path, bytes or parsed model."""

Examples = Float[Tensor, "batch *shape"] | NDArray[np.float32]
Radius = Fraction | int | str | float | Region
"""An exact number: `Fraction(2, 255)`, "2/255", "0.1", 1; or a whole region. A float is refused."""


@overload
def bound(
    model: ModelLike,
    x: Examples,
    radius: Radius,
    norm: Norm | str = ...,
    method: str = ...,
    *,
    deployed: bool = ...,
    differentiable: Literal[False] = ...,
) -> NetworkBounds: ...


@overload
def bound(
    model: ModelLike,
    x: Examples,
    radius: Radius,
    norm: Norm | str = ...,
    method: str = ...,
    *,
    differentiable: Literal[True],
) -> LossBounds: ...


def bound(
    model: ModelLike,
    x: Examples,
    radius: Radius,
    norm: Norm | str = Norm.LINF,
    method: str = "crown",
    *,
    deployed: bool = True,
    differentiable: bool = False,
) -> NetworkBounds | LossBounds:
    """Enclose the logits, and every layer, for all inputs within `radius` of each example.

    With `differentiable` the bounds are for a loss: float32, by the same formulas without their
    rounding, with derivatives by the module's own parameters and by `x`. They prove nothing, and
    are of a type of their own, `LossBounds`, which no certificate is made of.

    Args:
        model: what to ask about; a module is read as it answers in evaluation mode.
        x: float32 examples `[batch, *shape]` with entries in [0, 1].
        radius: exact, in the units of `x`; or a `Ball` or `Box`, and then `norm` is not asked.
        norm: a `Norm` or its name: "linf", "l2", "l1".
        method: "ibp", "crown-ibp" or "crown".
        deployed: whether the bounds hold for every float32 run, too, not in real arithmetic alone.
        differentiable: whether they are for a loss instead; for boxes and ℓ∞ only.

    Returns:
        Float64 intervals, rounded outward: `.logits`, and `.layers` by the names of the nodes.
        With `differentiable`, float32 ones that are not rounded.

    Raises:
        UnsupportedModelError: the model cannot be read, with every reason.
        TypeError: the radius is a float, which is not the number that was written; or `x` is not
            float32.
        ValueError: an unknown name, or examples that do not fit.
    """
    points = _examples(x)
    if differentiable:
        read = model if isinstance(model, nn.Module) else _network(model, points)
        if isinstance(read, nn.Module | Network):
            return loss_bounds(read, points, _region(radius, norm), method)
    network = _network(model, points)
    if not isinstance(network, Network):
        raise ValueError("A smoothed network has no bounds, only certified radii: use `certify`.")
    return bounds(network, points, _region(radius, norm), method, deployed=deployed)


def certify(
    model: ModelLike,
    x: Examples,
    labels: Int64[Tensor, " batch"] | Sequence[int],
    radius: Radius,
    norm: Norm | str = Norm.LINF,
    method: str | Evaluator | Cascade = "cascade",
    *,
    seconds: float = 60.0,
) -> list[Verdict]:
    """Ask whether each example keeps its label everywhere within `radius` of it.

    Args:
        model, x, radius, norm: as in `bound`.
        labels: the right class of each example.
        method: an evaluator with its options, a name of the `catalogue`, or "cascade": cheap
            methods first, then branch and bound.
        seconds: budget of each example, of processor time on a CPU.

    Returns:
        A verdict for each example, in order: certified, falsified with a counterexample, or unknown
        with the reason. A `falsified` without any perturbation is a wrong prediction. Of a file
        that ends in a Softmax, LogSoftmax or Sigmoid they are about the logits before it.

    Raises:
        UnsupportedModelError, TypeError, ValueError: as in `bound`.
    """
    points = _examples(x)
    network = _network(model, points)
    problem = Problem(network, points, _labels(labels, points), _region(radius, norm), seconds)
    return _evaluator(method)(problem)


def _network(model: ModelLike, x: Tensor) -> Network | SmoothedNetwork:
    shape = tuple(x.shape[1:])
    if isinstance(model, nn.Module):
        return import_module(model, shape)
    if isinstance(model, Network | SmoothedNetwork):
        return model
    return import_onnx(model, shape=shape)


def _examples(x: Examples) -> Tensor:
    """The examples as they are: what is not float32 would have to be changed."""
    points = torch.as_tensor(x)
    if points.dtype is not torch.float32:
        raise TypeError(f"Examples must be float32, not {points.dtype}: convert them, and see how.")
    return points


def _labels(labels: Any, points: Tensor) -> Tensor:
    """The labels as they are: of 1.9 no class is meant."""
    right = torch.as_tensor(labels, device=points.device)
    if len(right) and (right.is_floating_point() or right.dtype is torch.bool):
        raise TypeError(f"Labels must be whole numbers, not {right.dtype}.")
    return right.to(torch.int64)


def _region(radius: Any, norm: Norm | str) -> Region:
    if isinstance(radius, float):
        raise TypeError(
            f"A radius must be exact, and the float {radius!r} is {Fraction(radius)}:"
            f' write "{radius!r}", a fraction such as "2/255", or Fraction(2, 255).'
        )
    if isinstance(radius, Ball | Box):
        return radius
    if not isinstance(radius, str | Rational):
        raise TypeError(f'A radius must be exact, such as "2/255", not a {type(radius).__name__}.')
    names = [one.value for one in Norm]
    if norm not in names:
        raise ValueError(f"No norm is called '{norm}', only {', '.join(names)}.")
    return Ball(Norm(norm), Fraction(radius))


def _evaluator(method: str | Evaluator | Cascade) -> Evaluator | Cascade:
    if not isinstance(method, str):
        return method
    if method == Cascade.name():
        return Cascade()
    known = catalogue()
    if method not in known:
        near = get_close_matches(method, [*known, Cascade.name()], 1)
        meant = f" Did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"No evaluator is called '{method}'.{meant}")
    return known[method]()
