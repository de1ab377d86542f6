"""Bounds of certboard, as a command that answers like those of its peers (`auto_lirpa.py`)."""

import json
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from evaluators.listing import catalogue
from evaluators.onnx.reader import import_onnx
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from leaderboard.common.memory import keep_freed_memory


def main(method: str, model: str, examples: str, seconds: str) -> None:
    """Print the processor seconds, proofs, margins and peak memory of one method."""
    torch.set_num_threads(1)
    data = np.load(examples)
    x, labels = torch.from_numpy(data["x"]), torch.from_numpy(data["labels"])
    region = Ball(Norm.LINF, Fraction(str(data["radius"])))
    keep_freed_memory()
    problem = Problem(import_onnx(Path(model)), x, labels, region, seconds=float(seconds))
    evaluator = catalogue()[method]()
    started = time.process_time()
    found = evaluator.solve(problem)
    taken = time.process_time() - started
    # Of this program alone: `getrusage` would count the process that started it, too.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    real = [] if evaluator.complete else evaluator.solve(replace(problem, deployed=False))
    answer = {
        "seconds": taken,
        "certified": sum(verdict.status is Status.CERTIFIED for verdict in found),
        "margins": [] if evaluator.complete else [verdict.margin for verdict in found],
        "megabytes": round(peak),
        "real": [verdict.margin for verdict in real],
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
