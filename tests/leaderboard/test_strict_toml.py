"""Manifests of strangers: read in one pass, whatever their quotes and dots."""

import pytest

from leaderboard.common import strict_toml
from leaderboard.common.errors import InputError
from leaderboard.common.strict_toml import toml_of

CHAIN = ".".join(["a"] * 33)


@pytest.mark.parametrize(
    "text",
    [
        f"{CHAIN} = 1",
        f"[{CHAIN}]",
        f'x = ["""\n""", {{{CHAIN} = 1}}, "y"]',
        f"x = ['''\n''', {{{CHAIN} = 1}}, 'y']",
        f'# "\n{CHAIN} = 1 # "',
        f'x = "\\""\n{CHAIN} = "y"',
    ],
)
def test_a_key_of_many_parts_is_refused_wherever_it_is_hidden(text: str) -> None:
    with pytest.raises(InputError, match="nested too deeply"):
        toml_of(text.encode(), "m.toml")


@pytest.mark.parametrize(
    "text",
    [
        f'x = "{CHAIN}"',
        f"x = '{CHAIN}'",
        f'x = """\n "" {CHAIN} \\""""""',
        f"x = '''\n '' {CHAIN}'''''",
        f"x = 1 # ' {CHAIN} = 1",
    ],
)
def test_texts_and_comments_may_have_as_many_dots_as_they_like(text: str) -> None:
    assert set(toml_of(text.encode(), "m.toml")) == {"x"}


@pytest.mark.parametrize(
    "text", ['"' + r"\"" * 9, "'" + '"' * 9, '"""' + r"\"" * 9, "'''" + "'' " * 9]
)
def test_a_string_that_nothing_ends_is_looked_at_once(text: str) -> None:
    assert strict_toml._NO_KEY.findall(text) == [text]
