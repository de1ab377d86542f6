"""What each document of the programming interface says, taken from the board.

Numbers are the board's own, so that a page and its document cannot disagree.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from leaderboard.board.board import Board
from leaderboard.results.columns import DESCRIBED
from leaderboard.results.kept import hash_of, key_of, shared
from leaderboard.results.metrics import METRICS, ConfidenceInterval, certified_interval
from leaderboard.results.rerun import command
from leaderboard.website.citation import bibtex, load_citation
from leaderboard.website.publishing import models
from leaderboard.website.publishing.licence import SPDX
from leaderboard.website.publishing.places import all_rows, schema_from, schema_of
from leaderboard.website.publishing.stored import AllRows, StoredFile

if TYPE_CHECKING:
    from leaderboard.board.ranking import Standing
    from leaderboard.results.store import Results


def index(board: Board, kinds: Mapping[str, str]) -> models.Index:
    """The way in; `kinds` has what each kind of document holds."""
    results = board.results
    return models.Index(
        described=schema_from("index"),
        api="v1",
        title=load_citation().title,
        licence=SPDX,
        newest=max((result.provenance.created for result in results), default=None),
        counts=models.Counts(
            settings=len(board.settings),
            submissions=len(board.submissions),
            results=len(results),
            verdicts=sum(result.tally.examples for result in results),
            reported=len(board.literature),
        ),
        metrics=tuple(models.MetricMeaning.model_validate(metric) for metric in METRICS.values()),
        documents=tuple(
            models.Listed(path=f"{kind}.json", described=schema_of(kind), holds=holds)
            for kind, holds in kinds.items()
        ),
    )


def settings(board: Board) -> models.Settings:
    """All settings."""
    return models.Settings(
        described=schema_from("settings"),
        settings=tuple(
            models.SettingBrief.taken_from(
                one,
                radius=one.radius_text,
                re_evaluated=len(board.re_evaluated(one.id)),
                reported=len(board.reported(one.id)),
            )
            for one in board.settings.values()
        ),
    )


def standings(board: Board, name: str, rows: AllRows | None) -> models.Standings:
    """The two tables of a setting; `rows` is the file of all its rows, if it has any."""
    one = board.settings[name]
    return models.Standings.taken_from(
        one,
        described=schema_from("settings/<setting>"),
        radius=one.radius_text,
        examples=one.examples.label,
        re_evaluated=tuple(_line(board, line) for line in board.re_evaluated(name)),
        reported=tuple(_reported(line) for line in board.reported(name)),
        disputed=tuple(_line(board, line) for line in board.disputed.get(name, ())),
        all_rows=rows
        and models.AllRowsFile(
            path=all_rows(name), rows=rows.rows, bytes=rows.size, sha256=rows.sha256
        ),
    )


def _line(board: Board, line: "Standing") -> models.Line:
    assert line.result is not None
    assert line.slug is not None
    origin = line.result.provenance
    return models.Line.taken_from(
        line,
        submission=line.slug,
        certified_by=line.how,
        metrics=dict(line.measured),
        certified_interval=_bounds(line.interval),
        examples=line.result.tally.examples,
        test_set=origin.total,
        training=board.submissions[line.slug].training.node,
        measured=origin.created,
        result=_address(line.result),
    )


def _bounds(interval: ConfidenceInterval | None) -> models.Bounds | None:
    return None if interval is None else models.Bounds.model_validate(interval)


def _reported(line: "Standing") -> models.ReportedLine:
    row = line.reported
    assert row is not None
    return models.ReportedLine.taken_from(
        line,
        approach=line.how,
        architecture=row.architecture,
        authors=row.authors,
        year=row.year,
    )


def submissions(board: Board) -> models.Submissions:
    """All submissions."""
    return models.Submissions(
        described=schema_from("submissions"),
        submissions=tuple(
            models.SubmissionBrief(
                slug=slug,
                title=one.title,
                dataset=one.model.dataset,
                kind="smoothed" if one.smoothing else "plain",
                training=one.training.node,
                retired=one.retired,
                settings=tuple(r.provenance.setting for r in board.results_of.get(slug, ())),
            )
            for slug, one in board.submissions.items()
        ),
    )


def submission(board: Board, slug: str) -> models.SubmissionDetail:
    """One submission and where it stands."""
    subject = board.submissions[slug]
    places = []
    for result in board.results_of.get(slug, ()):
        setting, line = result.provenance.setting, board.line_of(result)
        places.append(
            models.Place.taken_from(
                line,
                setting=setting,
                metrics=dict(line.measured),
                result=_address(result),
            )
        )
    return models.SubmissionDetail(
        described=schema_from("submissions/<slug>"),
        submission=subject,
        bibtex=bibtex(subject, board.results_of.get(slug, ())),
        results=tuple(places),
        named=_others(board, board.named_of.get(slug, ())),
        former=_others(board, board.former.get(slug, ())),
    )


def _others(board: Board, results: Iterable["Results"]) -> tuple[models.OtherPlace, ...]:
    return tuple(
        models.OtherPlace(
            setting=result.provenance.setting,
            evaluator=result.provenance.evaluator,
            metrics=_metrics(board, result),
            result=_address(result),
        )
        for result in results
        if result.provenance.setting in board.settings
    )


def _address(result: "Results") -> str:
    """A result's document, from a folder of the interface."""
    return f"../results/{result.provenance.setting}/{result.path.stem}.json"


