"""The public face: its names are there, typed and documented, and do what the README shows."""

import ast
import inspect
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import evaluators
from evaluators import (
    Ball,
    Box,
    Norm,
    Problem,
    Status,
    bound,
    catalogue,
    certify,
    import_module,
    import_onnx,
)
from evaluators import extend as door
from evaluators.ask import ModelLike
from evaluators.network.affine import Dense
from evaluators.network.network import apply
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.file import bytes_of
from evaluators.onnx.module import export_module
from tests.fixtures.effort import only
from tests.fixtures.guides import blocks
from tests.fixtures.onnx_models import classifier


def imports(tree: ast.AST) -> dict[str, str]:
    """The names that a text imports from packages, with their modules."""
    return {
        alias.asname or alias.name: str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_every_public_name_is_imported_from_where_its_type_is_known() -> None:
    (block,) = (
        node for node in ast.parse(inspect.getsource(evaluators)).body if isinstance(node, ast.If)
    )
    typed = imports(block)
    assert sorted(evaluators.__all__) == sorted(typed) == sorted(set(dir(evaluators)))
    for name, module in typed.items():
        value = getattr(evaluators, name)
        assert value is getattr(sys.modules[module], name)
        assert value.__module__ == module, "a name has one home"


@pytest.mark.parametrize("package", [evaluators, door], ids=["evaluators", "extend"])
def test_every_public_name_is_documented(package: ModuleType) -> None:
    names: list[str] = vars(package)["__all__"]
    assert names == sorted(names)
    for name in names:
        text = inspect.getdoc(getattr(package, name)) or ""
        assert len(text.split()) > 2, name
        assert not text.startswith(f"{name}("), f"{name} has only what dataclasses write"


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'prove'"):
        evaluators.__getattr__("prove")


def test_who_needs_a_part_does_not_wait_for_pytorch() -> None:
    text = (
        "import sys, evaluators\n"
        "evaluators.recheck_certificate, evaluators.Norm\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", text], check=True, timeout=120)


@pytest.mark.slow
def test_who_asks_for_bounds_does_not_wait_for_sparse_matrices() -> None:
    text = (
        "import sys, evaluators\n"
        "evaluators.bound, evaluators.import_onnx\n"
        "assert not {'scipy.sparse', 'scipy.special', 'pandas'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", text], check=True, timeout=120)


def test_what_is_shown_imports_the_face_alone() -> None:
    """But for rooms of the leaderboard, where a page says how it is extended."""
    modules = {
        module for block in blocks("python") for module in imports(ast.parse(block.text)).values()
    }
    used = {module for module in modules if module.split(".")[0] == "evaluators"}
    assert used == {"evaluators", "evaluators.extend"}


@pytest.mark.parametrize("page", ["README", "library"])
def test_what_is_shown_of_the_library_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = nn.Sequential(nn.Flatten(), nn.Linear(784, 3)).eval()
    (tmp_path / "model.onnx").write_bytes(export_module(digits, torch.rand(1, 1, 28, 28)))
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for block in blocks("python"):
        if block.page.stem == page:
            exec(compile(block.text, block.page, "exec"), namespace)
    assert {type(verdict) for verdict in namespace["verdicts"]} == {evaluators.Verdict}
    assert bool((namespace["lower"] <= namespace["upper"]).all())


# Questions in a line


def test_a_path_a_module_and_a_network_get_the_same_answers(tmp_path: Path) -> None:
    module, x = net().eval(), torch.full((2, 1, 4, 4), 0.5)
    path = tmp_path / "model.onnx"
    path.write_bytes(export_module(module, x[:1]))
    labels = module(x).argmax(1)
    asked: list[ModelLike] = [path, str(path), module, import_module(module, (1, 4, 4))]
    logits = [bound(model, x, "1/100").logits.lower for model in asked]
    margins = [[v.margin for v in certify(model, x, labels, "1/100")] for model in asked]
    assert all(torch.equal(one, logits[0]) for one in logits)
    assert all(one == margins[0] for one in margins)
    problem = Problem(import_module(module, (1, 4, 4)), x, labels, Ball(Norm.L2, Fraction(1, 9)))
    (first, second) = certify(path, x.numpy(), labels.tolist(), Fraction(1, 9), "l2", "crown")
    assert [first.margin, second.margin] == [v.margin for v in catalogue()["crown"]()(problem)]


def test_a_files_bytes_and_its_parsed_model_are_read_as_its_path(tmp_path: Path) -> None:
    path = classifier(tmp_path / "model.onnx")
    data, x = path.read_bytes(), torch.full((1, 3, 2, 2), 0.5)
    wanted = bound(str(path), x, "1/8").logits
    for given in (data, onnx.load_model_from_string(data)):
        assert import_onnx(given).input_shape == (3, 2, 2)
        found = bound(given, x, "1/8").logits
        assert torch.equal(found.lower, wanted.lower)
        assert torch.equal(found.upper, wanted.upper)


