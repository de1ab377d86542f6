"""The Croissant description has what version 1.0 requires, and tells the truth of every file."""

import hashlib
import json
import posixpath
from typing import Any

import pandas as pd
import pytest

from leaderboard.board.board import Board
from leaderboard.results.columns import DESCRIBED
from leaderboard.website.publishing import places
from leaderboard.website.publishing.croissant import croissant
from leaderboard.website.publishing.stored import StoredFile
from tests.leaderboard.publishing.conftest import Taken

REQUIRED = {
    "sc:Dataset": {"@context", "conformsTo", "description", "license", "name", "url", "creator"}
    | {"datePublished"},
    "cr:FileObject": {"@id", "name", "contentUrl", "encodingFormat", "sha256", "contentSize"},
    "cr:RecordSet": {"@id", "name", "field", "key"},
    "cr:Field": {"@id", "name", "dataType", "source", "description"},
}


@pytest.fixture(scope="module")
def described(taken: Taken) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(taken[places.CROISSANT])
    return found


def nodes(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [node for inner in value for node in nodes(inner)]
    if not isinstance(value, dict):
        return []
    return [
        value,
        *(node for key, inner in value.items() if key[0] != "@" for node in nodes(inner)),
    ]


def test_what_the_specification_requires_is_there(described: dict[str, Any]) -> None:
    typed = [node for node in nodes(described) if node.get("@type") in REQUIRED]
    assert {node["@type"] for node in typed} == set(REQUIRED)
    for node in typed:
        assert REQUIRED[node["@type"]] <= set(node)
    assert described["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    names = [node["@id"] for node in typed if "@id" in node]
    assert len(names) == len(set(names))


def test_files_are_where_they_are_said_to_be_with_their_size_and_checksum(
    described: dict[str, Any], taken: Taken
) -> None:
    listed = described["distribution"]
    assert len(listed) == sum(place.endswith(".parquet") for place in taken)
    for file in listed:
        content = taken[posixpath.join("data", file["contentUrl"])]
        assert file["contentSize"] == f"{len(content)} B"
        assert file["sha256"] == hashlib.sha256(content).hexdigest()


def test_records_are_the_columns_of_a_file_that_is_listed(described: dict[str, Any]) -> None:
    files = {file["@id"] for file in described["distribution"]}
    assert described["recordSet"]
    for records in described["recordSet"]:
        columns = [field["source"]["extract"]["column"] for field in records["field"]]
        assert columns == [column.name for column in DESCRIBED]
        assert {field["source"]["fileObject"]["@id"] for field in records["field"]} <= files
        known = {field["@id"] for field in records["field"]}
        assert {key["@id"] for key in records["key"]} <= known


def test_the_key_names_a_row(taken: Taken) -> None:
    import io

    rows = pd.read_parquet(io.BytesIO(taken[places.all_rows("mnist-linf-0.1")]))
    assert not rows.duplicated(["submission", "setting", "example"]).any()


def test_addresses_are_whole_where_the_site_is_known(
    example: Board, stored: dict[str, list[StoredFile]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_URL", "https://board.example/")
    found = json.loads(
        croissant(example, [file for listed in stored.values() for file in listed], {})
    )
    assert found["url"] == "https://board.example/data/"
    assert {file["contentUrl"].split("/data/")[0] for file in found["distribution"]} == {
        "https://board.example"
    }
