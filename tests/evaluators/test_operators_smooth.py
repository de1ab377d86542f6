"""Smooth operators of files: read with their numbers, compared, and bounded where defined."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from evaluators.deterministic.crown import CROWN
from evaluators.network.smooth import Smooth
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.reader import import_onnx
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.fixtures.onnx_models import Array, model, node, numbers, save

KINDS = (
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Sin", "Sinh", "Tan"),
    *("Celu", "Elu", "Erf", "Exp", "Gelu", "HardSwish", "Log", "Mish", "Pow", "Reciprocal"),
    *("Selu", "Softplus", "Softsign", "Sqrt", "Swish"),
)
OPSETS = {"Gelu": 20, "Mish": 18, "Swish": 24}
NUMBERS: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "Celu": ({"alpha": 0.5}, (0.5,)),
    "Elu": ({"alpha": 0.5}, (0.5,)),
    "Gelu": ({"approximate": "tanh"}, ("tanh",)),
    "Selu": ({"alpha": 0.25, "gamma": 0.5}, (0.25, 0.5)),
    "Swish": ({"alpha": 0.5}, (0.5,)),
}


def saved(path: Path, kind: str, more: dict[str, Array] | None = None, **attributes: Any) -> Path:
    """A network that applies an operator to positive numbers, in its domain on [0, 1]."""
    names = " ".join(("h", *(more or {})))
    nodes = [node("Gemm", "x a b", "h"), node(kind, names, "z", **attributes)]
    nodes += [node("Gemm", "z c", "y")]
    factor = 0.05 if kind in ("Acos", "Asin", "Atanh", "Tan") else 1.0
    shift = 1.5 if kind == "Acosh" else 0.5
    constants = {"a": np.abs(numbers(2, 3) * factor), "b": np.full(3, shift), **(more or {})}
    constants = {name: np.asarray(array, np.float32) for name, array in constants.items()}
    constants["c"] = numbers(3, 2, seed=2)
    return save(model(nodes, ("batch", 2), constants, OPSETS.get(kind, 17)), path / "model.onnx")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("default", [True, False])
def test_it_is_read_with_its_numbers(kind: str, default: bool, tmp_path: Path) -> None:
    more = {"e": np.array(2.0, np.float32)} if kind == "Pow" else None
    attributes, known = ({}, None) if default else NUMBERS.get(kind, ({}, None))
    path = saved(tmp_path, kind, more, **attributes)
    network = import_onnx(path)
    (function,) = [n.operation for n in network.nodes if isinstance(n.operation, Smooth)]
    assert function.kind == kind
    assert known is None or function.numbers == known
    x = np.random.default_rng(0).random((8, 2)).astype(np.float32)
    assert network.runtime is not None
    theirs = np.concatenate([network.runtime(row[None]) for row in x])
    np.testing.assert_allclose(network(torch.from_numpy(x).double()).numpy(), theirs, atol=1e-4)


@pytest.mark.parametrize("exponent", [0.0, 2.0**-11, 17.0, -17.0])
def test_other_exponents_are_refused(exponent: float, tmp_path: Path) -> None:
    path = saved(tmp_path, "Pow", {"e": np.array(exponent, np.float32)})
    with pytest.raises(UnsupportedModelError, match="its exponent is"):
        import_onnx(path)


def test_exponents_of_more_dimensions_than_the_value_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, "Pow", {"e": np.full((1, 1, 1, 3), 2, np.float32)})
    with pytest.raises(UnsupportedModelError, match="of 2 dimensions"):
        import_onnx(path)


@pytest.mark.parametrize("kind", ["Sqrt", "Log", "Reciprocal"])
def test_a_region_that_leaves_the_domain_is_unknown_never_certified(
    kind: str, tmp_path: Path
) -> None:
    network = import_onnx(saved(tmp_path, kind))
    x = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    labels = network(x.double()).argmax(1)
    small = CROWN()(Problem(network, x, labels, Ball(Norm.LINF, Fraction(1, 1000))))
    assert any(verdict.status is Status.CERTIFIED for verdict in small)
    # As if the entries could be anything: the offset is below what the region takes away.
    wide = import_onnx(_shifted(saved(tmp_path, kind)))
    for verdict in CROWN()(Problem(wide, x, labels, Ball(Norm.LINF, Fraction(1)))):
        assert verdict.status is Status.UNKNOWN
        assert verdict.note == "bound not finite"


def _shifted(path: Path) -> Path:
    proto = onnx.load(path)
    (bias,) = [each for each in proto.graph.initializer if each.name == "b"]
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(3, -1e-3, np.float32), "b"))
    return save(proto, path)
