"""Foreign text as LaTeX prints it: no sign of it is a command, and its braces always match."""

import re

_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")

_SIGNS = {
    # Never `\{`: BibTeX counts the brace all the same, and one that has no partner ends the entry.
    "\\": r"\textbackslash{}",
    "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    # The field's signs, which no text font has; letters with accents are UTF-8 that LaTeX reads.
    "ℓ": r"$\ell$",
    "∞": r"$\infty$",
    "σ": r"$\sigma$",
    "ε": r"$\varepsilon$",
    "ϵ": r"$\epsilon$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "₀": "$_0$",
    "₁": "$_1$",
    "₂": "$_2$",
    "²": "$^2$",
}
_SPECIAL = re.compile("|".join(re.escape(sign) for sign in _SIGNS))


def one_line(text: object) -> str:
    """The text without line breaks and without what a reader cannot see."""
    return " ".join(_INVISIBLE.sub(" ", str(text)).split())


def tex(text: object) -> str:
    """Foreign text on one line, in which LaTeX and BibTeX find nothing to execute."""
    return _SPECIAL.sub(lambda sign: _SIGNS[sign.group()], one_line(text))
