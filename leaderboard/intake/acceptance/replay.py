"""What a model itself says of its rows from elsewhere: it is run at every example and witness.

This runs a stranger's file, so that it has a process of its own where there are walls
(`acceptance.keep`); what it finds can only refuse.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluators.evaluator import predict, why_not_witness
from evaluators.network.network import Network
from evaluators.onnx.heads import deployed
from evaluators.onnx.runtime import Runtime
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.recheck.replay import why_not_replayed
from leaderboard.board.fingerprints import store_checks
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.evaluation.inspection import inspect
from leaderboard.evaluation.networks import network_of, notes_of, parameters_of
from leaderboard.evaluation.plan import Request
from leaderboard.evaluation.recognition import compared
from leaderboard.intake.acceptance.again import measure_again
from leaderboard.intake.acceptance.known import LEFT, NO_DATA, Known, known
from leaderboard.intake.acceptance.rows import labels_of
from leaderboard.results.store import Results, evaluator_named, read
from leaderboard.results.witness import is_in_full, point_of
from leaderboard.settings.setting import find_setting
from leaderboard.submissions.manifest import load_submission

_AT_ONCE = 256
_MOST_TOLD = 20
_ROUNDED = 1e-9
"""Relative: by how much two float64 runs of one network differ at most."""


def replay_folder(project: Project, slug: str, folder: Path, again: float) -> None:
    """Run a submission's model on what the results in a folder say of it.

    Writes what recognises the network, and which certificates were not found again in their time.

    Args:
        project: where the submission lies.
        slug: its name.
        folder: with `<setting>/<name>.parquet`, written by the accepting machine.
        again: seconds in which certificates of each file are measured again.

    Raises:
        InputError: what the model says otherwise, a sentence each.
    """
    submission = load_submission(project, slug)
    problems: list[str] = []
    left: dict[str, tuple[int, tuple[int, ...]]] = {}
    question = None
    for path in sorted(folder.glob("*/*.parquet")):
        found, setting = read(path), find_setting(path.parent.name)
        here = known(project, submission, setting, _request(path, found))
        question = here.question
        where = f"{setting.id}/{path.name}"
        if here.split is None and NO_DATA not in found.provenance.unchecked:
            # Who accepts has compared labels, and counts on it that predictions are compared here.
            raise InputError(f"{setting.dataset}: the test data cannot be read behind the walls.")
        told = contradictions(found, here)
        if not told:
            measured = measure_again(found, here, again)
            told, left[where] = measured.problems, (measured.left, measured.late)
        problems += [f"{where}: {one}" for one in told]
    if problems:
        raise InputError(*problems)
    (folder / LEFT).write_text(json.dumps(left))
    if question is not None:
        looked_at = replace(project, results_folder=folder)
        looked_at.checks.mkdir(exist_ok=True)
        store_checks(looked_at, slug, compared(project, submission, question, inspect(question)))


def _request(path: Path, found: Results) -> Request:
    """How results were asked for, as they say; the accepting machine has compared that."""
    options = found.provenance.options
    return Request(
        evaluator=evaluator_named(path),
        examples=len(found.rows),
        seconds=options["seconds"],
        samples=options.get("n"),
    )


def contradictions(found: Results, known: Known) -> list[str]:
    """List the first few things that the model says otherwise, a sentence each.

    Raises:
        InputError: the model cannot be used.
    """
    return list(islice(_contradictions(found, known), _MOST_TOLD))


def _contradictions(found: Results, known: Known) -> Iterator[str]:
    count = parameters_of(known.files)
    if found.provenance.parameters != count:
        yield f"its parameters are {found.provenance.parameters}, but the model has {count:,}."
    note = " ".join(notes_of(known.question))
    if found.provenance.model_note != note:
        yield f"its model_note is not what reading the model says: '{note}'."
    network = network_of(known.question)
    if not isinstance(network, Network):
        return
    runtime = Runtime(deployed(known.question.model.read_bytes()))
    rows = found.rows.astype(object)
    records = rows.where(rows.notna(), None).to_dict("records")
    for first in range(0, len(records), _AT_ONCE):
        part = records[first : first + _AT_ONCE]
        if known.split is None:
            yield from _without_data(part, network, runtime)
        else:
            yield from _Part(known, network, runtime, first, part).faults()


def _without_data(rows: list[dict[Any, Any]], network: Network, runtime: Runtime) -> Iterator[str]:
    """Of witnesses whose examples are not here at least that they are not read as the label.

    Those in steps from their examples stay unchecked, and that a misread example is read so, with
    all predictions (`NO_DATA`).
    """
    nowhere, pixels = np.zeros(network.input_shape, np.float32), prod(network.input_shape)
    for row in rows:
        stored = row["witness"]
        if stored is None or not is_in_full(stored, pixels):
            continue
        if why_not_replayed(runtime, point_of(stored, nowhere), row["label"]):
            yield f"example {row['example']}: its witness is classified as the label."


class _Part:
    """Some consecutive rows, the examples that they are about, and what the model says of them."""

    def __init__(
        self,
        known: Known,
        network: Network,
        runtime: Runtime,
        first: int,
        rows: list[dict[Any, Any]],
    ) -> None:
        assert known.split is not None
        self.runtime, self.rows = runtime, rows
        examples = known.examples[first : first + len(rows)]
        self.x: NDArray[np.float32] = known.split.images(examples)
        self.problem = Problem(
            network,
            torch.from_numpy(self.x),
            torch.from_numpy(labels_of(known)[first : first + len(rows)]),
            Ball(Norm(known.question.norm), known.question.radius),
            seconds=known.question.seconds,
            examples=tuple(examples),
            seed=known.question.seed,
        )
        self.predictions = predict(network, self.problem.x)
        self.margins, self.rounded = _margins(network, self.problem)

    def faults(self) -> Iterator[str]:
        """Yield what the model says otherwise."""
        for place, row in enumerate(self.rows):
            for fault in self._of_row(place, row):
                yield f"example {row['example']}: {fault}."

    def _of_row(self, place: int, row: dict[Any, Any]) -> Iterator[str]:
        said, status = self.predictions[place], row["status"]
        failed = row["prediction"] is None and row["note"].startswith("failed")
        if row["prediction"] != said and not (status == "unknown" and failed):
            yield f"its prediction is {_class(row['prediction'])}, but the model's {_class(said)}"
            return
        most = self.margins[place] + self.rounded[place]
        if row["margin"] is not None and row["margin"] > most:
            yield f"its margin is {row['margin']:.6g}, but {most:.6g} at the example itself"
        if status == "certified" and not self.margins[place] > 0:
            yield "it is certified, but float64 reads it as another class"
        if status == "falsified" and (reason := self._why_not_refuted(place, row["witness"])):
            yield reason
        misread = said != row["label"] and not failed
        # It is open only where the ways to run the model differ on it.
        if status == "unknown" and misread and not self._why_not_refuted(place, None):
            yield "it is read wrongly, but not falsified"

    def _why_not_refuted(self, place: int, stored: bytes | None) -> str:
        """Why a witness is none, without one the example itself; empty when it is one."""
        x = self.x[place]
        try:
            witness = x if stored is None else point_of(stored, x)
        except ValueError as error:
            return f"its witness {error}"
        reason = why_not_witness(self.problem, place, torch.from_numpy(witness))
        label = int(self.problem.labels[place])
        return reason or why_not_replayed(self.runtime, witness, label)


def _class(number: int | None) -> str:
    return "none" if number is None else str(number)


def _margins(network: Network, problem: Problem) -> tuple[list[float], list[float]]:
    """Of each example itself: the label's float64 logit minus the best other, and its error."""
    with torch.inference_mode():
        logits: Tensor = network.to(torch.float64, problem.x.device)(problem.x.double())
    labels = problem.labels[:, None]
    own = logits.gather(1, labels)[:, 0]
    others = logits.scatter(1, labels, -torch.inf).amax(1)
    rounded = _ROUNDED * (1 + logits.abs().amax(1))
    return (own - others).tolist(), rounded.tolist()
