"""The page of one submission: results, claims, examples, how to cite, rerun and announce them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from leaderboard.board.board import Board
from leaderboard.board.flags import flags_of
from leaderboard.board.ranking import Neighbours, Standing
from leaderboard.common.formatting import DASH, rounded_down, seconds
from leaderboard.results.claims import judge
from leaderboard.results.highlights import MOST, Shown
from leaderboard.results.rerun import from_nothing
from leaderboard.submissions.manifest import Submission
from leaderboard.website.badge import badge, badge_text
from leaderboard.website.citation import bibtex
from leaderboard.website.downloads import download_of
from leaderboard.website.example_pictures import Gallery, Picture, class_name
from leaderboard.website.pages import smoothing
from leaderboard.website.pages.settings import incomplete
from leaderboard.website.plan import Files, PagePlan, View, code, drawn
from leaderboard.website.publishing import places

if TYPE_CHECKING:
    from leaderboard.results.store import Provenance, Results

_MANY = re.compile(
    r"without (\d+(?: to \d+)?(?:, | and )){5,}[\d,]+(?: others)?(?: \(SHA-256 \w+\))?"
)
"""A list of images that nobody reads in a sentence."""


@dataclass(frozen=True)
class Example:
    """One example on a page: its number in the test set, its pictures, a few lines about it."""

    number: int
    pictures: tuple[Picture, ...]
    told: tuple[str, ...]


@dataclass(frozen=True)
class ExampleGroup:
    """Some examples under a heading, and how they were chosen."""

    title: str
    measure: str
    examples: tuple[Example, ...]


class SubmissionPages:
    """What the pages of all submissions share, worked out once."""

    def __init__(self, board: Board, gallery: Gallery | None = None) -> None:
        self.board, self.gallery = board, gallery or Gallery(board.datasets)
        self.lines = {name: Neighbours(board.re_evaluated(name)) for name in board.settings}

    def plan(self, slug: str) -> PagePlan:
        """The page of one submission, with pictures and badges beside it."""
        board, subject = self.board, self.board.submissions[slug]
        results = list(board.results_of.get(slug, ()))
        examples = [self._examples(result) for result in results]
        view: View = {
            "submission": subject,
            "description": in_short(subject.training.description),
            "flags": flags_of(board, slug),
            "node": board.taxonomy.nodes.get(subject.training.node),
            "entries": [
                self._entry(subject, result, shown)
                for result, shown in zip(results, examples, strict=True)
            ],
            "notes": incomplete(board, results),
            "how_sure": smoothing.how_sure(results),
            "bibtex": code(bibtex(subject, results).splitlines()),
            "host": urlsplit(subject.model.url or "").hostname,
            "site": places.site_url(),
            "repository": places.repository_url(),
            "history": history(board, slug),
            "alone": bool(board.named_of.get(slug)),
            "successor": board.submissions.get(subject.superseded_by or ""),
            "most": MOST,
        }
        pictures = [
            p for groups in examples for g in groups for e in g.examples for p in e.pictures
        ]
        beside = partial(_files, board, results, pictures)
        charts = drawn(board, "submission", slug)
        return PagePlan(f"submissions/{slug}", "submission", view, charts, beside)

    def _entry(self, subject: Submission, result: "Results", examples: list[ExampleGroup]) -> View:
        board, origin = self.board, result.provenance
        place, line = board.settings[origin.setting], board.line_of(result)
        claim = next((claim for claim in subject.claims if claim.setting == place.id), None)
        return {
            "setting": place,
            "line": line,
            "of": line.of,
            "rows": result.tally.examples,
            "claims": judge(claim, result.tally, place.radius, origin.total) if claim else [],
            "median_seconds": line.measured["median-seconds"],
            "total_seconds": line.measured["total-seconds"],
            "download": download_of(result, subject.title),
            "provenance": provenance(result),
            "commands": code(
                from_nothing(
                    result,
                    places.repository_url(),
                    place.dataset if board.datasets[place.dataset].downloads else "",
                ).splitlines()
            ),
            "commit": _commit(origin),
            # Whom one would compare it with: the leader, or the second where it leads itself.
            "rival": self.lines[place.id].rival(line),
            "badge": {
                "path": badge_path(result),
                "text": badge_text(place, line, result, gone_word(subject, line)),
            },
            "examples": examples,
            "no_originals": self.gallery.missing(place.dataset),
        }

    def _examples(self, result: "Results") -> list[ExampleGroup]:
        origin = result.provenance
        place = self.board.settings[origin.setting]
        classes = self.board.datasets[place.dataset].classes
        return [
            ExampleGroup(
                group.title,
                group.measure,
                tuple(
                    Example(
                        shown.example,
                        self.gallery.pictures(origin, place.dataset, shown),
                        _about(shown, classes),
                    )
                    for shown in group.examples
                ),
            )
            for group in result.highlights.groups
        ]


def in_short(description: str) -> str:
    """A description of the training data without a list of numbers that nobody reads."""
    return _MANY.sub("without those that its submission.toml lists", description)


def _about(shown: Shown, classes: Sequence[str]) -> tuple[str, ...]:
    """What one row says, a few words a line."""
    lines = [f"label {class_name(classes, shown.label)}"]
    if shown.prediction is None:
        lines.append("abstained")
    elif shown.misread:
        lines.append(f"read as {class_name(classes, shown.prediction)} as it is")
    elif shown.margin is not None and shown.status != "falsified":
        lines.append(f"margin ≥ {rounded_down(shown.margin)}".replace("-", "−"))
    elif shown.radius is not None and shown.margin is None:
        lines.append(f"radius {shown.radius}")
    by = f" by {shown.stage}" if shown.status != "unknown" and not shown.misread else ""
    lines.append(f"{shown.status}{by}")
    return (*lines, seconds(shown.seconds))


def _files(board: Board, results: "list[Results]", pictures: list[Picture]) -> Files:
    for picture in pictures:
        yield picture.path, picture.make()
    for result in results:
        setting = board.settings[result.provenance.setting]
        line = board.line_of(result)
        gone = gone_word(board.submissions[result.provenance.submission], line)
        yield badge_path(result), badge(setting, line, result, gone).encode()


def gone_word(subject: Submission, line: Standing) -> str:
    """Why a submission's line has left its table, in a word; empty if it is there."""
    if line.disputed is not None:
        return "disputed"
    if subject.withdrawn is not None:
        return "withdrawn"
    return "superseded" if subject.retired else ""


