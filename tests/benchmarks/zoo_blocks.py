"""Blocks that the zoo's networks are made of."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shape = tuple[int, ...]
CLASSES = 4


class Residual(nn.Module):
    """A block around which its input goes."""

    def __init__(self, *block: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.block, self.shortcut = nn.Sequential(*block), shortcut or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Add what the block makes."""
        return torch.add(self.shortcut(x), self.block(x))


class Branches(nn.Module):
    """Blocks side by side, their results one after another."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Concatenate channels."""
        return torch.cat([block(x) for block in self.blocks], 1)


class Gate(nn.Module):
    """Squeeze-and-excitation: channels times what their means say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 2, 1), nn.SiLU(),
            nn.Conv2d(2, channels, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel."""
        return torch.mul(x, self.inner(x))


class Attention(nn.Module):
    """Several heads, written by hand."""

    def __init__(self, width: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.causal = heads, causal

    def forward(self, x: Tensor) -> Tensor:
        """Mix tokens `[batch, tokens, width]`."""
        batch, tokens, width = x.shape
        parts = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(-2, -1) / (width // self.heads) ** 0.5
        if self.causal:
            hidden = torch.ones(tokens, tokens).triu(1).bool()
            scores = scores.masked_fill(hidden, float("-inf"))
        mixed = (scores.softmax(-1) @ v).transpose(1, 2)
        made: Tensor = self.out(mixed.reshape(batch, tokens, width))
        return made


class Vision(nn.Module):
    """A vision transformer of one block."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(2, 8, 4, 4)
        self.first = nn.Parameter(torch.randn(1, 1, 8) / 4)
        self.places = nn.Parameter(torch.randn(1, 5, 8) / 4)
        self.block = nn.Sequential(
            Residual(nn.LayerNorm(8), Attention(8, 2)),
            Residual(nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)),
        )
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Classify images."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(x.shape[0], -1, -1), tokens], 1) + self.places
        logits: Tensor = self.head(self.block(tokens)[:, 0])
        return logits


class Unrolled(nn.Module):
    """A cell that is applied at each step of a sequence."""

    def __init__(self, cell: nn.Module, both: bool = False) -> None:
        super().__init__()
        self.cell, self.both, self.head = cell, both, nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Classify by the last state."""
        state = x.new_zeros(x.shape[0], 6)
        memory = x.new_zeros(x.shape[0], 6)
        for step in range(x.shape[1]):
            if self.both:
                state, memory = self.cell(x[:, step], (state, memory))
            else:
                state = self.cell(x[:, step], state)
        logits: Tensor = self.head(state)
        return logits


class Sequences(nn.Module):
    """A recurrent layer of torch, read at its last step."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.LazyLinear(CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Classify by the last state."""
        logits: Tensor = self.head(self.layer(x)[0][:, -1])
        return logits


class WithMatrices(nn.Module):
    """A function of what comes in and of parameters of its own."""

    def __init__(self, function: Callable[..., Tensor], *shapes: Shape, head: bool = True) -> None:
        super().__init__()
        self.function = function
        self.own = nn.ParameterList([torch.randn(*shape) / 2 for shape in shapes])
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES)) if head else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Classify."""
        logits: Tensor = self.head(self.function(x, *self.own))
        return logits


def householder(x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    """The activation of Singla et al. 2022: pairs beyond a line are mirrored."""
    unit = F.normalize(v, dim=1)
    pairs = (x @ w).reshape(-1, 3, 2)
    along = (pairs * unit).sum(-1, keepdim=True)
    return torch.where(along > 0, pairs, pairs - 2 * along * unit)


def euler(x: Tensor, w: Tensor) -> Tensor:
    for _ in range(3):
        x = x + 0.1 * torch.tanh(x @ w)
    return x
