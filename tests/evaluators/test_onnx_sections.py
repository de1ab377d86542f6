"""What onnxruntime makes of several operators together is what they are, or the file is refused."""

import numpy as np
import onnx
import pytest
import torch

from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx import compare, rewriting
from evaluators.onnx.reader import import_onnx
from evaluators.onnx.runtime import Session
from tests.fixtures.onnx_models import Array, model, node

STAR = np.tile(np.array([0, 1], np.float32), 8)
"""The example at which units are active that random numbers leave at zero."""


def hidden(*behind: onnx.NodeProto, **numbers: float) -> bytes:
    """A classifier of "h", four numbers that are zero wherever a comparison of logits looks.

    What stands behind them makes "out" of four, of which the logits are the first two.
    """
    first = np.outer(2 * STAR - 1, [3, 1, -1, -3]).astype(np.float32)
    constants: dict[str, Array] = {
        "first": first,
        "shift": np.array([-19.5, -6.5, 6.5, 19.5], np.float32),
        "side": np.array([1, 1, -1, -1], np.float32),
        "w": np.eye(4, 2, dtype=np.float32),
        "b": np.array([1, 0], np.float32),
        "ones": np.ones(4, np.float32),
        "zeros": np.zeros(4, np.float32),
        **{name: np.array(value, np.float32) for name, value in numbers.items()},
    }
    nodes = [
        node("MatMul", "x first", "t0"),
        node("Add", "t0 shift", "t1"),
        node("Mul", "t1 side", "t2"),
        node("Relu", "t2", "t3"),
        node("Mul", "t3 side", "h"),
        *behind,
        node("MatMul", "out w", "logits"),
        node("Add", "logits b", "y"),
    ]
    used = {name for each in nodes for name in each.input}
    given = {name: array for name, array in constants.items() if name in used}
    proto = model(nodes, ("batch", 16), given, output=("batch", 2), opset=17)
    return bytes(proto.SerializeToString())


def normalised(
    less: str = "h m", over: str = "c s", power: float = 2, again: bool = False
) -> bytes:
    """A layer normalisation, written out; `again` if it works the centred entries out twice."""
    return hidden(
        node("ReduceMean", "h", "m", axes=[-1]),
        node("Sub", less, "c"),
        *([node("Sub", "h m", "c2")] if again else []),
        node("Pow", "c2 two" if again else "c two", "q"),
        node("ReduceMean", "q", "v", axes=[-1]),
        node("Add", "v epsilon", "e"),
        node("Sqrt", "e", "s"),
        node("Div", "c s", "d"),
        node("Mul", "d ones", "g"),
        node("Add", "g zeros", "out"),
        two=power,
        epsilon=1e-5,
    )


def gelu(one: float = 1, root: float = 2**0.5) -> bytes:
    """A GELU, written out, of large numbers."""
    return hidden(
        node("Mul", "h large", "l"),
        node("Div", "l root", "d"),
        node("Erf", "d", "e"),
        node("Add", "e one", "f"),
        node("Mul", "l half", "i"),
        node("Mul", "i f", "out"),
        one=one,
        half=0.5,
        root=root,
        large=100.0,
    )


OTHERWISE = {
    "entries subtracted from their mean": (normalised(less="m h"), 0.5),
    "a mean fourth power": (normalised(power=4), 0.1),
    "the other sign over the deviation": (normalised(less="m h", again=True), 0.5),
    "a gate up to more than one": (gelu(one=1.000009), 1e-3),
}
ALIKE = {
    "a normalisation": normalised(),
    "a GELU": gelu(),
}


def differences(data: bytes) -> float:
    """How far the file is from what onnxruntime runs, at the example."""
    (plain,), (deployed,) = (
        Session(data, plain=p)({"x": STAR[None]}).values() for p in (True, False)
    )
    return float(np.abs(plain - deployed).max())


