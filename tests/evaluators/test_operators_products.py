"""Products of branches, and what is made of them: read as onnxruntime runs them, and bounded."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import NodeProto

from evaluators.deterministic.crown import CROWN
from evaluators.deterministic.ibp import IBP
from evaluators.listing import catalogue
from evaluators.network.elementwise import LeakyReLU, Sigmoid
from evaluators.network.network import Network, Product
from evaluators.network.smooth import Smooth
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.reader import import_onnx
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from tests.fixtures.effort import first_alone
from tests.fixtures.methods import quick_first
from tests.fixtures.networks import Graph
from tests.fixtures.onnx_models import Array, Dims, model, node, numbers, save
from tests.fixtures.tiny import ask, centers, least_margins, points_of

METHODS = {name: e for name, e in catalogue().items() if e.accepts is Network and e.certifies}
TAKE_PRODUCTS = ("ibp", "crown-ibp", "crown", "cnn-cert", "zonotope", "alpha-crown")
Case = tuple[list[NodeProto], dict[str, Array], int]


def gated(seed: int) -> Network:
    """A gate, and a square as a product with itself."""
    graph = Graph((2,), seed)

    def layer() -> None:
        (inputs,) = graph.nodes[-1].shape
        weight = (2 * graph.random(4, inputs)).float().double()
        graph.dense(4, weight, graph.random(4).float().double())

    layer()
    open_ = graph.add(Smooth("Swish", (1.0,)) if seed % 2 else LeakyReLU(), (4,))
    layer()
    gate = graph.add(Sigmoid(), (4,))
    product = graph.add(Product(), (4,), (open_, gate))
    graph.add(Product(), (4,), (product, product))
    weight = (3 * graph.random(2, 4)).float().double()
    graph.dense(2, weight, graph.random(2).float().double())
    return graph.network()


@pytest.mark.parametrize("norm", first_alone([Norm.LINF, Norm.L2, Norm.L1]))
@pytest.mark.parametrize("name", quick_first(METHODS))
def test_every_method_bounds_products_rightly_or_says_that_it_cannot(name: str, norm: Norm) -> None:
    certified, notes = 0, set[str]()
    # Of α-CROWN few steps for one example, for time.
    few = {"steps": 2, "intermediate_steps": 1} if name == "alpha-crown" else {}
    first = 2 if few else 0
    for seed in range(2):
        network = gated(seed)
        for radius in (Fraction(1, 500), Fraction(1, 8), Fraction(1)):
            region = Ball(norm, radius)
            problem = ask(network, centers(network, seed, 3)[first:], region)
            for row, verdict in enumerate(METHODS[name](**few)(problem)):
                points = points_of(region, problem.x[row], 15)
                least = float(least_margins(network, points, int(problem.labels[row])).min())
                assert verdict.margin is None or verdict.margin <= least + 1e-7
                assert least > 0 or verdict.status is not Status.CERTIFIED
                certified += verdict.status is Status.CERTIFIED
                notes.add(verdict.note)
    said = ("unsupported", "bound")
    assert certified or all(note.startswith(said) for note in notes), notes
    assert certified or name not in TAKE_PRODUCTS


ONE = {"s": numbers(4), "b": numbers(4, seed=1)}
CHANNELS = {"s": numbers(2), "b": numbers(2, seed=1)}
PLANE = (2, 3, 4)
OPERATORS: dict[str, Case] = {
    "Mul": ([node("Sigmoid", "x", "g"), node("Mul", "x g", "z")], {}, 17),
    "Mul that broadcasts": (
        [node("ReduceMean", "x", "g", axes=[-1]), node("Mul", "g x", "z")], {}, 17,
    ),
    "Div": ([node("Exp", "x", "g"), node("Div", "x g", "z")], {}, 17),
    "Div of a constant": ([node("Exp", "x", "g"), node("Div", "s g", "z")], ONE, 17),
    "MatMul": (
        [node("Transpose", "x", "t", perm=[0, 1, 3, 2]), node("MatMul", "x t", "z")], {}, 17,
    ),
    "attention": (
        [
            *(node("MatMul", f"x {name}", f"{name}x") for name in "qkv"),
            node("Transpose", "kx", "kt", perm=[0, 1, 3, 2]),
            node("Div", "eight two", "scale"),
            node("Pow", "scale minus", "share"),
            node("MatMul", "qx kt", "scores"),
            node("Mul", "scores share", "scaled"),
            node("Softmax", "scaled", "weights"),
            node("MatMul", "weights vx", "mixed"),
            node("Add", "x mixed", "sum"),
            node("LayerNormalization", "sum s b", "z"),
        ],
        {
            **ONE, **{name: numbers(4, 4, seed=at) for at, name in enumerate("qkv")},
            "eight": np.array(8, "f4"), "two": np.array(2, "f4"), "minus": np.array(-0.5, "f4"),
        },
        17,
    ),
    "Softmax": ([node("Softmax", "x", "z")], {}, 17),
    "Softmax of channels": ([node("Softmax", "x", "z", axis=1)], {}, 17),
    "LogSoftmax": ([node("LogSoftmax", "x", "z", axis=-2)], {}, 17),
    "LayerNormalization": ([node("LayerNormalization", "x s b", "z", epsilon=0.1)], ONE, 17),
    "LayerNormalization of all": (
        [node("LayerNormalization", "x s", "z", axis=1)], {"s": numbers(*PLANE)}, 17,
    ),
    "RMSNormalization": ([node("RMSNormalization", "x s", "z")], {"s": numbers(4)}, 23),
    "LRN": ([node("LRN", "x", "z", size=3, alpha=2.0, beta=0.5, bias=0.5)], {}, 17),
    "InstanceNormalization": ([node("InstanceNormalization", "x s b", "z")], CHANNELS, 17),
    "GroupNormalization": (
        [node("GroupNormalization", "x s b", "z", num_groups=1)], CHANNELS, 21,
    ),
}  # fmt: skip


def read(case: str, folder: Path) -> Network:
    nodes, constants, opset = OPERATORS[case]
    nodes = [*nodes, node("Flatten", "z", "f"), node("MatMul", "f w", "y")]
    dims: Dims = ("batch", *PLANE)
    width = 18 if case == "MatMul" else 24
    weight = {"w": numbers(width, 3, seed=9)}
    return import_onnx(save(model(nodes, dims, {**constants, **weight}, opset), folder / "m.onnx"))


def test_a_whole_row_is_normalised_without_a_batch_of_channels(tmp_path: Path) -> None:
    nodes = [node("LayerNormalization", "x s b", "z"), node("MatMul", "z w", "y")]
    known = {**ONE, "w": numbers(4, 3, seed=9)}
    network = import_onnx(save(model(nodes, ("batch", 4), known, 17), tmp_path / "m.onnx"))
    x = torch.tensor([[0.1, 0.9, 0.4, 0.7]])
    problem = Problem(network, x, network(x.double()).argmax(1), Ball(Norm.L2, Fraction(1, 1000)))
    for name in ("ibp", "crown-ibp", "crown", "alpha-crown", "zonotope"):
        assert METHODS[name]()(problem)[0].status is Status.CERTIFIED, name


@pytest.mark.parametrize("case", OPERATORS)
def test_it_is_read_as_it_is_run_and_bounded(case: str, tmp_path: Path) -> None:
    network = read(case, tmp_path)
    x = torch.rand(6, *PLANE, generator=torch.Generator().manual_seed(0))
    assert network.runtime is not None
    theirs = np.concatenate([network.runtime(row[None].numpy()) for row in x])
    np.testing.assert_allclose(network(x.double()).numpy(), theirs, rtol=1e-4, atol=1e-4)
    labels, certified = network(x.double()).argmax(1), 0
    noise = torch.rand(200, 1, *PLANE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for radius in (Fraction(1, 10_000), Fraction(1, 100)):
        near = (x + (noise + noise.sign()).clamp(-1, 1) * float(radius)).clamp(0, 1)
        logits = network(near.flatten(0, 1).double()).reshape(200, 6, 3)
        best = logits.gather(2, labels.expand(200, 6)[..., None])
        others = logits.scatter(2, labels.expand(200, 6)[..., None], -torch.inf).amax(2)
        least = (best[..., 0] - others).amin(0)
        for method in (IBP(), CROWN()):
            problem = Problem(network, x, labels, Ball(Norm.LINF, radius))
            for row, verdict in enumerate(method(problem)):
                assert verdict.margin is None or verdict.margin <= float(least[row])
                certified += verdict.status is Status.CERTIFIED
    assert certified > 6


@pytest.mark.parametrize(
    ("kind", "rows", "opset"),
    [("GroupNormalization", (6, 4), 21), ("InstanceNormalization", (6, 2, 2), 17)],
)
def test_rows_that_share_a_batch_are_normalised_each_by_itself(
    kind: str, rows: tuple[int, ...], opset: int, tmp_path: Path
) -> None:
    """As exporters write a group norm of tokens."""
    groups = {"num_groups": 2} if kind == "GroupNormalization" else {}
    nodes = [
        node("Reshape", "x rows", "r"), node(kind, "r s b", "n", **groups),
        node("Reshape", "n back", "f"), node("MatMul", "f w", "y"),
    ]  # fmt: skip
    constants: dict[str, Array] = {
        "rows": np.array(rows), "back": np.array([1, 24]), "w": numbers(24, 3, seed=9),
        "s": numbers(rows[1]), "b": numbers(rows[1], seed=1),
    }  # fmt: skip
    path = save(model(nodes, (1, *PLANE), constants, opset), tmp_path / "m.onnx")
    network = import_onnx(path)
    x = np.random.default_rng(0).random((4, *PLANE)).astype(np.float32)
    assert network.runtime is not None
    theirs = np.concatenate([network.runtime(row[None]) for row in x])
    ours = network(torch.from_numpy(x).double()).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_weight_over_the_norm_that_it_is_divided_by_is_read(tmp_path: Path) -> None:
    """As exporters write spectral normalisation: a vector times a vector, and a matrix over it."""
    nodes = [
        node("MatMul", "w v", "wv"), node("MatMul", "u wv", "sigma"),
        node("Div", "w sigma", "small"), node("Gemm", "x small b", "y", transB=1),
    ]  # fmt: skip
    constants = {"w": numbers(3, 4), "v": numbers(4), "u": numbers(3), "b": numbers(3, seed=2)}
    network = import_onnx(save(model(nodes, ("batch", 4), constants, 17), tmp_path / "m.onnx"))
    x = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
    weight = constants["w"] / (constants["u"] @ constants["w"] @ constants["v"])
    known = x.double().numpy() @ weight.T + constants["b"]
    np.testing.assert_allclose(network(x.double()).numpy(), known, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [({"size": 2}, "it sums 2 channels"), ({"size": 3, "bias": -1.0}, "bias")],
)
def test_a_response_that_is_not_defined_everywhere_is_refused(
    attributes: dict[str, float], said: str, tmp_path: Path
) -> None:
    nodes = [node("LRN", "x", "z", **attributes), node("Flatten", "z", "y")]
    with pytest.raises(UnsupportedModelError, match=said):
        import_onnx(save(model(nodes, ("batch", *PLANE), {}, 17), tmp_path / "m.onnx"))


def test_a_division_by_what_may_be_zero_is_unknown(tmp_path: Path) -> None:
    nodes = [node("Div", "x g", "z"), node("Flatten", "z", "y")]
    nodes.insert(0, node("Sub", "x half", "g"))
    constants = {"half": np.full(1, 0.25, np.float32)}
    network = import_onnx(save(model(nodes, ("batch", 2), constants, 17), tmp_path / "m.onnx"))
    x = torch.tensor([[0.5, 0.9]])
    for radius, known in ((Fraction(1, 100), True), (Fraction(1, 4), False)):
        problem = Problem(network, x, torch.zeros(1, dtype=torch.long), Ball(Norm.LINF, radius))
        for verdict in CROWN()(problem):
            assert verdict.status is (Status.CERTIFIED if known else Status.UNKNOWN)
            assert known or verdict.note == "bound not finite"


def test_a_softmax_whose_float32_run_may_vanish_is_unknown(tmp_path: Path) -> None:
    """From 2^83 on nothing is proved of exp(x_j - x_i), whose inverse a run may flush to zero."""
    nodes = [node("Mul", "x far", "h"), node("Softmax", "h", "s"), node("Log", "s", "y")]
    constants = {"far": np.array([[60.0, 0.0]], np.float32)}
    network = import_onnx(save(model(nodes, ("batch", 2), constants, 17), tmp_path / "m.onnx"))
    problem = Problem(
        network, torch.full((1, 2), 0.5), torch.zeros(1).long(), Ball(Norm.LINF, Fraction(1, 2))
    )
    assert all(verdict.status is Status.UNKNOWN for verdict in CROWN()(problem))


def test_matrices_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x x", "z"), node("Flatten", "z", "y")]
    with pytest.raises(UnsupportedModelError, match="it multiplies matrices of shapes"):
        import_onnx(save(model(nodes, ("batch", 2, 3), {}, 17), tmp_path / "m.onnx"))
