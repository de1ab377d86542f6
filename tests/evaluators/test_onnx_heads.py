"""What stands behind the logits or beside them: left out where it changes no class, and said."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper

from evaluators.deterministic.crown import CROWN
from evaluators.network.network import Network
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.heads import deployed
from evaluators.onnx.reader import Contract, import_bytes, import_onnx
from evaluators.onnx.runtime import Runtime
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.recheck.agreement import disagreement
from evaluators.recheck.reader import read_model
from tests.fixtures.onnx_models import classifier_model, node, save
from tests.fixtures.tiny import ask


def ending(nodes: Sequence[NodeProto], *outputs: str, opset: int = 17) -> onnx.ModelProto:
    """A classifier whose logits, now "l", are read by these nodes; its outputs are these values."""
    proto = classifier_model()
    proto.opset_import[0].version = opset
    (name,) = (value.name for value in proto.graph.output)
    proto.graph.node[-1].output[0] = proto.graph.node[-1].name = "l"
    proto.graph.node.extend(nodes)
    del proto.graph.output[:]
    for output in outputs or (name,):
        kind = TensorProto.INT64 if output.startswith("label") else TensorProto.FLOAT
        proto.graph.output.append(helper.make_tensor_value_info(output, kind, None))
    return proto


Y = classifier_model().graph.output[0].name
HEADS = {
    "Softmax": ([node("Softmax", "l", Y, axis=1)], 17),
    "Softmax of the last axis": ([node("Softmax", "l", Y, axis=-1)], 17),
    "Softmax of old, by default": ([node("Softmax", "l", Y)], 11),
    "LogSoftmax": ([node("LogSoftmax", "l", Y)], 17),
    "Sigmoid": ([node("Sigmoid", "l", Y)], 17),
    "both": ([node("Sigmoid", "l", "s"), node("Softmax", "s", Y)], 17),
    "Softmax by another name": ([node("Softmax", "l", "s"), node("Identity", "s", Y)], 17),
}


@pytest.mark.parametrize("head", HEADS)
def test_a_head_that_keeps_the_order_is_left_out_and_named(head: str, tmp_path: Path) -> None:
    nodes, opset = HEADS[head]
    plain = import_onnx(save(classifier_model(), tmp_path / "plain.onnx"))
    path = save(ending(nodes, opset=opset), tmp_path / "head.onnx")
    network = import_onnx(path)
    x = torch.rand(4, *network.input_shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(x.double()), plain(x.double()))
    assert [note.split()[2] for note in network.notes] == [
        n.op_type for n in reversed(nodes) if n.op_type != "Identity"
    ]
    assert all("which may tie" in note for note in network.notes)
    assert plain.notes == ()
    assert disagreement(read_model(path.read_bytes()), network, x.numpy()) == ""
    logits, probabilities = Runtime(deployed(path.read_bytes())), Runtime(path.read_bytes())
    for row in x.numpy():
        assert np.allclose(
            logits(row[None]), plain(torch.from_numpy(row[None]).double()), atol=1e-4
        )
        assert logits(row[None]).argmax() == probabilities(row[None]).argmax()


def test_what_is_certified_is_the_order_of_the_logits(tmp_path: Path) -> None:
    """The probabilities of logits that are far apart tie in float32; the logits do not."""
    proto = ending(HEADS["Sigmoid"][0])
    scale = helper.make_node("Mul", ["l", "thousand"], ["far"])
    proto.graph.node.insert(len(proto.graph.node) - 1, scale)
    proto.graph.node[-1].input[0] = "far"
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.full(1, 1e3, "f4"), "thousand"))
    network = import_onnx(save(proto, tmp_path / "m.onnx"))
    x = torch.rand(3, *network.input_shape, generator=torch.Generator().manual_seed(0))
    problem = ask(network, x, Ball(Norm.LINF, Fraction(1, 10**6)))
    assert all(verdict.status is Status.CERTIFIED for verdict in CROWN()(problem))


@pytest.mark.parametrize("axis", [0, -2])
def test_a_softmax_over_the_batch_is_no_head(axis: int, tmp_path: Path) -> None:
    path = save(ending([node("Softmax", "l", Y, axis=axis)]), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedModelError, match="Softmax"):
        import_onnx(path)
    with pytest.raises(UnsupportedModelError, match="Softmax"):
        read_model(path.read_bytes())


def test_outputs_that_are_wanted_as_they_are_keep_their_head(tmp_path: Path) -> None:
    """A property of VNN-LIB is about the numbers of the file, not about their order."""
    proto = ending(HEADS["Sigmoid"][0])
    network = import_bytes(proto.SerializeToString(), tmp_path, None, Contract(free=True))
    x = torch.rand(2, *network.input_shape, dtype=torch.float64)
    assert bool(((network(x) > 0) & (network(x) < 1)).all())


def read(proto: onnx.ModelProto, folder: Path) -> Network:
    return import_onnx(save(proto, folder / "m.onnx"))


def test_what_the_logits_do_not_depend_on_is_left_out(tmp_path: Path) -> None:
    plain = read(classifier_model(), tmp_path)
    label = node("ArgMax", "l", "label", axis=1)
    unread = read(ending([label], "l"), tmp_path)
    beside = read(ending([label, node("Exp", "l", "more")], "label", "l", "more"), tmp_path)
    x = torch.rand(4, *plain.input_shape, dtype=torch.float64)
    for network in (unread, beside):
        assert torch.equal(network(x), plain(x))
    assert unread.notes == ()
    assert beside.notes == ("The outputs 'label', 'more' are left out: the class is that of 'l'.",)


def test_a_label_alone_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = save(ending([node("ArgMax", "l", "label", axis=1)], "label"), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedModelError, match="the logits that it reads are needed"):
        import_onnx(path)