def test_what_is_no_onnx_file_is_told_in_one_sentence() -> None:
    for wrong in (nn.Linear(2, 2), None, 3):
        with pytest.raises(TypeError, match=r"path or the bytes of an ONNX file.*import_module"):
            inspect.unwrap(bytes_of)(wrong)
    with pytest.raises(UnsupportedModelError, match="the file is empty"):
        import_onnx(b"")


def test_a_radius_that_is_no_exact_number_is_refused() -> None:
    module, x = net(), torch.full((1, 1, 4, 4), 0.5)
    with pytest.raises(TypeError, match=r'the float 0.1 is 3602879701896397/.*write "0.1"'):
        bound(module, x, 0.1)
    with pytest.raises(TypeError, match=r"must be float32, not torch\.float64"):
        bound(module, x.double(), "1/10")
    with pytest.raises(ValueError, match="No norm is called 'linfty', only"):
        bound(module, x, "1/10", "linfty")
    with pytest.raises(ValueError, match="Did you mean 'crown'"):
        certify(module, x, [0], "1/10", method="crwn")


@pytest.mark.parametrize("labels", [[1.9], np.array([1.9]), [True], torch.tensor([1.0])])
def test_labels_that_are_no_whole_numbers_are_refused(labels: Any) -> None:
    with pytest.raises(TypeError, match="Labels must be whole numbers"):
        inspect.unwrap(certify)(net(), torch.full((1, 1, 4, 4), 0.5), labels, "1/10")


def test_whole_numbers_of_numpy_are_exact_and_its_floats_are_not() -> None:
    module, x, ask = net(), torch.full((1, 1, 4, 4), 0.5), inspect.unwrap(bound)
    first, other = (ask(module, x, radius, method="ibp").logits for radius in (1, np.int64(1)))
    assert torch.equal(first.lower, other.lower)
    with pytest.raises(TypeError, match=r"must be exact, such as .*, not a float32"):
        ask(module, x, np.float32(0.1))


def test_pixels_up_to_255_are_refused_with_the_limits_of_a_ball() -> None:
    x = torch.full((2, 1, 4, 4), 0.5)
    x[1] *= 255
    with pytest.raises(ValueError, match=r"^1 of 2 examples .* for a ball are \[0, 1\]"):
        bound(net(), x, "1/10")
    with pytest.raises(ValueError, match="no example"):
        bound(net(), x[:0], "1/10")


def test_a_verdict_is_one_short_line() -> None:
    module, x = net(), torch.zeros(1, 1, 4, 4)
    wrong = int(module(x).argmin())
    (verdict,) = certify(module, x, [wrong], "1/10")
    assert verdict.witness is not None
    assert len(repr(verdict)) < 200
    assert repr(verdict).startswith("Verdict(falsified, prediction=")


