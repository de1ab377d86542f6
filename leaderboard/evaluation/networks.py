"""The networks that are asked about: read from ONNX files, checked, put together.

A base classifier of a smoothed model may be an ensemble of several networks, and may have a
denoiser before it. Each file is checked by itself and against the dataset.
"""

from collections.abc import Iterable
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluators.network.ensemble import Ensemble, SmoothedNetwork, chain
from evaluators.network.network import Network
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.file import bytes_of, count_parameters, read_bytes
from evaluators.onnx.reader import Contract, import_bytes
from evaluators.onnx.rules import ModelRule, complaint, row_text
from evaluators.recheck import reader
from evaluators.recheck.agreement import disagreement
from leaderboard.common.errors import InputError
from leaderboard.datasets.catalogue import Dataset, find_dataset, load_split
from leaderboard.datasets.files import read_exactly
from leaderboard.settings.question import Part, Question, Role

_KEPT = 16
"""Networks that a process keeps; the members of an ensemble must fit."""


def network_of(question: Question) -> Network | SmoothedNetwork:
    """Read the model of a question, and check it against its dataset and onnxruntime.

    Raises:
        InputError: every reason why it cannot be used.
    """
    smoothed = question.sigma is not None and question.distribution is not None
    if question.parts:
        base = _compose(question.parts, question.rule, question.dataset, question.salt)
    else:
        model, sha256 = question.model, question.model_sha256
        base = _load(model, sha256, question.dataset, "member", question.salt)
    if not smoothed:
        if not isinstance(base, Network):
            raise InputError("An ensemble is certified by smoothing only: give it noise.")
        return base
    assert question.distribution is not None
    assert question.sigma is not None
    return SmoothedNetwork(base, question.distribution, question.sigma)


def notes_of(question: Question) -> list[str]:
    """List what was left out of the files of a model when they were read, a sentence each.

    Raises:
        InputError: one of them cannot be read.
    """
    parts = question.parts or (Part("member", question.model, question.model_sha256),)
    files = [(part.path, part.sha256, question.dataset, part.role) for part in parts]
    return [note for file in files for note in _load(*file, question.salt).notes]


@lru_cache(maxsize=2)
def _compose(parts: tuple[Part, ...], rule: str, dataset: str, salt: str) -> Network | Ensemble:
    """The base classifier made of these files."""
    networks = {part: _load(part.path, part.sha256, dataset, part.role, salt) for part in parts}
    members = [networks[part] for part in parts if part.role == "member"]
    denoiser = next((networks[part] for part in parts if part.role == "denoiser"), None)
    try:
        if len(members) == 1:
            return members[0] if denoiser is None else chain(denoiser, members[0])
        return Ensemble(tuple(members), rule, denoiser)  # type: ignore[arg-type]
    except ValueError as error:
        raise InputError(str(error)) from error


@lru_cache(maxsize=_KEPT)
def _load(path: Path, sha256: str, dataset: str, role: Role, salt: str) -> Network:
    """A network, read once a process as long as few others come between."""
    data, samples = find_dataset(dataset), _samples(dataset)
    try:
        content, _ = bytes_of(read_exactly(path, sha256))
        return _read(
            content, path, data.shape, len(data.classes), role=role, samples=samples, salt=salt
        )
    except UnsupportedModelError as error:
        raise InputError(*error.problems) from error


def _samples(dataset: str) -> Any:
    """A few test images; None without data, for the files of a model can be read all the same."""
    try:
        split = load_split(dataset)
    except InputError:
        return None
    return split.images(split.examples[:4])


def read_model(
    path: Path,
    shape: tuple[int, ...],
    classes: int,
    role: Role = "member",
    samples: Any = None,
    salt: str | None = None,
) -> Network:
    """Read an ONNX classifier of inputs of this shape into so many classes, or a denoiser of them.

    Raises:
        UnsupportedModelError: with every reason why it is none.
    """
    return _read(read_bytes(path), path, shape, classes, role=role, samples=samples, salt=salt)


def _read(
    content: bytes,
    path: Path,
    shape: tuple[int, ...],
    classes: int,
    *,
    role: Role,
    samples: Any,
    salt: str | None,
) -> Network:
    """Read a model from its file's bytes; the path is for messages."""
    if role == "denoiser":
        return _read_denoiser(content, path, shape, samples, salt)
    network = import_bytes(content, path, samples, Contract(shape, classes), salt)
    if said := _other_reading(content, network, samples):
        raise UnsupportedModelError(complaint(ModelRule.RUNTIME, f"{path.name}: {said}"))
    return network


def _other_reading(content: bytes, network: Network, samples: Any) -> str:
    """What the checker's own reader finds otherwise in a file; empty where it cannot read it."""
    try:
        checked = reader.read_model(content)
    except UnsupportedModelError:
        return ""  # Its certificates cannot be checked again, but it was compared with onnxruntime.
    shown = np.zeros((1, *network.input_shape)) if samples is None else samples[:4]
    found = disagreement(checked, network, shown)
    return found and f"the checker reads it in another way than the evaluators: {found}"


def _read_denoiser(
    content: bytes, path: Path, shape: tuple[int, ...], samples: Any, salt: str | None
) -> Network:
    """A network from images to images; its output is one row, in row-major order."""
    if samples is None:
        samples = np.zeros((1, *shape), dtype=np.float32)
    rows = samples.reshape(len(samples), -1)
    network = import_bytes(content, path, rows, Contract(free=True), salt)
    problems = []
    if network.input_shape != tuple(shape):
        needed = f"{row_text(shape)} is needed"
        said = f"{path.name}: its input has shape {row_text(network.input_shape)}; {needed}"
        problems.append(complaint(ModelRule.INPUT, said))
    if network.classes != prod(shape):
        wanted = f"a denoiser gives an image back, {prod(shape)} numbers"
        problems.append(
            complaint(ModelRule.OUTPUT, f"{path.name}: {wanted}, not {network.classes}")
        )
    if problems:
        raise UnsupportedModelError(*problems)
    return network


def parameters_of(paths: Iterable[Path]) -> int:
    """Count the floating-point numbers that the files of a base classifier hold together.

    Raises:
        InputError: one of them is not an ONNX model.
    """
    try:
        return sum(map(count_parameters, paths))
    except UnsupportedModelError as error:
        raise InputError(*error.problems) from error


def check_model(path: Path, dataset: str, role: Role = "member") -> list[str]:
    """List every reason, a sentence each, why a model cannot be evaluated on a dataset."""
    data = find_dataset(dataset)
    try:
        read_model(path, data.shape, len(data.classes), role)
    except UnsupportedModelError as error:
        return list(error.problems)
    return []


def logits_of(path: Path, data: Dataset, images: Any) -> Any:
    """Compute a file's logits `[n, classes]` of images `[n, channel, height, width]`.

    Raises:
        UnsupportedModelError: it is no classifier of these images.
    """
    network = read_model(path, data.shape, len(data.classes), samples=images[:4])
    with torch.no_grad():
        return network.to(torch.float32, "cpu")(torch.from_numpy(images)).numpy()
