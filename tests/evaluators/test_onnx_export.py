"""What is written is read back as the same network."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from onnxruntime import InferenceSession

from evaluators.learning.architectures import small_cnn
from evaluators.network.affine import Adjoint, Convolution, Dense, Gather
from evaluators.network.network import Network
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.reader import import_onnx
from evaluators.onnx.writer import export_onnx
from tests.fixtures.networks import Graph, of_every_kind, perceptron, two_convolutions
from tests.fixtures.tiny import FAMILIES

NETWORKS: dict[str, Callable[[], Network]] = {
    "perceptron": perceptron,
    "convolutions": two_convolutions,
    **{name: partial(build, 1) for name, build in FAMILIES.items()},
}
WITHOUT_OPERATOR = {"pooled", "repeated"}
"""Families with maps that have no ONNX operator of their own."""


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - WITHOUT_OPERATOR))
def test_the_logits_survive(tmp_path: Path, name: str) -> None:
    network = NETWORKS[name]()
    export_onnx(network, tmp_path / "m.onnx")
    back = import_onnx(tmp_path / "m.onnx")
    x = torch.rand(20, *network.input_shape, dtype=torch.float64)
    # Weights are stored in float32.
    assert torch.allclose(back(x), network(x), rtol=1e-5, atol=1e-5)
    assert back.input_shape == network.input_shape


@pytest.mark.parametrize("name", ["relu 2-4-4-3", "convolutions"])
def test_float32_weights_survive_exactly(tmp_path: Path, name: str) -> None:
    network = NETWORKS[name]().to(torch.float32).to(torch.float64)
    export_onnx(network, tmp_path / "m.onnx")
    back = import_onnx(tmp_path / "m.onnx")
    x = torch.rand(5, *network.input_shape, dtype=torch.float64)
    assert torch.equal(back(x), network(x))


def test_in_half_the_room_matrices_and_kernels_are_rounded_and_all_else_is_not(
    tmp_path: Path,
) -> None:
    network = small_cnn((1, 8, 8), 10, 0).learned()
    for name, half in (("half.onnx", True), ("whole.onnx", False)):
        export_onnx(network, tmp_path / name, half=half)
    back = import_onnx(tmp_path / "half.onnx")
    for one, other in zip(back.nodes, network.nodes, strict=True):
        if isinstance(one.operation, Dense | Convolution):
            assert isinstance(other.operation, Dense | Convolution)
            assert torch.equal(one.operation.weight, other.operation.weight.half().double())
            assert one.operation.bias is not None
            assert other.operation.bias is not None
            assert torch.equal(one.operation.bias, other.operation.bias.double())
    x = torch.rand(4, 1, 8, 8)
    logits = InferenceSession(tmp_path / "half.onnx").run(None, {"input": x.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(logits), back.to(torch.float32)(x))
    sizes = [(tmp_path / name).stat().st_size for name in ("half.onnx", "whole.onnx")]
    assert sizes[0] < 0.52 * sizes[1]


def test_weights_that_half_precision_has_no_room_for_are_told(tmp_path: Path) -> None:
    network = small_cnn((1, 8, 8), 10, 0).learned()
    last = network.nodes[-1].operation
    assert isinstance(last, Dense)
    last.weight[0, 0] = 7e4
    with pytest.raises(UnsupportedModelError, match="too large for float16"):
        export_onnx(network, tmp_path / "m.onnx", half=True)
    assert not (tmp_path / "m.onnx").exists()


def test_the_same_network_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        export_onnx(two_convolutions(), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_second_round_changes_nothing(tmp_path: Path) -> None:
    export_onnx(two_convolutions(), tmp_path / "a.onnx")
    export_onnx(import_onnx(tmp_path / "a.onnx"), tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_map_without_operator_is_told(tmp_path: Path) -> None:
    graph = Graph((3,))
    gather = Gather((3,), (3,), None, torch.tensor([2, 1, 0]))
    graph.add(Adjoint((3,), (3,), None, gather), (3,))
    with pytest.raises(UnsupportedModelError, match="Adjoint map cannot be written"):
        export_onnx(graph.network(), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_a_bias_of_full_shape_is_told(tmp_path: Path) -> None:
    """ONNX's Conv has one bias per channel; `of_every_kind` has a convolution with more."""
    with pytest.raises(UnsupportedModelError, match="one per channel"):
        export_onnx(of_every_kind(), tmp_path / "m.onnx")
