"""A region in float32, for searches that move in it: attacks, and spot checks of what is proved."""

import torch
from torch import Tensor

from evaluators.numerics.rounding import float_below
from evaluators.question.norm import Norm
from evaluators.question.region import Box, Region


class FloatRegion:
    """The region in float32, rounded inward so that its points lie inside.

    Attributes:
        middle: around which runs start.
        reach: how far a step of length one moves: the radius, or a box's half-widths.
    """

    def __init__(self, region: Region, x: Tensor) -> None:
        self.region, self.x = region, x
        self.middle, self.reach = x, torch.as_tensor(float(region.radius), device=x.device)
        if isinstance(region, Box):
            lower, upper = region.hull(x)
            self.lower, self.upper = _inward(lower, torch.inf), _inward(upper, -torch.inf)
            self.middle = ((lower + upper) / 2).float()
            self.reach = ((upper - lower) / 2).float()
            return
        # Room for the float64 roundings of a projection; float32's are made towards x.
        self.radius = float_below(region.radius) * (1 - 1e-9)
        center = x.double()
        radius = float_below(region.radius)
        self.lower = _inward(center - radius, torch.inf).clamp(min=region.low)
        self.upper = _inward(center + radius, -torch.inf).clamp(max=region.high)

    def project(self, point: Tensor) -> Tensor:
        """Move points to the nearest ones of the ball, then of the pixel range; or of the box."""
        if isinstance(self.region, Box) or self.region.norm is Norm.LINF:
            return torch.minimum(torch.maximum(point, self.lower), self.upper)
        shift = (point.double() - self.x.double()).flatten(1)
        if self.region.norm is Norm.L2:
            norm = shift.norm(dim=1, keepdim=True).clamp(min=1e-30)
            shift = shift * (self.radius / norm).clamp(max=1.0)
        else:
            shift = project_l1(shift, self.radius)
        moved = _towards(self.x, self.x.double() + shift.reshape(self.x.shape))
        return moved.clamp(self.region.low, self.region.high)

    def descent(self, gradient: Tensor) -> Tensor:
        """The step of length `reach` that lowers a linear function most."""
        flat = gradient.flatten(1)
        if self.region.norm is Norm.LINF:
            step = -flat.sign()
        elif self.region.norm is Norm.L2:
            step = -flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-30)
        else:
            # One entry alone would soon leave the pixel range: share the step among a few.
            count = max(1, flat.shape[1] // 50)
            top = flat.abs().topk(count, dim=1).indices
            step = torch.zeros_like(flat).scatter(1, top, -flat.sign().gather(1, top) / count)
        return step.reshape(gradient.shape) * self.reach


def _inward(value: Tensor, direction: float) -> Tensor:
    """Float32 neighbour of a float64 value that is not beyond it, seen from `direction`."""
    rounded = value.float()
    beyond = rounded.double() < value if direction > 0 else rounded.double() > value
    moved = torch.nextafter(rounded, torch.full_like(rounded, direction))
    return torch.where(beyond, moved, rounded)


def _towards(x: Tensor, value: Tensor) -> Tensor:
    """Float32 neighbour of a float64 value that is not farther from x, entry by entry."""
    rounded = value.float()
    farther = (rounded.double() - x).abs() > (value - x).abs()
    return torch.where(farther, torch.nextafter(rounded, x), rounded)


def project_l1(shift: Tensor, radius: float) -> Tensor:
    """Project each row onto the l1 ball (Duchi et al. 2008, figure 1)."""
    sizes = shift.abs()
    ordered = sizes.sort(dim=1, descending=True).values
    ranks = torch.arange(1, shift.shape[1] + 1, device=shift.device)
    excess = (ordered.cumsum(1) - radius) / ranks
    last = (ordered > excess).sum(1, keepdim=True).clamp(min=1) - 1
    threshold = excess.gather(1, last).clamp(min=0)
    return shift.sign() * (sizes - threshold).clamp(min=0)
