"""Bounds and lines of every smooth function: against many digits, and against float32 runs."""

import math
from typing import Any

import mpmath
import numpy as np
import onnx
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import helper
from torch import Tensor

from evaluators.network.elementwise import Slopes
from evaluators.network.smooth import Smooth
from evaluators.network.smooth_functions import BEFORE_ONE, FUNCTIONS
from evaluators.network.waves import UNKNOWN, WAVES, Wave
from evaluators.onnx.runtime import Session
from tests.fixtures.effort import examples
from tests.fixtures.onnx_models import node

SELU = (1.6732631921768188, 1.0507010221481323)
CASES: dict[str, tuple[Smooth, dict[str, Any], int]] = {
    "arccosine": (Smooth("Acos"), {}, 17),
    "area hyperbolic cosine": (Smooth("Acosh"), {}, 17),
    "arcsine": (Smooth("Asin"), {}, 17),
    "area hyperbolic sine": (Smooth("Asinh"), {}, 17),
    "arctangent": (Smooth("Atan"), {}, 17),
    "area hyperbolic tangent": (Smooth("Atanh"), {}, 17),
    "celu": (Smooth("Celu", (0.5,)), {"alpha": 0.5}, 17),
    "cosine": (Wave("Cos"), {}, 17),
    "hyperbolic cosine": (Smooth("Cosh"), {}, 17),
    "elu": (Smooth("Elu", (1.0,)), {}, 17),
    "steep elu": (Smooth("Elu", (2.5,)), {"alpha": 2.5}, 17),
    "falling elu": (Smooth("Elu", (-1.0,)), {"alpha": -1.0}, 17),
    "erf": (Smooth("Erf"), {}, 17),
    "exp": (Smooth("Exp"), {}, 17),
    "gelu": (Smooth("Gelu", ("none",)), {}, 20),
    "gelu by tanh": (Smooth("Gelu", ("tanh",)), {"approximate": "tanh"}, 20),
    "hard swish": (Smooth("HardSwish"), {}, 17),
    "log": (Smooth("Log"), {}, 17),
    "mish": (Smooth("Mish"), {}, 18),
    "square": (Smooth("Pow", (2.0,)), {"exponent": 2.0}, 17),
    "cube": (Smooth("Pow", (3.0,)), {"exponent": 3.0}, 17),
    "power": (Smooth("Pow", (1.5,)), {"exponent": 1.5}, 17),
    "cube root": (Smooth("Pow", (0.375,)), {"exponent": 0.375}, 17),
    "last root": (Smooth("Pow", (2.0**-10,)), {"exponent": 2.0**-10}, 17),
    "inverse square": (Smooth("Pow", (-2.0,)), {"exponent": -2.0}, 17),
    "inverse root": (Smooth("Pow", (-0.5,)), {"exponent": -0.5}, 17),
    "reciprocal": (Smooth("Reciprocal"), {}, 17),
    "root": (Smooth("Sqrt"), {}, 17),
    "selu": (Smooth("Selu", SELU), {}, 17),
    "steepest selu": (Smooth("Selu", (8.0, 8.0)), {"alpha": 8.0, "gamma": 8.0}, 17),
    "sine": (Wave("Sin"), {}, 17),
    "hyperbolic sine": (Smooth("Sinh"), {}, 17),
    "softplus": (Smooth("Softplus"), {}, 17),
    "softsign": (Smooth("Softsign"), {}, 17),
    "swish": (Smooth("Swish", (1.0,)), {}, 24),
    "slowest swish": (Smooth("Swish", (2.0**-20,)), {"alpha": 2.0**-20}, 24),
    "falling swish": (Smooth("Swish", (-1.7,)), {"alpha": -1.7}, 24),
    "tangent": (Smooth("Tan"), {}, 17),
}
ENDS = {**dict.fromkeys(("Acos", "Asin", "Atanh"), BEFORE_ONE), "Tan": 1.5}
any_case = st.sampled_from(sorted(CASES))
usual = st.floats(-8, 8)
widths = st.sampled_from([0.0, 5e-324, 1e-300, 1e-16, 1e-8, 1e-3, 0.3])
TERMS = 60


@st.composite
def intervals(draw: st.DrawFn) -> tuple[float, float]:
    """Wide and narrow, at kinks and inflections, of one point only."""
    special = st.sampled_from([0.0, -0.0, 3.0, -3.0, 2.0**0.5, -2.3993572805154677, 20.0, -745.0])
    start = draw(st.one_of(usual, usual, special, st.floats(-1e6, 1e6)))
    end = draw(st.one_of(usual, special, st.floats(-1e6, 1e6), widths.map(lambda w: start + w)))
    return min(start, end), max(start, end)


