"""VNN-LIB is read exactly, and what is not read is refused with its line."""

import gzip
import operator
import re
import tracemalloc
from collections.abc import Callable
from cProfile import Profile
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluators.network.constraint import Constraint
from evaluators.network.specification import ExactBox, Specification
from leaderboard.common.errors import InputError
from leaderboard.vnncomp import syntax
from leaderboard.vnncomp.vnnlib import parse_vnnlib, read_vnnlib

DECLARED = """
(declare-const X_0 Real) ; the input
(declare-const X_1 Real)
(declare-const Y_0 Real)
(declare-const Y_1 Real)
"""
BOUNDED = f"""{DECLARED}
(assert (and (<= X_0 5) (>= X_0 -5.0)))
(assert (<= X_1 5.)) (assert (>= X_1
  -5))
"""
Point = dict[str, Fraction]


class Said(NamedTuple):
    """A piece of a file, and what it means at a point."""

    text: str
    value: Callable[[Point], Fraction]


def number(text: str, value: str) -> Said:
    return Said(text, lambda _: Fraction(value))


def variable(name: str) -> Said:
    return Said(name, lambda point: point[name])


def combined(sign: str, left: Said, right: Said) -> Said:
    work = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[sign]
    return Said(f"({sign} {left.text} {right.text})", lambda p: work(left.value(p), right.value(p)))


def compared(sign: str, left: Said, right: Said) -> Said:
    work = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
    work |= {"=": operator.eq, "==": operator.eq, "!=": operator.ne}
    return Said(
        f"({sign} {left.text} {right.text})",
        lambda p: Fraction(work[sign](left.value(p), right.value(p))),
    )


def joined(word: str, parts: list[Said]) -> Said:
    work = all if word == "and" else any
    return Said(
        f"({word}\n {' '.join(part.text for part in parts)} )",
        lambda p: Fraction(work(part.value(p) for part in parts)),
    )


def negated(inner: Said) -> Said:
    return Said(f"(not {inner.text})", lambda p: Fraction(not inner.value(p)))


def implied(left: Said, right: Said) -> Said:
    return Said(
        f"(=> {left.text} {right.text})",
        lambda p: Fraction(not left.value(p) or bool(right.value(p))),
    )


def named(inner: Said, expression: Said) -> Said:
    """The formula, and something about an expression, by names."""
    return Said(
        f"(let ((f {inner.text}) (e {expression.text})) (or f (and (<= e 1) (>= e 1))))",
        lambda p: Fraction(bool(inner.value(p)) or expression.value(p) == 1),
    )


numbers = st.integers(-8, 8).map(lambda n: number(str(n / 2), str(n / 2))) | st.sampled_from(
    [
        number("1.5e0", "3/2"),
        number("-25E-1", "-5/2"),
        number("0.2e+1", "2"),
        number("(- 1.5)", "-3/2"),
        number("-0.0", "0"),
        number(".5", "1/2"),
    ]
)
inputs = st.sampled_from(["X_0", "X_1"]).map(variable)
outputs = st.sampled_from(["Y_0", "Y_1"]).map(variable)
linear = st.recursive(
    outputs | numbers,
    lambda inner: (
        st.builds(combined, st.sampled_from("+-"), inner, inner)
        | st.builds(combined, st.just("*"), numbers, inner)
        | st.builds(combined, st.just("/"), inner, st.just(number("4", "4")))
    ),
    max_leaves=4,
)
closed, all_signs = st.sampled_from(["<=", ">=", "="]), st.sampled_from(["<=", ">=", "<", ">", "="])
atoms = (
    st.builds(compared, closed, inputs, numbers)
    | st.builds(compared, closed, numbers, inputs)
    | st.builds(compared, all_signs, linear, linear)
)
formulas = st.recursive(
    atoms,
    lambda inner: st.builds(
        joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)
everything = st.recursive(
    inputs | outputs | numbers,
    lambda inner: st.builds(combined, st.sampled_from("+-"), inner, inner),
    max_leaves=3,
)
any_sign = st.sampled_from(["<=", ">=", "<", ">", "=", "==", "!="])
true, false = Said("true", lambda _: Fraction(1)), Said("false", lambda _: Fraction(0))
other_words = st.recursive(
    st.builds(compared, any_sign, everything, everything) | st.sampled_from([true, false]),
    lambda inner: (
        st.builds(joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=2))
        | st.builds(negated, inner)
        | st.builds(implied, inner, inner)
        | st.builds(named, inner, everything)
    ),
    max_leaves=5,
)
halves = st.integers(-11, 11).map(lambda n: Fraction(n, 2))
points = st.fixed_dictionaries(dict.fromkeys(("X_0", "X_1", "Y_0", "Y_1"), halves))


