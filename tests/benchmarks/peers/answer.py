"""Asking certboard and its peers, each in a process of its own, and what they answer."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evaluators.question.problem import Problem

PEERS = Path(__file__).parent


class Answer(NamedTuple):
    """One run: processor seconds, how many certified, each least margin, and peak memory in MB.

    `real` are the margins in real arithmetic, which peers promise nothing beyond, where the others
    hold for float32 runs, too.
    """

    seconds: float
    certified: int
    margins: list[float]
    megabytes: int
    real: Sequence[float] = ()

    def __str__(self) -> str:
        margin = f", margin {np.mean(self.margins):.3f}" if self.margins else ""
        margin += f" ({np.mean(self.real):.3f} in real arithmetic)" if self.real else ""
        return f"{self.seconds:.3f} s, {self.certified} certified{margin}, {self.megabytes} MB"


class Asked(NamedTuple):
    """A question to all: a method, the file of a network, and the file of the examples.

    EXAMPLES.npz holds `x`, `labels` and `radius`, an ℓ∞ ball clipped to [0, 1].
    """

    method: str
    model: Path
    examples: Path
    seconds: float
    classes: int

    @classmethod
    def of(
        cls, problem: Problem, model: Path, folder: Path, method: str, seconds: float = 60
    ) -> "Asked":
        """Write the examples of a problem into a folder."""
        examples, radius = folder / "examples.npz", np.array(str(problem.region.radius))
        np.savez(examples, x=problem.x.numpy(), labels=problem.labels.numpy(), radius=radius)
        return cls(method, model, examples, seconds, problem.classes)


def ask(asked: Asked, peer: str = "") -> Answer:
    """Ask certboard, or auto_LiRPA by the interpreter that has it."""
    ours = [sys.executable, "-m", "tests.benchmarks.peers.ours"]
    command = [peer, str(PEERS / "auto_lirpa.py")] if peer else ours
    words = [asked.method, str(asked.model), str(asked.examples), str(asked.seconds)]
    told = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
    return Answer(**json.loads(told.stdout.strip().splitlines()[-1]))


def ask_abcrown(asked: Asked, program: str) -> Answer:
    """Ask α,β-CROWN as it comes, an example at a time; what its `--help` takes is not counted."""
    data, seconds, certified = np.load(asked.examples), 0.0, 0
    begun = children_seconds([program, "--help"])
    names = "example.vnnlib", "results.txt", "settings.yaml"
    question, results, settings = (asked.examples.with_name(name) for name in names)
    settings.write_text("general: {device: cpu}\n")
    limits = ["--timeout", str(asked.seconds), "--results_file", str(results)]
    files = ["--onnx_path", str(asked.model), "--vnnlib_path", str(question)]
    command = [program, "--config", str(settings), *files, *limits]
    for x, label in zip(data["x"], data["labels"], strict=True):
        radius = float(Fraction(str(data["radius"])))
        question.write_text(vnnlib(x.ravel(), int(label), radius, asked.classes))
        results.unlink(missing_ok=True)
        seconds += children_seconds(command) - begun
        certified += results.exists() and results.read_text().startswith("unsat")
    # Of the largest process that ended here so far.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return Answer(seconds, certified, [], peak)


def vnnlib(x: np.ndarray, label: int, radius: float, classes: int) -> str:
    """The question for an input that gives another class a logit as large as the label's."""
    lines = [f"(declare-const X_{place} Real)" for place in range(len(x))]
    lines += [f"(declare-const Y_{place} Real)" for place in range(classes)]
    for place, value in enumerate(x.tolist()):
        lines.append(f"(assert (>= X_{place} {max(0.0, value - radius):.12f}))")
        lines.append(f"(assert (<= X_{place} {min(1.0, value + radius):.12f}))")
    others = (f"(and (>= Y_{place} Y_{label}))" for place in range(classes) if place != label)
    return "\n".join([*lines, f"(assert (or {' '.join(others)}))", ""])


def children_seconds(command: list[str], variables: Mapping[str, str] | None = None) -> float:
    """Processor seconds of a command and all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True, env=os.environ | dict(variables or {}))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
