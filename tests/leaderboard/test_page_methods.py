"""The page of the methods says what the evaluators' files say, of every evaluator."""

from itertools import chain
from pathlib import Path

import pytest

from evaluators.listing import catalogue
from leaderboard.common.errors import InputError
from leaderboard.field.methods import method_in, methods
from leaderboard.website.pages.methods import blocks, linked, plans
from tests.fixtures.board import board


def test_what_is_read_off_a_file_is_what_its_class_says() -> None:
    assert set(methods()) == set(catalogue())
    for name, evaluator in catalogue().items():
        read = methods()[name]
        assert f"{evaluator.__module__.replace('.', '/')}.py" == read.source
        assert (read.title, read.node) == (evaluator.title, evaluator.node)
        assert (read.cascade, read.complete) == (evaluator.cascade, evaluator.complete)


@pytest.mark.parametrize("name", catalogue())
def test_every_evaluator_says_its_guarantee_what_it_trusts_and_its_cost(name: str) -> None:
    method = methods()[name]
    promised = {"Guarantee", "Cost"} | ({"Trusted"} if catalogue()[name].certifies else set())
    assert promised <= method.parts.keys()
    assert all(method.parts.values()), "a part is empty"
    assert "https://arxiv.org/abs/" in linked(method.docstring) or "doi.org" in linked(
        method.docstring
    )


def test_the_page_has_all_of_them_those_of_the_cascade_first_and_in_its_order(
    tmp_path: Path,
) -> None:
    (page,) = plans(board(tmp_path))
    groups = page.view["groups"]
    assert isinstance(groups, list)
    shown = {
        group["heading"]: [item["method"].name for item in group["methods"]] for group in groups
    }
    assert sorted(chain(*shown.values())) == sorted(catalogue())
    first = ["ibp", "lipschitz-margin", "crown-ibp", "crown", "branch-and-bound"]
    assert shown["Deterministic evaluators"][:5] == first
    assert all(item["node"] for group in groups for item in group["methods"])


def test_papers_and_evaluators_are_linked_and_indented_lines_stay_as_they_are() -> None:
    (_, text), (indented, formula), (_, after) = blocks(
        "As for `ibp` (arXiv 1810.12715; 1706.06083),\n    a < b\n      c\nand `<b>`."
    )
    assert '<a href="#ibp"><code>ibp</code></a>' in text
    assert '<a href="https://arxiv.org/abs/1810.12715">arXiv 1810.12715</a>' in text
    assert '<a href="https://arxiv.org/abs/1706.06083">1706.06083</a>' in text
    assert (indented, formula) == (True, "a &#60; b\n  c")
    assert "<b>" not in after


def test_an_evaluator_without_a_node_is_refused_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "evaluators" / "deterministic" / "lost.py"
    path.parent.mkdir(parents=True)
    path.write_text('class Lost:\n    title = "Lost"\n    version = "1"\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"^evaluators/deterministic/lost\.py: .* no 'node'"):
        method_in(path)
