"""Methods asked one after the other about what is still open, every answer kept in a file."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch

from evaluators.listing import catalogue
from evaluators.onnx.reader import import_onnx
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Status
from leaderboard.datasets.catalogue import load_split
from tests.benchmarks.attained import NEAR, LPWhereItMayCertify

SLOW = ("lp", "milp", "branch-and-bound")
"""Methods that are given the seconds asked for; all others end by themselves."""

INSTEAD = {"lp": LPWhereItMayCertify}
"""What is asked in a method's place, since it answers the same sooner."""

HEAD = ("image", "method", "version", "seconds", "deployed", "status", "margin", "spent", "note")


class Stage(NamedTuple):
    """A method of the catalogue; `deployed` says whether its proof is about float32 runs, too."""

    method: str
    deployed: bool = True

    @property
    def batch(self) -> int:
        """Images that are asked about together, and whose answers are written together."""
        return 32 if self.method in SLOW else 500


class Count(NamedTuple):
    """What is counted, by the authors' name, and who is asked, in order.

    A certificate of any of them implies one of the method counted; a counterexample of any method
    is one for all.
    """

    name: str
    stages: tuple[Stage, ...]

    @property
    def methods(self) -> list[str]:
        """Their names in the catalogue."""
        return [stage.method for stage in self.stages]


@dataclass(frozen=True)
class KeptAnswer:
    """One line of the file."""

    image: int
    method: str
    version: str
    seconds: float
    deployed: bool
    status: Status
    margin: float | None
    spent: float
    note: str

    @classmethod
    def read(cls, line: Mapping[str, str]) -> "KeptAnswer":
        """From the words of a line."""
        margin = float(line["margin"]) if line["margin"] else None
        deployed, status = line["deployed"] == "True", Status(line["status"])
        numbers = float(line["seconds"]), float(line["spent"])
        words = int(line["image"]), line["method"], line["version"]
        return cls(*words, numbers[0], deployed, status, margin, numbers[1], line["note"])


@dataclass
class KeptAnswers:
    """What is known about all test images of MNIST around which a network is asked about a ball.

    Answers of other versions of a method are passed over, and asked for anew.
    """

    model: Path
    radius: Fraction
    folder: Path
    known: list[KeptAnswer] = field(init=False)

    def __post_init__(self) -> None:
        self.split, self.network = load_split("mnist"), import_onnx(self.model)
        digest = sha256(self.model.read_bytes()).hexdigest()[:8]
        name = f"{self.model.stem}-{digest}-{self.radius}".replace("/", "_")
        self.file = self.folder / f"{re.sub('[^A-Za-z0-9._-]', '_', name)}.csv"
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.file.exists():
            self.file.write_text(",".join(HEAD) + "\n")
        # A line that was cut short would run into the next one.
        whole = self.file.read_text(encoding="utf-8").rpartition("\n")[0] + "\n"
        self.file.write_text(whole, encoding="utf-8")
        answers = [KeptAnswer.read(line) for line in csv.DictReader(whole.splitlines())]
        self.known = [a for a in answers if a.version == catalogue()[a.method].version]

    def __len__(self) -> int:
        return len(self.split.examples)

    def ask(self, count: Count, seconds: Sequence[float]) -> None:
        """Ask the methods in order, each about what those before it do not settle."""
        for stage in count.stages:
            for limit in seconds if stage.method in SLOW else seconds[:1]:
                self._asked(stage, limit, self._open(count, stage, limit))
        self._asked(count.stages[-1]._replace(deployed=False), seconds[-1], self._near(count))

    def settled(self, count: Count, *, real: bool = False) -> dict[int, Status]:
        """The images whose answer by the method counted is known, with it.

        Args:
            count: what is counted.
            real: with what is proved in real arithmetic alone.

        Raises:
            AssertionError: an image is both certified and falsified.
        """
        found = {a.image: a.status for a in self.known if a.status is Status.FALSIFIED}
        proved = {
            a.image
            for a in self.known
            if a.status is Status.CERTIFIED and a.method in count.methods and (real or a.deployed)
        }
        if both := proved & found.keys():
            raise AssertionError(f"{self.model.name}: {both} are certified and falsified.")
        return found | dict.fromkeys(proved, Status.CERTIFIED)

    def seconds(self, count: Count) -> float:
        """What the methods of a count took, of the processor."""
        return sum(a.spent for a in self.known if a.method in count.methods)

    def _open(self, count: Count, stage: Stage, limit: float) -> list[int]:
        """Images that are not settled, and that more time could settle."""
        ended = {a.image for a in self._of(stage) if a.note != "timeout" or a.seconds >= limit}
        settled = self.settled(count)
        return [row for row in self.split.examples if row not in ended and row not in settled]

    def _near(self, count: Count) -> list[int]:
        """Images for which real arithmetic could be what is missing."""
        last, settled = count.stages[-1], self.settled(count)
        asked = {a.image for a in self._of(last._replace(deployed=False))}
        margins = {a.image: a.margin for a in self._of(last) if a.margin is not None}
        near = {image for image, margin in margins.items() if margin > -NEAR}
        return sorted(near - asked - settled.keys())

    def _of(self, stage: Stage) -> list[KeptAnswer]:
        return [a for a in self.known if (a.method, a.deployed) == stage]

    def _asked(self, stage: Stage, limit: float, rows: Sequence[int]) -> None:
        """Ask, and write what is answered, a batch at a time."""
        evaluator = INSTEAD.get(stage.method, catalogue()[stage.method])
        region = Ball(Norm.LINF, self.radius)
        for first in range(0, len(rows), stage.batch):
            some = list(rows[first : first + stage.batch])
            x = torch.from_numpy(self.split.images(some))
            labels = torch.from_numpy(self.split.labels_of(some))
            problem = Problem(self.network, x, labels, region, limit, tuple(some))
            found = evaluator()(replace(problem, deployed=stage.deployed))
            begins = [(row, stage.method, evaluator.version, limit, stage.deployed) for row in some]
            self.known += [
                KeptAnswer(*begin, said.status, said.margin, said.seconds, said.note)
                for begin, said in zip(begins, found, strict=True)
            ]
            self._write(self.known[-len(some) :])

    def _write(self, answers: Sequence[KeptAnswer]) -> None:
        with self.file.open("a", encoding="utf-8", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerows([getattr(answer, name) for name in HEAD] for answer in answers)
