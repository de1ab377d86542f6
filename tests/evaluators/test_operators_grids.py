"""Images sampled at places of a constant grid mean what onnxruntime computes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.operators.grids import GridAxis
from evaluators.onnx.reader import import_onnx
from evaluators.propagation.intervals import interval_bounds
from tests.evaluators.test_operators import check
from tests.fixtures.onnx_models import Array, model, node, numbers, save

PADDED = ("zeros", "border", "reflection")


def far(*shape: int) -> Array:
    """Places inside and outside, which turn at a border up to three times."""
    return numbers(1, *shape, 2, seed=3) * 2


@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("padding", PADDED)
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_a_sampled_image_is_read_as_it_is_computed(
    tmp_path: Path, mode: str, padding: str, aligned: int
) -> None:
    for opset in (16, 20):
        word = f"bi{mode}" if opset == 16 and mode != "nearest" else mode
        sampled = node(
            "GridSample", "x g", "z", mode=word, padding_mode=padding, align_corners=aligned
        )
        check(tmp_path, (2, 5, 4), [sampled], {"g": far(4, 3)}, opset)


def test_whole_pixels_are_copied_and_nothing_is_charged(tmp_path: Path) -> None:
    grid = np.array([[[[-1, -1], [0, 0.5], [1, 1]]]], dtype=np.float32)
    nodes = [node("GridSample", "x g", "z", align_corners=1)]
    network = check(tmp_path, (1, 5, 3), nodes, {"g": grid}, 16)
    x = numbers(1, 1, 5, 3)
    picked = network(torch.from_numpy(x).double()).numpy()
    assert picked.tolist() == [[x[0, 0, 0, 0], x[0, 0, 3, 1], x[0, 0, 4, 2]]]
    assert not any("Unsure" in repr(each.operation) for each in network.nodes)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_what_a_run_makes_of_places_that_it_misses_is_bounded(tmp_path: Path, mode: str) -> None:
    """A run may take 8 roundings to a place, and so other shares of pixels that differ by a lot."""
    grid = far(3, 3)
    nodes = [node("GridSample", "x g", "z", mode=mode)]
    network = check(tmp_path, (1, 6, 6), nodes, {"g": grid}, 16)
    x = torch.from_numpy(np.tile([[0.0, 4000.0], [4000.0, 0.0]], (3, 3)))[None, None]
    *_, (lower, upper) = interval_bounds(network, x, x, deployed=True)
    for aside in (-1, 1):
        moved = grid * np.float32(1 + aside * 2.0**-21)
        other = check(tmp_path, (1, 6, 6), nodes, {"g": moved}, 16)(x)
        assert bool(((lower <= other) & (other <= upper)).all())
        assert float((other - network(x)).abs().max()) > 1e-3


REFUSED = {
    "nearest between two": (np.zeros((1, 1, 1, 2)), {"mode": "nearest"}, "lies between two pixels"),
    "of several batches": (np.zeros((2, 1, 1, 2)), {}, "its grid has shape"),
    "far outside": (np.full((1, 1, 1, 2), 1e6), {}, "its grid reaches 1e\\+06, for 4 pixels"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_grids_that_runtimes_may_read_otherwise_are_refused(tmp_path: Path, kind: str) -> None:
    grid, attributes, message = REFUSED[kind]
    nodes = [node("GridSample", "x g", "z", **attributes), node("Flatten", "z", "y")]
    proto = model(nodes, (1, 1, 4, 4), {"g": grid.astype(np.float32)}, 16)
    with pytest.raises(UnsupportedModelError, match=message):
        import_onnx(save(proto, tmp_path / "m.onnx"))


def test_a_grid_that_is_computed_is_refused_in_a_sentence(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMean", "x", "m", axes=[1], keepdims=0),
        node("Unsqueeze", "m a", "u"),
        node("Concat", "u u", "g", axis=3),
        node("GridSample", "x g", "z"),
        node("Flatten", "z", "y"),
    ]
    proto = model(nodes, (1, 1, 4, 4), {"a": np.array([3])}, 16)
    with pytest.raises(UnsupportedModelError, match="its grid is not a constant"):
        import_onnx(save(proto, tmp_path / "m.onnx"))


def test_places_of_a_grid_are_those_of_its_definition() -> None:
    axis = GridAxis.of(np.array([-1, 0, 1], np.float32), 4, aligned=False)
    assert axis.at.tolist() == [-0.5, 1.5, 3.5]
    assert GridAxis.of(np.array([-1, 0, 1], np.float32), 4, aligned=True).at.tolist() == [0, 1.5, 3]
    assert axis.pixels(np.array([-2, -1, 0, 3, 4, 5]), "reflection").tolist() == [1, 0, 0, 3, 3, 2]
