"""Entries repeated, regrouped, masked and interpolated mean what onnxruntime computes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import NodeProto

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.reader import import_onnx
from evaluators.propagation.intervals import interval_bounds
from tests.evaluators.test_operators import check
from tests.fixtures.onnx_models import Array, integers, model, node, numbers, save

SCALES = np.array([1, 1, 2, 4], dtype=np.float32)
PADS = integers(0, 0, 1, 2, 0, 0, 2, 1)


def resized(scales: tuple[float, ...] = (1, 1, 2, 1.5), **attributes: Any) -> Any:
    constants = {"s": np.array(scales, dtype=np.float32)}
    return node("Resize", "x - s", "z", **attributes), constants


def cases() -> dict[str, tuple[NodeProto, dict[str, Array]]]:
    half = {"p": PADS, "v": np.array(0.5, dtype=np.float32)}
    mask = numbers(4, 3, 4) > 0
    corners = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    return {
        "expanded": (node("Expand", "x s", "z"), {"s": integers(2, 4, 3, 4)[1:]}),
        "tiled": (node("Tile", "x r", "z"), {"r": integers(1, 2, 1, 3)}),
        "depth to space": (node("DepthToSpace", "x", "z", blocksize=2), {}),
        "depth to space, columns first": (
            node("DepthToSpace", "x", "z", blocksize=2, mode="CRD"), {},
        ),
        "masked by a constant": (
            node("Where", "m x c", "z"), {"m": mask, "c": numbers(4, 1, 4, seed=2)},
        ),
        "one of two branches": (node("Where", "m x x", "z"), {"m": mask[:1]}),
        "padded with a half": (node("Pad", "x p v", "z"), half),
        **{
            f"padded by {mode}": (node("Pad", "x p", "z", mode=mode), {"p": PADS})
            for mode in ("reflect", "edge", "wrap")
        },
        **{
            f"nearest, {corner}": resized(coordinate_transformation_mode=corner)
            for corner in (*corners, "tf_half_pixel_for_nn")
        },
        **{
            f"linear, {corner}": resized(
                (1, 1, 2, 4), mode="linear", coordinate_transformation_mode=corner
            )
            for corner in corners
            if corner != "align_corners"
        },
        "linear, align_corners": (
            node("Resize", "x - - n", "z", mode="linear",
                 coordinate_transformation_mode="align_corners"),
            {"n": integers(1, 4, 5, 7)},
        ),
        **{
            f"cubic, {corner}, {bend}": resized(
                (1, 1, 2, 4),
                mode="cubic",
                coordinate_transformation_mode=corner,
                cubic_coeff_a=bend,
            )
            for corner in ("half_pixel", "asymmetric", "pytorch_half_pixel")
            for bend in (-0.75, -0.5)
        },
        **{
            f"{mode} against aliases, {name}": resized(
                scales, mode=mode, antialias=1, exclude_outside=1, cubic_coeff_a=-0.5
            )
            for mode in ("linear", "cubic")
            for name, scales in {
                "much smaller": (1, 1, 0.4, 0.25),
                "one smaller, one larger": (1, 1, 2, 0.75),
            }.items()
        },
        "smaller": resized((1, 1, 0.5, 0.5), mode="linear"),
        "linear at thirds": resized((1, 1, 3, 3), mode="linear"),
        "linear at what a rounded scale finds": resized(
            (1, 1, 1, 1 / 3), mode="linear", coordinate_transformation_mode="asymmetric"
        ),
        "linear between corners": (
            node(
                "Resize", "x - - n", "z", mode="linear",
                coordinate_transformation_mode="align_corners",
            ),
            {"n": integers(1, 4, 7, 11)},
        ),
        "cubic at thirds": resized((1, 1, 3, 3), mode="cubic"),
        "to a size": (node("Resize", "x - - n", "z"), {"n": integers(1, 4, 5, 7)}),
        **{
            f"nearest by {mode}": resized(mode="nearest", nearest_mode=mode)
            for mode in ("floor", "ceil", "round_prefer_ceil")
        },
    }  # fmt: skip


@pytest.mark.parametrize("name", cases())
def test_copies_are_read_as_they_are_computed(tmp_path: Path, name: str) -> None:
    operator, constants = cases()[name]
    check(tmp_path, (4, 3, 4), [operator], constants, opset=19)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset", [8, 9])
def test_upsample_is_read_as_it_is_computed(tmp_path: Path, opset: int, mode: str) -> None:
    operator, constants = node("Upsample", "x s", "z", mode=mode), {"s": SCALES}
    if opset < 9:
        operator, constants = node("Upsample", "x", "z", mode=mode, scales=SCALES.tolist()), {}
    check(tmp_path, (2, 3, 4), [operator], constants, opset)


def test_upsample_is_refused_where_onnx_has_it_no_more(tmp_path: Path) -> None:
    operator = node("Upsample", "x s", "z")
    proto = model([operator, node("Flatten", "z", "y")], (1, 2, 3, 4), {"s": SCALES}, 10)
    with pytest.raises(UnsupportedModelError):
        import_onnx(save(proto, tmp_path / "m.onnx"))


def test_space_becomes_depth(tmp_path: Path) -> None:
    check(tmp_path, (3, 4, 6), [node("SpaceToDepth", "x", "z", blocksize=2)])


REPEATED = {
    "Expand": (node("Expand", "x s", "z"), {"s": integers(2, 4, 3, 4)}, "repeats the batch"),
    "Tile": (node("Tile", "x s", "z"), {"s": integers(2, 1, 1, 1)}, "its repeats are"),
    "Resize": (*resized((2, 1, 1, 1)), "changes the batch"),
}


@pytest.mark.parametrize("kind", REPEATED)
def test_a_batch_that_is_repeated_is_refused(tmp_path: Path, kind: str) -> None:
    operator, constants, message = REPEATED[kind]
    proto = model([operator, node("Flatten", "z", "y")], (1, 4, 3, 4), constants, 17)
    with pytest.raises(UnsupportedModelError, match=message):
        import_onnx(save(proto, tmp_path / "m.onnx"))


ROUNDED = {
    "cubic with a bend of many digits": (
        *resized((1, 1, 1, 2), mode="cubic", cubic_coeff_a=-0.7),
        "not exact in float32",
    ),
    "wider, with what lies outside": (
        *resized((1, 1, 1, 0.5), mode="linear", antialias=1),
        "antialias 1 without exclude_outside",
    ),
    "not wider, without what lies outside": (
        *resized((1, 1, 1, 2), mode="cubic", exclude_outside=1),
        "exclude_outside 1 without anti",
    ),
    "nearest where a step may be missed": (
        *resized(
            (1, 1, 1, 1 / 3), coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        ),
        "lies between two entries",
    ),
}


@pytest.mark.parametrize("kind", ROUNDED)
def test_places_that_a_runtime_would_round_are_refused(tmp_path: Path, kind: str) -> None:
    """A share that is nothing in exact arithmetic may be something in float32, times any value."""
    operator, constants, message = ROUNDED[kind]
    proto = model([operator, node("Flatten", "z", "y")], (1, 4, 3, 9), constants, 19)
    with pytest.raises(UnsupportedModelError, match=message):
        import_onnx(save(proto, tmp_path / "m.onnx"))


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_what_a_run_makes_of_shares_against_aliases_is_bounded(tmp_path: Path, mode: str) -> None:
    """A run's shares are off by several roundings, times values that cancel in the sum."""
    operator, constants = resized((1, 1, 0.3, 0.6), mode=mode, antialias=1, exclude_outside=1)
    network = check(tmp_path, (1, 10, 10), [operator], constants, opset=19)
    assert network.runtime is not None
    for seed in range(20):
        x = np.sign(numbers(1, 10, 10, seed=seed)) * np.float32(5000)
        point = torch.from_numpy(x)[None].double()
        *_, (lower, upper) = interval_bounds(network, point, point, deployed=True)
        run = torch.from_numpy(network.runtime(x)).double()
        assert bool(((lower <= run) & (run <= upper)).all())
        # 0.06 of the largest value: nine or more shares, each off by less than 2^-9.
        assert bool((upper - lower <= 0.06 * 5000).all())


def test_branches_are_repeated_to_each_others_shape(tmp_path: Path) -> None:
    nodes = [node("ReduceMean", "x", "m", axes=[-1]), node("Sub", "x m", "z")]
    check(tmp_path, (4, 6), nodes)


def test_a_batch_of_minus_one_is_free(tmp_path: Path) -> None:
    check(tmp_path, (6,), [node("Relu", "x", "r"), node("Identity", "r", "z")], batch=-1)
