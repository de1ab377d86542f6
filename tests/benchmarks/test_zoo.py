"""The zoo, as exporters write it: how much of it is read, and that none of it is read wrongly.

pytest tests/benchmarks/test_zoo.py --override-ini addopts= -s

Every module is exported by each exporter that is installed (the one that torch recommends needs
`onnxscript`), at opsets that take turns, with and without a free batch dimension; logits are
compared with onnxruntime's at random points, and intervals and CROWN's bounds with its samples.
"""

import warnings
from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.network.network import Network
from evaluators.numerics.errors import UnsupportedModelError
from evaluators.onnx.reader import Contract, import_bytes
from evaluators.propagation.bounds import bounds
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from tests.benchmarks.zoo import zoo
from tests.benchmarks.zoo_blocks import CLASSES

READ = 0.9
"""The share of all exports that is read."""
RADII = (Fraction(1, 200), Fraction(1, 20), Fraction(1, 4))


def exports() -> Iterator[tuple[str, bool, int, bool]]:
    """Name each module's exports: exporter, opset, whether the batch is free."""
    for number, name in enumerate(zoo()):
        yield name, False, 11 + number % 10, number % 3 > 0
        if find_spec("onnxscript") is not None:
            yield name, True, 18 + number % 7, number % 2 > 0


def made(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """Make a module as after some training."""
    torch.manual_seed(0)
    shape, build = zoo()[name]
    module = build()
    module.train()
    for _ in range(3):
        module(torch.rand(8, *shape))
    return module.eval(), shape


def exported(module: nn.Module, shape: tuple[int, ...], new: bool, opset: int, free: bool) -> bytes:
    """Write a module as a file's bytes."""
    x = torch.rand(2 if free else 1, *shape)
    batch: Any = torch.export.Dim("batch") if new else "batch"
    shapes: dict[str, Any] = {"dynamic_shapes": ({0: batch},)} if free and new else {}
    if free and not new:
        shapes = {"dynamic_axes": {"x": {0: batch}}, "input_names": ["x"]}
    shapes |= {"opset_version": opset, "dynamo": new}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not new:
            with TemporaryDirectory() as folder:
                torch.onnx.export(module, (x,), path := Path(folder, "m.onnx"), **shapes)
                return path.read_bytes()
        program = torch.onnx.export(module, (x,), verbose=False, **shapes)
        assert program is not None
        return bytes(program.model_proto.SerializeToString())


def runs(network: Network, x: Tensor) -> Tensor:
    """The logits of onnxruntime, an input at a time as they are asked for."""
    assert network.runtime is not None
    return torch.from_numpy(np.stack([network.runtime(row).reshape(-1) for row in x.numpy()]))


def check(network: Network, seed: int) -> int:
    """Compare a network with what onnxruntime computes of its file; count the finite bounds."""
    generator, shape, finite = torch.Generator().manual_seed(seed), network.input_shape, 0
    x = torch.rand(8, *shape, generator=generator)
    theirs = runs(network, x).double()
    torch.testing.assert_close(network(x.double()), theirs, rtol=1e-4, atol=1e-4)
    for radius in RADII:
        noise = torch.rand(24, *shape, generator=generator) * 2 - 1
        noise[12:] = noise[12:].sign()
        near = (
            (x[0] + noise * float(radius))
            .clamp(0, 1)
            .clamp(x[0] - float(radius), x[0] + float(radius))
        )
        found = runs(network, near).double()
        for method in ("ibp", "crown"):
            logits = bounds(network, x[:1], Ball(Norm.LINF, radius), method).logits
            assert bool((logits.lower <= found).all() and (found <= logits.upper).all())
            finite += bool(logits.lower.isfinite().all() and logits.upper.isfinite().all())
    return finite


def test_most_exports_are_read_and_none_wrongly() -> None:
    read, unbounded, refused, unexported = 0, 0, dict[str, str](), 0
    for name, new, opset, free in exports():
        title = f"{name} ({'new' if new else 'old'} exporter, opset {opset}, {free=})"
        module, shape = made(name)
        try:
            data = exported(module, shape, new, opset, free)
        except Exception as error:  # what torch cannot write nobody can read
            unexported += 1
            print(f"not exported: {title}: {type(error).__name__}")
            continue
        try:
            network = import_bytes(data, Path(title), None, Contract(shape, CLASSES))
        except UnsupportedModelError as error:
            refused[title] = str(error)
            continue
        read += 1
        unbounded += not check(network, opset)
    for said in refused.values():
        print(said)
    total = read + len(refused)
    print(f"{read} of {total} exports read ({unexported} not exported, {unbounded} never bounded)")
    assert read >= READ * total
