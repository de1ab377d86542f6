"""Smooth functions as pieces that bend one way each: one line a function.

`smooth.py` bounds them. A function is not defined before its first piece; where it ends, a last
piece has no numbers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

RUN = 2.0**-19
"""Error of a float32 run, absolute and as a share; libraries stay within a few units of 2^-24."""
BEFORE_ONE = 1 - 2.0**-22
"""Up to where functions that are infinitely steep at one, or not defined beyond it, are bounded."""

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Piece:
    """A part of a function's domain, up to the next piece's start.

    Attributes:
        start: of the part.
        bend: 1 where the function is convex, -1 where it is concave; a line is both.
        value, slope: f and f', on the closed part.
    """

    start: float
    bend: int
    value: Function
    slope: Function


Pieces = tuple[Piece, ...]


def _whole(bend: int, value: Function, slope: Function) -> Pieces:
    return (Piece(-math.inf, bend, value, slope),)


def _bends(value: Function, slope: Function, first: int, *starts: float) -> Pieces:
    """One formula that bends the other way from each start on."""
    ends = (-math.inf, *starts)
    return tuple(Piece(x, first * (-1) ** at, value, slope) for at, x in enumerate(ends))


def _identity(factor: float = 1.0) -> tuple[Function, Function]:
    return lambda x: factor * x, lambda x: torch.full_like(x, factor)


def _elu(alpha: float, scale: float = 1.0, inner: float = 1.0) -> Pieces:
    """scale·alpha·(exp(x / inner) - 1) below zero, scale·x above."""
    factor = scale * alpha
    bend = 1 if factor >= 0 else -1
    return (
        Piece(
            -math.inf, bend, lambda x: factor * torch.expm1(x / inner),
            lambda x: factor / inner * torch.exp(x / inner),
        ),
        Piece(0.0, 1, *_identity(scale)),
    )  # fmt: skip


def _power(exponent: float) -> Pieces:
    right = 1 if exponent > 1 or exponent < 0 else -1

    def value(x: Tensor) -> Tensor:
        return torch.pow(x, exponent)

    def slope(x: Tensor) -> Tensor:
        return exponent * torch.pow(x, exponent - 1)

    above = Piece(0.0, right, value, slope)
    if exponent != int(exponent):
        return (above,)
    left = right if int(exponent) % 2 == 0 else -right
    return Piece(-math.inf, left, value, slope), above


def _gelu(approximate: str) -> Pieces:
    if approximate == "tanh":
        steep, cubic = math.sqrt(8 / math.pi), 0.044715

        def gate(x: Tensor) -> Tensor:
            return torch.sigmoid(steep * (x + cubic * x * x * x))

        def slope(x: Tensor) -> Tensor:
            up = gate(x)
            return up + x * up * gate(-x) * steep * (1 + 3 * cubic * x * x)

        ends = (-1.4185040087908283555, 1.4185040087908283555)
        return _bends(lambda x: x * gate(x), slope, -1, *ends)

    def share(x: Tensor) -> Tensor:
        tail: Tensor = torch.special.erfc(x * -math.sqrt(0.5))
        return tail / 2

    def density(x: Tensor) -> Tensor:
        return torch.exp(-x * x / 2) * math.sqrt(0.5 / math.pi)

    ends = (-math.sqrt(2), math.sqrt(2))
    return _bends(lambda x: x * share(x), lambda x: share(x) + x * density(x), -1, *ends)


def _swish(alpha: float) -> Pieces:
    end = 2.3993572805154676678 / abs(alpha)

    def slope(x: Tensor) -> Tensor:
        return torch.sigmoid(alpha * x) * (1 + alpha * x * torch.sigmoid(-alpha * x))

    # alpha < 0 mirrors: -g(-x), so that it bends the other way.
    first = -1 if alpha > 0 else 1
    return _bends(lambda x: x * torch.sigmoid(alpha * x), slope, first, -end, end)


def _softplus(x: Tensor) -> Tensor:
    return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))


def _mish() -> Pieces:
    def gate(x: Tensor) -> Tensor:
        return torch.tanh(_softplus(x))

    def slope(x: Tensor) -> Tensor:
        return gate(x) + x * torch.sigmoid(x) * (1 - gate(x)) * (1 + gate(x))

    ends = (-2.25637639636079312, 1.4905711794854284593)
    return _bends(lambda x: x * gate(x), slope, -1, *ends)


def _hard_swish() -> Pieces:
    return (
        Piece(-math.inf, 1, torch.zeros_like, torch.zeros_like),
        Piece(-3.0, 1, lambda x: x * (x + 3) / 6, lambda x: (2 * x + 3) / 6),
        Piece(3.0, 1, *_identity()),
    )


def _erf_slope(x: Tensor) -> Tensor:
    return torch.exp(-x * x) * (2 / math.sqrt(math.pi))


def _softsign() -> Pieces:
    return _bends(
        lambda x: x / (1 + x.abs()), lambda x: 1 / ((1 + x.abs()) * (1 + x.abs())), 1, 0.0
    )


def _asinh_slope(x: Tensor) -> Tensor:
    return 1 / torch.hypot(torch.ones_like(x), x)


def _within(end: float, first: int, value: Function, slope: Function) -> Pieces:
    """What bends the other way from zero on, and is not read beyond ends of either sign."""

    def nothing(x: Tensor) -> Tensor:
        return torch.full_like(x, math.nan)

    ends = Piece(-end, first, value, slope), Piece(0.0, -first, value, slope)
    return (*ends, Piece(end, 0, nothing, nothing))


def _asin_slope(x: Tensor) -> Tensor:
    return torch.rsqrt((1 - x) * (1 + x))


FUNCTIONS: dict[str, Callable[..., Pieces]] = {
    "Acos": lambda: _within(BEFORE_ONE, 1, torch.acos, lambda x: -_asin_slope(x)),
    "Acosh": lambda: (
        Piece(2 - BEFORE_ONE, -1, torch.acosh, lambda x: torch.rsqrt((x - 1) * (x + 1))),
    ),
    "Asin": lambda: _within(BEFORE_ONE, -1, torch.asin, _asin_slope),
    "Asinh": lambda: _bends(torch.asinh, _asinh_slope, 1, 0.0),
    "Atan": lambda: _bends(torch.atan, lambda x: 1 / (1 + x * x), 1, 0.0),
    "Atanh": lambda: _within(BEFORE_ONE, -1, torch.atanh, lambda x: 1 / ((1 - x) * (1 + x))),
    "Celu": lambda alpha: _elu(alpha, 1.0, alpha),
    "Cosh": lambda: _whole(1, torch.cosh, torch.sinh),
    "Elu": _elu,
    "Erf": lambda: _bends(torch.erf, _erf_slope, 1, 0.0),
    "Exp": lambda: _whole(1, torch.exp, torch.exp),
    "Gelu": _gelu,
    "HardSwish": _hard_swish,
    "Log": lambda: (Piece(0.0, -1, torch.log, torch.reciprocal),),
    "Mish": _mish,
    "Pow": _power,
    "Reciprocal": lambda: _power(-1.0),
    "Selu": lambda alpha, gamma: _elu(alpha, gamma),
    "Sinh": lambda: _bends(torch.sinh, torch.cosh, -1, 0.0),
    "Softplus": lambda: _whole(1, _softplus, torch.sigmoid),
    "Softsign": _softsign,
    "Sqrt": lambda: _power(0.5),
    "Swish": _swish,
    "Tan": lambda: _within(1.5, -1, torch.tan, lambda x: 1 + torch.tan(x) * torch.tan(x)),
}
"""By ONNX operator: the pieces for its numbers."""

POLES: dict[str, Callable[..., tuple[float, ...]]] = {
    "Log": lambda: (0.0,),
    "Reciprocal": lambda: (0.0,),
    "Pow": lambda exponent: (0.0,) if exponent < 0 else (),
}
"""Points beside which a function is not bounded; none of all others."""

RUNS: dict[str, tuple[float, float, bool]] = {
    "Exp": (2.0**-60, RUN, False),
    "Gelu": (RUN, RUN, True),
    "HardSwish": (RUN, RUN, True),
    "Mish": (RUN, RUN, True),
    "Pow": (2.0**-60, RUN, False),
    "Reciprocal": (2.0**-100, 2.0**-21, False),
    "Sqrt": (2.0**-60, 2.0**-21, False),
    "Swish": (RUN, RUN, True),
}
"""Absolute and relative errors of float32 runs, and whether x is multiplied by a gate that has an
error of its own; of all others (RUN, RUN, False)."""