def real(function: Smooth, x: float) -> mpmath.mpf:
    """The function's true value to many digits, by another formula where there is one."""
    (z, mp) = (mpmath.mpf(x), mpmath)
    numbers = [n if isinstance(n, str) else mp.mpf(n) for n in function.numbers]
    table: dict[str, Any] = {
        "Acos": lambda: mp.acos(z),
        "Acosh": lambda: mp.acosh(z),
        "Asin": lambda: mp.asin(z),
        "Asinh": lambda: mp.asinh(z),
        "Atan": lambda: mp.atan(z),
        "Atanh": lambda: mp.atanh(z),
        "Celu": lambda a: max(z, 0) + min(0, a * mp.expm1(z / a)),
        "Cos": lambda: mp.cos(z),
        "Cosh": lambda: mp.cosh(z),
        "Elu": lambda a: z if z > 0 else a * mp.expm1(z),
        "Erf": lambda: mp.erf(z),
        "Exp": lambda: mp.exp(z),
        "Gelu": lambda kind: z * (
            mp.ncdf(z) if kind == "none"
            else (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (z + mp.mpf(0.044715) * z**3))) / 2
        ),
        "HardSwish": lambda: z * max(0, min(1, z / 6 + mp.mpf(1) / 2)),
        "Log": lambda: mp.log(z),
        "Mish": lambda: z * mp.tanh(mp.log1p(mp.exp(z))),
        "Pow": lambda e: z ** int(e) if e == int(e) else z**e,
        "Reciprocal": lambda: 1 / z,
        "Selu": lambda a, g: g * (z if z > 0 else a * mp.expm1(z)),
        "Sin": lambda: mp.sin(z),
        "Sinh": lambda: mp.sinh(z),
        "Softplus": lambda: mp.log1p(mp.exp(z)),
        "Softsign": lambda: z / (1 + abs(z)),
        "Sqrt": lambda: mp.sqrt(z),
        "Swish": lambda a: z / (1 + mp.exp(-a * z)),
        "Tan": lambda: mp.tan(z),
    }  # fmt: skip
    return table[function.kind](*numbers)


def grid(lower: float, upper: float) -> list[float]:
    inner = [lower + (upper - lower) * step / 16 for step in range(17)]
    near = [lower, upper, math.nextafter(lower, math.inf), math.nextafter(upper, -math.inf)]
    points = [*inner, *near, 0.0, 1e-9, -1e-9, 1.0, -1.5, 3.0, -3.0]
    return [x for x in points if lower <= x <= upper]


def tensors(*values: float) -> tuple[Tensor, ...]:
    return tuple(torch.tensor([value], dtype=torch.float64) for value in values)


def defined(function: Smooth, lower: float, upper: float) -> bool:
    if function.kind in ("Reciprocal", "Pow") and (function.numbers or (-1.0,))[0] < 0:  # type: ignore[operator]
        whole = (function.numbers or (-1.0,))[0] != -0.5
        return lower > 0 or (upper < 0 and whole)
    if function.kind == "Log":
        return lower > 0
    if function.kind in ENDS:
        return -ENDS[function.kind] <= lower and upper < ENDS[function.kind]
    if function.kind == "Acosh":
        return lower >= 2 - BEFORE_ONE
    roots = (1.5, 0.375, 2.0**-10)
    rooted = function.kind == "Pow" and function.numbers[0] in roots
    return lower >= 0 or not (rooted or function.kind == "Sqrt")


def test_every_function_is_tested() -> None:
    assert {function.kind for function, _, _ in CASES.values()} == {*FUNCTIONS, *WAVES}


@given(any_case, intervals(), st.floats(-3, 3), st.floats(-3, 3))
@settings(max_examples=examples(200), deadline=None)
@example("gelu", (-40.0, -38.0), 0.0, 0.0)
@example("mish", (30.0, 31.0), 1.0, 1.0)
@example("root", (0.0, 1.0), 0.0, 0.0)
def test_bounds_and_lines_are_on_their_side(
    case: str, interval: tuple[float, float], low: float, high: float
) -> None:
    """Those that CROWN would choose, and those of any slope."""
    function, ends = CASES[case][0], tensors(*interval)
    found = [(s, function.intercepts(s, *ends)) for s in (Slopes(*tensors(low, high)),)]
    chosen, zero = function.slopes(*ends), Slopes(*tensors(0.0, 0.0))
    found += [(chosen, function.intercepts(chosen, *ends)), (zero, function.bounds(*ends))]
    with mpmath.workdps(TERMS):
        for slopes, (below, above) in found:
            if not defined(function, *interval):
                assert math.isnan(float(below))
                assert math.isnan(float(above))
                continue
            lines = [mpmath.mpf(float(part)) for part in (*slopes, below, above)]
            for x in grid(*interval):
                value = real(function, x)
                # NaN bounds nothing; what overflows may be so.
                assert not lines[0] * x + lines[2] > value
                assert not lines[1] * x + lines[3] < value


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("interval", [(0.5, 2.0), (1.0, 1.01), (-2.0, 3.0), (-4.0, -0.5)])
def test_lines_nearly_touch_the_function(case: str, interval: tuple[float, float]) -> None:
    """A sound line that touches nowhere would be needlessly loose."""
    function, (lower, upper) = CASES[case][0], tensors(*interval)
    if not defined(function, *interval):
        return
    slopes = function.slopes(lower, upper)
    below, above = function.intercepts(slopes, lower, upper)
    x = torch.linspace(*interval, 20001, dtype=torch.float64)
    assert float((function(x) - slopes.lower * x - below).min()) < 1e-3 * float(upper - lower)
    assert float((slopes.upper * x + above - function(x)).min()) < 1e-3 * float(upper - lower)
    low, high = function.bounds(lower, upper)
    assert float(function(x).min() - low) < 1e-6
    assert float(high - function(x).max()) < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_derivatives_are_right_and_defined_for_attacks(case: str) -> None:
    function = CASES[case][0]
    x = torch.linspace(0.01, 30, 301, dtype=torch.float64).requires_grad_()
    function(x).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    inside = ~function(x.detach()).isnan()
    found, known = x.grad[inside], function.derivative(x.detach())[inside]
    assert torch.allclose(found, known, rtol=1e-9, atol=1e-12)