def test_the_debug_variable_shows_the_exception_of_a_method(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, x = net(), torch.zeros(1, 1, 4, 4)
    label = [int(module(x).argmax())]
    crown = catalogue()["crown"]
    monkeypatch.setattr(crown, "solve", lambda self, problem: 1 // 0)
    (verdict,) = certify(module, x, label, "1/10", method="crown")
    assert verdict.status is Status.UNKNOWN
    assert "ZeroDivisionError" in verdict.note
    monkeypatch.setenv("CERTBOARD_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        certify(module, x, label, "1/10", method="crown")


# Bounds


def net() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 6), nn.Tanh(), nn.Linear(6, 3)
    )


REGIONS = [
    *(Ball(norm, Fraction(1, 10)) for norm in Norm),
    Box(torch.full((3, 1, 4, 4), 0.4).double(), torch.full((3, 1, 4, 4), 0.6).double()),
]


@pytest.mark.parametrize("method", ["ibp", "crown-ibp", "crown"])
@pytest.mark.parametrize(
    "region", only(REGIONS, (REGIONS[0], REGIONS[-1])), ids=lambda region: type(region).__name__
)
def test_bounds_contain_every_layer_of_every_input(region: Ball | Box, method: str) -> None:
    network, x = import_module(net(), (1, 4, 4)), torch.full((3, 1, 4, 4), 0.5)
    found = bound(network, x, region, method=method)
    assert len(found.layers) == len(network.nodes)
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        points = x + (torch.rand(x.shape, generator=generator) - 0.5) * 0.2
        rows = [row for row in range(3) if region.select([row]).contains(x[row], points[row])]
        values = all_values(network.to(torch.float64), points.double())
        for (lower, upper), value in zip(found.layers.values(), values, strict=True):
            assert bool((lower[rows] <= value[rows]).all())
            assert bool((value[rows] <= upper[rows]).all())


def all_values(network: evaluators.Network, x: torch.Tensor) -> list[torch.Tensor]:
    """The result of every node."""
    values = [x]
    for node in network.nodes[1:]:
        values.append(apply(node.operation, [values[parent] for parent in node.parents]))
    return values


def test_bounds_of_linear_layers_are_exact_but_for_rounding() -> None:
    network = import_module(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (1, 2, 2))
    x = torch.full((1, 1, 2, 2), 0.5)
    (lower, upper) = bound(network, x, Ball(Norm.LINF, Fraction(1, 4)), deployed=False).logits
    center = network.to(torch.float64)(x.double())
    last = network.to(torch.float64).nodes[-1].operation
    assert isinstance(last, Dense)
    spread = last.weight.abs().sum(1) / 4
    assert torch.allclose(lower, center - spread, rtol=0, atol=1e-12)
    assert torch.allclose(upper, center + spread, rtol=0, atol=1e-12)


def test_crown_is_no_looser_than_intervals_and_tighter_somewhere() -> None:
    network, x = import_module(net(), (1, 4, 4)), torch.full((3, 1, 4, 4), 0.5)
    region, widths = Ball(Norm.LINF, Fraction(1, 10)), []
    for method in ("ibp", "crown-ibp", "crown"):
        lower, upper = bound(network, x, region, method=method).logits
        widths.append(float((upper - lower).sum()))
    assert widths == sorted(widths, reverse=True)
    assert widths[2] < 0.9 * widths[0]


def test_bounds_are_those_that_certify() -> None:
    network, x = import_module(net(), (1, 4, 4)), torch.full((1, 1, 4, 4), 0.5)
    label = network.to(torch.float32)(x).argmax(1)
    region = Ball(Norm.LINF, Fraction(1, 1000))
    lower, upper = bound(network, x, region).logits
    others = upper.scatter(1, label[:, None], -torch.inf).amax(1)
    assert bool(lower[0, label[0]] > others)
    (verdict,) = catalogue()["crown"]()(Problem(network, x, label, region))
    assert verdict.status is Status.CERTIFIED
    assert verdict.margin is not None
    assert verdict.margin >= float(lower[0, label[0]] - others) - 1e-9


def test_bounds_of_a_batch_are_those_of_each_example() -> None:
    network, region = import_module(net(), (1, 4, 4)), Ball(Norm.L2, Fraction(1, 5))
    x = torch.rand(70, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    whole = bound(network, x, region).logits
    for row in (0, 66):
        alone = bound(network, x[row : row + 1], region).logits
        assert torch.allclose(whole.lower[row], alone.lower[0], rtol=1e-12, atol=1e-12)


def test_what_cannot_be_bounded_is_refused_with_a_reason() -> None:
    network, x = import_module(net(), (1, 4, 4)), torch.full((1, 1, 4, 4), 0.5)
    ball = Ball(Norm.LINF, Fraction(1, 10))
    with pytest.raises(ValueError, match="'crwon', only ibp, crown-ibp, crown"):
        bound(network, x, ball, method="crwon")
    for strange in (x * torch.nan, x + 2, x[:0]):
        with pytest.raises(ValueError, match="example"):
            bound(network, strange, ball)


# Modules


def test_a_module_is_read_as_it_answers_in_evaluation_and_left_as_it_is() -> None:
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout()
    )
    module.append(nn.Linear(5, 2))
    assert module.training
    before = {name: value.clone() for name, value in module.state_dict().items()}
    network, x = import_module(module, (1, 2, 2)), torch.rand(6, 1, 2, 2)
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    with torch.no_grad():
        expected = module.eval()(x)
    assert torch.allclose(network.to(torch.float32)(x), expected, atol=1e-5)


class Drawing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) + torch.rand(x.shape[0], 4)


class Branching(nn.Module):
    """A batch takes another branch than the one input that is exported."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) * (2 if len(x) > 1 else 1)


class Determinant(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = torch.linalg.det(x)
        return logits


class Scalar(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum()


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2).double()), "'1.weight' is torch.float64"),
        (nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), r"fails on images of shape \(16, 1, 2, 2\)"),
        (Determinant(), "Det"),
        (Drawing(), "random|differ"),
        (Branching(), "logits differ from the module's"),
        (Scalar(), "one row of logits for each image"),
    ],
)
def test_a_module_that_is_no_such_network_is_refused(module: nn.Module, reason: str) -> None:
    with pytest.raises(UnsupportedModelError, match=reason):
        import_module(module, (1, 2, 2))


def test_a_certificate_is_rechecked_against_its_file(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    path = tmp_path / "model.onnx"
    path.write_bytes(export_module(module.eval(), torch.rand(1, 1, 2, 2)))
    network, x = evaluators.import_onnx(path), torch.full((1, 1, 2, 2), 0.5)
    labels = network.to(torch.float32)(x).argmax(1)
    region = Ball(Norm.LINF, Fraction(1, 100))
    problem = Problem(network, x, labels, region, evidence=True, deployed=False)
    (verdict,) = catalogue()["branch-and-bound"]()(problem)
    assert verdict.certificate is not None
    assert evaluators.recheck_certificate(path, verdict.certificate).accepted
    path.write_bytes(export_module(nn.Sequential(*module, nn.Linear(2, 2)).eval(), x))
    assert not evaluators.recheck_certificate(path, verdict.certificate).accepted
