"""How a row differs from the one that was measured again here, more than machines differ."""

import json
import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from leaderboard.recheck.splitting import CROSSED

_ROUNDED = 1e-4
"""Relative and absolute: margins are sums in float64, in another order on another machine, and
their bounds may have been improved by many small steps."""
_CHANGED = 0.005
"""Part of the noisy samples that another machine may read differently."""
_FEW, _TURNED = 3, 0.05
"""So many samples more for the class, and this part of those that vote for others here: only they
can have voted for it there, and few of them lie next to the boundary."""
_DEVIATIONS = 4
"""Samples that are read differently turn either way: of so many the sum is that many roots of their
number at most. One way alone they would lift every bound above what its confidence allows."""
_SUMMED = 0.01
"""Relative: by how much a bound of the gradient is smaller where some samples turned."""


def different(before: "pd.Series[Any]", now: dict[Any, Any], *, slow: bool) -> str:
    """What was measured otherwise; empty if nothing was."""
    if before["status"] == "certified" and now["status"] != "certified":
        return f"it is certified, but measured again here it is {now['status']} ({now['note']})"
    said, found = before["prediction"], now["prediction"]
    if not pd.isna(said) and not pd.isna(found) and said != found:
        return f"its prediction is {said}, but measured again here {found}"
    if not pd.isna(before["n"]):
        return _other_counts(before, now)
    if not pd.isna(said) and pd.isna(found):
        return f"its prediction is {said}, but measured again here none ({now['note']})"
    if CROSSED.search(before["note"]):
        return _other_crossings(before, now)
    margin, again = before["margin"], now["margin"]
    if slow or pd.isna(margin) or margin <= again + _ROUNDED * (1 + abs(again)):
        return ""
    return f"its margin is {margin:.6g}, but measured again here {again:.6g}"


def _turned(samples: float) -> float:
    """How many votes more a class may have of samples that were read differently."""
    return _FEW + _DEVIATIONS * math.sqrt(_CHANGED * samples)


def _other_counts(before: "pd.Series[Any]", now: dict[Any, Any]) -> str:
    """How the samples of an example were counted otherwise."""
    if pd.isna(now["n"]):
        return f"it has counts, but measured again here none ({now['note']})"
    others, most = now["n"] - now["count"], _CHANGED * now["n"]
    more = before["count"] - now["count"]
    allowed = min(most, _turned(now["n"]), _FEW + _TURNED * others)
    if before["n"] != now["n"] or -more > most or more > allowed:
        counts = f"{now['count']:,} of {now['n']:,} samples"
        said = f"{before['count']:,} of {before['n']:,}"
        return f"its count is {said}, but measured again here {counts}"
    bound, again = (_gradient_bound(row["statistics"]) for row in (before, now))
    if bound is not None and again is not None and bound < (1 - _SUMMED) * again:
        return f"its gradient's bound is {bound:.6g}, but measured again here {again:.6g}"
    return ""


def _gradient_bound(statistics: Any) -> float | None:
    """The bound of a row's gradient, if it has one."""
    told = {} if pd.isna(statistics) else json.loads(statistics)
    bound = told.get("gradient_bound")
    return None if bound is None else float(bound)


def _other_crossings(before: "pd.Series[Any]", now: dict[Any, Any]) -> str:
    """How the splits of an example voted otherwise, of which all do."""
    said, found = (CROSSED.search(row["note"]) for row in (before, now))
    crossed, again = (int(one[1]) if one else 0 for one in (said, found))
    if crossed <= again + _FEW:
        return ""
    return f"it may cross {crossed:,} cuts, but measured again here {again:,}"


@dataclass
class Sums:
    """Votes of all examples together, as they were said to be, less those that were counted."""

    more: int = 0
    samples: int = 0

    def add(self, before: "pd.Series[Any]", now: dict[Any, Any]) -> str:
        """What is wrong with the sum, with one example more; empty if nothing is."""
        if pd.isna(before["n"]) or pd.isna(now["n"]):
            return ""
        self.more += int(before["count"]) - int(now["count"])
        self.samples += int(now["n"])
        if self.more <= _turned(self.samples):
            return ""
        return (
            f"its counts are too high by {self.more:,} of {self.samples:,} samples that were"
            " measured again here."
        )