def _metrics(board: Board, result: "Results") -> dict[str, float | None]:
    radius = board.settings[result.provenance.setting].radius
    return {name: metric.value(result.tally, radius) for name, metric in METRICS.items()}


def result(board: Board, file: StoredFile) -> models.ResultSummary:
    """One evaluation."""
    result, tally, origin = file.result, file.result.tally, file.result.provenance
    line = None if file.why else board.line_of(result)
    own = result in board.results_of.get(origin.submission, ())
    radius = board.settings[origin.setting].radius
    return models.ResultSummary(
        described=schema_from("results/<setting>/<slug>"),
        setting=origin.setting,
        submission=origin.submission,
        evaluator=origin.evaluator,
        rank=line.rank if line else None,
        unranked=file.why,
        short=line.short if line else "",
        disputed=board.line_of(result).disputed if own else None,
        of=line.of if line else 0,
        kind="probabilistic" if tally.probabilistic else "deterministic",
        examples=tally.examples,
        test_set=origin.total,
        statuses={name: tally.of_status(name) for name in _STATUSES},
        decided=tuple(
            models.Decided(status=status, stage=stage, examples=count)
            for (status, stage), count in sorted(tally.decided.items())
        ),
        metrics=dict(line.measured) if line else _metrics(board, result),
        certified_interval=_bounds(certified_interval(tally, radius, origin.total)),
        command=command(result),
        provenance=origin,
        files=_files(file),
    )


_STATUSES = ("certified", "falsified", "unknown")


def _files(file: StoredFile) -> tuple[models.File, ...]:
    place = file.download
    return (
        models.File(
            path=place.parquet,
            format="parquet",
            rows=place.rows,
            bytes=file.size,
            sha256=file.sha256,
        ),
        models.File(path=place.csv, format="csv", rows=place.rows, bytes=None, sha256=None),
    )


def literature(board: Board) -> models.Literature:
    """What papers reported."""
    rows = tuple(board.literature)
    return models.Literature(described=schema_from("literature"), reported=rows)


def taxonomy(board: Board) -> models.TaxonomyTree:
    """The tree."""
    nodes = tuple(board.taxonomy.nodes.values())
    return models.TaxonomyTree(described=schema_from("taxonomy"), nodes=nodes)


def columns() -> models.Columns:
    """The columns of the Parquet files."""
    return models.Columns(
        described=schema_from("columns"),
        columns=tuple(models.ColumnMeaning.model_validate(one) for one in DESCRIBED),
    )


def evaluators(board: Board) -> models.Evaluators:
    """What is implemented."""
    return models.Evaluators(
        described=schema_from("evaluators"),
        evaluators=tuple(
            models.EvaluatorEntry(
                **entry,
                taxonomy=node.path
                if (node := board.taxonomy.of_evaluator(entry["name"]))
                else None,
            )
            for entry in json.loads(_evaluator_entries())
        ),
    )


def _evaluator_entries() -> bytes:
    """The catalogue, which takes PyTorch to make, so that it is kept for the same code."""

    def made() -> bytes:
        from leaderboard.evaluation.evaluator import evaluator_entries

        return json.dumps(evaluator_entries()).encode()

    root = Path(__file__).parents[2]
    code = [hash_of(root / "evaluation"), hash_of(root.parent / "evaluators")]
    return shared().made(key_of("evaluators", code), made)
