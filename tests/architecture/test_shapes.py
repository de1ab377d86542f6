"""The documented shapes and types are executed while tests run, in each test anew."""

from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError

from evaluators.numerics.rounding import gamma
from tests.fixtures import shapes
from tests.fixtures.networks import perceptron

NO_COUNT: Any = 1.5


def test_a_function_is_checked_until_it_is_enough_and_again_in_the_next_test_not_case() -> None:
    with pytest.raises(TypeCheckError):
        gamma(NO_COUNT)
    for terms in range(shapes.ENOUGH):
        gamma(terms)
    assert gamma(NO_COUNT) > 0
    shapes.begin("a test")
    with pytest.raises(TypeCheckError):
        gamma(NO_COUNT)
    for terms in range(shapes.ENOUGH):
        gamma(terms)
    shapes.begin("a test")
    assert gamma(NO_COUNT) > 0


def test_methods_and_properties_are_left_alone_too() -> None:
    network = perceptron()
    for _ in range(2 * shapes.ENOUGH):
        assert network.classes == network.to(torch.float64).classes
    for name in ("Network.classes", "Network.to"):
        assert shapes.checks["evaluators.network.network", name] <= shapes.ENOUGH + 1
