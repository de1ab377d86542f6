"""A zonotope's image leaves the zonotope as it was: others may read it later."""

import pytest
import torch

from evaluators.network.affine import Gather, Reshape
from evaluators.propagation.intervals import Interval
from evaluators.propagation.zonotope import Zonotope

SHAPE = (2, 3)
MAPS = {
    "a view": Reshape(SHAPE, (6,), None),
    "entries picked in order": Gather(SHAPE, (6,), None, torch.arange(6)),
}


@pytest.mark.parametrize("name", MAPS)
def test_an_image_does_not_change_its_source(name: str) -> None:
    box = Interval(torch.zeros(1, *SHAPE).double(), torch.ones(1, *SHAPE).double())
    source = Zonotope.of_box(box)
    source.generators.neg_()
    before = source.generators.clone()
    source.affine(MAPS[name])
    assert torch.equal(source.generators, before)
