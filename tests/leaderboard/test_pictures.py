"""The pictures of the taxonomy are well-formed, inert, and described for those who cannot see."""

import re
from xml.etree import ElementTree

import pytest

from leaderboard.common.errors import InputError
from leaderboard.field.pictures import catalogue, picture_named

SVG = "{http://www.w3.org/2000/svg}"
COLOURS = ("ink", "soft", "proved", "broken", "open", "accent")
DRAWN = {"polyline", "polygon", "circle", "text"}
WRITTEN = {"title", "desc"}
ATTRIBUTES = {"class", "points", "cx", "cy", "r", "x", "y", "text-anchor"}


def test_every_picture_has_a_title_and_a_description() -> None:
    assert catalogue()
    for name, picture in catalogue().items():
        tree = ElementTree.fromstring(picture.svg)
        title, described = tree.find(f"{SVG}title"), tree.find(f"{SVG}desc")
        assert title is not None, name
        assert described is not None, name
        assert title.text, name
        assert tree.get("aria-labelledby") == title.get("id") == f"picture-{name}"
        assert len(described.text or "") > 60, name
        assert described.text == picture.caption
        assert "\n" not in picture.svg


def test_every_picture_is_shapes_in_the_style_sheets_colours_that_stay_inside() -> None:
    """Nothing else can be in a file, so nothing of it can run or load anything."""
    for name, picture in catalogue().items():
        tree = ElementTree.fromstring(picture.svg)
        assert {element.tag for element in tree} <= {f"{SVG}{tag}" for tag in DRAWN | WRITTEN}
        for element in tree:
            assert not len(element), name
            if element.tag.removeprefix(SVG) in WRITTEN:
                continue
            assert set(element.attrib) <= ATTRIBUTES, name
            kind = element.attrib["class"].split()[0]
            assert re.sub("-(fill|dot|text)$", "", kind) in COLOURS, name
            for pair in (element.get("points") or "").split():
                x, y = map(float, pair.split(","))
                assert -1 <= x <= 361, name
                assert -1 <= y <= 221, name


def test_a_thumbnail_is_silent() -> None:
    for picture in catalogue().values():
        made = picture.thumbnail()
        assert 'aria-hidden="true"' in made
        assert not any(part in made for part in ("<title", "<desc", "aria-labelledby", " id="))


def test_an_unknown_picture_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'relu-triangle'"):
        picture_named("relu-triangel")
