import re
from xml.etree import ElementTree

import pytest

from leaderboard.common.errors import InputError
from leaderboard.field.formula import mathml, with_formulas

NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"


def test_a_formula_is_mathml_of_one_line() -> None:
    made = mathml(r"\frac{u}{u - l} \le \|x\|_2")
    tree = ElementTree.fromstring(made)
    assert "\n" not in made
    assert tree.tag == f"{NAMESPACE}math"
    assert tree.get("display") == "block"
    assert [child.text for child in tree.iter(f"{NAMESPACE}mi")] == ["u", "u", "l", "x"]
    assert [child.text for child in tree.iter(f"{NAMESPACE}mo")] == ["−", "≤", "‖", "‖"]


def test_the_same_latex_is_always_the_same_text() -> None:
    assert mathml(r"\sum_i x_i") == mathml(r"\sum_i x_i")


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "</math><b>", "&lt;b>", '"><i'])
def test_what_a_formula_says_in_words_is_never_an_element(text: str) -> None:
    made = mathml(rf"x \text{{{text}}}")
    assert not re.search(r"<(?!/?(math|mrow|mi|mtext|mo)[ >])", made)
    ElementTree.fromstring(made)


@pytest.mark.parametrize(
    ("latex", "told"),
    [
        (r"\href{javascript:alert(1)}{x}", "attribute href"),
        (r"\style{color:red}{x}", "attribute style"),
        (r"\color{red}{x}", "attribute mathcolor"),
        (r"\frac{a", "cut short"),
        (r"\nosuch x", r"command \nosuch"),
    ],
)
def test_what_is_not_mathematics_is_refused(latex: str, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)):
        mathml(latex)


def words(latex: str) -> str:
    return "".join(ElementTree.fromstring(mathml(latex)).itertext())


def test_a_root_is_seen_without_a_font_for_mathematics() -> None:
    assert words(r"\frac{m}{\sqrt{2}}") == "m√2"
    assert words(r"\sigma \sqrt{2 \pi}") == "σ√(2π)"
    assert "msqrt" not in mathml(r"\sqrt{2}")


def test_a_root_of_another_degree_is_refused() -> None:
    with pytest.raises(InputError, match="<mroot>"):
        mathml(r"\sqrt[3]{x}")


def test_a_relation_is_an_operator_that_is_not_stretched() -> None:
    assert '<mo stretchy="false" lspace="0.28em" rspace="0.28em">⟹</mo>' in mathml(r"a \implies b")
    assert ">⪰</mo>" in mathml(r"M \succeq 0")


def test_a_minimum_has_its_region_below_it() -> None:
    assert "<munder><mo>min</mo>" in mathml(r"\min_{x \in B} f")
    assert "<msub><mo>min</mo>" in mathml(r"\min_{x \in B} f", inline=True)


def test_formulas_in_a_sentence_stand_between_dollars() -> None:
    parts = with_formulas("Let $x_i$ be one.")
    assert [(text, is_formula) for text, is_formula in parts if not is_formula] == [
        ("Let ", False),
        (" be one.", False),
    ]
    assert parts[1][1]
    with pytest.raises(InputError, match="dollar"):
        with_formulas("one $ only")
