"""The pages about data: every file there is, the programming interface, and queries."""

import json
from dataclasses import dataclass
from functools import partial

from leaderboard.board.board import Board
from leaderboard.common.formatting import size
from leaderboard.results.columns import DESCRIBED
from leaderboard.settings.setting import Setting
from leaderboard.website.plan import PagePlan, View, code
from leaderboard.website.publishing import interface, licence, places, shelf
from leaderboard.website.publishing.snippets import SNIPPETS
from leaderboard.website.publishing.stored import StoredFile, stored_files, unranked_files

_LONGEST_TEXT = 90

Stored = dict[str, list[StoredFile]]
"""Files by setting."""


def plans(board: Board) -> list[PagePlan]:
    """The index with all files beside it, a page for each setting, the interface, and queries."""
    stored, others = stored_files(board), unranked_files(board)
    beside = partial(shelf.files, board, stored)
    return [
        PagePlan("data/index", "data", index(board, stored, others), beside=beside),
        *(
            PagePlan(f"data/{name}/index", "data_setting", setting(board, name, stored, others))
            for name in board.settings
        ),
        PagePlan("data/api", "data_api", api(board, stored)),
        PagePlan("data/query", "query", query(board, stored)),
    ]


@dataclass(frozen=True)
class Shelf:
    """What there is of one setting to take home; `size` is all stored files together."""

    setting: Setting
    evaluations: int
    rows: int
    size: str
    reported: int
    all_rows: str
    standings: str
    latex: str
    references: str
    json: str


def index(board: Board, stored: Stored, others: Stored) -> View:
    """All settings and their files, what the columns mean, and how to load them."""
    files = [file for found in (stored, others) for listed in found.values() for file in listed]
    shelves = [_shelf(board, name, listed) for name, listed in stored.items()]
    fullest = _fullest(stored)
    return {
        "shelves": sorted(shelves, key=lambda shelf: not shelf.rows),
        "files": len(files),
        "rows": sum(file.download.rows for file in files),
        "unranked": sum(file.download.rows for listed in others.values() for file in listed),
        "size": size(sum(file.size for file in files)),
        "columns": DESCRIBED,
        "snippets": [
            (name, code(snippet(_address(fullest)).splitlines()))
            for name, snippet in SNIPPETS.items()
            if fullest
        ],
        "places": places,
        "licence": licence,
    }


def _fullest(stored: Stored) -> str:
    """The setting with the most rows, as an example; empty where there are none."""
    rows = {name: sum(file.download.rows for file in listed) for name, listed in stored.items()}
    best = max(rows, key=lambda name: rows[name], default="")
    return best if rows.get(best) else ""


def _address(setting: str) -> str:
    """What a program opens: the whole address where it is known, else the file's name."""
    place = places.all_rows(setting)
    return places.absolute(place) if places.site_url() else place.rpartition("/")[2]


def _shelf(board: Board, name: str, listed: list[StoredFile]) -> Shelf:
    return Shelf(
        setting=board.settings[name],
        evaluations=len(listed),
        rows=sum(file.download.rows for file in listed),
        size=size(sum(file.size for file in listed)),
        reported=len(board.reported(name)),
        all_rows=places.all_rows(name),
        standings=places.standings_csv(name),
        latex=places.latex_table(name),
        references=places.references(name),
        json=places.api(f"settings/{name}"),
    )


def setting(board: Board, name: str, stored: Stored, others: Stored) -> View:
    """Every file of one setting, with its checksum; those in no table come last."""
    return {
        "shelf": _shelf(board, name, stored[name]),
        "files": [
            {
                "download": file.download,
                "size": size(file.size),
                "sha256": file.sha256,
                "json": places.api(f"results/{name}/{file.name}"),
                "why": file.why,
            }
            for file in (*stored[name], *others[name])
        ],
    }


def api(board: Board, stored: Stored) -> View:
    """Every kind of document, with an example taken from the documents themselves."""
    # The file of all rows is made for the example: of the setting where that is least work.
    few = sorted((len(listed), name) for name, listed in stored.items() if listed)
    example = few[0][1] if few else next(iter(board.settings))
    listed = stored[example]
    rows = shelf.all_rows(example, listed)[0] if listed else None
    made = interface.examples(board, example, listed, rows)
    return {
        "kinds": [
            {
                "kind": kind,
                "holds": holds,
                "path": places.api(made[kind][0]),
                "schema": f"{places.API}/{places.schema_of(kind)}",
                "example": code(_example(made[kind][1])),
            }
            for kind, holds in interface.HOLDS.items()
            if kind in made
        ],
        "home": places.site_url(),
        "setting": example,
    }


def _example(document: bytes) -> list[str]:
    """A document in lines, of each list the first entry, long texts cut short."""
    return json.dumps(_short(json.loads(document)), indent=2, ensure_ascii=False).splitlines()


def _short(value: object) -> object:
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        more = [f"… {len(value) - 1:,} more"] if len(value) > 1 else []
        return [_short(inner) for inner in value[:1]] + more
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return f"{value[:_LONGEST_TEXT]}…"
    return value


def query(board: Board, stored: Stored) -> View:
    """Which files there are to ask."""
    shelves = [_shelf(board, name, listed) for name, listed in stored.items() if listed]
    return {"shelves": shelves, "places": places}