@pytest.mark.parametrize("name", OTHERWISE)
def test_a_file_that_onnxruntime_runs_as_another_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, least = OTHERWISE[name]
    assert differences(data) > least  # or this is no test
    with pytest.raises(UnsupportedModelError, match="what onnxruntime makes of"):
        import_onnx(data)
    # Nothing else would have seen it.
    monkeypatch.setattr(compare, "_rewritten", lambda *_: None)
    network = import_onnx(data)
    ours = network(torch.from_numpy(STAR[None]).double())[0].numpy()
    assert network.runtime is not None
    assert np.abs(network.runtime(STAR)[0] - ours).max() > least


@pytest.mark.parametrize("name", ALIKE)
def test_what_onnxruntime_makes_of_usual_operators_is_what_they_are(name: str) -> None:
    network = import_onnx(ALIKE[name])
    ours = network(torch.from_numpy(STAR[None]).double())[0].numpy()
    assert network.runtime is not None
    assert np.allclose(network.runtime(STAR)[0], ours, rtol=1e-5, atol=1e-5)


def padded(*before: str) -> bytes:
    """Maxima beside zeros, which onnxruntime leaves out as if they were padding."""
    steps = [
        *(node(kind, "x", "p") for kind in before),
        node("Pad", "p pads" if before else "x pads", "wide"),
        node("MaxPool", "wide", "most", kernel_shape=[2, 2]),
        node("Flatten", "most", "y"),
    ]
    constants = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    proto = model(steps, ("batch", 1, 2, 2), constants, output=("batch", 9), opset=13)
    return bytes(proto.SerializeToString())


def test_maxima_beside_zeros_are_read_of_what_is_not_negative_alone() -> None:
    import_onnx(padded("Relu"))
    with pytest.raises(UnsupportedModelError, match="what onnxruntime makes of 'most'"):
        import_onnx(padded())


def twice() -> bytes:
    """A value that reads another and the same again, of which onnxruntime computes one alone."""
    return hidden(
        node("ReduceMean", "h", "m", axes=[-1]),
        node("Sub", "h m", "c"),
        node("ReduceMean", "h", "m2", axes=[-1]),
        node("Sub", "h m2", "c2"),
        node("Mul", "c2 c2", "q"),
        node("Add", "q one", "r"),
        node("Div", "c r", "out"),
        one=1.0,
    )


def test_of_values_that_are_computed_alike_one_stands_for_the_other() -> None:
    import_onnx(twice())


def test_where_it_is_not_seen_what_is_alike_both_are_followed_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rewriting.GraphRewriting, "_alike", range(1000))
    import_onnx(twice())
    # But not for ever: a file may have thousands of these.
    monkeypatch.setattr(rewriting, "MOST_FOLLOWED", (0, 0))
    with pytest.raises(UnsupportedModelError, match="computes many values alike"):
        import_onnx(twice())


def test_what_onnxruntime_makes_of_a_file_with_its_probabilities_counts_too() -> None:
    # It makes a GELU of these where another operator reads them, not where they are the output.
    data = fast_gelu(one=1.000009)
    with pytest.raises(UnsupportedModelError, match="what onnxruntime makes of 'logits'"):
        import_onnx(data)
    import_onnx(fast_gelu())


def fast_gelu(one: float = 1) -> bytes:
    """Probabilities of a GELU by tanh, written out."""
    steps = [
        node("Pow", "x three", "p"),
        node("Mul", "p cubic", "c"),
        node("Add", "x c", "a"),
        node("Mul", "a steep", "s"),
        node("Tanh", "s", "t"),
        node("Add", "t one", "f"),
        node("Mul", "x half", "h"),
        node("Mul", "h f", "logits"),
        node("Softmax", "logits", "y", axis=-1),
    ]
    numbers = {"three": 3, "cubic": 0.044715, "steep": 0.7978845834732056, "one": one, "half": 0.5}
    constants = {name: np.array(value, np.float32) for name, value in numbers.items()}
    proto = model(steps, ("batch", 4), constants, output=("batch", 4), opset=13)
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize("data", [gelu(root=1.41421), normalised(power=16)])
def test_numbers_that_are_not_those_of_the_formula_are_refused_whatever_is_drawn(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "_sections", lambda *_: None)
    with pytest.raises(UnsupportedModelError, match=r"is its own (Gelu|LayerNormalization), and"):
        import_onnx(data)
