"""MaxMin, GroupSort and distances, as files hold them, move by no more than their inputs."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from onnx import NodeProto

from evaluators.lipschitz.constants import Reach
from evaluators.lipschitz.passages import passages_of
from evaluators.network.network import Network, apply
from evaluators.onnx.reader import import_onnx
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from tests.fixtures.onnx_models import integers, model, node, numbers, save
from tests.fixtures.tiny import ask

HALVES = node("Split", "x", "a b", axis=1)
JOINED = node("Concat", "u v", "z", axis=1)
CONSTANTS = {"two": integers(2), "groups": integers(-1, 3, 2), "flat": integers(-1, 6)}


def network_of(nodes: list[NodeProto], folder: Path) -> Network:
    read = {name for each in nodes for name in each.input}
    constants = {name: value for name, value in CONSTANTS.items() if name in read}
    end = [node("Relu", "z", "r"), node("MatMul", "r w", "y")]
    proto = model([*nodes, *end], ("batch", 6), {**constants, "w": numbers(6, 3)}, 13)
    return import_onnx(save(proto, folder / "m.onnx"))


ONE: dict[str, list[NodeProto]] = {
    "MaxMin": [HALVES, node("Max", "a b", "u"), node("Min", "a b", "v"), JOINED],
    "MinMax of others": [HALVES, node("Min", "b a", "u"), node("Max", "a b", "v"), JOINED],
    "sorted pairs": [
        node("Reshape", "x groups", "g"), node("TopK", "g two", "s i", largest=0),
        node("Reshape", "s flat", "z"),
    ],
    "absolute values": [node("Abs", "x", "z")],
    "absolute values of ReLUs": [
        node("Neg", "x", "n"), node("Relu", "x", "a"), node("Relu", "n", "b"),
        node("Add", "a b", "z"),
    ],
    "halves that change places": [HALVES, node("Concat", "b a", "z", axis=1)],
}  # fmt: skip
MORE: dict[str, list[NodeProto]] = {
    "the larger twice": [HALVES, node("Max", "a b", "u"), node("Max", "b a", "v"), JOINED],
    "the larger and one of two": [
        HALVES, node("Max", "a b", "u"), node("Concat", "u a", "z", axis=1),
    ],
    "the larger and another smaller": [
        HALVES, node("Max", "a b", "u"), node("Neg", "b", "c"), node("Min", "a c", "v"), JOINED,
    ],
    "a half twice": [HALVES, node("Concat", "a a", "z", axis=1)],
    "the same ReLU twice": [
        node("Relu", "x", "a"), node("Relu", "x", "b"), node("Add", "a b", "z"),
    ],
    "a sum": [HALVES, node("Add", "a b", "u"), node("Concat", "u a", "z", axis=1)],
}  # fmt: skip


def constants(network: Network) -> list[float]:
    """Of the passages that begin at the input and end before the last ReLU."""
    last = len(network.nodes) - 3
    found = passages_of(network)
    return [p.constant for at, p in found.items() if p.start == 0 and at >= last - 2]


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("name", ONE)
def test_sorting_counts_one_in_every_norm(name: str, norm: Norm, tmp_path: Path) -> None:
    network = network_of(ONE[name], tmp_path)
    problem = ask(network, torch.full((1, 6), 0.5), Ball(norm, Fraction(1, 10)))
    reach = Reach.of(problem)
    (relu,) = [at for at, n in enumerate(network.nodes) if n.name == "r"]
    assert 0.1 <= float(reach.moved[relu]) < 0.1 * (1 + 1e-6)


def test_distances_of_linf_move_by_no_more_than_the_input(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", "x one", "g"), node("Sub", "g w", "d"), node("Neg", "d", "n"),
        node("Relu", "d", "a"), node("Relu", "n", "b"), node("Add", "a b", "s"),
        node("ReduceMax", "s", "y", axes=[2], keepdims=0),
    ]  # fmt: skip
    given = {"one": integers(-1, 1, 6), "w": numbers(1, 3, 6)}
    network = import_onnx(save(model(nodes, ("batch", 6), given, 13), tmp_path / "m.onnx"))
    reach = Reach.of(ask(network, torch.full((1, 6), 0.5), Ball(Norm.LINF, Fraction(1, 10))))
    assert 0.1 <= float(reach.moved[-1]) < 0.1 * (1 + 1e-6)


@pytest.mark.parametrize("name", MORE)
def test_what_only_looks_like_sorting_has_no_constant_of_one(name: str, tmp_path: Path) -> None:
    network = network_of(MORE[name], tmp_path)
    for position, passage in passages_of(network).items():
        _require_true(network, position, passage.start, passage.constant)
    assert not [c for c in constants(network) if c < 1.1]


@pytest.mark.parametrize("name", ONE)
def test_no_passage_moves_faster_than_its_constant(name: str, tmp_path: Path) -> None:
    network = network_of(ONE[name], tmp_path)
    for position, passage in passages_of(network).items():
        _require_true(network, position, passage.start, passage.constant)


def _require_true(network: Network, position: int, start: int, constant: float) -> None:
    """The start's entries are drawn, and moved a little and a lot."""
    generator = torch.Generator().manual_seed(0)
    shape = network.nodes[start].shape
    pairs = torch.randn(2, 500, *shape, generator=generator, dtype=torch.float64)
    pairs[1] = pairs[0] + pairs[1] * 10.0 ** torch.randint(-3, 1, (500, *[1] * len(shape)))
    before, after = (_value(network, position, start, x).flatten(1) for x in pairs)
    for order in (1.0, 2.0, torch.inf):
        moved = torch.linalg.vector_norm(after - before, order, dim=1)
        given = torch.linalg.vector_norm((pairs[1] - pairs[0]).flatten(1), order, dim=1)
        assert bool((moved <= given * constant * (1 + 1e-9)).all())


def _value(network: Network, position: int, start: int, x: torch.Tensor) -> torch.Tensor:
    values = {start: x}
    for at in range(start + 1, position + 1):
        node_ = network.nodes[at]
        if all(parent in values for parent in node_.parents):
            values[at] = apply(node_.operation, [values[p] for p in node_.parents])
    return values[position]
