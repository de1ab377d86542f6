"""Looking at a network for what rows do not show: its fingerprints, and whether it knows images.

Runs the network on probe images that depend on nothing but the dataset's shape, and on a few
hundred test images with and without noise. Decides nothing; `flags.py` reads what is kept.
"""

import datetime
import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluators.network.elementwise import Elementwise
from evaluators.network.ensemble import Ensemble, SmoothedNetwork
from evaluators.network.network import MaxPool, Network, apply
from leaderboard.board.fingerprints import Checks, Compared, Lookup, sketch
from leaderboard.board.likeness import SAME_UNIT, Observed, directions, same_answers, same_units
from leaderboard.common.errors import InputError
from leaderboard.common.progress import tell
from leaderboard.datasets.catalogue import find_dataset, load_split
from leaderboard.evaluation.networks import network_of
from leaderboard.settings.question import Question

PROBES = 32
EXAMPLES = 200
FRESH = 96
"""Images on which two networks are compared."""
_NOISES = 0.15, 0.03
"""Scales of the noise on every second one of them, and on the others."""
_MOST_UNITS = 4096
"""Of a layer."""
_GRAY_LEVEL = 2 / 255


def inspect(question: Question, first_seen: str | None = None) -> Checks:
    """Compute fingerprints of a question's network, and how it reads test images.

    Raises:
        InputError: the model or the data cannot be used.
    """
    base = _base(question)
    sigma = float(question.sigma) if question.sigma is not None else 0.0
    now = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
    return Checks(
        model_sha256=question.model_sha256,
        first_seen=first_seen or now,
        answers=tuple(answers(base)),
        units=sketch(observe(base, probes(base.input_shape)).units),
        lookup=look_up(base, question.dataset, sigma),
    )


def answers(network: Network | Ensemble) -> list[float]:
    """Return scaled logits on the probe images, in row-major order; all 0 where they are constant.

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


def probes(shape: tuple[int, ...], count: int = PROBES, key: int = 6) -> Tensor:
    """Draw images that no training set has: smooth and rough random ones, dark and bright."""
    generator = np.random.Generator(np.random.Philox(key=key))
    rough = generator.random((count, *shape))
    smooth = torch.from_numpy(generator.random((count, shape[0], 4, 4)))
    grown = torch.nn.functional.interpolate(smooth, shape[1:], mode="bilinear").numpy()
    share = np.linspace(0, 1, count).reshape(-1, 1, 1, 1)
    return torch.from_numpy((1 - share) * grown + share * rough * generator.random(share.shape))


def observe(network: Network | Ensemble, images: Tensor) -> Observed:
    """Compute logits and hidden units on images `[n, channel, height, width]`, in float64."""
    with torch.no_grad():
        logits = _logits(network, images)
        members = network.members if isinstance(network, Ensemble) else (network,)
        units = torch.cat([_units(member, images) for member in members])
    return Observed(logits.numpy(), _no_pixels(units.numpy(), images))


def _units(network: Network, images: Tensor) -> Tensor:
    """What goes into elementwise functions and maxima, `[units, images]`; of maps, some places."""
    found: dict[int, list[Tensor]] = {}
    wanted = {
        parent
        for node in network.nodes
        if isinstance(node.operation, Elementwise | MaxPool)
        for parent in node.parents
        if parent
    }
    for chunk in torch.split(images, 16):
        values = {0: chunk}
        for place, node in enumerate(network.nodes[1:], start=1):
            values[place] = apply(node.operation, [values[parent] for parent in node.parents])
            if place in wanted:
                found.setdefault(place, []).append(_some(values[place]))
            for parent in [one for one in node.parents if network.last_use[one] == place]:
                values.pop(parent, None)
    columns = [torch.cat(values).T for _, values in sorted(found.items())]
    return torch.cat([*columns, torch.zeros(0, len(images), dtype=images.dtype)])


def _some(value: Tensor) -> Tensor:
    """Some entries of a layer's values `[rows, *shape]`: `[rows, units]`."""
    if value.dim() == 4:
        height, width = value.shape[2:]
        value = value[:, :, [height // 3, height // 2], [width // 2, width // 3]]
    return value.flatten(1)[:, :_MOST_UNITS]


def _no_pixels(units: Any, images: Tensor) -> Any:
    """The units that are not single pixels, which any two networks may pass through."""
    pixels = directions(images.flatten(1).T.numpy())
    own = directions(units)
    kept = [
        np.abs(own[start : start + 512] @ pixels.T).max(1, initial=0) < SAME_UNIT
        for start in range(0, len(own), 512)
    ]
    return own[np.concatenate(kept)] if kept else own


def fresh_images(dataset: str, salt: int) -> Tensor:
    """Draw test images with little and much noise, which nobody knew before the salt was drawn.

    Without the data, smooth and rough random ones.
    """
    data = find_dataset(dataset)
    generator = np.random.Generator(np.random.Philox(key=salt))
    try:
        split = load_split(dataset)
    except InputError:
        return probes(data.shape, FRESH, salt)
    count = min(FRESH, len(split))
    chosen = np.sort(generator.choice(len(split), count, replace=False))
    images = split.images([split.examples[place] for place in chosen])
    scale = np.where(np.arange(count) % 2, *_NOISES).reshape(-1, 1, 1, 1)
    noise = scale * generator.standard_normal(images.shape)
    return torch.from_numpy((images + noise).clip(0, 1))


def compare(
    one: Question, others: Mapping[str, Question], salt: int | None = None
) -> tuple[Compared, ...]:
    """Run a network beside others of its dataset on fresh images; tell of those that cannot run.

    Raises:
        InputError: the first cannot be used.
    """
    salt = secrets.randbits(63) if salt is None else salt
    images = fresh_images(one.dataset, salt)
    own, found = observe(_base(one), images), []
    for slug, other in others.items():
        try:
            theirs = observe(_base(other), images)
        except InputError as error:
            tell(f"{slug}: was not compared: {error}")
            continue
        found.append(
            Compared(
                other=slug,
                model_sha256=other.model_sha256,
                answers=round(same_answers(own, theirs), 4),
                units=round(same_units(own, theirs), 4),
                salt=str(salt),
            )
        )
    return tuple(found)


def _base(question: Question) -> Network | Ensemble:
    network = network_of(question)
    return network.base if isinstance(network, SmoothedNetwork) else network


def look_up(network: Network | Ensemble, dataset: str, sigma: float) -> Lookup | None:
    """Measure accuracy on test images and on others hardly different; None without data.

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