def holds(specification: Specification, point: Point) -> bool:
    """Whether an input and an output together are a counterexample."""
    x, y = [point["X_0"], point["X_1"]], [point["Y_0"], point["Y_1"]]
    return any(
        case.box.contains(x)
        and all(row.holds(y) for row in disjunct)
        and all(relation.holds(x, y) for relation in relations)
        for case in specification.cases
        for disjunct, relations in zip(case.disjuncts, case.relations, strict=True)
    )


def read(text: str) -> Specification:
    return parse_vnnlib(text, "p.vnnlib")


def read_or_empty(text: str) -> Specification:
    """Contradictory bounds leave no box: then no point at all is a counterexample."""
    try:
        return read(text)
    except InputError as error:
        if "no input" not in str(error):
            raise
        return Specification(2, 2, ())


@given(st.lists(formulas, min_size=1, max_size=3), st.lists(points, min_size=1, max_size=20))
def test_the_normal_form_means_what_the_file_says(said: list[Said], at: list[Point]) -> None:
    text = BOUNDED + "\n".join(f"(assert {formula.text})" for formula in said)
    specification = read_or_empty(text)
    for point in at:
        inside = all(-5 <= point[name] <= 5 for name in ("X_0", "X_1"))
        expected = inside and all(formula.value(point) for formula in said)
        assert holds(specification, point) == expected


@given(st.lists(other_words, min_size=1, max_size=2), st.lists(points, min_size=1, max_size=20))
def test_other_words_mean_what_they_say_in_both_versions(said: list[Said], at: list[Point]) -> None:
    asserted = "\n".join(f"(assert {formula.text})" for formula in said)
    bounds = BOUNDED.removeprefix(DECLARED)
    second = (
        "(vnnlib-version <2.0>)(declare-network N (declare-input In real [1, 2])\n"
        "(declare-output Out Real [2]))" + re.sub("Y_([01])", r"Out[\1]", bounds + asserted)
    )
    second = re.sub("X_([01])", r"In[0, \1]", second)
    first, other = read_or_empty(BOUNDED + asserted), read_or_empty(second)
    for point in at:
        inside = all(-5 <= point[name] <= 5 for name in ("X_0", "X_1"))
        expected = inside and all(formula.value(point) for formula in said)
        assert holds(first, point) == holds(other, point) == expected
    assert first.cases == other.cases
    assert other.shape in ((1, 2), None)


def test_a_byte_order_mark_is_no_word() -> None:
    assert read("\ufeff" + BOUNDED + "(assert (<= Y_0 1))") == read(BOUNDED + "(assert (<= Y_0 1))")


