"""Einsum and stacks of matrices, norms, running sums, picked entries: as onnxruntime runs them."""

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto

from evaluators.numerics.errors import UnsupportedModelError
from tests.evaluators.test_operators import check
from tests.fixtures.onnx_models import Array, integers, node, numbers

Case = tuple[tuple[int, ...], str, dict[str, Array]]

EQUATIONS: dict[str, Case] = {
    "bij,jk->bik": ((3, 4), "x w", {"w": numbers(4, 2)}),
    "btc,dc->bdt": ((3, 4), "x w", {"w": numbers(5, 4)}),
    "ij,bjk->bik": ((3, 4), "w x", {"w": numbers(2, 3)}),
    "bij,bkj->bik": ((3, 4), "x x", {}),
    "bij , i -> bij": ((3, 4), "x w", {"w": numbers(3)}),
    "bij->bji": ((3, 4), "x", {}),
    "bij->b": ((3, 4), "x", {}),
    "bhie,bhje->bhij": ((2, 3, 4), "x x", {}),
    "bi,oij,bj->bo": ((3,), "x w x", {"w": numbers(2, 3, 3)}),
    "bi,bj": ((3,), "x x", {}),
}  # fmt: skip


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(tmp_path: Path, equation: str) -> None:
    shape, names, constants = EQUATIONS[equation]
    nodes = [node("Einsum", names, "z", equation=equation)]
    if equation in ("bij->b", "bi,bj"):
        nodes = [node("Einsum", names, "e", equation=equation), node("Reshape", "e back", "z")]
        constants = {"back": integers(1, -1)}
        if equation == "bi,bj":  # what both have is summed: two vectors' outer product is left
            nodes[0] = node("Einsum", names, "e", equation="bi,bj->bij")
    check(tmp_path, shape, nodes, constants)


def test_einsum_with_weights_that_are_computed(tmp_path: Path) -> None:
    """Monotone networks take the exponentials of their weights."""
    nodes = [node("Exp", "w", "e"), node("Einsum", "e x", "z", equation="ghd,bd->bgh")]
    check(tmp_path, (4,), nodes, {"w": numbers(2, 3, 4) / 4})


@pytest.mark.parametrize("equation", ["b...->b", "bii->bi", "bij,bjk->bil", "bij->bii", "bij"])
def test_an_equation_that_is_not_read_is_refused(tmp_path: Path, equation: str) -> None:
    names = "x x" if "," in equation or equation == "bij" else "x"
    with pytest.raises(UnsupportedModelError, match="Einsum"):
        check(tmp_path, (3, 3), [node("Einsum", names, "z", equation=equation)])


@pytest.mark.parametrize(
    ("shape", "names", "weight"),
    [
        ((1, 5, 4), "w x", (3, 2, 5)),
        ((1, 5, 4), "x w", (3, 4, 2)),
        ((3, 5, 4), "w x", (1, 3, 2, 5)),
        ((2, 3, 5, 4), "x w", (3, 4, 2)),
        ((4,), "x w", (1, 4, 2)),
    ],
)
def test_matrices_in_stacks(
    tmp_path: Path, shape: tuple[int, ...], names: str, weight: tuple[int, ...]
) -> None:
    check(tmp_path, shape, [node("MatMul", names, "z")], {"w": numbers(*weight)})


@pytest.mark.parametrize("kind", ["ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare"])
@pytest.mark.parametrize("keep", [0, 1])
def test_norms(tmp_path: Path, kind: str, keep: int) -> None:
    nodes = [node(kind, "x axes", "z", keepdims=keep)]
    for axes in ((1,), (-1, 1)):
        check(tmp_path, (3, 4, 2), nodes, {"axes": integers(*axes)}, opset=18)


@pytest.mark.parametrize("kind", ["ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum"])
def test_a_row_reduced_to_nothing_but_its_batch(tmp_path: Path, kind: str) -> None:
    constants = {"axes": integers(1), "back": integers(1, 1), "one": integers(1)}
    for last in (node("Reshape", "r back", "s"), node("Unsqueeze", "r one", "s")):
        nodes = [node(kind, "x axes", "r", keepdims=0), last, node("Sub", "x s", "z")]
        check(tmp_path, (4,), nodes, constants, opset=18)


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_running_sums(tmp_path: Path, exclusive: int, reverse: int) -> None:
    nodes = [node("CumSum", "x axis", "z", exclusive=exclusive, reverse=reverse)]
    for axis in (1, -1):
        check(tmp_path, (3, 4), nodes, {"axis": np.array(axis)})


