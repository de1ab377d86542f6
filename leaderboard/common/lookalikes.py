"""Names and titles that can be mistaken for others, and words of mixed or disguised scripts.

Which characters look alike, and of which script each is, Unicode says (UTS #39, UAX #24); the
package confusable-homoglyphs brings its tables. A skeleton is what remains of a text when signs
that look alike are made the same; it goes further than UTS #39, for it takes no notice of case,
accents, spaces and punctuation.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache

_SAME = str.maketrans({"0": "o", "1": "l", "i": "l", "|": "l", "5": "s"})
_WORD = re.compile(r"[^\W\d_]+")

_TOGETHER = (
    frozenset({"LATIN", "HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "HAN", "BOPOMOFO"}),
    frozenset({"LATIN", "HAN", "HANGUL"}),
)
"""Scripts that one word may mix: those of UTS #39's level Highly Restrictive."""

_RECOMMENDED = """
    ARABIC ARMENIAN BENGALI BOPOMOFO CYRILLIC DEVANAGARI ETHIOPIC GEORGIAN GREEK GUJARATI GURMUKHI
    HAN HANGUL HEBREW HIRAGANA KANNADA KATAKANA KHMER LAO LATIN MALAYALAM MYANMAR ORIYA SINHALA
    TAMIL TELUGU THAANA THAI TIBETAN COMMON INHERITED
"""
"""Scripts in everyday use by many (UAX #31, table 5); of the others a word must not look Latin."""

_NAMED = re.compile(r"(?:LATIN|SYMBOL) (?:LETTER SMALL CAPITAL|(?:CAPITAL |SMALL )?LETTER) ([A-Z])")
"""The end of the name of a letter in a circle, a square or of the shape of a small capital."""


def skeleton(text: str) -> str:
    """A text as a hurried reader sees it; its own skeleton is itself."""
    bones = _bones(text)
    while (again := _bones(bones)) != bones:
        bones = again
    return bones


def _bones(text: str) -> str:
    plain = text
    # ASCII, which most texts are, looks like itself and is composed of nothing.
    if not text.isascii():
        seen = "".join(map(_looks, unicodedata.normalize("NFKD", text)))
        seen = unicodedata.normalize("NFKD", seen)
        plain = "".join(c for c in seen if not unicodedata.combining(c))
    plain = plain.casefold()
    plain = re.sub(r"[\W_]+", "", plain.replace("|", "l")).translate(_SAME)
    return plain.replace("rn", "m").replace("vv", "w")


@cache
def _looks(character: str) -> str:
    """What stands for all characters that look like this one, Latin where some of them is.

    A small letter of another script that only its capital's shape tells, such as к, looks like
    that one's small letter.
    """
    if character.isascii():
        return character
    if (named := _letter_named(character)) is not None:
        return named
    found = _prototypes().get(character, character)
    if found.isascii():
        return found
    if (small := character.casefold()) != character:
        return "".join(map(_looks, small))
    if character.upper() != character:
        capital = _prototypes().get(character.upper(), "")
        if capital.isascii() and capital.isalpha():
            return capital.lower()
    return found


def _letter_named(character: str) -> str | None:
    """The plain letter, if a character is one in a frame or a small capital."""
    if character.isascii():
        return None
    told = _NAMED.search(unicodedata.name(character, ""))
    return told[1].lower() if told and told.end() == len(told.string) else None


@cache
def _prototypes() -> dict[str, str]:
    """For each character that looks like others the one that stands for all of them."""
    # Reading the table takes a moment that plain texts need not wait for.
    from confusable_homoglyphs.confusables import confusables_data

    group: dict[str, str] = {}

    def root(sign: str) -> str:
        while group.setdefault(sign, sign) != sign:
            group[sign] = sign = group[group[sign]]
        return sign

    for sign, others in confusables_data.items():
        for other in others:
            group[root(sign)] = root(other["c"])
    alike: dict[str, list[str]] = defaultdict(list)
    for sign in group:
        alike[root(sign)].append(sign)
    found: dict[str, str] = {}
    for signs in alike.values():
        chosen = min(signs, key=_plainness)
        found |= {sign: chosen for sign in signs if len(sign) == 1}
    return found


def _plainness(sign: str) -> tuple[bool, bool, bool, str]:
    """What comes first stands for the others: a Latin letter, and a small one."""
    letters = sign.isascii() and sign.isalpha()
    return (not (letters and len(sign) == 1), not letters, not sign.islower(), sign)


@cache
def _script(character: str) -> str:
    """The script's name; COMMON or INHERITED of what belongs to several."""
    from confusable_homoglyphs.categories import alias

    return str(alias(character))


def mixed_word(text: str) -> str | None:
    """The first word that mixes scripts that look alike, or whose letters are in disguise.

    In disguise are letters of mathematics, of full width, in frames and small capitals, and words
    of scripts that few read and that look like Latin ones.
    """
    framed = next((c for c in text if not c.isalpha() and _letter_named(c)), None)
    if framed is not None:
        return framed
    # Plain letters are of one script and no disguise: most words of most texts.
    words = (word for word in _WORD.findall(text) if not word.isascii())
    return next((word for word in words if _mixed(word) or _disguised(word)), None)


def _mixed(word: str) -> bool:
    scripts = {_script(c) for c in word} - {"COMMON", "INHERITED"}
    if len(scripts) < 2 or any(scripts <= together for together in _TOGETHER):
        return False
    # α,β-CROWN and its like: small Greek letters but omicron, and capitals of no Latin shape.
    greek = [c for c in word if _script(c) == "GREEK"]
    forged = any(c == "ο" or (c.isupper() and _looks(c).isascii()) for c in greek)
    return scripts != {"LATIN", "GREEK"} or forged


def _disguised(word: str) -> bool:
    folded = unicodedata.normalize("NFKC", word)
    # A raised or lowered digit is no disguise, nor is ℓ, which names norms.
    changed = [a for a, b in zip(word, folded, strict=False) if a != b and a != "ℓ"]
    if folded.isascii() and sum(unicodedata.category(c) != "No" for c in changed) > 1:
        return True
    if any(map(_letter_named, word)) or (len(word) > 1 and any(map(_foreign_form, word))):
        return True
    like = sum(_looks(c).isascii() for c in word)
    return _script(word[0]) not in _RECOMMENDED.split() and 3 * like >= len(word)


def _foreign_form(character: str) -> bool:
    """Whether it is another form of an ASCII letter, ℓ apart."""
    kind, folded = unicodedata.category(character), unicodedata.normalize("NFKC", character)
    same = character.isascii() or character == "ℓ" or kind not in ("Lu", "Ll", "Nl")
    return not same and folded.isascii() and folded.isalpha()


def alike(names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Keys whose texts can be mistaken for an earlier one's, each with the earlier key; linear."""
    seen: dict[str, str] = {}
    for key, text in names.items():
        bones = skeleton(text)
        if bones in seen:
            yield key, seen[bones]
        seen.setdefault(bones, key)