SECOND = """(vnnlib-version <2.0>)
(declare-network N (declare-input X real [1,2]) (declare-output Y real [1,2]))
(assert (and (<= X[0,0] 1) (>= X[0,0] 0) (<= X[0,1] 1) (>= X[0,1] 0)))
"""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SECOND.replace("2.0", "3.0"), "VNN-LIB <3.0> is not read; 1.0 and 2.0 are."),
        (SECOND + SECOND.splitlines()[1], "'X' is one more input or output; one of each is read"),
        (SECOND.replace("X real", "X int8"), "'int8 [1,2]' is not read; a type is real"),
        (SECOND.replace("[1,2]", "[1,9999999]"), "has 9,999,999 entries"),
        (SECOND.replace("declare-input", "declare-hidden"), "of a network one (declare-input"),
        (SECOND + "(assert (<= X[0,2] 1))", "'X[0,2]' lies outside of the shape [1, 2]."),
        (SECOND + "(assert (<= X[0] 1))", "'X[0]' lies outside of the shape [1, 2]."),
        (SECOND + "(assert (<= Z[0] 1))", "'Z[0]' is no element of a declared input or output."),
        # Named as 1.0 names outputs, an input is still no output.
        (SECOND.replace("X real [1,2]", "Y_0 real []"), "'X[0,0]' is no element"),
        (SECOND + "(assert (<= Y_0 1))", "'Y_0' is no element of a declared input or output."),
        (SECOND + "(assert (<= X 1))", "'X[]' lies outside of the shape [1, 2]."),
        (SECOND + "(assert (let ((<= >=)) (<= X[0,0] 1)))", "a 'let' binds names"),
        (SECOND + "(assert (let ((or and)) true))", "a 'let' binds names"),
        (SECOND + "(assert (let ((1.0 0)) true))", "a 'let' binds names"),
        (SECOND + "(assert (not))", "a formula is needed: and, or, not"),
        (SECOND + "(assert (and))", "an 'and' needs at least one formula."),
        (SECOND + "(assert (let (a) true))", "a 'let' binds names"),
        (SECOND + "(assert " + "(not " * 300 + "true" + ")" * 301, "nested deeper than 200."),
        (
            SECOND
            + "(assert (let ((a0 true)) "
            + "".join(f"(let ((a{i + 1} {'(not ' * 100}a{i}{')' * 100})) " for i in range(60))
            + "a60"
            + ")" * 62,
            "nested far deeper than 200.",
        ),
        (SECOND + "(assert true", "a ')' is missing"),
        (SECOND + "(assert true))", "a ')' has no '('"),
        pytest.param(
            SECOND
            + "(assert "
            + "".join(f"(let ((a{i + 1} (and a{i} a{i}))) " for i in range(40)).replace(
                "a0", "true"
            )
            + "a40"
            + ")" * 41,
            "more than 1,000,000 formulas.",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_not_read_of_other_words_is_told(text: str, problem: str) -> None:
    with pytest.raises(InputError) as error:
        read(text)
    assert problem in str(error.value)


def test_an_input_without_dimensions_is_itself_whatever_it_is_called() -> None:
    declared = "(vnnlib-version <2.0>)(declare-network N (declare-input Y_0 real []) "
    declared += "(declare-output X_0 real [1]))(assert (and (<= Y_0 1) (>= Y_0[] 0) "
    said = read(declared + "(>= X_0[0] 3)))")
    (case,) = said.cases
    assert (said.inputs, case.box.lower, case.box.upper) == (1, (Fraction(0),), (Fraction(1),))
    assert case.disjuncts == ((Constraint({0: Fraction(-1)}, Fraction(3)),),)


def test_equal_boxes_are_one_case() -> None:
    """Two boxes, one of them given twice, once by the other's own bounds."""
    specification = read(
        BOUNDED
        + """(assert (or (and (<= X_0 1) (<= Y_0 1)) (and (<= X_0 2) (>= Y_1 2) (<= Y_0 0))
        (and (<= X_0 1.0) (>= X_0 -9) (<= Y_1 3))))"""
    )
    five, one, two = Fraction(5), Fraction(1), Fraction(2)
    assert [case.box for case in specification.cases] == [
        ExactBox((-five, -five), (one, five)),
        ExactBox((-five, -five), (two, five)),
    ]
    assert [len(case.disjuncts) for case in specification.cases] == [2, 1]
    assert [len(case.disjuncts[0]) for case in specification.cases] == [1, 2]


def test_numbers_are_exact() -> None:
    text = DECLARED + (
        "(assert (>= X_0 0.1))(assert (<= X_0 0.10000000000000000001))"
        "(assert (>= X_1 -1.0e-3))(assert (<= X_1 (/ 1 3)))"
        "(assert (<= (* 0.3 Y_0) 1e-30))"
    )
    (case,) = read(text).cases
    assert case.box.lower == (Fraction(1, 10), Fraction(-1, 1000))
    assert case.box.upper == (Fraction(10**19 + 1, 10**20), Fraction(1, 3))
    ((row,),) = case.disjuncts
    assert (dict(row.coefficients), row.constant) == ({0: Fraction(3, 10)}, -Fraction(1, 10**30))


def test_other_commands_and_layouts_are_passed_over() -> None:
    text = (
        "(set-logic QF_LRA)(set-info :source (a (b)))\r\n"
        + BOUNDED.replace("(declare-const Y_0 Real)", "(declare-fun Y_0 () Real)")
        + "(assert(<=Y_0 1))(check-sat)"
    )
    assert len(read(text.replace("<=Y_0", "<= Y_0")).cases) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "p.vnnlib: the input X_0 is not declared; X_0, X_1, and so on are needed"),
        ("(declare-const X_0 Real)", "p.vnnlib: the output Y_0 is not declared"),
        ("(declare-const X_1 Real)", "p.vnnlib: the input X_0 is not declared"),
        ("(declare-const Z_0 Real)", "line 1: the variable 'Z_0' is neither an input X_i nor"),
        ("\n(declare-const X_0 Int)", "line 2: 'Real' is needed, not 'Int'."),
        (DECLARED + "(declare-const X_0 Real)", "line 6: 'X_0' is declared twice."),
        (DECLARED + "(asert (<= X_0 1))", "line 6: the command 'asert' is not read; declare-const"),
        (DECLARED, "p.vnnlib: the input X_0 has no lower bound; every input needs both"),
        (DECLARED + "(assert (>= X_0 1))", "the input X_0 has no upper bound"),
        (BOUNDED + "(assert (>= X_0 6))", "p.vnnlib: no input X_0 is at least 6 and at most 5."),
        (BOUNDED + "(assert (or (>= X_0 6) (>= X_1 6)))", "no input meets the conditions"),
        (BOUNDED + "(assert (<= Y_2 1))", "'Y_2' is neither a number nor a declared variable. Did"),
        (BOUNDED + "(assert (<= Y_0 1/2))", "'1/2' is neither a number"),
        (BOUNDED + "(assert (<= Y_0 nan))", "'nan' is neither a number"),
        (BOUNDED + "(assert (<= Y_0 1_0))", "'1_0' is neither a number"),
        (BOUNDED + "(assert (<= Y_0 1e9999))", "'1e9999' is neither a number"),
        (BOUNDED + "(assert (<= Y_0 1 2))", "line 10: '<=' compares two expressions, not more."),
        (BOUNDED + "(assert (<= (* Y_0 Y_1) 1))", "'*' makes an expression that is not linear."),
        (BOUNDED + "(assert (<= (/ 1 Y_1) 1))", "'/' makes an expression that is not linear."),
        (BOUNDED + "(assert (<= (/ Y_1 0) 1))", "'/' makes an expression that is not linear."),
        (BOUNDED + "(assert (<= (+) 1))", "'+' has nothing to work on."),
        (BOUNDED + "(assert (<= (max Y_0 1) 1))", "'max' is not read in an expression"),
        (BOUNDED + "(assert (xor (<= Y_0 1)))", "'xor' is not read here; allowed are and, or"),
        (BOUNDED + "(assert (or))", "line 10: an 'or' needs at least one formula."),
        (BOUNDED + "(assert (and))", "line 10: an 'and' needs at least one formula."),
        (BOUNDED + "(assert maybe)", "line 10: a formula is needed, not 'maybe'."),
        (BOUNDED + "(assert (<= Y_0 1)", "')' is needed, not 'the end of the file'."),
        (BOUNDED + "(assert (<= Y_0", "a term is missing at the end of the file."),
        (BOUNDED + "(check-sat", "a ')' is missing at the end of the file."),
        (BOUNDED + ") (", "line 10: '(' is needed, not ')'."),
        (BOUNDED + "(assert " + "(and " * 99 + "(<= Y_0 1)" + ")" * 100, "nested deeper than 50."),
        (BOUNDED + "(assert " + "(or " * 99 + "(<= Y_0 1)" + ")" * 100, "nested deeper than 50."),
        (BOUNDED + "(assert (<= " + "(- " * 99 + "Y_0" + ")" * 99 + " 1))", "'-' is not read"),
        pytest.param(
            BOUNDED + "(assert (or (<= Y_0 1) (>= Y_0 2)))" * 20,
            "more than 200000 combinations of alternatives.",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_not_read_is_told_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(InputError) as error:
        read(text)
    assert problem in str(error.value)


def test_contradictory_alternatives_are_dropped() -> None:
    specification = read(BOUNDED + "(assert (or (>= X_0 6) (<= X_0 4)))")
    assert [case.box.upper[0] for case in specification.cases] == [4]


def test_files_may_be_packed(tmp_path: Path) -> None:
    text = BOUNDED + "(assert (<= Y_0 1))"
    plain, packed = tmp_path / "p.vnnlib", tmp_path / "q.vnnlib.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    assert read_vnnlib(plain) == read_vnnlib(packed)
    assert read_vnnlib(tmp_path / "q.vnnlib") == read_vnnlib(plain)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file"),
        (b"\x1f\x8bnonsense", "is a broken gzip file"),
        (b"\xff\xfe", "is not a text file; a VNN-LIB property is needed."),
    ],
)
def test_what_is_no_text_is_refused(content: bytes | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "p.vnnlib"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=problem):
        read_vnnlib(path)


