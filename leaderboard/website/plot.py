"""Figures as the plain JSON that Plotly draws in the browser.

A board has thousands of figures, and Plotly's own Python classes take milliseconds to check each
one again. Here nothing is checked: the tests build every chart's JSON with those classes, which
refuse what Plotly does not know.
"""

import json
from dataclasses import dataclass, field

Trace = dict[str, object]
"""A trace's properties by name, with its type."""


def scatter(**properties: object) -> Trace:
    """Points or lines."""
    return {"type": "scatter", **properties}


def bar(**properties: object) -> Trace:
    """Bars."""
    return {"type": "bar", **properties}


@dataclass(frozen=True)
class Figure:
    """Traces, and how they are laid out."""

    layout: Trace
    data: list[Trace] = field(default_factory=list)

    def add_trace(self, trace: Trace) -> None:
        """Draw this one, too, above those before it."""
        self.data.append(trace)

    def json(self) -> str:
        """The text for the browser, the same for the same figure."""
        figure = {"data": self.data, "layout": self.layout}
        return json.dumps(figure, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