def badge_path(result: "Results") -> str:
    """Where a result's badge lies; the address stays whatever is measured later."""
    origin = result.provenance
    return f"submissions/{origin.submission}/{origin.setting}.svg"


def _commit(origin: "Provenance") -> str:
    """The commit of the code that made the rows, if it is one that can be checked out."""
    commit = origin.commit
    return commit if len(commit) >= 7 and all(sign in "0123456789abcdef" for sign in commit) else ""


ALONE = "alone, not ranked"
"""What is said of rows of one evaluator that was named instead of the settings' cascade."""


def history(board: Board, slug: str) -> list[View]:
    """Every stored evaluation of a submission, newest first; those not ranked among them."""
    found = [(result, "") for result in board.results_of.get(slug, ())]
    found += [(result, ALONE) for result in board.named_of.get(slug, ())]
    found += [(result, "of an earlier model, not counted") for result in board.former.get(slug, ())]
    lines = [
        {
            "date": result.provenance.created[:10],
            "setting": board.settings[result.provenance.setting],
            "note": note,
            "evaluator": result.provenance.evaluator,
            "version": result.provenance.evaluator_version,
            "model": result.provenance.model_sha256[:12],
            "code": f"{result.provenance.code_version} at {result.provenance.commit[:12]}",
            "examples": result.tally.examples,
            "certified": result.tally.certified(board.settings[result.provenance.setting].radius)
            / result.tally.examples,
        }
        for result, note in found
    ]
    return sorted(lines, key=lambda line: str(line["date"]), reverse=True)


def provenance(result: "Results") -> list[tuple[str, str]]:
    """Everything recorded about how the rows came to be, in the order it was recorded."""
    fields = result.provenance.model_dump(mode="json")
    smoothed = result.tally.smoothed
    confidence = f"{result.tally.least_confidence:.6g} per example"
    shown = [(name.replace("_", " "), _told(value)) for name, value in fields.items()]
    return [*shown, ("confidence", confidence)] if smoothed else shown


def _told(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} = {inner}" for key, inner in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return DASH if value in (None, "") else str(value)
