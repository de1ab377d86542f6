"""The library's reference says what the docstrings say, of every public name."""

import inspect
import subprocess
import sys

import evaluators
from leaderboard.website.pages.reference import entries, inline


def test_every_public_name_has_its_signature_and_all_its_arguments() -> None:
    found = {entry.name: entry for entry in entries()}
    assert sorted(found) == sorted(evaluators.__all__)
    for name, entry in found.items():
        value = getattr(evaluators, name)
        assert entry.paragraphs, name
        if inspect.isfunction(value):
            assert entry.signature.startswith(f"{name}(")
            told = {
                one.strip()
                for section in entry.sections
                if section.heading == "Arguments"
                for names, _ in section.items
                for one in names.split(",")
            }
            assert told == set(inspect.signature(value).parameters), name


def test_the_website_is_built_without_pytorch() -> None:
    text = (
        "import sys, leaderboard.website.build\n"
        "from leaderboard.website.pages.reference import entries\n"
        "entries()\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", text], check=True, timeout=120)


def test_code_of_a_docstring_is_code_and_markup_is_dead() -> None:
    assert inline("a `b<c>` <i>d</i>") == ("a <code>b&#60;c&#62;</code> &#60;i&#62;d&#60;/i&#62;")