@pytest.mark.parametrize("upper", [0, 1])
def test_triangles(tmp_path: Path, upper: int) -> None:
    for diagonal in (-1, 0, 2):
        nodes = [node("Trilu", "w k", "t", upper=upper), node("MatMul", "x t", "h")]
        nodes.append(node("Trilu", "h k", "z", upper=upper))
        check(tmp_path, (3, 4), nodes, {"w": numbers(4, 4), "k": np.array(diagonal)})


def test_picked_entries(tmp_path: Path) -> None:
    """Of the whole value, whose first dimension the file has moved."""
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node("GatherND", "t places", "g"),
        node("Transpose", "g", "z", perm=[1, 0, 2]),
    ]
    check(tmp_path, (4, 3), nodes, {"places": np.array([[2], [-1], [0], [2]])})
    with pytest.raises(UnsupportedModelError, match="leave a value of shape"):
        check(tmp_path, (4, 3), nodes, {"places": np.array([[4]])})


def test_what_a_graph_counts(tmp_path: Path) -> None:
    nodes = [
        node("Shape", "x", "sizes"),
        node("Gather", "sizes last", "size"),
        node("Range", "zero size two", "places"),
        node("Gather", "x places", "z", axis=2),
    ]
    known: dict[str, Array] = {"last": np.array(2), "zero": np.array(0), "two": np.array(2)}
    check(tmp_path, (3, 5), nodes, known)


@pytest.mark.parametrize("kind", ["ReduceProd", "ReduceSum"])
def test_sizes_reduced_to_one(tmp_path: Path, kind: str) -> None:
    nodes = [
        node("Shape", "x", "sizes"),
        node(kind, "sizes axes", "size", keepdims=0),
        node("Cast", "size", "number", to=1),
        node("Div", "x number", "z"),
    ]
    check(tmp_path, (3, 5), nodes, {"axes": integers(0)}, opset=18)


def test_constants_that_nodes_compute_with(tmp_path: Path) -> None:
    """A first state of zeros in a recurrent cell, and a norm of weights: values, if not folded."""
    nodes = [
        node("Gemm", "state u c", "from_state"),
        node("Gemm", "x v", "from_input"),
        node("Add", "from_state from_input", "sum"),
        node("Tanh", "sum", "z"),
    ]
    known = {"state": np.zeros((1, 3), np.float32), "c": numbers(3), "u": numbers(3, 3)}
    check(tmp_path, (4,), nodes, {**known, "v": numbers(4, 3)})
    nodes = [node("ReduceL2", "w axes", "n"), node("Mul", "x n", "z")]
    check(tmp_path, (2, 3), nodes, {"w": numbers(1, 2, 3), "axes": integers(-1)}, opset=18)


def test_shares_of_branches_that_are_worked_out_in_the_file(tmp_path: Path) -> None:
    """Each share is one number without dimensions, as `w[0]` of a vector of weights is."""
    nodes = [
        node("Relu", "w", "r"),
        *(node("Gather", f"r {at}", f"share {at}".replace(" ", "_")) for at in ("first", "last")),
        node("Mul", "share_first x", "p"),
        node("Neg", "x", "n"),
        node("Mul", "n share_last", "q"),
        node("Add", "p q", "z"),
    ]
    known: dict[str, Array] = {"w": numbers(2) ** 2, "first": np.array(0), "last": np.array(-1)}
    check(tmp_path, (2, 3), nodes, known)


def test_a_repeated_constant_is_one(tmp_path: Path) -> None:
    """`h0.repeat(1, x.shape[0], 1)`, with as many as there are inputs."""
    nodes = [
        node("Shape", "x", "sizes"),
        node("Gather", "sizes first", "batch"),
        node("Concat", "one batch", "repeats", axis=0),
        node("Tile", "c repeats", "t"),
        node("Gather", "t zero", "row"),
        node("Add", "x row", "z"),
    ]
    known: dict[str, Array] = {"first": integers(0), "one": integers(1), "zero": np.array(0)}
    check(tmp_path, (3,), nodes, {**known, "c": numbers(1, 3)})


