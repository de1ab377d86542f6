"""A setting of the leaderboard: dataset, norm, exact radius, and how it is measured.

One TOML file a setting in `leaderboard/settings/`; the file's name is the setting's id.
"""

import re
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from leaderboard.common.errors import InputError, Problems, nearest, unknown_name
from leaderboard.common.strict_toml import Strict, parse, read_toml, shown
from leaderboard.datasets.catalogue import find_dataset, load_datasets

NormName = Literal["linf", "l2", "l1"]
NORM_SIGNS: dict[NormName, str] = {"linf": "ℓ∞", "l2": "ℓ2", "l1": "ℓ1"}

Procedure = Literal["fixed", "curtailed", "sequential", "input-specific"]
"""The evaluators' ways to spend samples (a test compares them): reading theirs imports PyTorch."""

FOLDER = Path(__file__).parent

_LONGEST_RADIUS = 32
_RADIUS = re.compile(r"[0-9]+(\.[0-9]+|/[0-9]+)?")
_DECIMAL = r"([0-9]+\.?[0-9]*|\.[0-9]+)"
_SCIENTIFIC = re.compile(_DECIMAL + r"(e[+-]?[0-9]{1,2})?", re.IGNORECASE)
_QUOTIENT = re.compile(f"{_DECIMAL}/{_DECIMAL}")


@lru_cache(maxsize=4096)
def exact_fraction(text: str) -> Fraction:
    """The positive number that `text` writes exactly, as `"0.3"` or `"8/255"`.

    Raises:
        ValueError: what `text` must be instead, as the end of a sentence.
    """
    wanted = 'must be a positive decimal or fraction such as "0.3" or "8/255"'
    if len(text) > _LONGEST_RADIUS:
        raise ValueError(f"{wanted}, in at most {_LONGEST_RADIUS} characters")
    if re.fullmatch("[0-9]+,[0-9]+", text):
        point = text.replace(",", ".")
        raise ValueError(f"{wanted}: write {point} or {Fraction(point)}, with a decimal point")
    if not _RADIUS.fullmatch(text):
        raise ValueError(wanted)
    if re.search("/0+$", text):
        raise ValueError(f"{wanted}, and nothing can be divided by zero")
    if not (number := Fraction(text)):
        raise ValueError(f"{wanted}, and it is zero")
    return number


