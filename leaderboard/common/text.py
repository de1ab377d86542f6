"""Kinds of text that others write and we publish: plain lines, web addresses, dates.

What a reader cannot see, or what changes how the rest is read, is refused: a control character,
a zero-width one, an override of the writing direction.
"""

import datetime
import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator

from leaderboard.common.errors import InputError
from leaderboard.common.lookalikes import mixed_word
from leaderboard.common.rules import RuledError

_LONGEST_LINE, _LONGEST_PARAGRAPH, _LONGEST_URL = 300, 2000, 500

_INVISIBLE = ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp")
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Fillers and joiners that Unicode counts as letters, signs or marks."""
_MOST_MARKS = 3
_URL = re.compile(
    r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[\w.~:/?#\[\]@!$&'()*+,;=%-]*)?", re.ASCII
)


def _visible(text: str, longest: int, *, newlines: bool = False) -> str:
    if not text.strip():
        raise RuledError("text-length", "must not be empty")
    if len(text) > longest:
        has = f"(it has {len(text)})"
        raise RuledError("text-length", f"must have at most {longest} characters {has}")
    _check_signs(text, "\n" if newlines else "")
    return text.strip()


def _check_signs(text: str, allowed: str) -> None:
    """Raise if a sign is not seen, `allowed` ones apart, or is taken for another."""
    if text.isascii() and text.replace(allowed, "").isprintable():
        return  # what nearly all texts are: nothing below finds fault with these signs
    hidden = next((c for c in text if not _seen(c) and c not in allowed), None)
    if hidden is not None:
        problem = f"must not contain the invisible character U+{ord(hidden):04X}"
        raise RuledError("text-invisible", problem)
    if not unicodedata.is_normalized("NFC", text):
        raise RuledError("text-normal", "must be in Unicode's composed form (NFC)")
    if _most_marks(text) > _MOST_MARKS:
        problem = f"must not have more than {_MOST_MARKS} marks on a letter"
        raise RuledError("text-marks", problem)
    if (word := mixed_word(text)) is not None:
        problem = f"mixes scripts that look alike in the word {word!a}"
        raise RuledError("text-scripts", problem)


def _seen(character: str) -> bool:
    """Whether a reader sees a character, or an ordinary space."""
    kind = unicodedata.category(character)
    selector = 0xFE00 <= ord(character) <= 0xFE0F or 0xE0100 <= ord(character) <= 0xE01EF
    odd = kind == "Zs" and character != " "
    return kind not in _INVISIBLE and character not in _BLANK and not selector and not odd


def _most_marks(text: str) -> int:
    """The most combining marks in a row."""
    most = run = 0
    for character in text:
        run = run + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        most = max(most, run)
    return most


def hidden_in(text: str) -> str | None:
    """The first character of a whole document that is not seen, tabs and ends of lines apart."""
    return next((c for c in text if c not in "\n\r\t" and not _seen(c)), None)


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
        has = f"(it has {len(text)})"
        raise RuledError("text-length", f"must have at most {_LONGEST_URL} characters {has}")
    if not _URL.fullmatch(text):
        problem = "must be a web address that begins with https:// or http://"
        raise RuledError("text-address", problem)
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


OneLine = Annotated[str, AfterValidator(check_line)]
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

_ACCOUNT = "[A-Za-z0-9](-?[A-Za-z0-9]){0,38}"
Account = Annotated[str, _matching(_ACCOUNT, "the name of a GitHub account, without @")]
"""An account's name; capital and small letters are the same to GitHub."""


def check_account(text: str) -> str:
    """The name of an account, as it stands.

    Raises:
        InputError: it cannot be one.
    """
    if not re.fullmatch(_ACCOUNT, text):
        raise InputError(f"{text[:60]!r} is no name of a GitHub account.")
    return text


MODEL_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,80}[.]onnx"

OnnxName = Annotated[
    str,
    _matching(
        MODEL_NAME,
        "the name of an .onnx file in the same folder: letters, digits, dots, dashes",
    ),
]
"""The name of a model's file, without a path."""
