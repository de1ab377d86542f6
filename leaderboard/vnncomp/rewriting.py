"""What is written in other words in VNN-LIB, put into the words that `syntax` reads.

`not`, `let`, `=>`, `true` and `false`, and VNN-LIB 2.0 for one network of one input and one output:
`X[0,3]` becomes the `X_3` that it is in row-major order.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import NoReturn

Nested = str | list["Nested"]
Fail = Callable[[str], NoReturn]

MARKS = frozenset(("not", "let", "=>", "true", "false", "!=", "==", "vnnlib-version"))
"""Words of files that are rewritten; others are read as they are."""
MOST_WORDS = 10**6
MOST_NESTING = 200

_NEGATED = {"<=": ">", "<": ">=", ">=": "<", ">": "<=", "=": "!=", "==": "!=", "!=": "="}
_TYPES = frozenset(("real", "float32", "float64"))
_ELEMENT = re.compile(r"([A-Za-z_]\w*)\[((?:\d{1,9}(?:,\d{1,9})*)?)\]")
_NAME = re.compile(r"(?!(?:and|or|not|let|true|false)$)(?:[^\W\d]|[~!@$%^&?]|\.(?!\d)).*")
"""What a `let` may bind: no number, no operator."""
_OF_1 = re.compile(r"[XY]_\d+")
_SHAPE = re.compile(r"\[((?:\d{1,9}(?:,\d{1,9})*)?)\]")


class Rewriting:
    """One file in other words.

    Attributes:
        words: the file in the words of VNN-LIB 1.0.
        shape: of the input, where the file declares it.
    """

    def __init__(self, words: Sequence[str], fail: Fail) -> None:
        self.fail = fail
        self.letters: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.words: list[str] = []
        self.visited = 0
        try:
            for command in self.trees(words):
                self.command(command)
        except RecursionError:  # what a `let` names may be nested again and again
            self.fail(f"written out, expressions are nested far deeper than {MOST_NESTING}.")

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The input's shape."""
        return next((shape for letter, shape in self.letters.values() if letter == "X"), None)

    def trees(self, words: Sequence[str]) -> Iterator[Nested]:
        """Yield the commands as nested lists."""
        stack: list[list[Nested]] = [[]]
        for word in words:
            if word == "(":
                if len(stack) > MOST_NESTING:
                    self.fail(f"expressions are nested deeper than {MOST_NESTING}.")
                stack.append([])
            elif word == ")":
                if len(stack) == 1:
                    self.fail("a ')' has no '('.")
                done = stack.pop()
                stack[-1].append(done)
            elif word:
                stack[-1].append(word)
        if len(stack) > 1:
            self.fail("a ')' is missing at the end of the file.")
        yield from stack[0]

    def command(self, tree: Nested) -> None:
        """Write one command in other words."""
        match tree:
            case ["vnnlib-version", str(version)]:
                if not re.fullmatch(r"<?2\.\d+>?|<?1\.\d+>?", version):
                    self.fail(f"VNN-LIB {version} is not read; 1.0 and 2.0 are.")
            case ["declare-network", str(), *declared]:
                for one in declared:
                    self.declare(one)
            case ["assert", formula]:
                self.write(["assert", self.formula(self.expanded(formula, {}), False)])
            case _:
                self.write(tree)

    def declare(self, tree: Nested) -> None:
        """Declare the variables of an input or an output of the network."""
        match tree:
            case ["declare-input" | "declare-output" as what, str(name), str(kind), str(shape)]:
                letter = "X" if what == "declare-input" else "Y"
            case _:
                self.fail(
                    "of a network one (declare-input X real [1,5]) and one (declare-output Y real"
                    " [1,3]) are read."
                )
        told = _SHAPE.fullmatch(shape)
        if kind.lower() not in _TYPES or told is None:
            self.fail(f"'{kind} {shape}' is not read; a type is real, float32 or float64.")
        if name in self.letters or letter in (one for one, _ in self.letters.values()):
            self.fail(f"'{name}' is one more input or output; one of each is read.")
        sizes = tuple(map(int, filter(None, told[1].split(","))))
        if not 0 < prod(sizes) <= MOST_WORDS:
            self.fail(f"'{name}' has {prod(sizes):,} entries; 1 to {MOST_WORDS:,} are read.")
        self.letters[name] = letter, sizes
        for index in range(prod(sizes)):
            self.write(["declare-const", f"{letter}_{index}", "Real"])

    def expanded(self, tree: Nested, known: Mapping[str, Nested]) -> Nested:
        """A formula without `let`, and with the names of 1.0."""
        match tree:
            case str(word):
                return known[word] if word in known else self.element(word)
            case ["let", [*bindings], body]:
                bound = dict(known)
                for one in bindings:
                    match one:
                        case [str(name), value] if _NAME.fullmatch(name):
                            bound[name] = self.expanded(value, known)
                        case _:
                            self.fail("a 'let' binds names: (let ((a expression)) formula).")
                return self.expanded(body, bound)
            case _:
                return [self.expanded(part, known) for part in tree]

    def element(self, word: str) -> str:
        """The name in 1.0 of an element such as X[0,3]; another word as it is."""
        if "[" not in word and word in self.letters:
            word = f"{word}[]"
        if "[" not in word and not (self.letters and _OF_1.fullmatch(word)):
            return word
        told = _ELEMENT.fullmatch(word)
        if told is None or told[1] not in self.letters:
            self.fail(f"'{word}' is no element of a declared input or output.")
        letter, sizes = self.letters[told[1]]
        places = tuple(map(int, filter(None, told[2].split(","))))
        inside = all(place < size for place, size in zip(places, sizes, strict=False))
        if len(places) != len(sizes) or not inside:
            self.fail(f"'{word}' lies outside of the shape {list(sizes)}.")
        index = 0
        for place, size in zip(places, sizes, strict=True):
            index = index * size + place
        return f"{letter}_{index}"

    def formula(self, tree: Nested, negated: bool) -> Nested:
        """A formula, or its negation, of and, or and comparisons; true is an empty and."""
        self.visited += 1
        if self.visited > MOST_WORDS:
            self.fail(f"written out, the file has more than {MOST_WORDS:,} formulas.")
        match tree:
            case "true" | "false":
                return ["and" if (tree == "true") != negated else "or"]
            case ["not", inner]:
                return self.formula(inner, not negated)
            case ["=>", left, right]:
                parts = [self.formula(left, not negated), self.formula(right, negated)]
                return ["and" if negated else "or", *parts]
            case ["and" | "or" as word, *inner]:
                other = {"and": "or", "or": "and"}[word]
                if not inner:
                    self.fail(f"an '{word}' needs at least one formula.")
                return [other if negated else word, *(self.formula(one, negated) for one in inner)]
            case [str(sign), left, right] if sign in _NEGATED:
                sign = _NEGATED[sign] if negated else sign
                if sign == "!=":
                    return ["or", ["<", left, right], [">", left, right]]
                return ["=" if sign == "==" else sign, left, right]
        return self.fail("a formula is needed: and, or, not, let, true, false or a comparison.")

    def write(self, tree: Nested) -> None:
        """Append a command's words."""
        if isinstance(tree, str):
            self.words.append(tree)
        else:
            self.words.append("(")
            for one in tree:
                self.write(one)
            self.words.append(")")
        if len(self.words) > MOST_WORDS * 10:
            self.fail(f"written out, the file has more than {MOST_WORDS * 10:,} words.")