def test_reading_a_file_costs_in_proportion_to_its_length() -> None:
    """Up to the size of a property of CIFAR-10: 3072 inputs."""
    _calls_to_read(8)  # What is done once is done before.
    half = _calls_to_read(1536)
    assert _calls_to_read(3072) < 2.5 * half


def _calls_to_read(inputs: int) -> int:
    """Calls of functions in reading a property of so many inputs."""
    names = [f"X_{index}" for index in range(inputs)]
    lines = [f"(declare-const {name} Real)" for name in (*names, "Y_0")]
    lines += [f"(assert (<= {n} 0.{i:09}))\n(assert (>= {n} -0.5))" for i, n in enumerate(names)]
    text = "\n".join([*lines, "(assert (<= Y_0 0))"])
    with Profile() as profile:
        specification = read(text)
    assert specification.inputs == inputs
    return sum(entry.callcount for entry in profile.getstats())


def test_alternatives_without_bounds_keep_to_the_common_box_whatever_stands_between_them() -> None:
    declared = "(declare-const X_0 Real) (declare-const Y_0 Real)"
    common = "(assert (>= X_0 0)) (assert (<= X_0 8))"
    parts = "(>= Y_0 1) (and (<= X_0 4) (>= Y_0 2)) (>= Y_0 3)"
    specification = read(f"{declared} {common} (assert (or {parts}))")
    found = {case.box.upper[0]: len(case.disjuncts) for case in specification.cases}
    assert found == {8: 2, 4: 1}


@given(st.text("() \nab", max_size=60), st.integers(1, 9))
def test_a_text_has_the_same_words_wherever_it_is_cut(text: str, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syntax, "CHUNK", chunk)
        assert syntax.words_of(text) == text.replace("(", " ( ").replace(")", " ) ").split()


def test_a_file_of_many_boxes_takes_few_times_its_own_size_of_memory() -> None:
    declared = " ".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0"))
    bounds = "(>= X_0 {0}) (<= X_0 {0}.5) (>= X_1 0) (<= X_1 1)"
    boxes = [f"(and {bounds} (>= Y_0 {{0}}))".format(number) for number in range(3000)]
    text = f"{declared} (assert (or {' '.join(boxes)}))"
    tracemalloc.start()
    try:
        assert len(read(text).cases) == 3000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * len(text)
