"""Pages of submissions and settings, each made from its part of the board, and kept under its hash.

What a page follows from is not listed but taken away. A submission's is planned from a board that
has nothing but the submission, its results, its lines, and of other submissions those that it
names; a setting's from one that has its table, the submissions in it, and smoothed models of its
norm. All of that part is hashed, with the code, the templates, the data at hand and the addresses
of the site. Of a result the file's SHA-256 stands for all that was counted of it.
"""

import io
import json
import pickle
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from leaderboard.board.board import Board
from leaderboard.board.ranking import Neighbours, Standing
from leaderboard.board.smoothed import same_norm
from leaderboard.field.literature import Reported
from leaderboard.results.kept import digest_of, key_of, shared
from leaderboard.results.store import Provenance, Results
from leaderboard.submissions.manifest import Submission
from leaderboard.website.plan import Files, PagePlan
from leaderboard.website.publishing import places

_LIBRARIES = ("jinja2", "latex2mathml", "markupsafe", "mpmath", "numpy", "pillow", "pydantic")
_COMMON = ("settings", "datasets", "taxonomy")
_CODE = (".py", ".toml", ".csv", ".cff")


@dataclass(frozen=True)
class KeptPage:
    """A page that is planned when it is asked for; kept where `key` is not None."""

    path: str
    key: str | None
    make: Callable[[], PagePlan]

    @cached_property
    def plan(self) -> PagePlan:
        """The page, planned now."""
        return self.make()

    def text(self, render: Callable[[PagePlan], str], templates: str) -> str:
        """What is kept of the page by templates of this digest, else what `render` makes of it."""
        if self.key is None:
            return render(self.plan)
        key = key_of("page", [self.key, templates])
        return shared().made(key, lambda: render(self.plan).encode()).decode()

    def files(self) -> Files:
        """What lies beside the page."""
        if self.key is None:
            return self.plan.files()
        key = key_of("beside", [self.key])
        return _unpacked(shared().made(key, lambda: _packed(self.plan.files())))


def _packed(files: Files) -> bytes:
    found = list(files)
    head = json.dumps([[path, len(content)] for path, content in found]).encode()
    return b"\n".join([head, b"".join(content for _, content in found)])


def _unpacked(packed: bytes) -> Iterator[tuple[str, bytes]]:
    head, _, contents = packed.partition(b"\n")
    start = 0
    for path, length in json.loads(head):
        yield path, contents[start : start + length]
        start += length


class BoardParts:
    """The parts of a board that the pages of submissions and of settings follow from."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._known: _Known = {}
        self._known_days: dict[str, list[Results]] = {}
        self.neighbours = {name: Neighbours(board.re_evaluated(name)) for name in board.settings}
        described = [
            {name: value for name, value in vars(dataset).items() if name != "splits"}
            for dataset in board.datasets.values()
        ]
        addresses = places.site_url(), places.repository_url()
        common = (board.settings, described, board.taxonomy, addresses, _code())
        self.common = _written(common, self._known)

    def alone(self, slug: str) -> Board:
        """The board as far as the page of one submission may know it."""
        board = self.board
        subject, twins = board.submissions[slug], board.twins.get(slug, ())
        results = board.results_of.get(slug, ())
        named = dict.fromkeys((slug, subject.superseded_by, *(twin.other for twin in twins)))
        own = {one.provenance.setting: board.line_of(one) for one in results}
        return replace(
            board,
            submissions={
                name: one for name in named if name and (one := board.submissions.get(name))
            },
            literature=(),
            standings=dict.fromkeys(board.settings, ())
            | {name: self._beside(name, line) for name, line in own.items()},
            results_of={slug: results},
            former={slug: board.former.get(slug, ())},
            named_of={slug: board.named_of.get(slug, ())},
            _lines={(name, slug): line for name, line in own.items()},
            checks={slug: board.checks[slug]} if slug in board.checks else {},
            decisions=tuple(one for one in board.decisions if one.slug == slug),
            disputed={},
            twins={slug: twins},
        )

    def around(self, name: str) -> Board:
        """The part of the board that the page of one setting may know.

        Of results in settings of another dataset or norm, it knows the day alone.
        """
        board, place = self.board, self.board.settings[name]
        family = same_norm(board.settings, name)
        table, disputed = board.standings[name], board.disputed.get(name, ())
        listed = {str(line.slug) for line in (*table, *disputed) if line.slug}
        chosen = sorted(
            slug for slug in board.results_of if slug in listed or self._curve(slug, family)
        )
        return replace(
            board,
            submissions={slug: board.submissions[slug] for slug in chosen},
            literature=tuple(row for row in board.literature if row.dataset == place.dataset),
            standings=dict.fromkeys(board.settings, ()) | {name: table},
            results_of={
                slug: tuple(
                    one if one.provenance.setting in family else day
                    for one, day in zip(board.results_of[slug], self._days(slug), strict=True)
                )
                for slug in chosen
            },
            former={},
            named_of={},
            _lines={
                (other, slug): line
                for slug in chosen
                for other in family
                if (line := board._lines.get((other, slug))) is not None
            },
            checks={},
            decisions=(),
            disputed={name: disputed},
            cells=(),
            twins={},
        )

    def _days(self, slug: str) -> list[Results]:
        """A submission's results, of which nothing is known but the day."""
        if slug not in self._known_days:
            self._known_days[slug] = [*map(_day, self.board.results_of[slug])]
        return self._known_days[slug]

    def _curve(self, slug: str, family: Collection[str]) -> bool:
        """Whether it is a smoothed model of that dataset and norm."""
        results = self.board.results_of[slug]
        return any(one.provenance.setting in family and one.tally.smoothed for one in results)

    def digest(self, part: Board, page: str, data: Mapping[str, str] | None = None) -> str | None:
        """A hash of all that a page follows from; None where that of a result's file is not known.

        `data` has by name the digests of the data on this machine.
        """
        own = {name: value for name, value in vars(part).items() if name not in _COMMON}
        told = (page, own, sorted((data or {}).items()))
        try:
            return digest_of([self.common, _written(told, self._known)])
        except _UnknownError:
            return None

    def _beside(self, setting: str, line: Standing) -> list[Standing]:
        """Its own line, if it is in the table, and whose it is compared with, without numbers."""
        listed = [line] if line.disputed is None and not self._retired(line) else []
        rival = self.neighbours[setting].rival(line)
        return [*listed, *([] if rival is None else [_named(rival)])]

    def _retired(self, line: Standing) -> bool:
        return self.board.submissions[str(line.slug)].retired


