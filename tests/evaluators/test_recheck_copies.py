"""Evidence about networks with nodes that copy entries: proved again, and refused once tampered."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from evaluators.deterministic.branch_and_bound import BranchAndBound
from evaluators.network.network import Network
from evaluators.onnx.reader import import_onnx
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from evaluators.recheck.checker import recheck
from evaluators.recheck.reader import read_model
from tests.fixtures.effort import first_alone
from tests.fixtures.odd_graphs import COPIES
from tests.fixtures.onnx_models import node, numbers, save


def classifier(kind: str) -> onnx.ModelProto:
    """Three classes behind such a node."""
    proto = onnx.ModelProto()
    proto.CopyFrom(COPIES[kind])
    size = read_model(proto.SerializeToString()).classes
    proto.graph.node[-1].output[0] = proto.graph.node[-1].name = "flat"
    proto.graph.node.extend(
        [node("Gemm", "flat w1", "h"), node("Relu", "h", "bent"), node("Gemm", "bent w2", "y")]
    )
    weights = {"w1": numbers(size, 4, seed=8), "w2": numbers(4, 3, seed=9)}
    proto.graph.initializer.extend(numpy_helper.from_array(w, name) for name, w in weights.items())
    return proto


@pytest.mark.parametrize(
    "kind",
    first_alone(
        ["Expand", "Tile", "Where beside a constant", "Pad by reflect", "Resize linear by 4"]
    ),
)
def test_evidence_behind_copies_is_proved_again_and_refused_when_tampered(
    kind: str, tmp_path: Path
) -> None:
    path = save(classifier(kind), tmp_path / "m.onnx")
    network, model = import_onnx(path), read_model(path.read_bytes())
    assert isinstance(network, Network)
    x = torch.from_numpy(np.random.default_rng(0).uniform(size=(1, 2, 4, 4)).astype(np.float32))
    ball = Ball(Norm.LINF, Fraction(1, 200))
    labels = network(x.double()).argmax(1)
    problem = Problem(network, x, labels, ball, seconds=5.0, evidence=True, deployed=False)
    (verdict,) = BranchAndBound()(problem)
    assert verdict.status is Status.CERTIFIED, verdict.note
    assert verdict.certificate is not None
    made = replace(verdict.certificate, model_sha256=model.sha256)
    found = recheck(model, made)
    assert found.accepted, found.reason
    (layer,) = made.layers
    for tampered in (
        replace(made, radius=made.radius * 1000),
        replace(made, layers=(replace(layer, lower=layer.upper),)),
    ):
        assert not recheck(model, tampered).accepted
