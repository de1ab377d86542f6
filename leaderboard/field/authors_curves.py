"""Certified accuracy by radius, counted from the files of one line an example of smoothing papers.

Cohen et al. (ICML 2019, arXiv:1902.02918), Salman et al. (NeurIPS 2019, arXiv:1906.04584) and Jeong
and Shin (NeurIPS 2020, arXiv:2006.04062) published, beside their code, a file for each trained
model with the certified radius of every example. `authors-curves.csv` has how many examples of each
file are right with a radius of at least so much: counts, not the files. Nothing was sampled again:
this is a third tier, beside what papers print and what certboard measured, and ranked with neither.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from leaderboard.common.errors import InputError, Problems
from leaderboard.common.strict_toml import Strict, parse
from leaderboard.field.sources import Count, count_of, csv_lines

FILE = Path(__file__).parent / "authors-curves.csv"

_METHODS = (
    ("data_cohen/", "Gaussian, copied from Cohen et al."),
    ("replication/|/cohen/resnet", "Gaussian, replication by Salman et al."),
    ("baseAttackExp", "SmoothAdv, attacking the base classifier"),
    ("finetune_.*self_training", "SmoothAdv, pre-training and self-training"),
    ("finetune_", "SmoothAdv, pre-training"),
    ("self_training", "SmoothAdv, self-training"),
    ("consistency/salman", "SmoothAdv + consistency"),
    ("consistency/", "consistency"),
    ("/macer", "MACER"),
    ("/stab/", "stability training"),
    ("/salman/|PGD_|DDN_", "SmoothAdv"),
    ("", "Gaussian"),
)
"""Patterns of a path, the first that is found decides, and the method that they stand for."""


@dataclass(frozen=True)
class AuthorsCurve:
    """What one file says; `counts` are by radius (in ℓ2), of `examples` in all.

    `sigma` is the noise that was certified, `trained` that of training, as their paths write them.
    """

    repository: str
    path: str
    examples: int
    counts: Mapping[Fraction, int]

    @property
    def dataset(self) -> str:
        """The name of its dataset."""
        place = self.path.replace("best_models/", "")
        return next(one for one in ("cifar10", "imagenet", "mnist") if f"certify/{one}" in place)

    @property
    def method(self) -> str:
        """How the model was trained, from the path."""
        return next(name for pattern, name in _METHODS if re.search(pattern, self.path))

    @property
    def trained(self) -> Fraction:
        """The scale of the noise in training."""
        return Fraction(re.findall(r"noise_([0-9.]+)", self.path)[-1])

    @property
    def sigma(self) -> Fraction:
        """The scale of the noise that the certificates are for."""
        told = re.findall(r"/sigma_([0-9.]+)", self.path)
        return Fraction(told[-1]) if told else self.trained

    @property
    def usual(self) -> bool:
        """Whether it is of the test set, with one scale in training and in certification."""
        return "/train/" not in self.path and self.sigma == self.trained

    def share(self, radius: Fraction) -> float:
        """The share of examples that are right with at least this radius, one of `counts`."""
        return self.counts[radius] / self.examples

    @property
    def address(self) -> str:
        """Where the file is."""
        return f"https://github.com/{self.repository}/blob/HEAD/{self.path}"


class _Line(Strict):
    """One line of the file, without its counts."""

    repository: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+$")]
    path: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._,/+=-]*$")]
    examples: Annotated[Count, Field(ge=1)]


@cache
def load_authors_curves() -> tuple[AuthorsCurve, ...]:
    """Every file that has an example, in the order of their repositories and paths.

    Raises:
        InputError: a line is wrong.
    """
    problems = Problems()
    found: list[AuthorsCurve] = []
    for number, cells in csv_lines(FILE):
        with problems.gathered():
            found.append(_curve(cells, f"{FILE.name}, line {number}"))
    problems.refuse()
    return tuple(found)


def _curve(cells: Mapping[str, Any], where: str) -> AuthorsCurve:
    names = [name for name in cells if re.fullmatch("r[0-9]+([.][0-9]+)?", name)]
    line = parse(_Line, {k: v for k, v in cells.items() if k not in names}, where)
    counts = {Fraction(name[1:]): count_of(cells[name]) for name in names}
    falling = [line.examples, *(counts[radius] for radius in sorted(counts))]
    # Who is right at a radius is right at every smaller one.
    if not all(isinstance(one, int) for one in falling) or falling != sorted(falling)[::-1]:
        raise InputError(f"{where}: its counts must be numbers that fall from 'examples' on.")
    return AuthorsCurve(line.repository, line.path, line.examples, counts)
