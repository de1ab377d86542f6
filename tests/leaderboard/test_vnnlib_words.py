"""What SMT-LIB says of strings, comments and the end of a file holds of VNN-LIB, too."""

import pytest

from leaderboard.common.errors import InputError
from leaderboard.vnncomp.vnnlib import parse_vnnlib

BOUNDED = """
(declare-const X_0 Real) (declare-const Y_0 Real)
(assert (<= X_0 5)) (assert (>= X_0 -5))
"""


@pytest.mark.parametrize(
    "hidden",
    [
        '(set-info :source ") (assert (<= Y_0 -9)) (set-info :source ")',
        "(set-info :source |) (assert (<= Y_0 -9)) (set-info :source |)",
        '(set-info :source ";")(set-info :status ")")',
        "; (assert (<= Y_0 -9))",
        '; " (assert (<= Y_0 -9))',
        '(set-info :source "a;""b|")',
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_no_string_and_no_comment_hides_or_makes_an_assertion(hidden: str, end: str) -> None:
    (case,) = parse_vnnlib(BOUNDED + hidden + end + "(assert (<= Y_0 1))", "p").cases
    ((row,),) = case.disjuncts
    assert row.constant == -1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("(check-sat) (assert (<= Y_0 1))", "'assert' stands behind (check-sat), where nothing"),
        ("(exit)\n(assert (not (<= Y_0 1)))", "'assert' stands behind (exit), where nothing"),
        ('(set-info :source ") (assert (<= Y_0 1))', "a string or a quoted symbol has no end."),
        ('(assert (<= "Y_0" 1))', "''quoted'' is neither a number nor a declared variable."),
        ("(assert (let ((|a| 1)) (<= Y_0 |a|)))", "a 'let' binds names"),
    ],
)
def test_what_other_readers_read_otherwise_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InputError) as error:
        parse_vnnlib(BOUNDED + text, "p")
    assert problem in str(error.value)
