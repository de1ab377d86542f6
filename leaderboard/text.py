"""Kinds of text that others write and we publish: plain lines, web addresses, dates.

What a reader cannot see, or what changes how the rest is read, is refused: a control character,
a zero-width one, an override of the writing direction.
"""

import datetime
import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator

_LONGEST_LINE, _LONGEST_PARAGRAPH, _LONGEST_URL = 300, 2000, 500

_INVISIBLE = ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp")
_URL = re.compile(
    r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[\w.~:/?#\[\]@!$&'()*+,;=%-]*)?", re.ASCII
)


def _visible(text: str, longest: int, *, newlines: bool = False) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    if len(text) > longest:
        raise ValueError(f"must have at most {longest} characters (it has {len(text)})")
    for character in text.replace("\n", "") if newlines else text:
        if unicodedata.category(character) in _INVISIBLE:
            raise ValueError(f"must not contain the invisible character U+{ord(character):04X}")
    if not unicodedata.is_normalized("NFC", text):
        raise ValueError("must be in Unicode's composed form (NFC)")
    return text.strip()


def check_line(text: str) -> str:
    """One visible line, without the spaces around it.

    Raises:
        ValueError: it is empty, too long, or has characters that nobody sees.
    """
    return _visible(text, _LONGEST_LINE)


def _paragraph(text: str) -> str:
    return _visible(text, _LONGEST_PARAGRAPH, newlines=True)


def _url(text: str) -> str:
    if len(text) > _LONGEST_URL:
        raise ValueError(f"must have at most {_LONGEST_URL} characters (it has {len(text)})")
    if not _URL.fullmatch(text):
        raise ValueError("must be a web address that begins with https:// or http://")
    return text


def _date(text: str) -> str:
    shape = re.fullmatch(r"([0-9]{4})(-[0-9]{2})?(-[0-9]{2})?", text)
    try:
        if not shape:
            raise ValueError(text)
        datetime.date.fromisoformat(f"{shape[1]}{shape[2] or '-01'}{shape[3] or '-01'}")
    except ValueError:
        raise ValueError("must be a date such as 2024, 2024-05 or 2024-05-07") from None
    return text


def _matching(pattern: str, kind: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {kind}")
        return text

    return AfterValidator(check)


Line = Annotated[str, AfterValidator(check_line)]
"""One visible line of at most 300 characters."""

Paragraph = Annotated[str, AfterValidator(_paragraph)]
"""Visible text of at most 2,000 characters, in lines."""

Url = Annotated[str, AfterValidator(_url)]
"""An http or https address."""

Date = Annotated[str, AfterValidator(_date)]
"""A year, a month of a year, or a day: `2024`, `2024-05`, `2024-05-07`."""

Arxiv = Annotated[str, _matching("[0-9]{4}[.][0-9]{4,5}", "an arXiv identifier such as 1810.12715")]
"""An arXiv identifier, without a version."""

Sha256 = Annotated[
    str, _matching("[0-9a-f]{64}", "the 64 small hexadecimal digits that sha256sum prints")
]
"""A SHA-256 in hexadecimal."""

OnnxName = Annotated[
    str,
    _matching(
        "[A-Za-z0-9][A-Za-z0-9._-]{0,80}[.]onnx",
        "the name of an .onnx file in the same folder: letters, digits, dots, dashes",
    ),
]
"""The name of a model's file, without a path."""
