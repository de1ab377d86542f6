"""`certboard certify`: any ONNX model, any ball, without a submission and without a store."""

import shutil
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from leaderboard.common.devices import check_device
from leaderboard.common.errors import InputError
from leaderboard.common.progress import RunProgress, tell
from leaderboard.datasets.catalogue import load_split
from leaderboard.evaluation.certify_options import (
    OPTION_OF,
    CertifyOptions,
    chosen_examples,
    question_of,
)
from leaderboard.evaluation.evaluator import can_certify, check_samples, evaluator_of
from leaderboard.evaluation.evidence import join, told
from leaderboard.evaluation.forecast import announce, cut
from leaderboard.evaluation.networks import network_of, notes_of
from leaderboard.evaluation.radius_search import FAILED_RADIUS, largest_radii
from leaderboard.evaluation.shard import fingerprint
from leaderboard.evaluation.workers import run_shards
from leaderboard.settings.question import Question, Shard
from leaderboard.settings.setting import exact_text, setting_id

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Certified:
    """A question, and the row of each example that it was asked about, in the order asked for."""

    question: Question
    rows: "pd.DataFrame"


def certify(typed: CertifyOptions) -> Certified:
    """Answer what was typed, and write the files that were asked for.

    Everything that can be wrong with the options is found out before any work is done.

    Raises:
        InputError: a value is not allowed, the model or the data cannot be used, or a file cannot
            be written.
    """
    check_device(typed.device, elsewhere=not typed.workers.isdecimal())
    question, examples = prepare(typed)
    for note in notes_of(question):
        tell(f"{question.model.name}: {note}")
    announce(typed.title, question, examples, typed.workers)
    with RunProgress(typed.title, len(examples)) as progress:
        rows, proved = _measure(typed, question, examples, progress)
        if typed.max_radius:
            asked = replace(question, evidence=None)
            rows = largest_radii(asked, rows, typed.workers, progress)
    _store(typed, question, rows)
    if proved:
        tell(f"{typed.evidence}: {proved}")
    return Certified(question, rows)


def prepare(typed: CertifyOptions) -> tuple[Question, list[int]]:
    """Work out the question that was typed and the examples chosen, before any other work.

    Raises:
        InputError: a value is not allowed, the model or the data cannot be used, or the rows could
            not be stored.
    """
    question = question_of(typed)
    examples = chosen_examples(typed.selection, load_split(typed.dataset))
    network_of(question)
    evaluator = evaluator_of(question)
    if question.sigma is not None:
        strange = typed.sampling.options.keys() - evaluator.options().keys()
        if named := [OPTION_OF[name] for name in OPTION_OF if name in strange]:
            raise InputError(f"The evaluator '{evaluator.name()}' has no {' and no '.join(named)}.")
    check_samples(question)
    if typed.max_radius and not can_certify(question):
        raise InputError(f"--max-radius needs a proof, but '{typed.evaluator}' only refutes.")
    return question, examples


def _measure(
    typed: CertifyOptions, question: Question, examples: list[int], progress: RunProgress
) -> tuple["pd.DataFrame", str]:
    """The rows of these examples; what is in the file of their evidence, if one is wanted."""
    plan = cut(question, examples)
    measured: dict[Shard, "pd.DataFrame"] = {}
    try:
        with closing(run_shards(plan, typed.workers)) as finished:
            for shard, rows in finished:
                measured[shard] = rows
                progress.advance(rows, False)
        proved = ""
        if typed.evidence is not None:
            proved = told(join(question, [shard.name for shard in plan], typed.evidence))
    finally:
        if question.evidence is not None:
            shutil.rmtree(question.evidence, ignore_errors=True)
    import pandas as pd

    return pd.concat([measured[shard] for shard in plan], ignore_index=True), proved


def summary(certified: Certified) -> dict[str, Any]:
    """Return the object that `--json` prints."""
    question, rows = certified.question, certified.rows
    shown = ["example", "label", "prediction", "status", "radius", "margin", "seconds", "stage"]
    counts = rows["status"].value_counts()
    shown += [FAILED_RADIUS] if FAILED_RADIUS in rows else []
    records = rows[[*shown, "note"]].astype(object)
    return {
        "model": str(question.model),
        "dataset": question.dataset,
        "norm": question.norm,
        "radius": exact_text(question.radius),
        "evaluator": str(rows["evaluator"].iloc[0]),
        "seconds": round(float(rows["seconds"].sum()), 3),
        "counts": {s: int(counts.get(s, 0)) for s in ("certified", "falsified", "unknown")},
        "rows": records.where(records.notna(), None).to_dict("records"),
    }


def _store(typed: CertifyOptions, question: Question, rows: "pd.DataFrame") -> None:
    """Write the rows to a Parquet file of the result store's format, if one is wanted."""
    if typed.output is None:
        return
    from leaderboard.evaluation.provenance import describe
    from leaderboard.results.store import write

    examples = rows["example"].tolist()
    setting = setting_id(question.dataset, question.norm, exact_text(question.radius))
    provenance = describe(
        question,
        submission=question.model.stem,
        setting=setting,
        selection=f"{len(examples)} chosen by index",
        fingerprint=fingerprint(question, examples, load_split(question.dataset).sha256),
        workers=typed.workers,
    )
    if typed.max_radius:
        options = {**provenance.options, "max_radius": True}
        provenance = provenance.model_copy(update={"options": options, "fingerprint": ""})
    write(typed.output, rows.assign(submission=question.model.stem, setting=setting), provenance)
