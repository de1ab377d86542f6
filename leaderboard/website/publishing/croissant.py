"""The stored rows described in MLCommons' Croissant 1.0, which loaders of data sets read.

Specification: https://docs.mlcommons.org/croissant/docs/croissant-spec.html. Every Parquet file is
listed with its checksum and size; records are read from the one file that a setting has of all.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from leaderboard.board.board import Board
from leaderboard.results.columns import DESCRIBED, Column
from leaderboard.results.store import SCHEMA_VERSION
from leaderboard.website.citation import bibtex_board, load_citation
from leaderboard.website.publishing import licence
from leaderboard.website.publishing.places import CROISSANT, absolute, all_rows
from leaderboard.website.publishing.stored import AllRows, StoredFile

_TERMS = (
    "citeAs column equivalentProperty extract field fileProperty fileObject fileSet format includes"
    " isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace"
    " samplingRate separator source subField transform"
)
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS.split()},
}
"""The prefixes and terms that the specification asks for (its appendix)."""

_TYPES = {
    "text": "sc:Text",
    "fraction": "sc:Text",
    "integer": "sc:Integer",
    "number": "sc:Float",
    "bytes": "sc:Text",
}
_KEY = ("submission", "setting", "example")


def croissant(board: Board, files: Sequence[StoredFile], whole: Mapping[str, AllRows]) -> bytes:
    """The description of all rows, as JSON-LD."""
    told = load_citation()
    newest = max((result.provenance.created for result in board.results), default="")[:10]
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "certboard-results",
        "description": (
            "Verdicts on the certified robustness of neural networks, one row a test example:"
            " certified, falsified or unknown, with the exact radius proved, what decided, and"
            " how long it took."
        ),
        "license": licence.URL,
        "url": absolute("data/") if absolute("") else "./",
        "creator": [{"@type": one.schema_org, "name": one.full_name} for one in told.authors],
        **({"datePublished": newest} if newest else {}),
        # Schema of the rows, then the day of the newest one.
        "version": f"{SCHEMA_VERSION}.{newest.replace('-', '') or 0}.0",
        "citeAs": bibtex_board(told),
        "keywords": ["certified robustness", "neural network verification", "leaderboard"],
        "distribution": [
            *(_all_rows(file) for file in whole.values()),
            *(_parquet(file) for file in files),
        ],
        "recordSet": [_records(file.setting) for file in whole.values()],
    }
    return json.dumps(described, ensure_ascii=False).encode() + b"\n"


def _address(place: str) -> str:
    """Absolute where the website's address is known, else relative to the description."""
    if absolute("").startswith("http"):
        return absolute(place)
    return str(PurePosixPath(place).relative_to(PurePosixPath(CROISSANT).parent))


def _all_rows(file: AllRows) -> dict[str, object]:
    place = all_rows(file.setting)
    return {
        "@type": "cr:FileObject",
        "@id": f"{file.setting}.parquet",
        "name": f"{file.setting}.parquet",
        "description": f"{file.rows} verdicts on all submissions in {file.setting}.",
        **_bytes(place, file.size, file.sha256),
    }


def _parquet(file: StoredFile) -> dict[str, object]:
    origin = file.result.provenance
    return {
        "@type": "cr:FileObject",
        "@id": f"{origin.setting}/{file.name}.parquet",
        "name": f"{file.name}.parquet",
        "description": f"{file.download.rows} verdicts on {origin.submission} in {origin.setting}.",
        **_bytes(file.download.parquet, file.size, file.sha256),
    }


def _bytes(place: str, size: int, sha256: str) -> dict[str, object]:
    return {
        "contentUrl": _address(place),
        "contentSize": f"{size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": sha256,
    }


def _records(setting: str) -> dict[str, object]:
    return {
        "@type": "cr:RecordSet",
        "@id": setting,
        "name": setting,
        "description": f"One verdict a test example of every submission in {setting}.",
        "key": [{"@id": f"{setting}/{name}"} for name in _KEY],
        "field": [_field(setting, column) for column in DESCRIBED],
    }


def _field(setting: str, column: Column) -> dict[str, object]:
    null = f" Null: {column.null}." if column.null else ""
    return {
        "@type": "cr:Field",
        "@id": f"{setting}/{column.name}",
        "name": column.name,
        "description": column.meaning + null,
        "dataType": _TYPES[column.kind],
        "source": {
            "fileObject": {"@id": f"{setting}.parquet"},
            "extract": {"column": column.name},
        },
    }
