"""Formulas: LaTeX in, MathML out, which browsers show without any script.

Many devices have no font for mathematics, and then draw no sign of a root and stretch nothing: what
would say something else there is written in signs that every font has.

The only door to latex2mathml. It builds a tree; the text is made of it here, since the library's
own undoes the escaping of `<` in what the LaTeX says, and only elements and attributes that show
mathematics are let through (no links, no styles).
"""

import html
import re
from xml.etree import ElementTree

from latex2mathml.converter import convert_to_element

from leaderboard.common.errors import InputError

_ELEMENT = re.compile("math|mi|mo|mn|mtext|mrow|mspace|mstyle|mpadded|mtable|mtr|mtd")
_ATTRIBUTE = re.compile(
    "xmlns|display|displaystyle|scriptlevel|stretchy|fence|form|accent|movablelimits|largeop"
    "|linethickness|minsize|maxsize|width|height|depth|lspace|rspace|columnalign|mathvariant"
)
_BIG = {"min", "max", "argmax", "sup", "inf"}
"""Operators whose subscript stands below them in display style, as LaTeX sets it."""

_RELATIONS = {"⪰", "⪯", "⟹", "⟺", "~", ":"}
"""Signs that the library takes for names, or that would be stretched."""

_PARTS = {"mfrac": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2} | {
    "msubsup": 3,
    "munderover": 3,
}
"""Elements with an exact number of parts; another number is LaTeX cut short."""


def mathml(latex: str, *, inline: bool = False) -> str:
    """`latex` as one line of MathML, in display style or for the middle of a sentence.

    Raises:
        InputError: it is not LaTeX that the library reads, or asks for more than mathematics.
    """
    try:
        tree = convert_to_element(latex, display="inline" if inline else "block")
    except Exception as error:  # the library's errors have no common class
        raise InputError(f"The formula {latex!r} cannot be read: {error!r}.") from error
    for element in list(tree.iter()):
        element.text = html.unescape(element.text) if element.text else None
        _write_out(element)
        if problem := _problem(element):
            raise InputError(f"The formula {latex!r} {problem}.")
        if not inline and element.tag == "msub" and element[0].text in _BIG:
            element.tag = "munder"
    # The search would show the signs one after the other.
    tree.set("data-search-exclude", "")
    return ElementTree.tostring(tree, encoding="unicode", short_empty_elements=False)


def _write_out(element: ElementTree.Element) -> None:
    """Roots as √ before their operand, in brackets if it is long; relations as operators."""
    if element.text in _RELATIONS:
        element.tag = "mo"
        element.attrib = {"stretchy": "false", "lspace": "0.28em", "rspace": "0.28em"}
    if element.tag == "msqrt":
        operand = list(element)
        long = len(operand) > 1 or len("".join(element.itertext())) > 1
        signs = ("√", "(", ")") if long else ("√", "", "")
        made = [ElementTree.Element("mo", {"stretchy": "false"}) for _ in signs]
        for operator, sign in zip(made, signs, strict=True):
            operator.text = sign
        element.tag = "mrow"
        element[:] = [*made[: 1 + long], *operand, *made[2 : 2 + long]]


def _problem(element: ElementTree.Element) -> str:
    """What keeps an element of the tree off a page, or nothing."""
    if not _ELEMENT.fullmatch(element.tag) and element.tag not in _PARTS:
        return f"has the element <{element.tag}>, which is not allowed"
    if strange := [name for name in element.attrib if not _ATTRIBUTE.fullmatch(name)]:
        return f"has the attribute {strange[0]}, which is not allowed"
    if len(element) != _PARTS.get(element.tag, len(element)):
        return "is cut short"
    if element.tag != "mtext" and (found := re.search(r"\\\w*", element.text or "")):
        return f"has the command {found[0]}, which is not known"
    return ""


def with_formulas(sentence: str) -> list[tuple[str, bool]]:
    """`sentence` in parts, with whether each is MathML: what stands between dollars is LaTeX.

    Raises:
        InputError: a dollar is missing, or a formula cannot be read.
    """
    parts = sentence.split("$")
    if len(parts) % 2 == 0:
        raise InputError(f"There is a dollar too many or too few in {sentence!r}.")
    return [
        (mathml(part, inline=True), True) if odd % 2 else (part, False)
        for odd, part in enumerate(parts)
        if part
    ]
