"""Names and titles that can be mistaken for others, and words of mixed scripts.

A skeleton is what remains of a text when signs that look alike are made the same (the idea of
Unicode's UTS #39); the table has the letters that Latin text is forged with.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping

_LIKE = dict(
    zip(
        "АВЕЅІЈКМНОРСТХУЗабсԁеһіјкӏмнорԛѕтԝхуѵүΑΒΕΖΗΙΚΜΝΟΡΤΥΧοινρυαγκχτıօաեոսհցքլ",
        "ABESIJKMHOPCTXY3abcdehijklmhopqstwxyvyABEZHIKMNOPTYXoivpuaykxtlowenuhgql",
        strict=False,
    )
)
"""Cyrillic, Greek and Armenian letters, each with the Latin one that it looks like."""

_SAME = str.maketrans({"0": "o", "1": "l", "i": "l", "|": "l", "5": "s"})
_NOT_ALIKE = frozenset("αγικτχνρυ")
"""Small Greek letters that stand in names of methods, such as α,β-CROWN, by themselves."""

_WORD = re.compile(r"[^\W\d_]+")


def skeleton(text: str) -> str:
    """A text as a hurried reader sees it."""
    plain = "".join(_LIKE.get(c, c) for c in unicodedata.normalize("NFKD", text))
    plain = "".join(c for c in plain if not unicodedata.combining(c)).casefold()
    plain = re.sub(r"[\W_]+", "", plain.replace("|", "l")).translate(_SAME)
    return plain.replace("rn", "m").replace("vv", "w")


def mixed_word(text: str) -> str | None:
    """The first word that mixes Latin letters with others that look like them, or is in disguise.

    Letters of mathematics and of full width are Latin ones in disguise.
    """
    for found in _WORD.finditer(text):
        word = found[0]
        latin = any(c.isascii() for c in word)
        forged = any(c in _LIKE and c not in _NOT_ALIKE for c in word)
        folded = unicodedata.normalize("NFKC", word)
        disguised = sum(a != b for a, b in zip(word, folded, strict=False)) > 1
        if (latin and forged) or (disguised and folded.isascii()):
            return word
    return None


def alike(names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Keys whose texts can be mistaken for an earlier one's, each with the earlier key; linear."""
    seen: dict[str, str] = {}
    for key, text in names.items():
        bones = skeleton(text)
        if bones in seen:
            yield key, seen[bones]
        seen.setdefault(bones, key)
