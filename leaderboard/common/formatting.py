"""Numbers and foreign text as the pages show them.

Text from submissions and papers is data. `safe` makes it inert in HTML and in Markdown at once,
since Markdown is what the generated pages are written in.
"""

import math
import re
from decimal import Decimal
from urllib.parse import quote, urlsplit

DASH = "–"
# Read by HTML, or by Markdown inside a line; what starts a line never comes from foreign text.
_SIGNS = re.compile(r"[&<>\"'\\`*_{}\[\]#~^|$:!=]")
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


def safe(value: object) -> str:
    """Foreign text on one line, with every sign that HTML or Markdown would read as an entity."""
    one_line = " ".join(_INVISIBLE.sub(" ", str(value)).split())
    return _SIGNS.sub(lambda sign: f"&#{ord(sign.group())};", one_line)


def safe_url(value: object) -> str:
    """The address if it is an absolute http(s) one; no other scheme is ever linked."""
    text = str(value or "").strip()
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    if parts.scheme.lower() not in ("http", "https") or not parts.netloc or '"' in parts.netloc:
        return ""
    return quote(text, safe="/:?&=#%+,;@~()!$-._")


def percent(share: float | None) -> str:
    """`0.9312` as `93.12`, without the sign; a dash where it is not known.

    Two decimals count every example of a test set of 10,000: nothing is rounded up.
    """
    return DASH if share is None else f"{100 * share:.2f}"


def whole_percent(part: int, total: int) -> str:
    """A part of a total as `29 %`, never as 0 % or 100 % when it is not."""
    share = 100 * part / total
    if 0 < part < total and not 1 <= share <= 99:
        return "<1 %" if share < 1 else ">99 %"
    return f"{share:.0f} %"


def seconds(value: float | None) -> str:
    """A duration in the unit one would say it in: `4 ms`, `2.5 s`, `12 min`, `3.1 h`."""
    if value is None:
        return DASH
    # What would be rounded to a thousand is one of the next unit.
    if value < 0.9995e-3:
        return f"{1e6 * value:.0f} µs"
    if value < 0.9995:
        return f"{1e3 * value:.3g} ms"
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def size(number: int) -> str:
    """A number of bytes as `812 B`, `38 kB`, `1.9 MB`."""
    if number < 1000:
        return f"{number} B"
    if number < 999_500:
        return f"{number / 1e3:.0f} kB"
    return f"{number / 1e6:.1f} MB" if number < 999_950_000 else f"{number / 1e9:.1f} GB"


_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def p_value(chance: float) -> str:
    """`0.0312` as `0.031`, `1.2e-05` as `1.2 · 10⁻⁵`."""
    if chance >= 0.001:
        return f"{chance:.3f}"
    if chance == 0:
        return "< 10⁻³⁰⁰"
    digits, power = f"{chance:.1e}".split("e-")
    return f"{digits} · 10⁻{str(int(power)).translate(_SUPERSCRIPTS)}"


def float_text(value: float | None) -> str:
    """A number as scripts sort by it; empty where it is not known."""
    return "" if value is None else f"{value:.4g}"


def thousands(number: int | None) -> str:
    """A large number in short: `980`, `22.4 k`, `1.25 M`; a dash where it is not known."""
    if number is None:
        return DASH
    for factor, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= factor:
            return f"{number / factor:.3g} {unit}"
    return str(number)


def count(number: int) -> str:
    """`12345` as `12,345`."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """`1 submission`, `1,200 submissions`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def rounded_down(margin: float | None) -> str | None:
    """A proved lower bound in short, still a lower bound; a small positive one stays positive."""
    if margin is None:
        return None
    if 0 < margin < 1e-3:
        exact = Decimal(margin)
        tenths = math.floor(exact.scaleb(1 - exact.adjusted()))
        return f"{tenths // 10}.{tenths % 10}e{exact.adjusted()}"
    return f"{math.floor(margin * 1e4) / 1e4:.4f}"
