"""VNN-LIB's text: from characters to alternatives, each a conjunction of exact linear conditions.

What is read of VNN-LIB 1.0: `declare-const` of real `X_i` and `Y_j`, and assertions made of `and`,
`or`, `<=`, `>=`, `<`, `>` and `=` between linear expressions; the rest, and 2.0, is first put into
these words (`rewriting`). Numbers are exact fractions; no float is made of them here.

Where SMT-LIB, of which VNN-LIB is a part, says what counts, it counts here: a string holds no
assertion and no comment, a comment ends with its line, and nothing is asserted behind `check-sat`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import NoReturn

from evaluators.network.constraint import Constraint, Relation
from leaderboard.common.errors import InputError, nearest
from leaderboard.vnncomp.formula import Assertions, Conjunction
from leaderboard.vnncomp.rewriting import MARKS, Rewriting

MAX_ALTERNATIVES = 200_000
MAX_DEPTH = 50
CHUNK = 2**20
"""Characters that are cut into words at once."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_VARIABLE = re.compile(r"([XY])_(0|[1-9]\d{0,8})")
_COMPARISONS = frozenset(("<=", ">=", "<", ">", "="))
_ASIDE = re.compile(r'"[^"]*"|\|[^|]*\||;[^\r\n]*')
"""Strings, quoted symbols and comments, whichever begins first. (A "" in a string is two.)"""
_QUOTED = "'quoted'"
"""Stands for a string or a quoted symbol: no name, no number, nothing that a `let` binds."""
_LAST = frozenset(("check-sat", "exit"))
_IGNORED = frozenset(("set-logic", "set-info", "set-option", "check-sat", "get-model", "exit"))


def parse(text: str, title: str) -> Assertions:
    """Read a file's text.

    Raises:
        InputError: what is wrong, in which line, and what is allowed.
    """
    return _Parser(text, title).file()


def words_of(text: str) -> list[str]:
    """The words of a text, equal ones as the same string.

    A file of a hundred megabytes has twenty million words, and few different ones.
    """
    found, first = list[str](), 0
    while first < len(text):
        last = text.find(")", first + CHUNK) + 1 or len(text)
        words = text[first:last].replace("(", " ( ").replace(")", " ) ").split()
        same = dict[str, str]()
        found.extend(map(same.setdefault, words, words))
        first = last
    return found


@lru_cache(maxsize=2**17)
def number(word: str) -> Fraction | None:
    """The exact value of a decimal number; None where a word is none."""
    return Fraction(word) if len(word) <= 500 and _NUMBER.fullmatch(word) else None


@dataclass
class _Linear:
    """A linear expression of inputs and outputs."""

    terms: dict[str, Fraction]
    constant: Fraction

    def plus(self, other: "_Linear", factor: Fraction) -> "_Linear":
        terms = dict(self.terms)
        for name, value in other.terms.items():
            terms[name] = terms.get(name, Fraction(0)) + factor * value
        return _Linear(terms, self.constant + factor * other.constant)


def _put_aside(found: re.Match[str]) -> str:
    """What is left of a comment, or of a string: the ends of its lines, for those of messages."""
    text = found[0]
    return "" if text.startswith(";") else f" {_QUOTED} " + "\n" * text.count("\n")