def exact_text(number: Fraction) -> str:
    """What `exact_fraction` reads as `number`: a short decimal if there is one, else a fraction."""
    for places in range(13):
        if 10**places % number.denominator == 0:
            digits = str(abs(number.numerator) * 10**places // number.denominator)
            digits = digits.rjust(places + 1, "0")
            sign = "-" if number < 0 else ""
            whole, decimals = digits[: len(digits) - places], digits[len(digits) - places :]
            return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"
    return str(number)


def setting_id(dataset: str, norm: str, radius: str) -> str:
    """Name a setting after what it asks."""
    return f"{dataset}-{norm}-{radius.replace('/', '_')}"


def parse_radius(text: str, where: str) -> Fraction:
    """The exact radius typed as `text` in the place called `where`.

    People type more than files may hold: `3e-2`, `.5`, `8./255.`, and spaces around `2 / 255`.

    Raises:
        InputError: `text` is not a positive decimal or fraction in ASCII digits.
    """
    plain = re.sub(r"\s*/\s*", "/", text.strip())
    short = len(plain) <= _LONGEST_RADIUS
    try:
        if short and _SCIENTIFIC.fullmatch(plain) and (number := Fraction(plain)):
            return number
        if short and (parts := _QUOTIENT.fullmatch(plain)) and Fraction(parts[2]):
            plain = str(Fraction(parts[1]) / Fraction(parts[2]))
        return exact_fraction(plain)
    except ValueError as error:
        raise InputError(f"{where} is {shown(text)}, but {error}{_hint(plain)}.") from None


def _hint(plain: str) -> str:
    """What is meant by something that is often typed for a radius, as the end of a sentence."""
    if share := re.fullmatch(r"([0-9]+)(\.[0-9]+)?\s*%", plain):
        return f": write {exact_text(Fraction(share[0].rstrip('% ')) / 100)}"
    if re.fullmatch(_DECIMAL + "e[+-]?[0-9]{3,}", plain, re.IGNORECASE):
        return ": its exponent has at most two digits"
    if re.fullmatch(f"-({_DECIMAL}|{_QUOTIENT.pattern})", plain):
        return ": it is negative"
    return ""


def radius_text(text: str, where: str) -> str:
    """The radius typed as `text`, as files hold it.

    Raises:
        InputError: as for `parse_radius`.
    """
    number = parse_radius(text, where)
    return text if _RADIUS.fullmatch(text) else exact_text(number)


def _checked(text: str) -> str:
    exact_fraction(text)
    return text


ExactText = Annotated[str, AfterValidator(_checked)]
"""Text that writes a positive number exactly, kept as it was written."""


LEAST_EXAMPLES = 490
"""Fewer give no rank and no leader: 500 are usual since Cohen et al. (ICML 2019), and a copy of a
dataset may lack a few of them. At 500 a share's 95 % interval is up to 9 points wide."""


class Selection(Strict):
    """Which examples of the test set are measured: all, the first n, or every k-th."""

    first: int | None = Field(default=None, ge=1)
    every: int | None = Field(default=None, ge=2)

    @model_validator(mode="before")
    @classmethod
    def _all(cls, value: Any) -> Any:
        if isinstance(value, dict):
            if len(value) != 1:
                raise ValueError("must have one of the keys first and every")
            return value
        if isinstance(value, cls):
            return value
        if value != "all":
            raise ValueError('must be "all", { first = n } or { every = k }')
        return {}

    def indices(self, total: int) -> list[int]:
        """The official indices selected of a test set with `total` examples, ascending from 0."""
        return list(self._range(total))

    def size(self, total: int) -> int:
        """How many of a test set with `total` examples are selected."""
        return len(self._range(total))

    def _range(self, total: int) -> range:
        stop = total if self.first is None else min(self.first, total)
        return range(0, stop, self.every or 1)

    @property
    def label(self) -> str:
        """`all`, `first 500`, `every 100th`."""
        if self.first is not None:
            return f"first {self.first}"
        if self.every is None:
            return "all"
        teen = self.every % 100 in (11, 12, 13)
        suffix = "th" if teen else {1: "st", 2: "nd", 3: "rd"}.get(self.every % 10, "th")
        return f"every {self.every}{suffix}"


class SmoothingProtocol(Strict):
    """How a smoothed model is sampled (Cohen et al., ICML 2019, algorithm 1).

    `n0` noisy copies select the class, `n` more estimate its probability, and a certificate is
    wrong with probability at most `failure_probability`. `procedure` says how they are drawn, all
    at once ("fixed") or with an early end; `examples` are those that smoothed models are measured
    on, None for the setting's own.
    """

    n0: int = Field(ge=1)
    n: int = Field(ge=1)
    failure_probability: float = Field(gt=0, lt=1)
    procedure: Procedure = "fixed"
    examples: Selection | None = None

    @property
    def options(self) -> dict[str, int | float | str]:
        """What an evaluator is told."""
        return self.model_dump(exclude={"examples"})


class Setting(Strict):
    """One question asked of every submission: is the ball of `radius` around each example safe?

    `seconds` is the budget for one example; `complete` tells whether a complete method may use it
    up on what the cheap ones leave open; `smoothing` is None where smoothed models do not compete.
    The radius is kept as written (`radius_text`) and exactly (`radius`).
    """

    id: str
    dataset: str
    norm: NormName
    radius_text: ExactText = Field(alias="radius")
    examples: Selection
    seconds: float = Field(gt=0)
    complete: bool = True
    smoothing: SmoothingProtocol | None = None

    @model_validator(mode="after")
    def _id_tells_the_rest(self) -> Self:
        if self.dataset not in load_datasets():
            hint = nearest(self.dataset, load_datasets())
            raise ValueError(f"there is no dataset '{self.dataset}'.{hint}")
        wanted = setting_id(self.dataset, self.norm, self.radius_text)
        if self.id != wanted:
            raise ValueError(
                f"the file must be called {wanted}.toml after dataset, norm and radius"
            )
        return self

    @property
    def radius(self) -> Fraction:
        """The exact radius, in units of the pixel range [0, 1]."""
        return exact_fraction(self.radius_text)

    def selection(self, smoothed: bool) -> Selection:
        """The examples that a plain or a smoothed model is measured on."""
        if smoothed and self.smoothing is not None and self.smoothing.examples is not None:
            return self.smoothing.examples
        return self.examples

    @property
    def title(self) -> str:
        """`CIFAR-10 · ℓ∞ · 8/255`."""
        return f"{find_dataset(self.dataset).title} · {NORM_SIGNS[self.norm]} · {self.radius_text}"


def read_settings(folder: Path) -> dict[str, Setting]:
    """The settings in `folder` by id, sorted by dataset, norm and radius.

    Raises:
        InputError: a file is not a setting, or two settings ask the same question.
    """
    settings: list[Setting] = []
    problems = Problems()
    for path in sorted(folder.glob("*.toml")):
        where = f"{folder.name}/{path.name}"
        with problems.gathered():
            settings.append(parse(Setting, read_toml(path, where), where, id=path.stem))
    asked: dict[tuple[str, str, Fraction], Setting] = {}
    for setting in settings:
        question = (setting.dataset, setting.norm, setting.radius)
        if (other := asked.setdefault(question, setting)) is not setting:
            problems.append(f"The settings {other.id} and {setting.id} ask the same question.")
    problems.refuse()
    norms = get_args(NormName)
    settings.sort(key=lambda one: (one.dataset, norms.index(one.norm), one.radius))
    return {setting.id: setting for setting in settings}


@cache
def load_settings() -> dict[str, Setting]:
    """The leaderboard's settings by id, sorted by dataset, norm and radius."""
    return read_settings(FOLDER)


def find_setting(id: str) -> Setting:
    """The setting called `id`.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    settings = load_settings()
    if id not in settings:
        raise unknown_name("setting", id, settings)
    return settings[id]
