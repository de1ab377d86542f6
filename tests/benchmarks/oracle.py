"""What others counted, counted again: `python -m tests.benchmarks.oracle fast-lin`.

Certified accuracy of networks whose authors published it, on all test images of MNIST, in per cent:
Table 1 of Salman et al. 2019 (arXiv 1902.08722) and MIPVerify's README, both by `published.csv`
beside the networks. `COUNTS` says which method here counts what they counted.

    python -m tests.benchmarks.oracle METHOD [FILE[@RADIUS] ...] [--seconds S,S,...] [--rows FOLDER]

The cheapest method that can settle an image does: each is asked about the images alone that those
before it leave open, and only where a theorem says that its answer is the one of the method counted
(`COUNTS`). Every answer is a line of a CSV file in the folder of rows, so
that an interrupted count continues, and all counts share what they know.

The authors computed in real arithmetic, without bounds on its rounding. Verdicts of the board hold
in every float32 run besides; "in real arithmetic" counts what is proved without this.
"""

import argparse
import csv
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from evaluators.question.verdict import Status
from tests.benchmarks.staged import Count, KeptAnswers, Stage
from tests.benchmarks.table import SHARED

PUBLISHED = SHARED / "models" / "published"
MOST = 40
"""Images that are named where counts differ."""

Settled = dict[int, Status]
QUICK = (Stage("fast-lin"), Stage("crown"), Stage("pgd"))

COUNTS = {
    count.methods[-1]: count
    for count in (
        Count("LP-greedy", (Stage("fast-lin"),)),
        Count("LP-greedy", (Stage("wong-kolter"),)),
        Count("LP-ALL", (*QUICK, Stage("alpha-crown"), Stage("lp"))),
        Count("MILP", (*QUICK, Stage("branch-and-bound"))),
        Count("MILP", (*QUICK, Stage("milp"))),
    )
}
"""By the last method: what is counted, by the authors' name, and who is asked, in this order.

LP-ALL minimises each margin over all points that lie in every unit's triangle, whose ends are
minimised alike. Fast-Lin, CROWN and α-CROWN use lines outside of these triangles, and ends that are
no tighter, so that their bounds are values of its dual at feasible points (Salman et al. 2019,
theorem 4.2): none of them certifies what it does not. Branch and bound splits, so that its
certificates imply nothing about LP-ALL. Counterexamples, whoever found them, are one to all. Where
one program tells that LP-ALL certifies nothing (`attained.py`), its other programs are not solved.
"""


class Case(NamedTuple):
    """A network at a radius, with the figures published."""

    file: str
    radius: str
    figures: str

    def published(self, kind: str, name: str) -> str:
        """The figure in per cent that was published under a method's name, or nothing."""
        found = re.search(rf"{kind}: [^|]*?\b{name} ([\d.]+)", self.figures)
        return found[1] if found else ""


def cases(name: str, chosen: list[str]) -> Iterator[Case]:
    """Those for which a figure of this method was published, in the order chosen."""
    with (PUBLISHED / "published.csv").open(encoding="utf-8") as table:
        lines = [line for line in csv.DictReader(table) if line["dataset"] == "mnist"]
    found = [Case(line["file"], line["radius"], line["by_method"]) for line in lines]
    found = [case for case in found if case.published("certified", name)]
    for which in chosen or [""]:
        for case in found:
            if which in ("", case.file, f"{case.file}@{case.radius}"):
                yield case


def main(method: str, chosen: list[str], seconds: list[float], folder: Path) -> None:
    """Print a line for each network and radius, in per cent."""
    count = COUNTS[method]
    heads = ["network", "radius", f"{count.name}, published", "falsified, published"]
    heads += ["certified here", "in real arithmetic", "falsified here", "left open", "seconds"]
    print(f"| {' | '.join(heads)} |\n{'| --- ' * len(heads)}|")
    differences = []
    for case in cases(count.name, chosen):
        rows = KeptAnswers(PUBLISHED / case.file, Fraction(case.radius), folder)
        rows.ask(count, seconds)
        settled = [rows.settled(count, real=kind) for kind in (False, True)]
        found, real = (list(kind.values()) for kind in settled)
        total = len(rows) / 100
        cells = [case.file, case.radius, case.published("certified", count.name)]
        cells += [case.published("falsified", count.name)]
        cells += [f"{some.count(Status.CERTIFIED) / total:.2f}" for some in (found, real)]
        cells += [f"{found.count(Status.FALSIFIED) / total:.2f}"]
        cells += [f"{(len(rows) - len(found)) / total:.2f}", f"{rows.seconds(count):.0f}"]
        print(f"| {' | '.join(cells)} |", flush=True)
        differences.append(f"{case.file} at {case.radius}: {differing(rows, *settled)}.")
    print("", *differences, sep="\n")


def differing(rows: KeptAnswers, found: Settled, real: Settled) -> str:
    """The images that explain a difference: proved in real arithmetic alone, and left open."""
    kinds = {"proved in real arithmetic alone": real.keys() - found.keys()}
    kinds["left open"] = set(rows.split.examples) - real.keys()
    said = []
    for kind, images in kinds.items():
        some = ", ".join(map(str, sorted(images)[:MOST])) or "none"
        said.append(f"{kind} {some}" + ("" if len(images) <= MOST else f" of {len(images)}"))
    return "; ".join(said)


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    words.add_argument("method", choices=COUNTS)
    words.add_argument("files", nargs="*", metavar="FILE[@RADIUS]")
    words.add_argument("--seconds", default="3,30", help="of an image, a sitting each")
    words.add_argument("--rows", type=Path, default=Path("build/oracle"))
    typed = words.parse_args()
    limits = [float(limit) for limit in typed.seconds.split(",")]
    main(typed.method, typed.files, limits, typed.rows)