def test_a_classifier_of_constants_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="does not depend on its input"):
        check(tmp_path, (4,), [node("Gemm", "s u", "z")], {"s": numbers(1, 3), "u": numbers(3, 3)})


def _heads(*between: NodeProto) -> list[NodeProto]:
    """Attention as torch writes it, with the heads before the batch on the way."""
    return [
        node("Reshape", "x split", "r"),
        node("Transpose", "r", "t", perm=[2, 0, 3, 1, 4]),
        node("Split", "t", "q k v", axis=0, num_outputs=3),
        *(node("Squeeze", f"{name} zero", name * 2) for name in "qkv"),
        node("Transpose", "kk", "kt", perm=[0, 1, 3, 2]),
        node("MatMul", "qq kt", "s"),
        *between,
        node("MatMul", "p vv", "m"),
        node("Transpose", "m", "u", perm=[0, 2, 1, 3]),
        node("Reshape", "u join", "z"),
    ]


def test_heads_before_the_batch(tmp_path: Path) -> None:
    known = {"split": integers(1, 5, 3, 2, 2), "zero": integers(0), "join": integers(1, 5, 4)}
    nodes = _heads(node("Softmax", "s", "p"))
    (note,) = check(tmp_path, (5, 12), nodes, known, opset=18).notes
    assert "one input at a time" in note
    assert not check(tmp_path, (5, 12), nodes, known, opset=18, batch=1).notes


def test_a_moved_batch_is_noted_where_its_size_hides_that(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node("ReduceSum", "t axes", "s", keepdims=1),
        node("Transpose", "s", "z", perm=[1, 0, 2]),
    ]
    (note,) = check(tmp_path, (1, 4), nodes, {"axes": integers(1)}).notes
    assert "those of one batch could meet" in note


def test_layers_of_tokens_before_the_batch(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node("Reshape", "t rows", "r"),
        node("Gemm", "r w b", "g"),
        node("Reshape", "g back", "u"),
        node("Transpose", "u", "z", perm=[1, 0, 2]),
    ]
    known = {"rows": integers(5, 4), "w": numbers(4, 3), "b": numbers(3), "back": integers(5, 1, 3)}
    check(tmp_path, (5, 4), nodes, known)


def test_truths_are_no_logits(tmp_path: Path) -> None:
    nodes = [node("Greater", "x c", "t"), node("Identity", "t", "z")]
    with pytest.raises(UnsupportedModelError, match="it reads what a comparison makes"):
        check(tmp_path, (4,), nodes, {"c": numbers(4)})


HIDDEN = np.array([[True, False, True], [True, True, False], [False, True, True]])


@pytest.mark.parametrize(
    ("shape", "names", "attributes", "constants"),
    [
        ((2, 3, 4), "x x x", {}, {}),
        ((2, 3, 4), "x x x", {"scale": 0.3, "is_causal": 1}, {}),
        ((2, 3, 4), "x x x m", {}, {"m": HIDDEN}),
        ((2, 3, 4), "x x x m", {"is_causal": 1}, {"m": numbers(2, 3, 3)}),
        ((3, 8), "x x x", {"q_num_heads": 2, "kv_num_heads": 2}, {}),
        ((3, 8), "x h h", {"q_num_heads": 4, "kv_num_heads": 2, "is_causal": 1}, {}),
    ],
)
def test_attention(
    tmp_path: Path,
    shape: tuple[int, ...],
    names: str,
    attributes: dict[str, int],
    constants: dict[str, Array],
) -> None:
    nodes = [node("Attention", names, "z", **attributes)]
    if "h" in names:
        nodes.insert(0, node("MatMul", "x w", "h"))
        constants = {"w": numbers(8, 4)}
    for opset in (23, 24):
        check(tmp_path, shape, nodes, constants, opset=opset)


def test_attention_to_nothing_is_refused(tmp_path: Path) -> None:
    mask = np.array([[True, False], [False, False]])
    with pytest.raises(UnsupportedModelError, match="hides all entries of a softmax"):
        check(tmp_path, (1, 2, 4), [node("Attention", "x x x m", "z")], {"m": mask}, opset=23)
