"""From a PyTorch module, or an ONNX file as it was saved, to one that keeps the input contract.

The module is the user's own code, run in the user's own process on the user's machine. Nothing of
it reaches the leaderboard but the file, which is then checked as any other.
"""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.adapter import InputAdapter
from evaluators.onnx.module import export_module, largest_difference, run_module
from evaluators.onnx.one_file import Settled
from leaderboard.common.errors import InputError, nearest
from leaderboard.common.places import check_writable
from leaderboard.common.progress import tell
from leaderboard.datasets.catalogue import Dataset, find_dataset, load_split
from leaderboard.datasets.files import sha256_of
from leaderboard.evaluation.networks import check_model, logits_of
from leaderboard.evaluation.own_file import layout_of, settled

SAMPLES = 100

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")


@dataclass(frozen=True)
class Exported:
    """What came of an export.

    Attributes:
        path, sha256: the file.
        difference: the largest between the logits of the module and of the file; None of a file
            that was one before.
        accuracy: of the first test examples, in percent; None where the data are not here.
        examples: how many these are.
        little: whether the accuracy is less than twice that of guessing.
    """

    path: Path
    sha256: str
    difference: float | None
    accuracy: float | None
    examples: int
    little: bool


class _Normalised(nn.Module):
    """The network behind (x − mean) / std, a channel each."""

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.mean = nn.Buffer(mean.reshape(1, -1, 1, 1))
        self.std = nn.Buffer(std.reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Any:
        return self.network((x - self.mean) / self.std)


def export(
    source: str,
    dataset: str,
    output: Path,
    *,
    weights: Path | None = None,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    channels_last: bool = False,
    input_shape: str | None = None,
) -> Exported:
    """Write the module that `source` names as ONNX, and check the file.

    Args:
        source: `file.py:name` or `package.module:name`, where the name is a module, or something
            that makes one when it is called without arguments; or an ONNX file, of which one
            ordinary file is made.
        dataset: whose images the module classifies.
        output: the file to write.
        weights: a state dict, as `torch.save` writes it; loaded without running any code.
        mean, std: normalisation to put before the network, a number for each channel or none.
        channels_last, input_shape: how an ONNX file wants its pixels.

    Raises:
        InputError: the module or the weights cannot be had, or the file does not keep the
            contract; nothing is written then.
    """
    data = find_dataset(dataset)
    check_writable(output)
    layout = layout_of(channels_last, input_shape)
    if source.endswith((".onnx", ".onnx.gz")):
        if weights is not None:
            raise InputError("--weights are for a module; an ONNX file has its own.")
        layout = replace(layout, mean=mean, deviation=std)
        return _checked(settled(Path(source), dataset, layout), data, output)
    if layout != InputAdapter():
        raise InputError("--channels-last and --input-shape are for an ONNX file.")
    network = _module(source)
    if weights is not None:
        _load_weights(network, weights)
    network = _with_normalisation(network, mean, std, data)
    network = network.float().cpu().eval()
    images, labels = _samples(data)
    partial = output.with_name(f".{output.name}.partial.onnx")
    try:
        expected = run_module(network, images, source)
        partial.write_bytes(export_module(network, images[:1]))
        if problems := check_model(partial, dataset):
            raise InputError(*(problem.replace(partial.name, output.name) for problem in problems))
        found = logits_of(partial, data, images.numpy())
        difference = largest_difference(expected.numpy(), found)
        partial.replace(output)
    except UnsupportedModelError as error:
        raise InputError(*error.problems) from error
    except OSError as error:
        raise InputError(f"{output.parent}: cannot be written ({error.strerror}).") from error
    finally:
        partial.unlink(missing_ok=True)
    return _exported(output, difference, found, labels, data)


def _checked(made: Settled, data: Dataset, output: Path) -> Exported:
    """Write an ONNX file that keeps the contract."""
    images, labels = _samples(data)
    partial = output.with_name(f".{output.name}.partial.onnx")
    try:
        partial.write_bytes(made.data)
        found = logits_of(partial, data, images.numpy())
        partial.replace(output)
    except UnsupportedModelError as error:
        problems = (problem.replace(partial.name, output.name) for problem in error.problems)
        raise InputError(*problems) from error
    except OSError as error:
        raise InputError(f"{output.parent}: cannot be written ({error.strerror}).") from error
    finally:
        partial.unlink(missing_ok=True)
    for note in made.notes:
        tell(f"{output.name}: {note}.")
    return _exported(output, None, found, labels, data)


def _exported(
    output: Path, difference: float | None, found: Any, labels: Any, data: Dataset
) -> Exported:
    accuracy = None if labels is None else 100 * float((found.argmax(1) == labels).mean())
    return Exported(
        path=output,
        sha256=sha256_of(output),
        difference=difference,
        accuracy=accuracy,
        examples=len(found),
        little=accuracy is not None and accuracy < 200 / len(data.classes),
    )


def _module(source: str) -> nn.Module:
    place, colon, name = source.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise InputError(
            f"The module is '{source}', but must be file.py:name or package.module:name."
        )
    namespace = _import(place)
    if not hasattr(namespace, name):
        raise InputError(f"{place} has no '{name}'.{nearest(name, dir(namespace))}")
    found = getattr(namespace, name)
    try:
        network = found if isinstance(found, nn.Module) else found()
    except Exception as error:
        raise InputError(
            f"{source}: cannot be made without arguments ({type(error).__name__}: {error})."
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(f"{source}: is a {type(network).__name__}, not a torch.nn.Module.")
    return network


def _import(place: str) -> Any:
    """The user's Python module, from a file or by its name."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = Path(place)
        if not path.is_file():
            raise InputError(f"There is no file {place}.")
        sys.path.insert(0, str(path.resolve().parent))
        specification = importlib.util.spec_from_file_location(path.stem, path)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules[path.stem] = module
        specification.loader.exec_module(module)
        return module
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{place}: cannot be imported ({type(error).__name__}: {error})."
        ) from error


def _load_weights(network: nn.Module, path: Path) -> None:
    """Load a state dict, also from within a checkpoint, or of a module in DataParallel."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except Exception as error:
        raise InputError(
            f"{path}: is not a file of plain weights that torch.save wrote"
            f" ({type(error).__name__}). Save module.state_dict()."
        ) from error
    while isinstance(found, Mapping) and (inner := [k for k in _WRAPPERS if k in found]):
        found = found[inner[0]]
    if not isinstance(found, Mapping):
        raise InputError(f"{path}: has no state dict, but a {type(found).__name__}.")
    state = {str(name).removeprefix("module."): value for name, value in found.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        told = " ".join(str(error).split())[:500]
        raise InputError(f"{path}: does not fit the module: {told}") from error


def _with_normalisation(
    network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], data: Dataset
) -> nn.Module:
    if not mean and not std:
        return network
    channels = data.shape[0]
    for name, values in (("--mean", mean), ("--std", std)):
        if len(values) != channels:
            raise InputError(
                f"{name} has {len(values)} numbers; {data.title} has {channels} channels."
            )
    if min(std) <= 0:
        raise InputError(f"--std has {min(std):g}; it must be positive.")
    return _Normalised(network, torch.tensor(mean), torch.tensor(std))


def _samples(data: Dataset) -> tuple[Tensor, Any]:
    """Test images with labels where the data are here, else noise without."""
    try:
        split = load_split(data.name)
    except InputError:
        noise = torch.rand((SAMPLES, *data.shape), generator=torch.Generator().manual_seed(0))
        return noise, None
    images = torch.from_numpy(split.images(split.examples[:SAMPLES]))
    return images, split.labels[:SAMPLES]
