"""The pictures are well-formed, and their geometry is what they say."""

import re
from collections.abc import Callable
from math import erf, sqrt
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import beta

from leaderboard.common.errors import InputError
from leaderboard.field.pictures import catalogue, picture_named
from leaderboard.field.pictures._svg import KINDS, Drawing, Picture, between, number, steps
from leaderboard.field.pictures.lipschitz import fall
from leaderboard.field.pictures.relaxations import chord, relu, sdp_upper
from leaderboard.field.pictures.smoothing import (
    SCALE,
    jagged,
    label_probability,
    slab_radius,
    smoothed_boundary,
)
from leaderboard.field.pictures.training import A, B, fitted, separating
from leaderboard.field.pictures.verifiers import MARGIN, boundary

SVG = "{http://www.w3.org/2000/svg}"
PICTURES = list(catalogue().values())


@pytest.mark.parametrize("picture", PICTURES, ids=lambda one: one.name)
def test_a_picture_is_well_formed_and_tells_what_it_shows(picture: Picture) -> None:
    made = picture.svg()
    tree = ElementTree.fromstring(made)
    title, described = tree.find(f"{SVG}title"), tree.find(f"{SVG}desc")
    assert title is not None
    assert described is not None
    assert title.text == picture.title
    assert tree.get("aria-labelledby") == title.get("id")
    assert len(described.text or "") > 60
    assert "\n" not in made
    assert made == picture.svg()


@pytest.mark.parametrize("picture", PICTURES, ids=lambda one: one.name)
def test_a_picture_has_only_the_style_sheets_colours_and_stays_inside(picture: Picture) -> None:
    tree = ElementTree.fromstring(picture.svg())
    for element in tree.iter():
        if element is tree or element.tag in (f"{SVG}title", f"{SVG}desc"):
            continue
        kind = (element.get("class") or "").split()[0]
        assert re.sub("-(fill|dot|text)$", "", kind) in KINDS
        assert not {"fill", "stroke", "style"} & set(element.attrib)
        for pair in (element.get("points") or "").split():
            x, y = map(float, pair.split(","))
            assert -1 <= x <= 361
            assert -1 <= y <= 221


def test_a_thumbnail_is_silent() -> None:
    made = PICTURES[0].thumbnail()
    assert 'aria-hidden="true"' in made
    assert "<title" not in made
    assert " id=" not in made


def test_an_unknown_picture_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'relu-triangle'"):
        picture_named("relu-triangel")


def test_words_in_a_picture_are_escaped() -> None:
    drawing = Drawing()
    drawing.whole().text((0, 0), "<b>&")
    assert "&lt;b&gt;&amp;" in drawing.elements[0]


@pytest.mark.parametrize(
    ("value", "text"), [(-0.001, "0"), (1.0, "1"), (2.345, "2.35"), (10, "10")]
)
def test_coordinates_have_two_decimals(value: float, text: str) -> None:
    assert number(value) == text


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.floats(-3, -0.01), st.floats(0.01, 3), st.floats(0, 1))
def test_the_chord_and_the_semidefinite_curve_lie_above_the_relu(
    low: float, high: float, share: float
) -> None:
    x = low + share * (high - low)
    above = chord(x, (low, high))
    assert relu(x) <= above + 1e-12
    assert above <= sdp_upper(x, (low, high)) + 1e-9


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.floats(-2, -0.1), st.floats(0.1, 2), st.floats(0.05, 0.95))
def test_the_semidefinite_curve_is_where_a_moment_matrix_stops_to_exist(
    low: float, high: float, share: float
) -> None:
    """On a grid of the second moments E[x²] = a + x² and E[z²] = E[xz] = s + z²."""
    x = low + share * (high - low)
    a = (high - x) * (x - low)
    for factor, exists in ((0.999, True), (1.001, False)):
        z = sdp_upper(x, (low, high)) * factor
        s = np.linspace(0, 2 * a, 20_001)
        determinant = a * s - (s + z * (z - x)) ** 2
        assert bool((determinant >= -1e-9 * a).any()) == exists


@pytest.mark.parametrize(("direction", "most"), [((1.0, 1.0), 1.5), ((2.0, 1.0), 2.5), ((1, 0), 1)])
def test_two_triangles_over_the_diamond_leave_the_five_corners(
    direction: tuple[float, float], most: float
) -> None:
    """max c·z over x in the diamond, z_i >= x_i, 2 z_i <= x_i + 1, z >= 0, as a linear program."""
    signs = [[a, b, 0, 0] for a in (1, -1) for b in (1, -1)]
    relaxed = [[1, 0, -1, 0], [0, 1, 0, -1], [-1, 0, 2, 0], [0, -1, 0, 2]]
    solved = linprog(
        [0, 0, -direction[0], -direction[1]],
        A_ub=[*signs, *relaxed],
        b_ub=[1, 1, 1, 1, 0, 0, 1, 1],
        bounds=[(-1, 1), (-1, 1), (0, None), (0, None)],
    )
    corners = ((0, 0), (1, 0), (1, 0.5), (0.5, 1), (0, 1))
    assert -solved.fun == pytest.approx(most)
    assert max(direction[0] * x + direction[1] * y for x, y in corners) == pytest.approx(most)


def test_the_certified_square_lies_below_the_boundary_and_the_falsified_one_does_not() -> None:
    assert all(boundary(t) > 0.75 for t in steps(-0.75, 0.75))
    assert boundary(0.45, -0.45) < 0.66 < 0.75


def test_the_bounds_of_the_margin_are_bounds() -> None:
    assert min(height for _, height in MARGIN) == pytest.approx(0.3)
    for t in steps(-1, 1, 200):
        assert 0.15 + 0.5 * t * t <= between(MARGIN, t)


def test_the_cone_and_the_parabola_lie_below_the_smooth_margin() -> None:
    for t in steps(-1.9, 1.9, 400):
        assert 1 - 0.95 * abs(t) <= fall(t) + 1e-12
        assert 1 - 0.24 * t - t * t / 2 <= fall(t) + 1e-12


def test_robust_training_separates_the_regions_and_standard_training_the_examples() -> None:
    def clear(bend: Callable[[float], float], radius: float) -> bool:
        return all(
            bend(x + d) < y - radius for x, y in A for d in steps(-radius, radius, 20)
        ) and all(bend(x + d) > y + radius for x, y in B for d in steps(-radius, radius, 20))

    assert clear(fitted, 0.0)
    assert not clear(fitted, 0.42)
    assert clear(separating, 0.42)


def test_the_smoothed_boundary_halves_the_noise() -> None:
    """Against plain sampling of both coordinates."""
    draw = np.random.default_rng(0)
    point = (0.3, smoothed_boundary(0.3))
    noise = SCALE * draw.standard_normal((20_000, 2))
    below = [point[1] + up < jagged(min(max(point[0] + side, -3.0), 3.0)) for side, up in noise]
    assert label_probability(point) == pytest.approx(0.5, abs=1e-6)
    assert np.mean(below) == pytest.approx(0.5, abs=0.02)


def test_the_confidence_bound_is_clopper_and_pearsons() -> None:
    assert beta.ppf(0.001, 930, 71) == pytest.approx(0.901, abs=7e-4)


def test_the_slab_reaches_one_half_later_than_the_half_space() -> None:
    half = 1.2815515655446004
    radius = slab_radius(half)

    def cdf(t: float) -> float:
        return (1 + erf(t / sqrt(2))) / 2

    assert cdf(half - radius) - cdf(-half - radius) == pytest.approx(0.5)
    assert radius > 0.8416212335729143
