"""The lines of an unrolled network's units: what may be chosen about them, and the chosen ones."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.numerics.rounding import UNDERFLOW, UNIT
from evaluators.propagation.intervals import Interval
from evaluators.propagation.relaxation import ADAPTIVE, Lines
from evaluators.unrolled.curves import Curve, Touch, curves_of
from evaluators.unrolled.unrolled_network import Layer


class UnitBounds(NamedTuple):
    """Lower and upper bounds of units, float64 `[rows, units]`."""

    lower: Tensor
    upper: Tensor


class Choice(NamedTuple):
    """The lines that bounds of rows use, and what may be chosen; `[rows, units]` or `[units]`.

    Attributes:
        slopes: of the lines below, `[rows, units]`; at split units the one slope that remains.
        free: 1 where the slope below may be chosen and the unit split, else 0.
        chords, offsets: slopes and intercepts of the lines above.
        floors: intercepts of the lines below; None where all are zero (ReLUs).
        pulls: multipliers times their split's sign, `[rows, units]`; None without splits.
        touches: of curves, in an ascent alone.
    """

    slopes: Tensor
    free: Tensor
    chords: Tensor
    offsets: Tensor
    floors: Tensor | None = None
    pulls: Tensor | None = None
    touches: tuple[Touch, ...] = ()

    def gradient(self, a: Tensor, z: Tensor) -> Tensor:
        """Derive bounds by the parameters, at coefficients and pre-activations `[rows, units]`."""
        gradient = a.clamp(min=0).mul_(z).mul_(self.free)
        for touch in self.touches:
            gradient[:, touch.span] = touch.gradient(a[:, touch.span], z[:, touch.span])
        return gradient

    def floors_of(self, rows: Tensor) -> Tensor | None:
        """The intercepts below of some rows."""
        shared = self.floors is None or self.floors.dim() == 1
        return self.floors if self.floors is None or shared else self.floors[rows]


@dataclass(frozen=True)
class UnitLines:
    """The lines of all units of an unrolled network, float64 `[units]`.

    Attributes:
        lines: CROWN's, below and above.
        leak: of units with a kink, which can be split, and whose line below may have any slope
            from it to 1; NaN of all others.
        lower, upper: the bounds that the lines hold on.
        curves: the others, as far as their lines are a choice.
    """

    lines: Lines
    leak: Tensor
    lower: Tensor
    upper: Tensor
    curves: tuple[Curve, ...] = ()

    @classmethod
    def of(cls, layers: list[Layer]) -> "UnitLines":
        """The lines of the units of some layers."""
        empty = torch.zeros(0, dtype=torch.float64)
        lines = [ADAPTIVE.lines(la.function, Interval(la.lower, la.upper)) for la in layers]
        parts = zip(*lines, strict=True) if lines else [()] * 4
        leaks = [torch.full_like(layer.lower, layer.function.leak) for layer in layers]
        return cls(
            Lines(*(torch.cat((empty, *part)) for part in parts)),
            torch.cat((empty, *leaks)),
            torch.cat((empty, *(layer.lower for layer in layers))),
            torch.cat((empty, *(layer.upper for layer in layers))),
            curves_of(layers),
        )

    def select(self, units: Tensor) -> "UnitLines":
        """The lines of some units, in increasing order."""
        return UnitLines(
            Lines(*(part[units] for part in self.lines)),
            self.leak[units],
            self.lower[units],
            self.upper[units],
            tuple(found for curve in self.curves if (found := curve.select(units))),
        )

    @property
    def optimizable(self) -> Tensor:
        """Which units have a kink at zero."""
        return ~torch.isnan(self.leak)

    @cached_property
    def curved(self) -> Tensor:
        """Which units' parameters choose either line."""
        curved = torch.zeros(self.leak.shape[-1], dtype=torch.bool)
        for curve in self.curves:
            curved[curve.span] = True
        return curved

    @cached_property
    def start(self) -> Tensor:
        """The parameters of CROWN's lines, `[units]`: of units with a kink the slope below."""
        start = self.lines.lower_slope.clone()
        for curve in self.curves:
            start[curve.span] = curve.family.start
        return start

    def choice(
        self,
        slopes: Tensor,
        signs: Tensor | None = None,
        betas: Tensor | None = None,
        within: UnitBounds | None = None,
    ) -> Choice:
        """The lines with these slopes below and these splits, in the type of `slopes`.

        Args:
            slopes: `[rows, units]`, of curves parameters of either line; ignored where a unit is
                split or there is no choice.
            signs: of the splits, 0 where there is none, `[rows, units]`.
            betas: multipliers of the splits, `[rows, units]`.
            within: narrower bounds of the units, for networks of (leaky) ReLUs.
        """
        if within is not None:
            assert signs is not None
            return self._choice_within(slopes, signs, betas, within)
        below, floors, chords, offsets = (part.to(slopes) for part in self.lines)
        chosen, parameters = self.optimizable.to(slopes.device), slopes
        slopes = torch.where(chosen, slopes, below)
        some = floors if bool(floors.any()) else None
        choice = Choice(slopes, chosen.to(slopes.dtype), chords, offsets, some)
        if signs is not None:
            open_ = signs == 0
            decided = torch.where(signs > 0, 1.0, self.leak.to(slopes))
            choice = Choice(
                torch.where(open_, slopes, decided),
                (open_ & chosen).to(slopes.dtype),
                torch.where(open_, chords, decided),
                torch.where(open_, offsets, 0.0),
                some,
                None if betas is None else betas * signs,
            )
        lines = [curve.lines(parameters) for curve in self.curves]
        return self._bent(choice, lines) if lines else choice

    def follow(self, choice: Choice, parameters: Tensor, pulls: Tensor | None) -> Choice:
        """Other parameters and pulls, for an ascent: lines of curves are right up to rounding."""
        choice = choice._replace(pulls=pulls)
        if not self.curves:
            return choice._replace(slopes=parameters)
        found = [curve.supports(parameters) for curve in self.curves]
        choice = choice._replace(slopes=parameters.clone(), touches=tuple(t for _, t in found))
        return self._bent(choice, [lines for lines, _ in found])

    def _bent(self, choice: Choice, lines: list[Lines]) -> Choice:
        """The choice with these lines of curves."""
        floors = torch.zeros_like(choice.offsets) if choice.floors is None else choice.floors
        slopes, floors, chords, offsets = (
            part.expand(choice.slopes.shape).clone()
            for part in (choice.slopes, floors, choice.chords, choice.offsets)
        )
        for curve, parts in zip(self.curves, lines, strict=True):
            for whole, part in zip((slopes, floors, chords, offsets), parts, strict=True):
                whole[:, curve.span] = part
        return choice._replace(slopes=slopes, floors=floors, chords=chords, offsets=offsets)

    def _choice_within(
        self, slopes: Tensor, signs: Tensor, betas: Tensor | None, within: UnitBounds
    ) -> Choice:
        lower, upper = (bound.to(slopes) for bound in within)
        leak = self.leak.to(slopes)
        open_ = (signs == 0) & (lower < 0) & (upper > 0)
        on = (signs > 0) | ((signs == 0) & (lower >= 0))
        decided = torch.where(on, 1.0, leak)
        # Above max(z, leak·z), which is convex, any line that is above it at both ends.
        chords = ((upper - leak * lower) / (upper - lower)).clamp(max=1)
        chords = torch.where(open_, torch.maximum(chords, leak), decided)
        highest = torch.maximum((1 - chords) * upper, (leak - chords) * lower)
        return Choice(
            torch.where(open_, slopes, decided),
            open_.to(slopes.dtype),
            chords,
            torch.where(open_, highest * (1 + 16 * UNIT) + UNDERFLOW, 0.0),
            None,
            None if betas is None else betas * signs,
        )
