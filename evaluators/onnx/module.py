"""From a PyTorch module to a network, by way of an ONNX file: there is one importer, not two.

Trusted: PyTorch's exporter, as far as the comparison of the file with the module does not see it;
of a file what the importer trusts (`reader.py`).
"""

import copy
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from evaluators.network.network import Network
from evaluators.numerics.arrays import Shape
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.one_file import merged
from evaluators.onnx.reader import Contract, import_bytes
from evaluators.onnx.writer import OPSET

TOLERANCE = 1e-3
"""Share of the largest logit by which the file's answers may differ from the module's."""

_SAMPLES = 16


def import_module(module: nn.Module, input_shape: Shape) -> Network:
    """Read a classifier from a module that is at hand, as it answers in evaluation mode.

    The module is left as it is; a copy of it is exported to ONNX in memory, imported as any file,
    and compared with the module on random inputs in [0, 1].

    Args:
        module: takes float32 `[batch, *input_shape]` and gives `[batch, classes]`.
        input_shape: of one input, without the batch dimension.

    Raises:
        UnsupportedModelError: with every problem found, one sentence each: the module cannot be
            exported, is not float32, or does something that no evaluator can bound.
    """
    name = type(module).__name__
    for label, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and tensor.dtype is not torch.float32:
            raise UnsupportedModelError(f"{name}: '{label}' is {tensor.dtype}, not float32.")
    try:
        plain = copy.deepcopy(module).cpu().eval()
    except Exception as error:
        said = f"{name}: it cannot be copied ({type(error).__name__}: {error})."
        raise UnsupportedModelError(said) from error
    images = torch.rand((_SAMPLES, *input_shape), generator=torch.Generator().manual_seed(0))
    expected = run_module(plain, images, name).numpy()
    data = merged(export_module(plain, images[:1]), Path(name))
    network = import_bytes(data, Path(name), images.numpy(), Contract(tuple(input_shape)))
    with torch.no_grad():
        answers = network.to(torch.float32)(images).numpy()
    largest_difference(expected, answers)
    return network


def run_module(
    module: nn.Module, images: Float32[Tensor, "batch *shape"], name: str
) -> Float32[Tensor, "batch classes"]:
    """Compute the logits of a module that runs on the CPU.

    Raises:
        UnsupportedModelError: it fails, or gives something else than one row of logits an image.
    """
    try:
        with torch.no_grad():
            logits = module(images)
    except Exception as error:
        raise UnsupportedModelError(
            f"{name}: fails on images of shape {tuple(images.shape)}"
            f" ({type(error).__name__}: {error})."
        ) from error
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise UnsupportedModelError(f"{name}: must give one row of logits for each image.")
    return logits


def export_module(module: nn.Module, example: Float32[Tensor, "1 *shape"]) -> bytes:
    """Write a module that is in evaluation mode on the CPU as the bytes of an ONNX file.

    Raises:
        UnsupportedModelError: PyTorch cannot export it.
    """
    batch = {0: "batch"}
    try:
        with TemporaryDirectory() as folder, warnings.catch_warnings():
            # The exporter that needs no further library is announced to go some day.
            warnings.simplefilter("ignore")
            path = Path(folder, "module.onnx")
            torch.onnx.export(
                module,
                (example,),
                path,
                dynamo=False,
                opset_version=OPSET,
                input_names=["input"],
                output_names=["logits"],
                dynamic_axes={"input": batch, "logits": batch},
            )
            return path.read_bytes()
    except Exception as error:
        told = " ".join(str(error).split())[:300]
        raise UnsupportedModelError(f"PyTorch cannot export the module: {told}") from error


def largest_difference(
    expected: Float32[np.ndarray, "batch classes"], answers: Float32[np.ndarray, "batch classes"]
) -> float:
    """Compute the largest difference between the module's logits and the file's.

    Raises:
        UnsupportedModelError: it is too large for the order of sums to explain it, or is NaN.
    """
    difference = float(np.abs(expected - answers).max())
    size = float(np.abs(expected).max())
    if not difference <= TOLERANCE * max(size, 1.0):
        raise UnsupportedModelError(
            f"The file's logits differ from the module's by up to {difference:.3g} (logits reach"
            f" {size:.3g}): does the module behave otherwise in training, or depend on the batch?"
        )
    return difference
