"""The JSON interface: every document is described, agrees with the board, and only grows."""

import json
import posixpath
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from leaderboard.board.board import Board
from leaderboard.website.publishing import interface, shelf
from leaderboard.website.publishing.interface import DOCUMENTS
from leaderboard.website.publishing.places import API
from leaderboard.website.publishing.stored import StoredFile
from tests.fixtures.board import HOSTILE
from tests.leaderboard.publishing.conftest import Taken

PROMISED = Path(__file__).with_name("api_v1.json")


def kind_of(place: str) -> str:
    """`api/v1/results/a/b.json` → `results/<setting>/<slug>`."""
    name = place.removeprefix(f"{API}/").removesuffix(".json")
    parts = name.split("/")
    [kind] = [
        kind
        for kind in DOCUMENTS
        if kind.split("/")[0] == parts[0] and kind.count("/") == len(parts) - 1
    ]
    return kind


def documents(taken: Taken) -> dict[str, bytes]:
    return {
        place: content
        for place, content in taken.items()
        if place.startswith(f"{API}/") and not place.startswith(f"{API}/schema/")
    }


def described(place: str, taken: Taken) -> Draft202012Validator:
    """The schema that a document names, by whose rules it is judged."""
    named = json.loads(taken[place])["$schema"]
    schema = json.loads(taken[posixpath.normpath(posixpath.join(posixpath.dirname(place), named))])
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_every_document_is_what_its_schema_says(taken: Taken) -> None:
    found = documents(taken)
    assert {kind_of(place) for place in found} == set(DOCUMENTS)
    for place, content in found.items():
        judge = described(place, taken)
        assert [error.message for error in judge.iter_errors(json.loads(content))] == [], place
        assert judge.schema["title"] == DOCUMENTS[kind_of(place)][0].__name__


def test_a_document_with_another_key_or_type_is_refused(taken: Taken) -> None:
    """That the test above can fail."""
    place = f"{API}/settings/mnist-linf-0.1.json"
    table, judge = json.loads(taken[place]), described(place, taken)
    assert judge.is_valid(table)
    less = {key: value for key, value in table.items() if key != "reported"}
    for changed in ({**table, "more": 1}, {**table, "seconds": "many"}, less):
        assert not judge.is_valid(changed)


def test_every_relative_address_leads_to_a_file(taken: Taken) -> None:
    addresses = []

    def walk(value: Any, folder: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "result" and isinstance(inner, str):
                    addresses.append(posixpath.normpath(posixpath.join(folder, inner)))
                if key == "path" and str(inner).startswith("data/"):
                    addresses.append(inner)
                walk(inner, folder)
        elif isinstance(value, list):
            for inner in value:
                walk(inner, folder)

    for place, content in documents(taken).items():
        walk(json.loads(content), posixpath.dirname(place))
    assert len(set(addresses)) > 10
    assert [address for address in addresses if address not in taken] == []


def test_numbers_are_those_of_the_board(example: Board, taken: Taken) -> None:
    for name in example.settings:
        table = json.loads(taken[f"{API}/settings/{name}.json"])
        for line, told in zip(example.re_evaluated(name), table["re_evaluated"], strict=True):
            assert told["rank"] == line.rank
            assert told["metrics"] == dict(line.measured)
        assert [told["certified"] for told in table["reported"]] == [
            line.certified for line in example.reported(name)
        ]


def test_the_counts_of_a_result_add_up_to_its_examples(taken: Taken) -> None:
    results = [place for place in documents(taken) if place.startswith(f"{API}/results/")]
    assert len(results) == 7
    for place in results:
        told = json.loads(taken[place])
        assert sum(told["statuses"].values()) == told["examples"]
        assert sum(one["examples"] for one in told["decided"]) == told["examples"]
        assert told["command"].startswith(f"certboard run {told['submission']} --setting")


def test_a_named_evaluators_rows_are_listed_and_not_ranked(taken: Taken) -> None:
    told = json.loads(taken[f"{API}/submissions/mnist-ibp.json"])
    [named] = told["named"]
    assert named["evaluator"] == "crown"
    assert named["metrics"]["certified"] == 0.6
    result = json.loads(taken[f"{API}/results/mnist-linf-0.1/mnist-ibp.crown.json"])
    assert (result["rank"], result["unranked"]) == (None, "by crown alone")
    assert result["files"][0]["path"] == "data/mnist-linf-0.1/mnist-ibp.crown.parquet"
    table = json.loads(taken[f"{API}/settings/mnist-linf-0.1.json"])
    assert len(table["re_evaluated"]) == 2


def test_foreign_text_comes_back_as_it_was(taken: Taken) -> None:
    told = json.loads(taken[f"{API}/submissions/hostile.json"])
    assert told["submission"]["title"] == HOSTILE


def test_there_is_an_example_of_every_kind_as_it_lies_there(
    example: Board, stored: dict[str, list[StoredFile]], taken: Taken
) -> None:
    name = "mnist-linf-0.1"
    rows, _ = shelf.all_rows(name, stored[name])
    made = interface.examples(example, name, stored[name], rows)
    assert set(made) == set(DOCUMENTS)
    for place, content in made.values():
        assert taken[f"{API}/{place}.json"] == content


def fields() -> dict[str, list[str]]:
    """Every field of every record that a document of version 1 is made of."""
    return {
        f"{kind}: {name}": sorted(described.get("properties", {}))
        for kind, (model, _) in DOCUMENTS.items()
        for name, described in _records(model.model_json_schema(mode="serialization")).items()
    }


def _records(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {schema["title"]: schema, **schema.get("$defs", {})}


def test_version_1_only_grows() -> None:
    """What was promised is still there; a new field is added to the file beside this one."""
    promised, now = json.loads(PROMISED.read_text(encoding="utf-8")), fields()
    gone = {
        f"{record}.{field}"
        for record, names in promised.items()
        for field in names
        if field not in now.get(record, ())
    }
    assert gone == set()
