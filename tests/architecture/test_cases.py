"""A loop over cases fails as the cases themselves would."""

import pytest

from tests.fixtures.cases import cases


def test_every_case_that_fails_is_named_and_the_others_are_tried() -> None:
    tried = []
    with pytest.raises(AssertionError, match="2 cases fail") as caught, cases() as case:  # noqa: PT012
        for number in range(4):
            with case(f"number {number}"):
                tried.append(number)
                assert number != 1
                if number == 3:
                    pytest.fail("three is no number")
    assert tried == [0, 1, 2, 3]
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("number")] == [
        "number 1",
        "number 3",
    ]


def test_what_fails_outside_of_a_case_fails() -> None:
    with pytest.raises(ZeroDivisionError), cases():
        print(1 / 0)
