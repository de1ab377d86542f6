"""The documented shapes and types are executed while tests run, in each test anew."""

from collections.abc import Callable
from typing import Any, Optional

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from evaluators.numerics.rounding import gamma
from evaluators.propagation.rounding_charge import settle
from evaluators.smoothing.procedure import largest_other
from tests.fixtures import shapes
from tests.fixtures.networks import perceptron

NO_COUNT: Any = 1.5


def test_a_function_is_checked_until_it_is_enough_and_again_in_the_next_test_not_case() -> None:
    with pytest.raises(BeartypeCallHintViolation):
        gamma(NO_COUNT)
    for terms in range(shapes.ENOUGH):
        gamma(terms)
    assert gamma(NO_COUNT) > 0
    shapes.begin("a test")
    with pytest.raises(BeartypeCallHintViolation):
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


def test_a_size_has_the_same_value_wherever_it_is_named() -> None:
    with pytest.raises(TypeCheckError):
        largest_other(torch.zeros(3, 4, dtype=torch.long), torch.zeros(2, dtype=torch.long))
    with pytest.raises(TypeCheckError):
        settle(torch.zeros(3), torch.zeros(2))


@pytest.mark.parametrize(
    ("hint", "shape"),
    [
        (Float[Tensor, " rows"], True),
        (tuple[int, Float[Tensor, " rows"] | None], True),
        ("Tensor", True),
        (list["Tensor"], True),
        (Optional["Tensor"], True),
        (dict[str, Tensor], False),
        (int | None, False),
        (Callable[[int], Tensor], False),
    ],
)
def test_whatever_may_have_a_shape_is_checked_by_what_knows_shapes(
    hint: object, shape: bool
) -> None:
    assert shapes.may_have_shape(hint) == shape
