"""Ordinary torch modules, as people write them: what the importer is measured on.

Each is a small classifier `[batch, *shape] -> [batch, 4]`; an entry is its input's shape and how it
is made. What they are made of lies in `zoo_blocks.py` and `zoo_parts.py`.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from tests.benchmarks.zoo_blocks import (
    CLASSES,
    Attention,
    Branches,
    Gate,
    Residual,
    Sequences,
    Shape,
    Unrolled,
    Vision,
    WithMatrices,
    euler,
    householder,
)
from tests.benchmarks.zoo_parts import (
    FUNCTIONS,
    IMAGE_PARTS,
    LINE_PARTS,
    TOKEN_PARTS,
    Apply,
    Function,
    Part,
)

Wrap = Callable[[nn.Module | Function], nn.Module]
Entry = tuple[Shape, Callable[[], nn.Module]]


def _classifier(first: nn.Module, part: nn.Module | Function) -> nn.Module:
    middle = part if isinstance(part, nn.Module) else Apply(part)
    return nn.Sequential(first, middle, nn.Flatten(), nn.LazyLinear(CLASSES))


def _vector(part: nn.Module | Function) -> nn.Module:
    return _classifier(nn.Linear(6, 8), part)


def _image(part: nn.Module | Function) -> nn.Module:
    return _classifier(nn.Conv2d(2, 4, 3, padding=1), part)


def _line(part: nn.Module | Function) -> nn.Module:
    return _classifier(nn.Conv1d(2, 4, 3, padding=1), part)


def _tokens(part: nn.Module | Function) -> nn.Module:
    return _classifier(nn.Linear(4, 8), part)


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


def _flat(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(CLASSES))


def _encoder(**more: object) -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, **more)  # type: ignore[arg-type]


VECTOR, IMAGE, TOKENS, LINE = (6,), (2, 8, 8), (5, 4), (2, 12)

NETWORKS: dict[str, Entry] = {
    "perceptron": (
        IMAGE,
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 8), nn.ReLU(), nn.Linear(8, 4)),
    ),
    "lenet": (
        IMAGE,
        lambda: _flat(
            nn.Conv2d(2, 4, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 2), nn.Tanh()
        ),
    ),
    "vgg": (
        IMAGE,
        lambda: _flat(_conv(2, 4), nn.MaxPool2d(2), _conv(4, 8), nn.MaxPool2d(2), nn.Dropout()),
    ),
    "resnet": (
        IMAGE,
        lambda: _flat(_conv(2, 4), Residual(_conv(4, 4), nn.Conv2d(4, 4, 3, padding=1)), nn.ReLU()),
    ),
    "resnet that strides": (
        IMAGE,
        lambda: _flat(
            Residual(_conv(2, 4, stride=2), shortcut=nn.Conv2d(2, 4, 1, 2)), nn.AdaptiveAvgPool2d(1)
        ),
    ),
    "preactivation": (
        IMAGE,
        lambda: _flat(Residual(nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1))),
    ),
    "densenet": (
        IMAGE,
        lambda: _flat(Branches(nn.Identity(), _conv(2, 3)), Branches(nn.Identity(), _conv(5, 2))),
    ),
    "inception": (
        IMAGE,
        lambda: _flat(Branches(_conv(2, 2, 1), _conv(2, 2), _conv(2, 2, 5), nn.MaxPool2d(3, 1, 1))),
    ),
    "mobilenet": (
        IMAGE,
        lambda: _flat(
            Residual(
                _conv(2, 6, 1),
                nn.Conv2d(6, 6, 3, padding=1, groups=6),
                nn.ReLU6(),
                nn.Conv2d(6, 2, 1),
            )
        ),
    ),
    "mobilenet 3": (
        IMAGE,
        lambda: _flat(nn.Conv2d(2, 4, 3), nn.Hardswish(), Gate(4), nn.Hardsigmoid()),
    ),
    "efficientnet": (
        IMAGE,
        lambda: _flat(nn.Conv2d(2, 4, 3), nn.SiLU(), Gate(4), nn.AdaptiveAvgPool2d(1)),
    ),
    "squeeze and excitation": (IMAGE, lambda: _flat(_conv(2, 4), Gate(4), nn.MaxPool2d(2))),
    "shufflenet": (
        IMAGE,
        lambda: _flat(_conv(2, 4), nn.ChannelShuffle(2), nn.Conv2d(4, 4, 3, groups=2)),
    ),
    "convnext": (
        IMAGE,
        lambda: _flat(
            Residual(
                nn.Conv2d(2, 2, 5, padding=2, groups=2),
                nn.GroupNorm(1, 2),
                nn.Conv2d(2, 4, 1),
                nn.GELU(),
                nn.Conv2d(4, 2, 1),
            )
        ),
    ),
    "u-net": (
        IMAGE,
        lambda: _flat(
            Branches(
                nn.Identity(),
                nn.Sequential(nn.MaxPool2d(2), _conv(2, 4), nn.Upsample(scale_factor=2)),
            )
        ),
    ),
    "autoencoder": (
        IMAGE,
        lambda: _flat(
            nn.Conv2d(2, 4, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(4, 2, 4, 2, 1), nn.Sigmoid()
        ),
    ),
    "mixer": (
        TOKENS,
        lambda: _flat(
            Residual(
                Apply(lambda x: x.transpose(1, 2)),
                nn.Linear(5, 5),
                nn.GELU(),
                Apply(lambda x: x.transpose(1, 2)),
            )
        ),
    ),
    "vision transformer": (IMAGE, Vision),
    "attention": (TOKENS, lambda: _flat(nn.Linear(4, 8), Attention(8, 2))),
    "causal attention": (TOKENS, lambda: _flat(nn.Linear(4, 8), Attention(8, 2, causal=True))),
    "encoder": (TOKENS, lambda: _flat(nn.Linear(4, 8), _encoder())),
    "encoder that norms first": (
        TOKENS,
        lambda: _flat(nn.Linear(4, 8), _encoder(norm_first=True, activation=F.gelu)),
    ),
    "rnn cell": (TOKENS, lambda: Unrolled(nn.RNNCell(4, 6))),
    "gru cell": (TOKENS, lambda: Unrolled(nn.GRUCell(4, 6))),
    "lstm cell": (TOKENS, lambda: Unrolled(nn.LSTMCell(4, 6), both=True)),
    "rnn": (TOKENS, lambda: Sequences(nn.RNN(4, 6, batch_first=True))),
    "gru": (TOKENS, lambda: Sequences(nn.GRU(4, 6, batch_first=True))),
    "lstm": (TOKENS, lambda: Sequences(nn.LSTM(4, 6, batch_first=True))),
    "temporal convolutions": (
        LINE,
        lambda: _flat(
            nn.ConstantPad1d((2, 0), 0.0),
            nn.Conv1d(2, 4, 3),
            nn.ReLU(),
            nn.Conv1d(4, 4, 3, dilation=2),
        ),
    ),
    "highway": (
        VECTOR,
        lambda: WithMatrices(
            lambda x, a, b: (
                torch.sigmoid(x @ a) * torch.relu(x @ b) + (1 - torch.sigmoid(x @ a)) * x
            ),
            (6, 6),
            (6, 6),
        ),
    ),
    "bilinear": (
        VECTOR,
        lambda: WithMatrices(lambda x, w: torch.einsum("bi,oij,bj->bo", x, w, x), (4, 6, 6)),
    ),
    "radial basis": (
        VECTOR,
        lambda: WithMatrices(lambda x, c: torch.exp(-((x[:, None] - c) ** 2).sum(-1)), (5, 6)),
    ),
    "l-infinity distances": (
        VECTOR,
        lambda: WithMatrices(lambda x, w: (x[:, None] - w).abs().amax(-1), (5, 6)),
    ),
    "l-infinity distances by cdist": (
        VECTOR,
        lambda: WithMatrices(lambda x, w: torch.cdist(x, w, p=float("inf")), (5, 6)),
    ),
    "l-infinity distances by a norm": (
        VECTOR,
        lambda: WithMatrices(
            lambda x, w: torch.linalg.vector_norm(x[:, None] - w, float("inf"), -1), (5, 6)
        ),
    ),
    "l1 distances by cdist": (
        VECTOR,
        lambda: WithMatrices(lambda x, w: torch.cdist(x, w, p=1.0), (5, 6)),
    ),
    "euclidean distances": (
        VECTOR,
        lambda: WithMatrices(lambda x, w: (x[:, None] - 2 - w).norm(dim=-1), (5, 6)),
    ),
    "euclidean distances by cdist": (
        VECTOR,
        lambda: WithMatrices(lambda x, w: torch.cdist(x, w + 3), (5, 6)),
    ),
    "cosine head": (
        VECTOR,
        lambda: WithMatrices(
            lambda x, w: F.linear(F.normalize(x + 1), F.normalize(w)), (4, 6), head=False
        ),
    ),
    "householder": (VECTOR, lambda: WithMatrices(householder, (3, 2), (6, 6))),
    "siren": (
        VECTOR,
        lambda: nn.Sequential(nn.Linear(6, 8), Apply(lambda x: torch.sin(3 * x)), nn.Linear(8, 4)),
    ),
    "fourier features": (
        VECTOR,
        lambda: WithMatrices(lambda x, w: torch.cat([(x @ w).sin(), (x @ w).cos()], 1), (6, 5)),
    ),
    "neural ode": (VECTOR, lambda: WithMatrices(euler, (6, 6))),
    "maxout": (
        VECTOR,
        lambda: WithMatrices(lambda x, w: (x @ w).reshape(-1, 4, 3).amax(2), (6, 12)),
    ),
    "monotone": (
        VECTOR,
        lambda: WithMatrices(
            lambda x, w: torch.einsum("ghd,bd->bgh", w.exp() / 5, x).amax(-1), (5, 3, 6)
        ),
    ),
    "shares of two branches": (
        VECTOR,
        lambda: WithMatrices(
            lambda x, w, v: v.softmax(0)[0] * (x @ w).relu() + v.softmax(0)[1] * x, (6, 6), (2,)
        ),
    ),
    "matrix on the left": (TOKENS, lambda: WithMatrices(lambda x, w: w @ x, (3, 5))),
    "matrices on the left": (TOKENS, lambda: WithMatrices(lambda x, w: w @ x[:, None], (3, 3, 5))),
    "matrices on the right": (TOKENS, lambda: WithMatrices(lambda x, w: x[:, None] @ w, (3, 4, 2))),
    "einsum of tokens": (
        TOKENS,
        lambda: WithMatrices(lambda x, w: torch.einsum("btc,dc->bdt", x, w), (3, 4)),
    ),
    "softmax head": (
        VECTOR,
        lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.Softmax(1)),
    ),
    "log-softmax head": (
        VECTOR,
        lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.LogSoftmax(1)),
    ),
    "sigmoid head": (
        VECTOR,
        lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.Sigmoid()),
    ),
    "normalized pixels": (
        IMAGE,
        lambda: _flat(
            Apply(
                lambda x: (
                    (x - torch.tensor([0.4, 0.5]).view(1, 2, 1, 1))
                    / torch.tensor([0.2, 0.3]).view(1, 2, 1, 1)
                )
            ),
            _conv(2, 4),
        ),
    ),
    "centred": (
        IMAGE,
        lambda: _flat(Apply(lambda x: x - x.mean((1, 2, 3), keepdim=True)), _conv(2, 4)),
    ),
    "weight norm": (
        VECTOR,
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 4))),
    ),
    "spectral norm": (
        VECTOR,
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(6, 4))),
    ),
}


def zoo() -> dict[str, Entry]:
    """List all modules by their names."""
    kinds: list[tuple[dict[str, Part], Shape, Wrap]] = [
        (FUNCTIONS, VECTOR, _vector),
        (IMAGE_PARTS, IMAGE, _image),
        (LINE_PARTS, LINE, _line),
        (TOKEN_PARTS, TOKENS, _tokens),
    ]
    found = dict(NETWORKS)
    for parts, shape, wrap in kinds:
        for name, part in parts.items():
            found[name] = (shape, lambda wrap=wrap, part=part: wrap(part()))  # type: ignore[misc]
    return found