class _Parser:
    def __init__(self, text: str, title: str) -> None:
        self.title = title
        # Line breaks stay, for the lines of messages.
        text = text.removeprefix("\ufeff")
        aside = any(mark in text for mark in ';"|')
        self.text = _ASIDE.sub(_put_aside, text) if aside else text
        if aside and ('"' in self.text or "|" in self.text):
            self.refuse("a string or a quoted symbol has no end.")
        if "[" in self.text:
            self.text = re.sub(r"\[[^\[\]()]*\]", lambda m: "".join(m[0].split()), self.text)
        self.words = words_of(self.text)
        self.at = 0
        self.shape: tuple[int, ...] | None = None
        if not MARKS.isdisjoint(self.words):
            rewritten = Rewriting(self.words, self.refuse)
            self.words, self.shape, self.text = rewritten.words, rewritten.shape, ""
        self.words.append("")  # what is read behind the end
        self.variables: dict[str, tuple[str, int]] = {}

    def refuse(self, problem: str) -> NoReturn:
        """Refuse the file."""
        raise InputError(f"{self.title}: {problem}")

    def fail(self, problem: str, at: int | None = None) -> NoReturn:
        """Refuse the file, naming the line of a word where the words are the file's own."""
        if not self.text:
            self.refuse(problem)
        at = min(self.at if at is None else at, len(self.words) - 2)
        spaced = self.text.replace("(", " ( ").replace(")", " ) ")
        ends = accumulate(len(line.split()) for line in spaced.split("\n"))
        line = next((number for number, end in enumerate(ends, start=1) if end > at), 1)
        raise InputError(f"{self.title}, line {line}: {problem}")

    def expect(self, word: str) -> None:
        found = self.words[self.at]
        if found != word:
            self.fail(f"'{word}' is needed, not '{found or 'the end of the file'}'.")
        self.at += 1

    def file(self) -> Assertions:
        common = Conjunction()
        choices: list[list[Conjunction]] = []
        last = ""
        while self.at < len(self.words) - 1:
            self.expect("(")
            command = self.words[self.at]
            self.at += 1
            if last and command not in _IGNORED:
                self.fail(f"'{command}' stands behind ({last}), where nothing counts.", self.at - 1)
            if command in _LAST:
                last = command
            if command == "assert":
                self.into(common, choices, 0)
                self.expect(")")
            elif command in ("declare-const", "declare-fun"):
                self.declaration(command)
            elif command in _IGNORED:
                self.skip()
            else:
                known = ("declare-const", "assert")
                self.fail(
                    f"the command '{command}' is not read; declare-const and assert are."
                    f"{nearest(command, known)}",
                    self.at - 1,
                )
        inputs, outputs = self.count("X", "input"), self.count("Y", "output")
        alternatives = self.product(Conjunction(), choices)
        return Assertions(inputs, outputs, common, alternatives, self.shape)

    def skip(self) -> None:
        """Pass over the rest of a command."""
        depth = 1
        while depth:
            word = self.words[self.at]
            if not word:
                self.fail("a ')' is missing at the end of the file.")
            depth += (word == "(") - (word == ")")
            self.at += 1

    def declaration(self, command: str) -> None:
        name = self.words[self.at]
        match = _VARIABLE.fullmatch(name)
        if not match:
            self.fail(f"the variable '{name}' is neither an input X_i nor an output Y_j.")
        if name in self.variables:
            self.fail(f"'{name}' is declared twice.")
        self.variables[name] = (match[1], int(match[2]))
        self.at += 1
        if command == "declare-fun":
            self.expect("(")
            self.expect(")")
        self.expect("Real")
        self.expect(")")

    def count(self, kind: str, what: str) -> int:
        """How many variables of a kind are declared: all from 0 on."""
        found = {index for letter, index in self.variables.values() if letter == kind}
        missing = next(index for index in range(len(found) + 1) if index not in found)
        if not found or missing < len(found):
            raise InputError(
                f"{self.title}: the {what} {kind}_{missing} is not declared;"
                f" {kind}_0, {kind}_1, and so on are needed without gaps."
            )
        return len(found)

    def formula(self, depth: int) -> list[Conjunction]:
        """The alternatives of one formula."""
        if depth > MAX_DEPTH:
            self.fail(f"formulas are nested deeper than {MAX_DEPTH}.")
        word = self.words[self.at + 1] if self.words[self.at] == "(" else ""
        if word != "or":
            common = Conjunction()
            choices: list[list[Conjunction]] = []
            self.into(common, choices, depth)
            return self.product(common, choices)
        self.at += 2
        found: list[Conjunction] = []
        while self.words[self.at] == "(":
            found += self.formula(depth + 1)
        if not found and self.text:
            self.fail("an 'or' needs at least one formula.")
        self.expect(")")
        return found

    def into(self, common: Conjunction, choices: list[list[Conjunction]], depth: int) -> None:
        """Add one formula to a conjunction, and its alternatives, if any, to the choices."""
        if self.words[self.at] != "(":
            self.fail(f"a formula is needed, not '{self.words[self.at]}'.")
        word = self.words[self.at + 1]
        if word in _COMPARISONS:
            self.comparison(common)
        elif word == "or":
            choices.append(self.formula(depth))
        elif word == "and":
            if depth > MAX_DEPTH:
                self.fail(f"formulas are nested deeper than {MAX_DEPTH}.")
            self.at += 2
            if self.words[self.at] == ")" and self.text:
                self.fail("an 'and' needs at least one formula.")
            while self.words[self.at] != ")":
                self.into(common, choices, depth + 1)
            self.at += 1
        else:
            self.fail(f"'{word}' is not read here; allowed are and, or, <=, >=, <, > and =.")

    def product(
        self, common: Conjunction, choices: Sequence[list[Conjunction]]
    ) -> list[Conjunction]:
        """All combinations of one alternative of each choice."""
        found = [common]
        for choice in choices:
            if len(found) * len(choice) > MAX_ALTERNATIVES:
                self.fail(
                    f"more than {MAX_ALTERNATIVES} combinations of alternatives.", self.at - 1
                )
            found = [one.joined(other) for one in found for other in choice]
        return found

    def comparison(self, into: Conjunction) -> None:
        start = self.at
        sign = self.words[start + 1]
        name, word = self.words[start + 2], self.words[start + 3]
        # Almost all of a file: one input and a number.
        kind, index = self.variables.get(name, ("", 0))
        value = number(word) if kind == "X" and self.words[start + 4] == ")" else None
        if value is not None and sign in ("<=", ">="):
            into.bound(index, *((None, value) if sign == "<=" else (value, None)))
            self.at += 5
            return
        self.at += 2
        left, right = self.linear(0), self.linear(0)
        if self.words[self.at] != ")":
            self.fail(f"'{sign}' compares two expressions, not more.")
        self.at += 1
        difference = left.plus(right, Fraction(-1))
        terms = {name: value for name, value in difference.terms.items() if value}
        kinds = {self.variables[name][0] for name in terms}
        for direction in {"<": "<", "<=": "<", ">": ">", ">=": ">", "=": "<>"}[sign]:
            factor = Fraction(1 if direction == "<" else -1)
            scaled = {name: factor * value for name, value in terms.items()}
            constant = factor * difference.constant
            if kinds == {"X"} and len(scaled) == 1:
                self.input_bound(into, scaled, constant)
            if "X" in kinds and (len(scaled) > 1 or sign in "<>"):
                into.relations.append(self.relation(scaled, constant, sign in "<>"))
            if "X" not in kinds:
                rows = {self.variables[name][1]: value for name, value in scaled.items()}
                into.rows.append(Constraint(rows, constant, sign in "<>"))

    def relation(self, terms: Mapping[str, Fraction], constant: Fraction, strict: bool) -> Relation:
        """A condition on several inputs, or on inputs and outputs, or a strict one on an input."""
        sides: dict[str, dict[int, Fraction]] = {"X": {}, "Y": {}}
        for name, value in terms.items():
            letter, index = self.variables[name]
            sides[letter][index] = value
        return Relation(sides["X"], Constraint(sides["Y"], constant, strict))

    def input_bound(
        self, into: Conjunction, terms: Mapping[str, Fraction], constant: Fraction
    ) -> None:
        """A condition c·x + k <= 0 on one input."""
        ((name, factor),) = terms.items()
        limit = -constant / factor
        bounds = (None, limit) if factor > 0 else (limit, None)
        into.bound(self.variables[name][1], *bounds)

    def linear(self, depth: int) -> _Linear:
        """One expression."""
        word = self.words[self.at]
        if word != "(":
            self.at += 1
            return self.simple(word)
        operator = self.words[self.at + 1]
        if operator not in ("+", "-", "*", "/") or depth > MAX_DEPTH:
            self.fail(f"'{operator}' is not read in an expression; allowed are +, -, * and /.")
        start = self.at
        self.at += 2
        parts = []
        while self.words[self.at] != ")":
            parts.append(self.linear(depth + 1))
        self.at += 1
        if not parts:
            self.fail(f"'{operator}' has nothing to work on.", start)
        if operator == "-" and len(parts) == 1:
            return _Linear({}, Fraction(0)).plus(parts[0], Fraction(-1))
        result = parts[0]
        for part in parts[1:]:
            result = self.combined(operator, result, part, start)
        return result

    def combined(self, operator: str, left: _Linear, right: _Linear, start: int) -> _Linear:
        if operator in "+-":
            return left.plus(right, Fraction(1 if operator == "+" else -1))
        if operator == "*" and not left.terms:
            left, right = right, left
        if right.terms or (operator == "/" and not right.constant):
            self.fail(f"'{operator}' makes an expression that is not linear.", start)
        factor = right.constant if operator == "*" else 1 / right.constant
        return _Linear({}, Fraction(0)).plus(left, factor)

    def simple(self, word: str) -> _Linear:
        """A variable or a number."""
        if word in self.variables:
            return _Linear({word: Fraction(1)}, Fraction(0))
        value = number(word)
        if value is None:
            self.at -= 1
            if not word:
                self.fail("a term is missing at the end of the file.")
            self.fail(
                f"'{word}' is neither a number nor a declared variable."
                f"{nearest(word, self.variables)}"
            )
        return _Linear({}, value)
