"""What ten thousand submissions of ImageNet would cost, simulated from rows that were measured.

`python -m tests.benchmarks.ten_thousand [--submissions 10000] [--examples 50000] [--seed 0] …`

Each made-up submission is one of the committed evaluations of sampled models, drawn at random: its
examples are that evaluation's rows, drawn with replacement. Samples are those that the rows say
were drawn, bytes for each row are those of its file; everything else is an option whose default
has its source beside it. `site/pages/guides/ten-thousand.md` shows what comes out.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from leaderboard.common.project import find_project
from leaderboard.results.store import stored_paths

ASKED = 100_000
"""Samples of one example at most, as the settings of ImageNet ask."""

SECONDS = 150.0
"""Of one GPU, for 100,000 samples of ResNet-50 on one image of ImageNet: Cohen et al., in the
README of github.com/locuslab/smoothing, whose files of certificates have 150 to 152 s an image."""

PRICE = 0.5
"""US dollars for an hour of such a GPU: an assumption, to be replaced by one's own."""

SITE_SECONDS, SITE_BYTES, SETTING_BYTES = 0.052, 358e3, 94.0
"""Of one submission on the website: processor time, bytes in `public/`, and bytes, compressed, on
the page of its setting: `tests/benchmarks/test_site_speed.py`, 1,000 submissions."""

RANK_SECONDS = 4.5e-7
"""Of the processor for one row: `tests/benchmarks/test_ranking_speed.py`."""

FEWEST = 100
"""Rows of an evaluation that is drawn from: of fewer, a file is mostly its own description."""


@dataclass(frozen=True)
class Measured:
    """One committed evaluation.

    `shares` has, for each example, how much it drew of the most that an example drew; `bytes_each`
    is the size of its file for each row.
    """

    name: str
    shares: np.ndarray
    bytes_each: float


@dataclass(frozen=True)
class Cost:
    """Of some submissions: samples, and bytes of the files of their rows."""

    samples: float
    stored: float


def measured(paths: Sequence[Path]) -> list[Measured]:
    """The evaluations in which something was sampled for many examples."""
    found = []
    for path in paths:
        rows = pq.read_table(path)
        drawn = rows["n"].to_numpy().astype(float) + rows["n0"].to_numpy().astype(float)
        drawn = drawn[~np.isnan(drawn)]
        if drawn.size >= FEWEST:
            name, each = f"{path.parent.name}/{path.stem}", path.stat().st_size / len(rows)
            found.append(Measured(name, drawn / drawn.max(), each))
    return found


def simulate(
    kinds: Sequence[Measured], submissions: int, examples: int, random: np.random.Generator
) -> Cost:
    """Draw submissions, and the examples of each, from what was measured."""
    samples = stored = 0.0
    for at in random.integers(len(kinds), size=submissions):
        samples += ASKED * float(random.choice(kinds[at].shares, examples).sum())
        stored += examples * kinds[at].bytes_each
    return Cost(samples, stored)


def report(cost: Cost, submissions: int, examples: int, seconds: float, price: float) -> list[str]:
    """The plan's figures, a line each."""
    hours = cost.samples / ASKED * seconds / 3600
    return [
        f"samples            {cost.samples:.2e}, {cost.samples / submissions / examples:,.0f} each",
        f"GPU hours          {hours:,.0f}",
        f"money              {hours * price:,.0f} $",
        f"rows               {submissions * examples:.2e} in {cost.stored / 1e9:,.1f} GB",
        f"ranked in          {submissions * examples * RANK_SECONDS:,.0f} s of a processor",
        f"website            {submissions * SITE_SECONDS:,.0f} s of a processor,"
        f" {submissions * SITE_BYTES / 1e9:,.1f} GB and its rows twice",
        f"a setting's page   {submissions * SETTING_BYTES / 1e3:,.0f} kB compressed",
    ]


def main() -> None:
    """Print the figures for evaluations of a fixed number of samples, and for sequential ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--submissions", type=int, default=10_000)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--price", type=float, default=PRICE)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    kinds = measured(stored_paths(find_project(Path(__file__).parent)))
    fixed = [kind for kind in kinds if kind.shares.min() == 1]
    early = [kind for kind in kinds if kind.shares.min() < 1]
    for title, some in ((f"always {ASKED:,} samples", fixed), ("until decided", early)):
        print(f"\nEach image {title}, as in the rows of {', '.join(kind.name for kind in some)}:")
        random = np.random.default_rng(asked.seed)
        cost = simulate(some, asked.submissions, asked.examples, random)
        told = report(cost, asked.submissions, asked.examples, asked.seconds, asked.price)
        print("\n".join(told))


if __name__ == "__main__":
    main()
