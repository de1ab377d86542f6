"""Functions and layers that stand in the middle of the zoo's smaller classifiers."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]
Part = Callable[[], nn.Module | Function]


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return self.function(x)


def _squash(x: Tensor) -> Tensor:
    """A capsule's."""
    size = x.reshape(-1, 2, 4).pow(2).sum(-1, keepdim=True)
    return size / (1 + size) * x.reshape(-1, 2, 4) / torch.sqrt(size + 1e-2)


def _turned() -> Function:
    """Images turned by a sixth of a right angle, at places that were worked out before."""
    turn = torch.tensor([[[0.966, 0.259, 0.0], [-0.259, 0.966, 0.0]]])
    grid = F.affine_grid(turn, [1, 1, 8, 8], align_corners=False)
    return lambda x: F.grid_sample(x, grid.expand(x.shape[0], -1, -1, -1), align_corners=False)


FUNCTIONS: dict[str, Part] = {
    "relu": nn.ReLU,
    "relu 6": nn.ReLU6,
    "leaky relu": lambda: nn.LeakyReLU(0.2),
    "prelu": nn.PReLU,
    "prelu of channels": lambda: nn.PReLU(8),
    "rrelu": nn.RReLU,
    "elu": nn.ELU,
    "celu": lambda: nn.CELU(0.5),
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "gelu by tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "softplus that is steep": lambda: nn.Softplus(beta=2.0),
    "softsign": nn.Softsign,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "logsigmoid": nn.LogSigmoid,
    "hardtanh": lambda: nn.Hardtanh(-0.5, 0.7),
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "softshrink": lambda: nn.Softshrink(0.2),
    "tanhshrink": nn.Tanhshrink,
    "softmax": lambda: nn.Softmax(1),
    "softmin": lambda: nn.Softmin(1),
    "log-softmax": lambda: nn.LogSoftmax(1),
    "glu": nn.GLU,
    "swiglu": lambda: lambda x: F.silu(x[:, :4]) * x[:, 4:],
    "squared relu": lambda: lambda x: F.relu(x) ** 2,
    "sin": lambda: torch.sin,
    "cos": lambda: torch.cos,
    "arctan": lambda: torch.atan,
    "snake": lambda: lambda x: x + torch.sin(x) ** 2,
    "exp": lambda: torch.exp,
    "log": lambda: lambda x: torch.log(1 + x * x),
    "log1p": lambda: lambda x: torch.log1p(x * x),
    "expm1": lambda: torch.expm1,
    "square root": lambda: lambda x: torch.sqrt(x * x + 1),
    "rsqrt": lambda: lambda x: torch.rsqrt(x * x + 1),
    "absolute value": lambda: torch.abs,
    "square": lambda: torch.square,
    "cube": lambda: lambda x: x**3,
    "reciprocal": lambda: lambda x: 1 / (1 + x * x),
    "erf": lambda: torch.erf,
    "sinh": lambda: torch.sinh,
    "cosh": lambda: torch.cosh,
    "gaussian": lambda: lambda x: torch.exp(-x * x),
    "sort": lambda: lambda x: x.reshape(-1, 4, 2).sort(-1)[0],
    "maxmin": lambda: (
        lambda x: torch.cat(
            [torch.maximum(x[:, :4], x[:, 4:]), torch.minimum(x[:, :4], x[:, 4:])], 1
        )
    ),
    "groupsort": lambda: lambda x: torch.sort(x.reshape(-1, 2, 4), dim=2)[0].reshape(-1, 8),
    "clamp": lambda: lambda x: x.clamp(-0.3, 0.6),
    "clamp from below": lambda: lambda x: x.clamp(min=-0.2),
    "where": lambda: lambda x: torch.where(x > 0, x, 0.1 * x),
    "where of another": lambda: lambda x: torch.where(x[:, :4] > x[:, 4:], x[:, :4], x[:, 4:]),
    "threshold": lambda: nn.Threshold(0.0, 0.0),
    "hinge": lambda: lambda x: F.relu(1 - x),
    "square of norm": lambda: lambda x: x.pow(2).sum(1, keepdim=True),
    "norm 1": lambda: lambda x: x.norm(p=1, dim=1, keepdim=True),
    "norm 2": lambda: lambda x: (x + 2).norm(dim=1, keepdim=True),
    "norm inf": lambda: lambda x: x.norm(p=float("inf"), dim=1, keepdim=True),
    "normalize": lambda: lambda x: F.normalize(x + 2, dim=1),
    "logsumexp": lambda: lambda x: x.logsumexp(1, keepdim=True),
    "softmax of two": lambda: lambda x: x.reshape(-1, 2, 4).softmax(1),
    "variance": lambda: lambda x: x.var(1, keepdim=True),
    "standardized": lambda: (
        lambda x: (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 0.5)
    ),
    "rms norm by hand": lambda: lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 0.1),
    "largest without dimension": lambda: lambda x: x.reshape(-1, 4, 2).amax(2),
    "mean without dimension": lambda: lambda x: x.reshape(-1, 4, 2).mean(2),
    "largest by max": lambda: lambda x: x.reshape(-1, 4, 2).max(1)[0],
    "largest of all": lambda: lambda x: x.amax(1)[:, None] - x,
    "product of entries": lambda: lambda x: x[:, :4] * x[:, 4:],
    "prod": lambda: lambda x: x.reshape(-1, 4, 2).prod(2),
    "outer product": lambda: lambda x: x[:, :, None] * x[:, None, :],
    "polynomial": lambda: lambda x: 0.5 * x**3 - x**2 + 2 * x - 1,
    "capsule": lambda: _squash,
    "division": lambda: lambda x: x[:, :4] / (1 + x[:, 4:].exp()),
    "topk": lambda: lambda x: x.topk(3, 1)[0],
    "cumulative sum": lambda: lambda x: x.cumsum(1),
    "flip": lambda: lambda x: x.flip(1),
    "roll": lambda: lambda x: x.roll(2, 1),
    "repeat": lambda: lambda x: x.repeat(1, 3),
    "repeat interleave": lambda: lambda x: x.repeat_interleave(2, 1),
    "chosen": lambda: lambda x: x[:, [3, 1, 5]],
    "every second": lambda: lambda x: x[:, ::2],
    "batch norm": lambda: nn.BatchNorm1d(8),
    "layer norm": lambda: nn.LayerNorm(8),
    "rms norm": lambda: nn.RMSNorm(8),
    "dropout": nn.Dropout,
    "rounded": lambda: lambda x: torch.round(4 * x) / 4,
    "whole numbers below": lambda: lambda x: torch.floor(2 * x),
    "cube root of softplus": lambda: lambda x: F.softplus(x) ** (1 / 3),
}