def parts_of(board: Board) -> BoardParts:
    """The parts of a board, the same ones each time."""
    own = vars(board)
    if "parts" not in own:
        own["parts"] = BoardParts(board)
    found: BoardParts = own["parts"]
    return found


def _named(line: Standing) -> Standing:
    """A line of which only the place and the name can be read."""
    nothing = dict.fromkeys(("certified", "interval", "clean", "attack", "unknown", "examples"))
    said = dict.fromkeys(("how", "date", "url", "extra_data", "short", "copy_of", "since"), "")
    return replace(line, result=None, measured={}, of=0, **nothing, **said)  # type: ignore[arg-type]


def _day(result: Results) -> Results:
    """Of a result that is on another page, when it was made, as entries of bibliographies tell."""
    origin = result.provenance
    kept = {name: getattr(origin, name) for name in ("setting", "submission", "created")}
    one = Results(result.path, None, Provenance.model_construct(None, **kept))
    one.sha256 = origin.created
    return one


@cache
def _code() -> str:
    """A hash of the code and of the tables beside it."""
    root = Path(__file__).parents[2]
    rooms = (root / "leaderboard", root / "evaluators")
    files = [path for room in rooms for path in sorted(room.rglob("*")) if path.suffix in _CODE]
    told = [f"{path.relative_to(root)}".encode() for path in files]
    libraries = [f"{name} {version(name)}".encode() for name in _LIBRARIES]
    python = sys.version.encode()
    return digest_of([*told, *(path.read_bytes() for path in files), *libraries, python])


_Known = dict[int, tuple[object, str]]
"""By identity, what was written already, which lives as long as its hash is known here."""

_ON_MANY_PAGES = (Standing, Submission, Reported)


def _written(thing: object, known: _Known) -> bytes:
    file = io.BytesIO()
    _Pickler(file, known).dump(thing)
    return file.getvalue()


class _UnknownError(Exception):
    """A result of a file whose hash is not known."""


class _Pickler(pickle.Pickler):
    """Writes what is equal alike: only for hashing, nothing is ever read back."""

    def __init__(self, file: io.BytesIO, known: _Known, own: object = None) -> None:
        super().__init__(file, protocol=5)
        self._known, self._own = known, own
        # Nothing is written as "the same object as before": equal texts need not be one object.
        self.fast = True

    def reducer_override(self, thing: object) -> Any:
        if isinstance(thing, _ON_MANY_PAGES) and thing is not self._own:
            return str, (self._hash(thing),)
        if isinstance(thing, Results):
            if thing.sha256 is None:
                raise _UnknownError
            return str, (f"{thing.path.parent.name}/{thing.path.name}", thing.sha256)
        # The fields alone: not which of them were given, a set, whose order differs from run to
        # run, nor what was worked out from them and is kept beside them.
        if isinstance(thing, BaseModel):
            names, private = type(thing).model_fields, thing.__pydantic_private__
            own = {name: vars(thing)[name] for name in names}
            return str, (type(thing).__qualname__, own, private, thing.__pydantic_extra__)
        if is_dataclass(thing) and not isinstance(thing, type):
            own = {field.name: getattr(thing, field.name) for field in fields(thing)}
            return str, (type(thing).__qualname__, own)
        return NotImplemented

    def _hash(self, thing: object) -> str:
        """What stands for a thing that many pages follow from, so that it is written once."""
        if id(thing) not in self._known:
            file = io.BytesIO()
            _Pickler(file, self._known, thing).dump(thing)
            self._known[id(thing)] = thing, digest_of([file.getvalue()])
        return self._known[id(thing)][1]
