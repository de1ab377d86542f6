"""Looking at a network for what rows do not show: its fingerprints, and whether it knows images.

Runs the network on probe images that depend on nothing but the dataset's shape, and on a few
hundred test images with and without noise. Decides nothing; `flags.py` reads what is kept.
"""

import datetime
import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from evaluators.affine import AffineMap
from evaluators.ensemble import Ensemble
from evaluators.network import Network, SmoothedNetwork
from leaderboard.dataset import find_dataset, load_split
from leaderboard.errors import InputError
from leaderboard.fingerprints import Checks, Layer, Lookup
from leaderboard.networks import network_of
from leaderboard.question import Question

PROBES = 32
EXAMPLES = 200
_GRAY_LEVEL = 2 / 255


def inspect(question: Question, first_seen: str | None = None) -> Checks:
    """Fingerprints of a question's network, and what it makes of test images.

    Raises:
        InputError: the model or the data cannot be used.
    """
    network = network_of(question)
    base = network.base if isinstance(network, SmoothedNetwork) else network
    sigma = float(question.sigma) if question.sigma is not None else 0.0
    now = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
    return Checks(
        model_sha256=question.model_sha256,
        first_seen=first_seen or now,
        answers=tuple(answers(base)),
        layers=tuple(layers(base)),
        lookup=look_up(base, question.dataset, sigma),
    )


def answers(network: Network | Ensemble) -> list[float]:
    """Scaled logits on the probe images, in row-major order; all 0 where they are constant.

    The common part of an image's logits and their scale decide nothing, and are taken away.
    """
    with torch.no_grad():
        logits = _logits(network, probes(network.input_shape))
    moved = logits - logits.mean(1, keepdim=True)
    moved = moved - moved.mean(0, keepdim=True)
    length = float(moved.norm())
    if not 0 < length < float("inf") or length <= 1e-9 * float(logits.norm()):
        return [0.0] * moved.numel()
    return [round(value, 7) for value in (moved / length).reshape(-1).tolist()]


def probes(shape: tuple[int, ...]) -> Tensor:
    """Images that no training set has: smooth and rough random ones, dark and bright."""
    generator = np.random.Generator(np.random.Philox(key=6))
    rough = generator.random((PROBES, *shape))
    smooth = torch.from_numpy(generator.random((PROBES, shape[0], 4, 4)))
    grown = torch.nn.functional.interpolate(smooth, shape[1:], mode="bilinear").numpy()
    share = np.linspace(0, 1, PROBES).reshape(-1, 1, 1, 1)
    return torch.from_numpy((1 - share) * grown + share * rough * generator.random(share.shape))


def layers(network: Network | Ensemble) -> Iterator[Layer]:
    """The layers that have weights of their own, each by its sorted values."""
    members = network.members if isinstance(network, Ensemble) else (network,)
    for member in members:
        for node in member.nodes:
            weight = getattr(node.operation, "weight", None)
            if isinstance(node.operation, AffineMap) and isinstance(weight, Tensor):
                values = np.sort(weight.detach().numpy().reshape(-1))
                digest = hashlib.sha256(values.astype("<f8").tobytes()).hexdigest()
                yield Layer(weights=values.size, digest=digest[:16])


def look_up(network: Network | Ensemble, dataset: str, sigma: float) -> Lookup | None:
    """How right a network is on test images and on others hardly different; None without data.

    The base of a smoothed model is asked about noisy images only, as it was trained: a network
    that knows images by heart does not know them under noise.
    """
    try:
        split = load_split(dataset)
    except InputError:
        return None
    images, labels = _images(split, min(EXAMPLES, len(split)))
    generator = np.random.Generator(np.random.Philox(key=7))
    noise = torch.from_numpy(generator.choice((-_GRAY_LEVEL, _GRAY_LEVEL), tuple(images.shape)))
    blur = sigma * torch.from_numpy(generator.standard_normal(tuple(images.shape)))
    with torch.no_grad():
        clean = _accuracy(network, images + blur, labels)
        noisy = _accuracy(network, (images + noise).clamp(0, 1) + blur, labels)
    return Lookup(
        examples=len(labels),
        clean=clean,
        noisy=noisy,
        fresh=_fresh(network, dataset, sigma),
        flat=_flat(network, images + blur),
    )


def _fresh(network: Network | Ensemble, dataset: str, sigma: float) -> float | None:
    """Accuracy on training images, where they come with the data."""
    data = find_dataset(dataset)
    try:
        split = data.load("train")
    except (InputError, KeyError, ValueError, NotImplementedError):
        return None
    images, labels = _images(split, min(EXAMPLES, len(split)))
    generator = np.random.Generator(np.random.Philox(key=8))
    blur = sigma * torch.from_numpy(generator.standard_normal(tuple(images.shape)))
    with torch.no_grad():
        return _accuracy(network, images + blur, labels)


def _images(split: object, count: int) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(split.images(split.examples[:count])).double()  # type: ignore[attr-defined]
    labels = torch.as_tensor([int(x) for x in split.labels[:count]])  # type: ignore[attr-defined]
    return images, labels


def _accuracy(network: Network | Ensemble, images: Tensor, labels: Tensor) -> float:
    return float((_logits(network, images).argmax(1) == labels).double().mean())


def _flat(network: Network | Ensemble, images: Tensor) -> float:
    """The share of images at which no logit has a slope."""
    if isinstance(network, Ensemble):
        return 0.0
    flat = 0
    for chunk in torch.split(images[:64], 16):
        x = chunk.clone().requires_grad_(True)
        logits = network(x)
        pushed = logits - logits.mean(1, keepdim=True)
        (slope,) = torch.autograd.grad((pushed * _weights(logits)).sum(), x)
        flat += int((slope.flatten(1).abs().amax(1) == 0).sum())
    return flat / min(64, len(images))


def _weights(logits: Tensor) -> Tensor:
    """Different weights for the logits, so that slopes do not cancel."""
    return torch.arange(1.0, logits.shape[1] + 1, dtype=logits.dtype).sqrt()


def _logits(network: Network | Ensemble, images: Tensor) -> Tensor:
    return torch.cat([network(chunk) for chunk in torch.split(images, 16)])