def test_a_root_of_a_subnormal_number_may_be_that_of_zero() -> None:
    for exponent in (0.375, 2.0**-10):
        function, tiny = Smooth("Pow", (exponent,)), torch.tensor([2.0**-127], dtype=torch.float64)
        assert float(function.run_deviation(tiny, tiny + 1)) >= float(function(tiny))
        assert float(function.run_deviation(tiny + 1, tiny + 2)) < 1e-4


@pytest.mark.parametrize("case", CASES)
def test_a_float32_run_is_within_what_is_charged_for_it(case: str) -> None:
    """Of a runtime, on a dense grid and at all magnitudes."""
    function, attributes, opset = CASES[case]
    attributes = dict(attributes)
    exponent = (
        [helper.make_tensor("e", 1, [], [attributes.pop("exponent")])]
        if function.kind == "Pow"
        else []
    )
    operator = node(function.kind, "x e" if exponent else "x", "y", **attributes)
    values = [helper.make_tensor_value_info(name, 1, [None]) for name in "xy"]
    graph = helper.make_graph([operator], "one", values[:1], values[1:], exponent)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(proto)
    sizes = np.geomspace(1e-30, 1e30, 4001)
    x = np.concatenate([np.linspace(-20, 20, 40001), sizes, -sizes]).astype(np.float32)
    (theirs,) = Session(proto.SerializeToString())({"x": x}).values()
    exact = torch.from_numpy(x).double()
    error, ours = function.run_deviation(exact, exact), function(exact)
    sure = error.isfinite()
    assert int(sure.sum()) > 20_000 - 10 * (x < 0).sum()
    off = (torch.from_numpy(theirs).double() - ours).abs()
    assert bool((off <= error / 2)[sure].all()), (x[sure][(off / error)[sure].argmax()],)


@given(st.sampled_from(WAVES), st.integers(-4, 4), st.floats(-9, 9), st.floats(0, 15))
@settings(max_examples=60, deadline=None)
def test_waves_are_bounded_by_their_own_extremes(
    kind: str, turns: int, start: float, width: float
) -> None:
    """Wherever on the line: between crests bounds are those of a dense grid, and no wider."""
    function, lower = Wave(kind), start + turns * 1000 * math.pi
    ends = tensors(lower, lower + width)
    x = torch.linspace(lower, lower + width, 20001, dtype=torch.float64)
    low, high = function.bounds(*ends)
    assert float(low) <= float(function(x).min()) <= float(low) + 1e-6
    assert float(high) - 1e-6 <= float(function(x).max()) <= float(high)
    for slope in (-1.0, -0.3, 0.7, 1.0, 2.0):
        below, above = function.intercepts(Slopes(*tensors(slope, slope)), *ends)
        gaps = function(x) - slope * x
        assert float(below) <= float(gaps.min()) <= float(below) + 1e-6
        assert float(above) - 1e-6 <= float(gaps.max()) <= float(above)


def test_nothing_is_said_of_far_waves() -> None:
    below, above = Wave("Sin").bounds(*tensors(0.0, 2 * UNKNOWN))
    assert math.isnan(float(below))
    assert math.isnan(float(above))


def test_what_leaves_a_domain_says_nothing() -> None:
    left = (("root", -1e-9), ("log", 0.0), ("reciprocal", 0.0), ("inverse root", 0.0))
    for case, end in (*left, ("arcsine", 0.0), ("area hyperbolic cosine", 1.0)):
        function = CASES[case][0]
        below, above = function.bounds(*tensors(end, 1.0))
        assert math.isnan(float(below))
        assert math.isnan(float(above))
        assert case == "root" or math.isinf(float(function.run_deviation(*tensors(end, 1.0))))
