"""TOML read into strict models, every problem told in a sentence.

Keys are exact: a misspelt one is an error that names the nearest allowed key, and one reading
reports all problems of a file, not the first.
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from leaderboard.common.errors import InputError, nearest
from leaderboard.common.rules import MOST, told


class Strict(BaseModel):
    """A frozen record with exact keys, exact types and finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


T = TypeVar("T")
Parsed = TypeVar("Parsed", bound=BaseModel)

Entries = Annotated[
    tuple[T, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
]
"""A TOML array, kept as a tuple."""


# A key of thousands of parts takes the parser time and memory that grow with their square. What is
# no key, strings and comments, is found in one pass: one that nothing ends goes on to where the
# parser refuses it, so that no sign is looked at from a second beginning.
_NO_KEY = re.compile(
    r"""#[^\n]*+"""
    r"""|["]{3}(?:\\[\s\S]|(?!["]{3})[^\\])*+["]{0,5}+"""
    r"""|'{3}(?:(?!'{3})[\s\S])*+'{0,5}+"""
    r"""|["](?:\\.|[^"\\\n])*+["]?+|'[^'\n]*+'?+"""
)
_CHAIN = re.compile(r"(?<![\w-])[\w-]+(?:\s*\.\s*[\w-]+){32}")


def shown(value: object) -> str:
    """`value` as an error message quotes it: short, and every unprintable character escaped."""
    try:
        text = str(value).lower() if isinstance(value, bool) else repr(value)
    except (RecursionError, ValueError):
        # Nested without end, or a number with more digits than Python writes.
        text = "too long to be shown"
    return text if len(text) <= 60 else f"{text[:57]}…"


def read_toml(path: Path, where: str) -> dict[str, Any]:
    """The table in the file at `path`, which messages call `where`.

    Raises:
        InputError: the file is missing, not UTF-8, or not TOML (with line and column).
    """
    try:
        return toml_of(path.read_bytes(), where)
    except FileNotFoundError:
        raise InputError(f"There is no file {where}.") from None
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}.") from None


def toml_of(content: bytes, where: str) -> dict[str, Any]:
    """The table that the bytes of a TOML file say.

    Raises:
        InputError: they are not UTF-8, or not TOML (with line and column).
    """
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
        if _CHAIN.search(_NO_KEY.sub("q", text)):
            raise InputError(f"{where} is nested too deeply.")
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 text (byte {error.start}).") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not valid TOML: {error}.") from None
    except RecursionError:
        raise InputError(f"{where} is nested too deeply.") from None
    except ValueError as error:
        # A number of more digits than Python reads, or a date that does not exist.
        raise InputError(f"{where} is not valid TOML: {str(error).split(';')[0]}.") from None


def parse(
    model: type[Parsed],
    table: Mapping[str, Any],
    where: str,
    *,
    named: bool = False,
    **derived: str,
) -> Parsed:
    """`table` as a `model`, whose fields in `derived` follow from the file's place.

    With `named`, each sentence ends with the name of the rule that is broken.

    Raises:
        InputError: one sentence a problem, each beginning with `where`.
    """

    def ruled(rule: str, sentence: str) -> str:
        return told(rule, sentence) if named else sentence

    sentences = [
        ruled("toml-key", f"{where}: {_unknown_key(key, model, (), derived)}")
        for key in derived & table.keys()
    ]
    try:
        parsed = model.model_validate({**table, **derived})
    except ValidationError as error:
        details = error.errors()
        sentences += [
            ruled(_rule(detail), _sentence(detail, model, where, derived))
            for detail in details[:MOST]
        ]
        if len(details) > MOST:
            sentences.append(f"{where} has {len(details) - MOST:,} more problems.")
    if sentences:
        raise InputError(*sentences)
    return parsed


Loc = tuple[int | str, ...]


def _sentence(
    detail: ErrorDetails, model: type[BaseModel], where: str, derived: Collection[str]
) -> str:
    loc, found, kind = detail["loc"], detail["input"], detail["type"]
    key = _key(loc)
    if kind == "missing":
        return f"{where}: the key '{key}' is missing."
    if kind == "extra_forbidden":
        return f"{where}: {_unknown_key(str(loc[-1]), model, loc[:-1], derived)}"
    problem = _problem(detail)
    if not problem.endswith("?"):
        problem += "."
    if not isinstance(found, dict):
        hint = nearest(str(found), _literals(detail)) if kind == "literal_error" else ""
        return f"{where}: '{key}' is {shown(found)}, but {problem}{hint}"
    return f"{where}: {f'[{key}] ' if key else ''}{problem}"


def _rule(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind in ("missing", "extra_forbidden"):
        return "toml-key"
    if kind == "value_error":
        return getattr(detail["ctx"]["error"], "rule", "toml-value")
    if kind in ("literal_error", "string_pattern_mismatch"):
        return "toml-value"
    if kind.endswith(("_type", "_parsing")):
        return "toml-type"
    return "text-length" if kind.startswith("string_too") else "toml-range"


def _unknown_key(key: str, model: type[BaseModel], loc: Loc, derived: Collection[str]) -> str:
    place = f" in [{_key(loc)}]" if loc else ""
    allowed = [name for name in _keys(model, loc) if loc or name not in derived]
    hint = nearest(key[:100], allowed)
    return f"there is no key {shown(key)}{place}.{hint} Allowed here: {', '.join(allowed)}."


def _key(loc: Loc) -> str:
    """`claim #2.setting`: array entries are counted from one, as people do."""
    text = ""
    for part in loc:
        text += f" #{part + 1}" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text


def _keys(model: type[BaseModel], loc: Loc) -> list[str]:
    """The keys allowed in the table at `loc`."""
    for part in loc:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part in fields:
            model = next(_models(fields[str(part)].annotation))
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _literals(detail: ErrorDetails) -> list[str]:
    expected: str = detail["ctx"]["expected"]
    return expected.replace(" or ", ", ").replace("'", "").split(", ")


_PROBLEMS = {
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list in square brackets",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "finite_number": "must be finite",
    "literal_error": "must be one of {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} character(s)",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}


def _problem(detail: ErrorDetails) -> str:
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    template = _PROBLEMS.get(detail["type"])
    return template.format(**detail.get("ctx", {})) if template else detail["msg"].lower()
