"""Small drawings as SVG text: figures in their own coordinates, placed as panels of a drawing.

Colours are classes (`ink`, `soft`, `proved`, `broken`, `open`, `accent`, and with `-fill` their
areas), which the website's style sheet sets for light and dark. Coordinates are rounded to a
hundredth of a pixel, so that the text is the same on every machine.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from itertools import pairwise
from math import hypot

Point = tuple[float, float]
Range = tuple[float, float]

WIDTH, HEIGHT = 360.0, 220.0
"""The size of every drawing, in pixels."""

KINDS = ("ink", "soft", "proved", "broken", "open", "accent")
"""What lines and texts can be; areas are these with `-fill`."""


def number(value: float) -> str:
    """A coordinate with at most two decimals, never `-0`."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


@dataclass
class Drawing:
    """The elements of a picture, in the order they cover each other."""

    elements: list[str] = field(default_factory=list)

    def panel(self, place: tuple[float, float, float, float], x: Range, y: Range) -> "Panel":
        """A rectangle (left, top, width, height) that shows the ranges `x` and `y`."""
        return Panel(self, place, x, y)

    def whole(self) -> "Panel":
        """The whole drawing in pixels, y upwards."""
        return self.panel((0, 0, WIDTH, HEIGHT), (0, WIDTH), (0, HEIGHT))


@dataclass(frozen=True)
class Panel:
    """A part of a drawing with coordinates of its own, y upwards."""

    drawing: Drawing
    place: tuple[float, float, float, float]
    x: Range
    y: Range

    def at(self, point: Point) -> Point:
        """The pixel of `point`."""
        left, top, width, height = self.place
        across = (point[0] - self.x[0]) / (self.x[1] - self.x[0])
        up = (point[1] - self.y[0]) / (self.y[1] - self.y[0])
        return left + width * across, top + height * (1 - up)

    def _path(self, points: Iterable[Point]) -> str:
        return " ".join(",".join(map(number, self.at(point))) for point in points)

    def line(self, points: Iterable[Point], kind: str = "ink", *, dashed: bool = False) -> None:
        """A line through `points`."""
        style = f"{kind} dashed" if dashed else kind
        self._add(f'<polyline class="{style}" points="{self._path(points)}"/>')

    def area(self, points: Iterable[Point], kind: str = "accent") -> None:
        """The polygon with these corners, filled."""
        self._add(f'<polygon class="{kind}-fill" points="{self._path(points)}"/>')

    def curve(self, f: Callable[[float], float], x: Range, kind: str = "ink", **how: bool) -> None:
        """The graph of `f` over `x`."""
        self.line([(t, f(t)) for t in steps(*x)], kind, **how)

    def under(self, f: Callable[[float], float], x: Range, kind: str = "accent") -> None:
        """The area between the graph of `f` over `x` and 0."""
        self.area([(x[0], 0), *((t, f(t)) for t in steps(*x)), (x[1], 0)], kind)

    def box(self, low: Point, high: Point, kind: str = "ink", fill: str = "") -> None:
        """An upright rectangle, its outline and, where asked, its area."""
        corners = [low, (high[0], low[1]), high, (low[0], high[1])]
        if fill:
            self.area(corners, fill)
        self.line([*corners, low], kind)

    def dot(self, point: Point, kind: str = "ink", size: float = 3.5) -> None:
        """A filled point of `size` pixels."""
        x, y = map(number, self.at(point))
        self._add(f'<circle class="{kind}-dot" cx="{x}" cy="{y}" r="{number(size)}"/>')

    def circle(self, centre: Point, radius: float, kind: str = "ink", fill: str = "") -> None:
        """A circle whose radius is measured along x (panels with circles have square units)."""
        x, y = map(number, self.at(centre))
        size = number(abs(self.at((centre[0] + radius, 0))[0] - self.at((centre[0], 0))[0]))
        for style in filter(None, (f"{fill}-fill" if fill else "", kind)):
            self._add(f'<circle class="{style}" cx="{x}" cy="{y}" r="{size}"/>')

    def arrow(self, start: Point, end: Point, kind: str = "ink") -> None:
        """A line with a head at `end`."""
        self.line([start, end], kind)
        (x0, y0), (x1, y1) = self.at(start), self.at(end)
        length = hypot(x1 - x0, y1 - y0)
        a, b = 7 * (x1 - x0) / length, 7 * (y1 - y0) / length
        corners = ((x1, y1), (x1 - a - b / 2, y1 - b + a / 2), (x1 - a + b / 2, y1 - b - a / 2))
        path = " ".join(f"{number(x)},{number(y)}" for x, y in corners)
        self._add(f'<polygon class="{kind}-dot" points="{path}"/>')

    def text(
        self, point: Point, words: str, kind: str = "ink", anchor: str = "middle", dy: float = 0
    ) -> None:
        """`words` at a point, `dy` pixels lower."""
        x, y = self.at(point)
        place = f'x="{number(x)}" y="{number(y + dy)}" text-anchor="{anchor}"'
        self._add(f'<text class="{kind}-text" {place}>{escape(words)}</text>')

    def axes(self, x: str = "", y: str = "") -> None:
        """Lines through the origin, with names."""
        left, right, low, high = *self.x, *self.y
        if low <= 0 <= high:
            self.line([(left, 0), (right, 0)], "soft")
            self.text((right, 0), x, "soft", "end", 13)
        if left <= 0 <= right:
            self.line([(0, low), (0, high)], "soft")
            px, py = self.at((0, high))
            self._add(
                f'<text class="soft-text" x="{number(px + 5)}" y="{number(py + 8)}">'
                f"{escape(y)}</text>"
            )

    def _add(self, element: str) -> None:
        self.drawing.elements.append(element)


def steps(start: float, end: float, count: int = 60) -> list[float]:
    """`count` + 1 evenly spaced numbers from `start` to `end`."""
    return [start + (end - start) * step / count for step in range(count + 1)]


def between(knots: Sequence[Point], t: float) -> float:
    """The height at `t` of the line through `knots`, level after the last."""
    for (x0, y0), (x1, y1) in pairwise(knots):
        if t <= x1:
            return y0 + (y1 - y0) * (t - x0) / (x1 - x0)
    return knots[-1][1]


@dataclass(frozen=True)
class Picture:
    """A drawing with a name, a title, and what it shows in a sentence or two."""

    name: str
    title: str
    caption: str
    draw: Callable[[Drawing], None]

    def svg(self) -> str:
        """The picture as one line of SVG, for the inside of a page."""
        return self._wrapped(
            f'role="img" aria-labelledby="picture-{self.name}"',
            f'<title id="picture-{self.name}">{escape(self.title)}</title>'
            f"<desc>{escape(self.caption)}</desc>",
        )

    def thumbnail(self) -> str:
        """The same for decoration: silent to screen readers."""
        return self._wrapped('aria-hidden="true" focusable="false"', "")

    def _wrapped(self, role: str, told: str) -> str:
        view = f'viewBox="0 0 {number(WIDTH)} {number(HEIGHT)}"'
        start = f'<svg xmlns="http://www.w3.org/2000/svg" class="cb-pic" {view} {role}>'
        return f"{start}{told}{_elements(self)}</svg>"


@cache
def _elements(picture: Picture) -> str:
    drawing = Drawing()
    picture.draw(drawing)
    return "".join(drawing.elements)


def picture(name: str, title: str, caption: str) -> Callable[[Callable[[Drawing], None]], Picture]:
    """Makes a function that draws into a picture."""
    return lambda draw: Picture(name, title, caption, draw)
