"""Shares of a run, `--shard i/n`: what one of n machines computes that know nothing of each other.

A share is a stretch of each evaluation's examples, so it follows from `i/n` alone, whatever the
speed of a machine. Its finished shards are joined with those of the others by `certboard merge`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from leaderboard.common.errors import InputError

MOST = 10_000
"""Shares of a run: as many as the examples of most settings."""


@dataclass(frozen=True)
class Share:
    """One of `count` shares, numbered from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the share that is typed as `2/5`.

        Raises:
            InputError: it is none.
        """
        found = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text, re.ASCII)
        number, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= count <= MOST:
            raise InputError(
                f"--shard is '{text[:40]}'; it must be a share such as 2/5, the second of five,"
                f" of at most {MOST:,}."
            )
        return cls(number, count)

    def of(self, examples: Sequence[int]) -> Sequence[int]:
        """Return the stretch of the examples that is this share; perhaps an empty one."""
        first, last = (len(examples) * k // self.count for k in (self.number - 1, self.number))
        return examples[first:last]

    def lock(self, target: Path) -> Path:
        """Return what stands for the result file where a share of it is locked."""
        return target.with_name(f"{target.name}.{self.number}-of-{self.count}")