IMAGE_PARTS: dict[str, Part] = {
    "max pool": lambda: nn.MaxPool2d(2),
    "max pool that overlaps": lambda: nn.MaxPool2d(3, 2, 1),
    "max pool, dilated": lambda: nn.MaxPool2d(2, 2, dilation=2),
    "max pool, ceil": lambda: nn.MaxPool2d(3, 2, ceil_mode=True),
    "average pool": lambda: nn.AvgPool2d(2),
    "average pool, ceil": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "average pool, without padding": lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "adaptive average": lambda: nn.AdaptiveAvgPool2d(1),
    "adaptive average of 3": lambda: nn.AdaptiveAvgPool2d(3),
    "adaptive average of 4": lambda: nn.AdaptiveAvgPool2d(4),
    "adaptive maximum": lambda: nn.AdaptiveMaxPool2d(1),
    "adaptive maximum of 2": lambda: nn.AdaptiveMaxPool2d(2),
    "l2 pool": lambda: lambda x: F.lp_pool2d(x + 2, 2, 2),
    "instance norm": lambda: nn.InstanceNorm2d(4, affine=True),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "batch norm of images": lambda: nn.BatchNorm2d(4),
    "local response": lambda: nn.LocalResponseNorm(2),
    "layer norm of images": lambda: nn.LayerNorm([4, 8, 8]),
    "channel softmax": lambda: nn.Softmax(1),
    "plane softmax": lambda: lambda x: x[:, :1, :3, :3].flatten(2).softmax(-1),
    "nearest": lambda: nn.Upsample(scale_factor=2),
    "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear with corners": lambda: nn.Upsample(size=(5, 5), mode="bilinear", align_corners=True),
    "bicubic": lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
    "pixel shuffle": lambda: nn.PixelShuffle(2),
    "pixel unshuffle": lambda: nn.PixelUnshuffle(2),
    "reflection": lambda: nn.ReflectionPad2d(2),
    "replication": lambda: nn.ReplicationPad2d((1, 2, 0, 1)),
    "constant pad": lambda: nn.ConstantPad2d(1, 0.5),
    "circular pad": lambda: nn.CircularPad2d(1),
    "padded circularly": lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular"),
    "padded by reflection": lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect"),
    "same": lambda: nn.Conv2d(4, 3, 4, padding="same"),
    "dilated": lambda: nn.Conv2d(4, 3, 3, dilation=2),
    "grouped": lambda: nn.Conv2d(4, 4, 3, groups=2, stride=2),
    "transposed": lambda: nn.ConvTranspose2d(4, 2, 3, 2, 1, 1),
    "transposed groups": lambda: nn.ConvTranspose2d(4, 4, 2, 2, groups=2),
    "unfold": lambda: nn.Unfold(2, stride=2),
    "convolution of volumes": lambda: (
        lambda x: F.conv3d(x[:, None], torch.ones(2, 1, 3, 3, 3) / 27)
    ),
    "channels last": lambda: lambda x: x.permute(0, 2, 3, 1).flatten(1, 2),
    "crop": lambda: lambda x: x[:, :, 2:-2, 1:],
    "chunks": lambda: lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "stack": lambda: lambda x: torch.stack([x, x.relu()], 1),
    "global mean": lambda: lambda x: x.mean((2, 3)),
    "global largest": lambda: lambda x: x.amax((2, 3)),
    "spatial attention": lambda: (
        lambda x: x * torch.sigmoid(torch.cat([x.mean(1, True), x.amax(1, True)], 1).sum(1, True))
    ),
    "gram": lambda: lambda x: torch.bmm(x.flatten(2), x.flatten(2).transpose(1, 2)) / 64,
    "standard deviation": lambda: lambda x: (x.flatten(2).var(2) + 0.1).sqrt(),
    "depth dropout": nn.Dropout2d,
    "masked": lambda: lambda x: x.masked_fill(torch.eye(8).bool(), 0.0),
    "bilinear to a size": lambda: nn.Upsample(size=(7, 11), mode="bilinear"),
    "bicubic to a size": lambda: nn.Upsample(size=(6, 12), mode="bicubic"),
    "turned a little": _turned,
    "interpolate to size": lambda: lambda x: F.interpolate(x, size=(5, 7)),
}

