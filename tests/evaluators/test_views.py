"""A file that averages over views of an image: the mean of what the network says of each."""

from fractions import Fraction
from pathlib import Path

import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from evaluators.learning.architectures import small_cnn
from evaluators.network.network import Network
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.reader import import_onnx
from evaluators.onnx.views import ImageView, average_views, views_within
from evaluators.onnx.writer import export_onnx
from evaluators.propagation.linear_bounds import interval_relaxation, margins
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball

VIEWS = views_within(1, mirrored=True)


def seen(x: Tensor, view: ImageView) -> Tensor:
    """Make a view by slices of an image in a black frame."""
    x = x.flip(3) if view.mirrored else x
    _, _, height, width = x.shape
    framed = F.pad(x, (1, 1, 1, 1))
    top, left = 1 - view.down, 1 - view.right
    return framed[:, :, top : top + height, left : left + width]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("views")
    network = small_cnn((1, 8, 8), 10, 0).learned()
    export_onnx(network, folder / "one.onnx")
    export_onnx(network, folder / "mean.onnx")
    average_views(folder / "mean.onnx", VIEWS)
    return folder


def test_views_are_the_image_its_moves_along_one_axis_and_their_mirror_images() -> None:
    assert len(VIEWS) == len(set(VIEWS)) == 10
    assert len(views_within(2, mirrored=False)) == 9
    assert VIEWS[0] == ImageView()
    assert all(abs(view.down) + abs(view.right) <= 1 for view in VIEWS)


def test_the_file_says_the_mean_of_the_logits_of_all_views(folder: Path) -> None:
    one, mean = (import_onnx(folder / name).to(torch.float32) for name in ("one.onnx", "mean.onnx"))
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = torch.stack([one(seen(x, view)) for view in VIEWS])
    torch.testing.assert_close(mean(x), logits.mean(0))
    # The views differ, and the mean is not that of the image alone.
    assert not torch.allclose(mean(x), one(x), atol=1e-4)


def test_views_share_weights_of_half_the_room(tmp_path: Path) -> None:
    network = small_cnn((1, 8, 8), 10, 0).learned()
    for name in ("one.onnx", "mean.onnx"):
        export_onnx(network, tmp_path / name, half=True)
    average_views(tmp_path / "mean.onnx", VIEWS)
    casts = [
        node for node in onnx.load(tmp_path / "mean.onnx").graph.node if node.op_type == "Cast"
    ]
    assert len(casts) == 4
    one, mean = (
        import_onnx(tmp_path / name).to(torch.float32) for name in ("one.onnx", "mean.onnx")
    )
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = torch.stack([one(seen(x, view)) for view in VIEWS])
    torch.testing.assert_close(mean(x), logits.mean(0))


def test_views_share_the_weights(folder: Path) -> None:
    sizes = [(folder / name).stat().st_size for name in ("one.onnx", "mean.onnx")]
    assert sizes[1] < sizes[0] + 10_000


def test_interval_margins_of_the_mean_are_no_looser_than_means_of_margins(folder: Path) -> None:
    one, mean = (import_onnx(folder / name) for name in ("one.onnx", "mean.onnx"))
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    labels = one.to(torch.float32)(x).argmax(1)
    ball = Ball(Norm.LINF, Fraction(1, 50))

    def least(network: Network, x: Tensor) -> Tensor:
        relaxed = interval_relaxation(Problem(network, x, labels, ball))
        return margins(relaxed, labels, to_input=False)

    # A view's frame is black whatever the image: a ball around the view allows more than happens.
    views = torch.stack([least(one, seen(x, view)) for view in VIEWS])
    # The least of a mean is at least the mean of the least, but for what rounding is charged.
    assert (least(mean, x) >= views.mean(0) - 1e-3).all()


def test_a_network_that_does_not_end_with_a_dense_layer_is_refused(tmp_path: Path) -> None:
    from onnx import helper

    export_onnx(small_cnn((1, 8, 8), 10, 0).learned(), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("Relu", ["before"], ["logits"], name="end"))
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(UnsupportedModelError, match="ends with a Gemm"):
        average_views(tmp_path / "net.onnx", VIEWS)
