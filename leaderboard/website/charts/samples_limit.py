"""The largest radius that n samples can give, however good the model is."""

from functools import cache
from importlib.metadata import version
from math import isnan, nan, prod
from pathlib import Path

from mpmath import mpf

from leaderboard.board.board import Board
from leaderboard.board.smoothed import curves, foremost
from leaderboard.recheck.families import radius
from leaderboard.results.kept import hash_of, key_of, shared
from leaderboard.results.tally import stored_fraction
from leaderboard.settings.setting import NORM_SIGNS, Setting
from leaderboard.website import plot
from leaderboard.website.charts import MOST_LINES, SERIES, Chart, Drawing, figure

USUAL = ("0.25", "0.5", "1.0")
"""Scales of noise that are drawn where no model was measured."""

_TENTHS = range(10, 61)
"""Tenths of the exponent: from 10 to a million samples."""


@cache
def limit(noise: str, norm: str, n: int, failure_probability: float, dimension: int) -> float:
    """The radius, for noise of scale one, if all of n samples agree; NaN where none is known.

    The one-sided Clopper-Pearson bound is then failure_probability^(1/n), and no bound that holds
    with that confidence is larger. It is kept for the same code of the independent checker.
    """
    asked = (noise, norm, n, failure_probability, dimension)
    told = [_code(), *map(repr, asked)]
    return float(shared().made(key_of("limit", told), lambda: repr(_limit(*asked)).encode()))


@cache
def _code() -> str:
    """A hash of what works out a limit: it takes milliseconds in many digits."""
    own = Path(__file__)
    places = (own, own.parents[2] / "recheck")
    return "\n".join([version("mpmath"), *map(hash_of, places)])


def _limit(noise: str, norm: str, n: int, failure_probability: float, dimension: int) -> float:
    p = mpf(failure_probability) ** (mpf(1) / n)
    found = radius(noise, norm, mpf(1), p, 1 - p, dimension)
    return nan if found is None else float(found)


def _scales(board: Board, setting: Setting) -> list[tuple[str, str]]:
    """Noise and scale of the models measured here, else the usual ones."""
    found = foremost(curves(board, setting.id), setting.radius, MOST_LINES)
    measured = {(curve.noise, curve.sigma): None for curve in found}
    known = [pair for pair in measured if not isnan(limit(pair[0], setting.norm, 1000, 0.001, 1))]
    usual = "uniform" if setting.norm == "l1" else "gaussian"
    scales = known or [(usual, sigma) for sigma in USUAL]
    # The others would say that no number of samples is enough.
    return [pair for pair in scales if _reaches(board, setting, *pair)] or scales


def _reaches(board: Board, setting: Setting, noise: str, sigma: str) -> bool:
    """Whether the largest number of samples drawn can give the setting's radius."""
    assert setting.smoothing is not None
    dimension = prod(board.datasets[setting.dataset].shape)
    chance = setting.smoothing.failure_probability
    most = limit(noise, setting.norm, 10 ** (_TENTHS[-1] // 10), chance, dimension)
    return float(stored_fraction(sigma)) * most >= setting.radius


def draw(board: Board, subject: str) -> Drawing | None:
    """Where the setting samples smoothed models: a line for each scale of noise."""
    setting = board.settings[subject]
    if setting.smoothing is None:
        return None
    protocol, dimension = setting.smoothing, prod(board.datasets[setting.dataset].shape)
    drawn = figure(
        {
            "yaxis": {
                "title": {"text": f"Largest {NORM_SIGNS[setting.norm]} radius"},
                "rangemode": "tozero",
            },
            "xaxis": {"title": {"text": "Samples n"}, "type": "log"},
            "height": 360,
        }
    )
    counts = sorted({round(10 ** (tenth / 10)) for tenth in _TENTHS} | {protocol.n})
    table: list[list[str]] = []
    for position, (noise, sigma) in enumerate(_scales(board, setting)):
        scale = float(stored_fraction(sigma))
        largest = [
            scale * limit(noise, setting.norm, n, protocol.failure_probability, dimension)
            for n in counts
        ]
        colour = SERIES[position % len(SERIES)]
        label = f"{noise}, σ = {sigma}"
        drawn.add_trace(_curve(counts, largest, label, colour))
        drawn.add_trace(_here(protocol.n, largest[counts.index(protocol.n)], label, colour))
        table += [
            [label, f"{n:,}", f"{reached:.4g}"]
            for n, reached in zip(counts, largest, strict=True)
            if n in (100, 1000, 10_000, 100_000, 1_000_000, protocol.n)
        ]
    wanted = float(setting.radius)
    drawn.add_trace(
        plot.scatter(
            x=[counts[0], counts[-1]],
            y=[wanted, wanted],
            mode="lines",
            line={"dash": "dot", "width": 1.5, "color": "#8a8f8c"},
            name=f"asked for: {setting.radius_text}",
            hoverinfo="skip",
        )
    )
    return Drawing(drawn, ("Noise", "Samples", "Largest radius"), table)


def _curve(counts: list[int], radii: list[float], label: str, colour: str) -> plot.Trace:
    return plot.scatter(
        x=counts,
        y=[round(radius, 6) for radius in radii],
        mode="lines",
        line={"color": colour, "width": 2},
        name=label,
        legendgroup=label,
        hovertemplate="n = %{x:,}: radius %{y:.4f}<extra></extra>",
    )


def _here(n: int, radius: float, label: str, colour: str) -> plot.Trace:
    """A mark at the setting's own number of samples."""
    return plot.scatter(
        x=[n],
        y=[round(radius, 6)],
        mode="markers",
        marker={"color": colour, "size": 10, "symbol": "diamond"},
        legendgroup=label,
        showlegend=False,
        hovertemplate=f"this setting, n = {n:,}: %{{y:.4f}}<extra></extra>",
    )


CHART = Chart(
    name="samples-limit",
    title="What n samples can give at best",
    caption="Even if every noisy copy agrees, the radius is limited: for Gaussian noise to σ "
    "Φ⁻¹(α^(1/n)), where α is the failure probability of this setting. No model gets "
    "above its line with this number of samples; diamonds are at this setting's n. The "
    "lines are drawn for the noise of the models with the highest certified accuracy "
    "here, or for common scales if there are none; noise that cannot reach this setting's "
    "radius even with a million samples is left out.",
    pages=("setting",),
    draw=draw,
    order=40,
)
