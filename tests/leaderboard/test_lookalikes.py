"""Titles and names in look-alike alphabets: Unicode's own table decides, and honest names pass."""

import string
import unicodedata
from functools import cache

import pytest
from confusable_homoglyphs.confusables import confusables_data
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.common.lookalikes import alike, mixed_word, skeleton
from leaderboard.common.text import check_line

HONEST = [
    *("Łukasz Kaiser", "José Müller", "Søren Ørsted", "Þórr", "Đặng Nguyễn Văn An", "İlker Şahin"),
    *("李", "王小明", "김철수", "ひらがなカタカナ", "Иван Петров", "Сара", "Γιώργος Παπαδόπουλος"),
    *("Ελένη", "محمد", "שלום", "हिन्दी", "ไทย", "தமிழ்", "ქართული", "Հայերեն", "አማርኛ", "Kaʻahumanu"),
    *("ᐃᓄᒃᑎᑐᑦ", "Ə", "Ɓala", "O’Neill", "Straße", "Ångström", "Čapek", "Łódź", "Ħ", "ŋ"),
    *("α,β-CROWN", "αβCROWN", "β-CROWN", "ΔReLU", "Σ-Net", "ℓ∞", "ℓ₂", "σ = 0.25", "ε = 8/255"),
    *("x² + y₁", "10⁻³", "№ 5", "Type Ⅱ", "µ-net", "ℝ^d", "李CNN", "テストNet", "Ⅳ", "½", "™"),
]

FORGED = {
    "Lisu": "ꓟꓠꓲꓢꓔ",
    "Lisu in Latin": "ꓟNIST",
    "small capitals": "ᴍɴɪsᴛ",
    "one small capital": "mnɪst",
    "Canadian syllabics": "ᗅᗷᗞ",
    "Canadian syllabics in Latin": "ᖴOO",
    "Cherokee": "ᎪᏴᏟ",
    "Cherokee in Latin": "ᎷNIST",
    "Coptic": "ⲟⲣ",
    "Carian": "𐊠𐊡",
    "Cyrillic in Latin": "МNIST",
    "Cyrillic that looks like none": "CROWИ",
    "Greek in Latin": "CRΟWN",
    "mathematics": "𝐌𝐍𝐈𝐒𝐓",
    "script letters": "𝓒𝓡𝓞𝓦𝓝",
    "full width": "ＭＮＩＳＴ",
    "a Roman numeral": "ⅿnist",
    "circles": "ⓜⓝⓘⓢⓣ",
    "squares": "🅼🅽🅸🆂🆃",
    "flags": "🇲🇳🇮🇸🇹",
    "Armenian in Latin": "ոet",
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_names_pass(name: str) -> None:
    assert mixed_word(name) is None
    assert check_line(unicodedata.normalize("NFC", name))


@pytest.mark.parametrize("kind", FORGED)
def test_a_word_in_disguise_is_refused_also_among_others(kind: str) -> None:
    for text in (FORGED[kind], f"A {FORGED[kind]} network", f"({FORGED[kind]})"):
        assert mixed_word(text)
        with pytest.raises(ValueError, match="mixes scripts that look alike"):
            check_line(text)


@cache
def forms(letter: str) -> list[str]:
    """Single characters that Unicode says look like an ASCII letter."""
    found = [one["c"] for one in confusables_data.get(letter, [])]
    return [sign for sign in found if len(sign) == 1 and not sign.isascii()]


LETTERS = [letter for letter in string.ascii_letters if forms(letter)]


@pytest.mark.parametrize("letter", LETTERS)
def test_every_form_of_a_letter_has_its_skeleton(letter: str) -> None:
    same = [form for form in forms(letter) if skeleton(form) == skeleton(letter)]
    others = set(forms(letter)) - set(same)
    # What looks like two letters, such as Ⲓ and I and l, or is punctuation, is not only this one's.
    assert len(others) <= len(forms(letter)) // 5, others


@given(
    st.text(st.sampled_from(LETTERS), min_size=3, max_size=12),
    st.lists(st.integers(0, 200), min_size=12, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_a_forged_word_is_refused_or_taken_for_the_original(
    word: str, draws: list[int], forged: list[bool]
) -> None:
    forgery = "".join(
        forms(letter)[draw % len(forms(letter))] if change else letter
        for letter, draw, change in zip(word, draws, forged, strict=False)
    )
    assert mixed_word(forgery) or skeleton(forgery) == skeleton(word) or not forgery.isalpha()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("MNIST, IBP", "ΜΝΙЅТ, ІВР"),
        ("MNIST, IBP", "ꓟꓠꓲꓢꓔ, ꓲꓐꓑ"),
        ("MNIST, IBP", "ᴍɴɪꜱᴛ, ɪʙᴘ"),
        ("Certified", "Сеrtifiеd"),
        ("МОДЕЛЬ", "Модель"),
        ("modern", "modem"),
        ("scope", "ѕсоре"),
    ],
)
def test_titles_that_look_the_same_are_alike(one: str, other: str) -> None:
    assert list(alike({"a": one, "b": other})) == [("b", "a")]


def test_titles_that_differ_are_not_alike() -> None:
    titles = [
        "王小明",
        "王大明",
        "Иван",
        "Иванов",
        "CNN 7",
        "CNN 8",
        "Net α",
        "Net β",
        "ДОМ",
        "ТОМ",
    ]
    assert list(alike({title: title for title in titles})) == []
