"""The imported network, compared with onnxruntime operator by operator.

That a file's logits agree on some inputs shows little: behind a unit that no probe wakes, a file
may mean one thing here and another there. So, besides the logits,

- every constant that was worked out is equal to onnxruntime's, bit for bit;
- every operator is run *alone*: each of its inputs that the network computes is cut off and
  replaced by random numbers of several kinds and scales, so that nothing before it can hide it;
- every operator is run on the values that onnxruntime computes for its inputs on images;
- what onnxruntime makes of several operators (`rewriting.py`) is run alone and on images likewise,
  and where it is more than sums, products and choices, its formula is found in the file
  (`fusions.py`).

How far results may differ is said in `agreement.py`. The random numbers come of a salt that is
drawn when a file is read, after it was written.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from evaluators.network.network import Network
from evaluators.numerics.arrays import Array
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.numerics.memory import fitting
from evaluators.onnx.agreement import DifferenceError, SectionRun, require_agreement, words
from evaluators.onnx.file import opset_of
from evaluators.onnx.fusions import require_formulas
from evaluators.onnx.operators.builder import Builder
from evaluators.onnx.probes import KINDS, Draw, NamedArrays, drawn
from evaluators.onnx.rewriting import sections_rewritten
from evaluators.onnx.rules import ModelRule, complaint
from evaluators.onnx.runtime import Runtime, Session, cost, rewritten
from evaluators.onnx.sections import FileSection, cut_apart, sections_of_file

AT_ONCE = 2**25
"""Entries of all values that are looked at in one run."""
TOGETHER = 2**27
"""Steps of all inputs on which a network is run at once."""
IMAGES = 1
"""How many images every operator is looked at on; the logits are on all."""
DEAR = 2**28
"""Steps of a run from which a network is compared on fewer inputs."""
LOGITS = 1e-4
"""How far logits may differ, as a share of their spread over the classes; of a file that is free of
the contract, of their size."""
FLAT = 1e-6
"""The same as a share of their size where all classes have one and the same logit."""


@dataclass(frozen=True)
class Imported:
    """A file, and the network that it was read as; whether it is `free` as in `Contract`.

    Attributes:
        whole: the file's bytes, with what is left out behind the logits.
    """

    network: Network
    runtime: Runtime
    builder: Builder
    model: onnx.ModelProto
    path: Path
    whole: bytes
    free: bool

    @cached_property
    def steps(self) -> int:
        """Count the steps of one run."""
        return cost(self.network)

    @property
    def dear(self) -> bool:
        """Tell whether one run takes long."""
        return self.steps >= DEAR


def compare(imported: Imported, samples: NDArray[np.float32] | None, salt: str) -> None:
    """Refuse a network that is not what onnxruntime computes.

    Args:
        imported: the network and its file.
        samples: real inputs `[n, *shape]`, besides random ones.
        salt: of all that is drawn at random; the same salt, the same numbers.

    Raises:
        UnsupportedModelError: onnxruntime cannot run the file, or computes something else.
    """
    inputs = _inputs(imported, samples, salt)
    try:
        _logits(imported, inputs)
        _operators(imported, inputs, salt)
        _rewritten(imported, inputs, salt)
    except DifferenceError as error:
        said = f"{imported.path.name}: {error} (salt {salt})"
        raise UnsupportedModelError(complaint(ModelRule.RUNTIME, said)) from error


def _generator(salt: str, purpose: str) -> np.random.Generator:
    key = hashlib.sha256(f"{salt} {purpose}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))


def _inputs(
    imported: Imported, samples: NDArray[np.float32] | None, salt: str
) -> NDArray[np.float32]:
    """The inputs on which to compare: random ones in [0, 1] unless free, and those given."""
    shape = imported.network.input_shape
    count = 1 if imported.dear else 2
    random = _generator(salt, "inputs").random((count, *shape), dtype=np.float32)
    if samples is None or (imported.free and samples[0].size != prod(shape)):
        return random  # whoever asks about other sizes will notice
    given = samples[:8].reshape(-1, *shape)
    return given if imported.free else np.concatenate((random, given))


@contextmanager
def _running() -> Iterator[None]:
    """Say so where onnxruntime fails, which has exceptions of its own."""
    try:
        yield
    except Exception as error:
        raise DifferenceError(f"onnxruntime cannot run it ({words(error)})") from error


def _logits(imported: Imported, inputs: NDArray[np.float32]) -> None:
    """The file as it is deployed, with all that the runtime makes of it."""
    network, runtime = imported.network, imported.runtime
    with _running():
        outputs = [runtime(x) for x in inputs]
    try:
        parts = torch.split(torch.from_numpy(inputs), max(1, TOGETHER // imported.steps))
        rows = [network(part.double()) for part in parts]
    except RuntimeError as error:
        raise DifferenceError(f"its operators' shapes do not fit ({words(error)})") from error
    where = "on inputs of the region" if imported.free else "on inputs in [0, 1]"
    logits = torch.cat(rows).numpy()
    allowed = _allowed(logits, free=imported.free)
    for theirs, ours in zip(outputs, logits, strict=True):
        other = theirs.astype(np.float64).reshape(-1)
        fits = other.shape == ours.shape if imported.free else theirs.shape == (1, len(ours))
        if not fits:
            raise DifferenceError(
                f"onnxruntime gives logits of shape {theirs.shape}, not {(1, len(ours))}"
            )
        if not np.isfinite(other).all() or not np.isfinite(ours).all():
            raise DifferenceError(f"its logits are not finite {where}")
        worst = float(np.abs(other - ours).max())
        if not worst <= allowed:
            raise DifferenceError(
                f"the imported network's logits differ from onnxruntime's by {worst:.2g}"
                f" (allowed {allowed:.2g})"
            )


def _allowed(logits: NDArray[np.float64], *, free: bool) -> float:
    """How far logits `[inputs, classes]` may differ; a constant added to all allows no more."""
    size, spread = float(np.abs(logits).max()), float(np.ptp(logits, axis=1).max())
    if free:
        return LOGITS * (1 + size)
    return LOGITS * spread if spread > LOGITS * FLAT * size else FLAT * size


def _operators(imported: Imported, inputs: NDArray[np.float32], salt: str) -> None:
    """Every operator alone, and on what the runtime computes before it."""
    graph = imported.model.graph
    kinds = KINDS[:2] if imported.dear else KINDS
    outputs = [value.name for value in graph.output]
    trial = _Trial(imported.runtime.data, outputs, imported.builder.folded_names, kinds, False)
    _sections(imported, sections_of_file(imported.builder, graph), trial, inputs, salt)


def _rewritten(imported: Imported, inputs: NDArray[np.float32], salt: str) -> None:
    """Likewise what the runtime makes of several operators, with and without what is left out."""
    known, graph, opset = imported.builder, imported.model.graph, opset_of(imported.model)
    for number, whole in enumerate(dict.fromkeys((imported.runtime.data, imported.whole))):
        try:
            data = rewritten(whole)
        except Exception as error:
            if number:  # what is left out need not run
                continue
            raise DifferenceError(f"onnxruntime cannot run it ({words(error)})") from error
        made = onnx.load_from_string(data)
        require_formulas(known, graph, made.graph, opset)
        try:
            sections = sections_rewritten(known, graph, made.graph, opset)
        except ValueError as error:
            raise DifferenceError(str(error)) from error
        outputs = [value.name for value in made.graph.output]
        trial = _Trial(data, outputs, set(), KINDS[:1] if imported.dear else KINDS, True)
        _sections(imported, sections, trial, inputs, f"{salt} rewritten {number}")


class _Trial(NamedTuple):
    """How sections are tried.

    Attributes:
        data: the file with their operators.
        outputs: names of the file's.
        constants: names of what is worked out in it.
        kinds: of random numbers.
        reached: whether it is enough that they are alike on what ReLUs let through.
    """

    data: bytes
    outputs: Collection[str]
    constants: set[str]
    kinds: Sequence[Draw]
    reached: bool


def _sections(
    imported: Imported,
    sections: Sequence[FileSection],
    trial: _Trial,
    inputs: NDArray[np.float32],
    salt: str,
) -> None:
    for number, part in enumerate(_parts(imported, sections)):
        runs = list(_runs(imported, part, trial, inputs, f"{salt} {number}"))
        for place, section in enumerate(part):
            own = [SectionRun(run.given[place], run.results, run.where) for run in runs]
            require_agreement(imported.builder, section, own)


class _Run(NamedTuple):
    """What sections were given and what they gave, each by the names of the file's values.

    Attributes:
        given: to each of them.
        results: of them all.
        where: the numbers came from.
    """

    given: list[NamedArrays]
    results: NamedArrays
    where: str


def _parts(imported: Imported, sections: Sequence[FileSection]) -> Iterator[list[FileSection]]:
    """The sections in groups whose values fit into memory together."""
    part, entries, most = list[FileSection](), 0, fitting(AT_ONCE, 16, 1 / 8)
    for section in sections:
        positions = (*section.inputs.values(), *section.outputs.values())
        size = sum(prod(imported.builder.nodes[position].shape) for position in positions)
        if part and entries + size > most:
            yield part
            part, entries = [], 0
        part.append(section)
        entries += size
    if part:
        yield part


def _runs(
    imported: Imported,
    part: Sequence[FileSection],
    trial: _Trial,
    inputs: NDArray[np.float32],
    salt: str,
) -> Iterator[_Run]:
    """The sections on images, with all constants, and on random numbers, in one session."""
    known, source = imported.builder, imported.builder.nodes[0].name
    # No name in the file can have been foreseen to be one of these.
    prefix = hashlib.sha256(salt.encode()).hexdigest()
    shown = {name for section in part for name in (*section.inputs, *section.outputs)}
    shown |= trial.constants
    shown -= {source, *trial.outputs}
    with _running():
        cut = cut_apart(trial.data, known, part, prefix, sorted(shown))
        session = Session(cut, plain=True)
    for number, (draw, x) in enumerate(zip(trial.kinds, cycle(inputs[::-1]), strict=False)):
        image = x.reshape(known.whole_shape(source))
        generator = _generator(salt, f"probe {number}")
        given = [
            drawn(known, section.inputs, draw, generator, reached=trial.reached) for section in part
        ]
        feeds = {
            f"{prefix}/{place}/{name}": value
            for place, own in enumerate(given)
            for name, value in own.items()
        }
        with _running():
            results = session({source: image, **feeds})
        for name in sorted(trial.constants):
            ours = known.constants[name] if name in known.constants else known.lifted[name]
            _same_constant(name, ours, results[name])
        if number < IMAGES:
            values = {source: image, **results}
            yield _Run([values] * len(part), values, "on an image")
        alone = {
            name: results[f"{prefix}/{place}/{name}"]
            for place, section in enumerate(part)
            for name in section.outputs
        }
        yield _Run(given, alone, "alone, on random numbers")


def _same_constant(name: str, ours: Array, theirs: Array) -> None:
    same = ours.dtype == theirs.dtype and ours.shape == theirs.shape
    if not same or ours.tobytes() != theirs.tobytes():
        raise DifferenceError(f"the constant {name!r} has another value in onnxruntime")