LINE_PARTS: dict[str, Part] = {
    "max pool of lines": lambda: nn.MaxPool1d(2),
    "average pool of lines": lambda: nn.AvgPool1d(3, 2, 1),
    "adaptive average of lines": lambda: nn.AdaptiveAvgPool1d(4),
    "adaptive maximum of lines": lambda: nn.AdaptiveMaxPool1d(1),
    "dilated line": lambda: nn.Conv1d(4, 3, 3, dilation=2),
    "transposed line": lambda: nn.ConvTranspose1d(4, 2, 4, 2, 1),
    "batch norm of lines": lambda: nn.BatchNorm1d(4),
    "instance norm of lines": lambda: nn.InstanceNorm1d(4),
    "linear upsampling": lambda: nn.Upsample(scale_factor=2, mode="linear"),
    "reflected line": lambda: nn.ReflectionPad1d(1),
}

TOKEN_PARTS: dict[str, Part] = {
    "scaled dot products": lambda: lambda x: F.scaled_dot_product_attention(x, x, x),
    "causal dot products": lambda: (
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True)
    ),
    "dot products with a mask of truths": lambda: (
        lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=torch.ones(5, 5).tril().bool())
    ),
    "dot products masked by -1e9": lambda: (
        lambda x: (
            (x @ x.transpose(1, 2)).masked_fill(torch.ones(5, 5).triu(1).bool(), -1e9).softmax(-1)
            @ x
        )
    ),
    "dot products masked by -100": lambda: (
        lambda x: (x @ x.transpose(1, 2) - 100 * torch.ones(5, 5).triu(1)).softmax(-1) @ x
    ),
    "linear attention": lambda: (
        lambda x: F.elu(x) + (F.elu(x) + 1) @ ((F.elu(x) + 1).transpose(1, 2) @ x) / 5
    ),
    "mean of tokens": lambda: lambda x: x.mean(1),
    "first token": lambda: lambda x: x[:, 0],
    "layer norm of tokens": lambda: nn.LayerNorm(8),
    "layer norm without weights": lambda: nn.LayerNorm(8, elementwise_affine=False),
    "layer norm without shift": lambda: nn.LayerNorm(8, bias=False),
    "rms norm of tokens": lambda: nn.RMSNorm(8),
    "softmax of tokens": lambda: nn.Softmax(1),
    "einsum of tokens with themselves": lambda: lambda x: torch.einsum("bid,bjd->bij", x, x),
    "einsum of heads": lambda: (
        lambda x: torch.einsum("bihd,bjhd->bhij", x.reshape(-1, 5, 2, 4), x.reshape(-1, 5, 2, 4))
    ),
    "tril": lambda: lambda x: (x @ x.transpose(1, 2)).tril(),
    "split tokens": lambda: lambda x: torch.split(x, [2, 3], 1)[1],
    "unbound": lambda: lambda x: torch.stack(x.unbind(1)).sum(0),
    "shifted": lambda: lambda x: torch.cat([x[:, 1:], x[:, :1]], 1) - x,
}
