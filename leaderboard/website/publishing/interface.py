"""The programming interface: every document of `/api/v1/`, made from the board.

One document a setting, a submission and a result: never one an example.
"""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel

from leaderboard.board.board import Board
from leaderboard.website.publishing import documents, models
from leaderboard.website.publishing.places import API, api, schema_of
from leaderboard.website.publishing.stored import AllRows, StoredFile, unranked_files

if TYPE_CHECKING:
    from leaderboard.website.plan import Files

DOCUMENTS: dict[str, tuple[type[models.Document], str]] = {
    "index": (models.Index, "This list, counts, and what each metric means."),
    "settings": (models.Settings, "All settings."),
    "settings/<setting>": (models.Standings, "One setting's two tables."),
    "submissions": (models.Submissions, "All submissions."),
    "submissions/<slug>": (models.SubmissionDetail, "One submission, its citation and places."),
    "results/<setting>/<slug>": (
        models.ResultSummary,
        "One evaluation: counts, provenance, files with checksums, the command to rerun it.",
    ),
    "literature": (models.Literature, "What papers reported."),
    "columns": (models.Columns, "What the columns of the Parquet files mean."),
    "taxonomy": (models.TaxonomyTree, "The tree of methods."),
    "evaluators": (models.Evaluators, "The methods that are implemented."),
}
"""Every kind of document: its class and what it holds."""


HOLDS = {kind: holds for kind, (_, holds) in DOCUMENTS.items()}


def files(
    board: Board, stored: Mapping[str, list[StoredFile]], whole: Mapping[str, AllRows]
) -> "Files":
    """Path and content of every schema and document, in a fixed order."""
    for kind, (model, _) in DOCUMENTS.items():
        yield f"{API}/{schema_of(kind)}", _schema(model)
    for name, document in _documents(board, stored, whole):
        yield api(name), _bytes(document)


def _schema(model: type[BaseModel]) -> bytes:
    described = model.model_json_schema(by_alias=True, mode="serialization")
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | described, indent=1, ensure_ascii=False).encode() + b"\n"


def _documents(
    board: Board, stored: Mapping[str, list[StoredFile]], whole: Mapping[str, AllRows]
) -> Iterator[tuple[str, models.Document]]:
    yield "index", documents.index(board, HOLDS)
    yield "settings", documents.settings(board)
    for name in board.settings:
        yield f"settings/{name}", documents.standings(board, name, whole.get(name))
    yield "submissions", documents.submissions(board)
    for slug in board.submissions:
        yield f"submissions/{slug}", documents.submission(board, slug)
    for listed in (*stored.values(), *unranked_files(board).values()):
        for file in listed:
            name = f"results/{file.result.provenance.setting}/{file.name}"
            yield name, documents.result(board, file)
    yield "literature", documents.literature(board)
    yield "columns", documents.columns()
    yield "taxonomy", documents.taxonomy(board)
    yield "evaluators", documents.evaluators(board)


def examples(
    board: Board, setting: str, listed: list[StoredFile], rows: AllRows | None
) -> dict[str, tuple[str, bytes]]:
    """One document of every kind there is one of: its name and what it says."""
    slug = listed[0].download.slug if listed else next(iter(board.submissions), "")
    found: dict[str, tuple[str, models.Document]] = {
        "index": ("index", documents.index(board, HOLDS)),
        "settings": ("settings", documents.settings(board)),
        "settings/<setting>": (f"settings/{setting}", documents.standings(board, setting, rows)),
        "submissions": ("submissions", documents.submissions(board)),
        "literature": ("literature", documents.literature(board)),
        "columns": ("columns", documents.columns()),
        "taxonomy": ("taxonomy", documents.taxonomy(board)),
        "evaluators": ("evaluators", documents.evaluators(board)),
    }
    if slug:
        found["submissions/<slug>"] = (
            f"submissions/{slug}",
            documents.submission(board, slug),
        )
    if listed:
        name = f"results/{setting}/{slug}"
        found["results/<setting>/<slug>"] = (
            name,
            documents.result(board, listed[0]),
        )
    return {kind: (name, _bytes(document)) for kind, (name, document) in found.items()}


def _bytes(document: models.Document) -> bytes:
    return document.model_dump_json(by_alias=True).encode() + b"\n"
