"""What others counted, counted again: `python -m tests.benchmarks.oracle fast-lin`.

Certified accuracy of networks whose authors published it, method by method, on all test images of
MNIST, in per cent: Table 1 of Salman et al. 2019 (arXiv 1902.08722) and MIPVerify's README, both by
`published.csv` beside the networks. Behind the method may stand seconds for an example, and names
of files; a method that takes long is asked about those images alone that CROWN and PGD leave open,
since it decides at least as much. Real arithmetic is what the authors computed in, without bounds
on its rounding; the board's verdicts hold in every float32 run.
"""

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from time import process_time

import torch

from evaluators.cascade import Cascade, default_stages
from evaluators.listing import catalogue
from evaluators.network.network import Network
from evaluators.onnx.reader import import_onnx
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status, Verdict
from leaderboard.datasets.catalogue import load_split
from tests.benchmarks.table import SHARED

COUNTED_AS = {
    "fast-lin": "LP-greedy",
    "wong-kolter": "LP-greedy",
    "lp": "LP-ALL",
    "milp": "MILP",
    "branch-and-bound": "MILP",
}
"""What the authors called it; any other method is compared with the exact answer."""

QUICK = ("fast-lin", "wong-kolter")
"""Methods that all images are asked of together."""

BATCH = 500
PUBLISHED = SHARED / "models" / "published"


def problems(network: Network, radius: Fraction, seconds: float) -> Iterator[Problem]:
    """All test images of MNIST, a batch at a time."""
    split = load_split("mnist")
    for first in range(0, len(split.examples), BATCH):
        rows = list(split.examples[first : first + BATCH])
        x, labels = torch.from_numpy(split.images(rows)), torch.from_numpy(split.labels_of(rows))
        yield Problem(network, x, labels, Ball(Norm.LINF, radius), seconds=seconds)


def answers(method: str, problem: Problem) -> list[Verdict]:
    """The method's verdicts; what is decided more cheaply is decided alike."""
    if method in QUICK:
        return catalogue()[method]()(problem)
    found = Cascade(default_stages())(problem)
    left = [row for row, verdict in enumerate(found) if verdict.status is Status.UNKNOWN]
    if left:
        for row, verdict in zip(left, catalogue()[method]()(problem.select(left)), strict=True):
            found[row] = verdict
    return found


def main(method: str, seconds: float = 10.0, *files: str) -> None:
    """Print a line for each network, in per cent."""
    name = COUNTED_AS.get(method, "MILP")
    heads = ["network", "radius", f"published {name}", f"`{method}`", "in real arithmetic"]
    heads += ["wrong or falsified", "left open", "seconds"]
    print(f"| {' | '.join(heads)} |\n{'| --- ' * len(heads)}|")
    with (PUBLISHED / "published.csv").open(encoding="utf-8") as table:
        lines = [line for line in csv.DictReader(table) if line["dataset"] == "mnist"]
    for line in lines:
        published = re.search(rf"certified: .*?\b{name} ([\d.]+)", line["by_method"])
        if published is None or (files and line["file"] not in files):
            continue
        network, began = import_onnx(PUBLISHED / line["file"]), process_time()
        counts = {True: Counter[Status](), False: Counter[Status]()}
        for problem in problems(network, Fraction(line["radius"]), seconds):
            for deployed in (True, False) if method in QUICK else (True,):
                found = answers(method, replace(problem, deployed=deployed))
                counts[deployed].update(verdict.status for verdict in found)
        total = sum(counts[True].values()) / 100
        here, real = (counts[kind][Status.CERTIFIED] / total for kind in (True, False))
        wrong, left = (counts[True][kind] / total for kind in (Status.FALSIFIED, Status.UNKNOWN))
        print(
            f"| {line['file']} | {line['radius']} | {published[1]} | {here:.2f} |"
            f" {f'{real:.2f}' if method in QUICK else ''} | {wrong:.2f} | {left:.2f} |"
            f" {process_time() - began:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    method, seconds, *files = [*sys.argv[1:], "10"] if len(sys.argv) == 2 else sys.argv[1:]
    main(method, float(seconds), *files)
