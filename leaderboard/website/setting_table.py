"""The rows of a setting's table: what each shows at once, and what it tells when it is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

from leaderboard.board.board import Board
from leaderboard.board.ranking import Standing, leader
from leaderboard.board.smoothed import sureness
from leaderboard.common import formatting
from leaderboard.field.sources import RELIABILITY
from leaderboard.results.rerun import command
from leaderboard.website.citation import bibtex, bibtex_reported
from leaderboard.website.downloads import download_of
from leaderboard.website.papers import signed
from leaderboard.website.publishing.places import api

if TYPE_CHECKING:
    from leaderboard.field.literature import Reported
    from leaderboard.results.store import Results

Extra = Literal["none", "some", "unknown"]

_EXTRA_TEXTS: dict[Extra, str] = {"none": "none", "some": "yes", "unknown": "not stated"}


@dataclass(frozen=True)
class Take:
    """What a reader takes home of a re-evaluated row: its page and files, from the site's root."""

    page: str
    parquet: str
    csv: str
    json: str


@dataclass(frozen=True)
class Row:
    """One line with everything around it.

    Attributes:
        extra: whether it was trained with more than the training set.
        extra_text: the same in a word.
        parameters: how many numbers the model has, None where it is not known.
        seconds, total: for one example (the median) and for all; None where nothing is known.
        facts: what can be asked, each with its answer.
        command: measures it again; empty for a reported row.
        cite: its BibTeX entry, in lines.
        take: of a reported row None.
        by: who wrote the paper of a reported row, and its year.
    """

    line: Standing
    extra: Extra
    extra_text: str
    parameters: int | None
    seconds: float | None
    total: float | None
    facts: Sequence[tuple[str, str]]
    command: str
    cite: Sequence[str]
    take: Take | None
    by: str = ""


def rows(board: Board, lines: Sequence[Standing]) -> list[Row]:
    """The rows of these lines, in their order."""
    return [
        _measured(board, line, line.result) if line.result else _published(line, line.reported)
        for line in lines
        if line.result or line.reported
    ]


def _measured(board: Board, line: Standing, result: "Results") -> Row:
    origin = result.provenance
    submission = board.submissions[origin.submission]
    told = submission.training.extra_data
    extra: Extra = "none" if told == "none" else "some"
    files = download_of(result, line.title)
    return Row(
        line=line,
        extra=extra,
        extra_text=_EXTRA_TEXTS[extra],
        parameters=origin.parameters,
        seconds=line.measured["median-seconds"],
        total=line.measured["total-seconds"],
        facts=_answers(line, result, told, origin.parameters),
        command=command(result),
        cite=bibtex(submission, board.results_of[origin.submission]).splitlines(),
        take=Take(
            page=f"submissions/{origin.submission}",
            parquet=files.parquet,
            csv=files.csv,
            json=api(f"results/{origin.setting}/{origin.submission}"),
        ),
    )


def _answers(
    line: Standing, result: "Results", extra: str, parameters: int | None
) -> list[tuple[str, str]]:
    origin, tally = result.provenance, result.tally
    left = ", ".join(f"{count:,} after {stage}" for stage, count in tally.stages("unknown"))
    size = "not known" if parameters is None else formatting.count(parameters)
    cost = (
        f"{formatting.seconds(tally.median_seconds)} an example (median), "
        f"{formatting.seconds(tally.total_seconds)} in all, on {origin.device}"
    )
    return [
        *([("Disputed", line.disputed.told)] if line.disputed else []),
        *([("Not ranked", line.short)] if line.short else []),
        ("How certified", line.how or "no example is"),
        ("How sure", how_sure(line, result)),
        ("Left open", left or "nothing"),
        *([] if origin.data_complete else [("Data", f"incomplete: {origin.data_note}")]),
        *([("Not checked", origin.unchecked)] if origin.unchecked else []),
        *([("Model file", origin.model_note)] if origin.model_note else []),
        ("Cost", cost),
        ("Model", f"{size} parameters; extra training data: {extra}"),
        (
            "Measured",
            f"{origin.created[:10]} by {origin.evaluator}, version {origin.evaluator_version};"
            f" certboard {origin.code_version}, commit {origin.commit[:7]}",
        ),
    ]


def how_sure(line: Standing, result: "Results") -> str:
    """How far one row's certified accuracy can be trusted, in two sentences."""
    origin, tally = result.provenance, result.tally
    found = sureness([result])
    if found is not None:
        certificates = (
            f"Sampled, {formatting.count(found.statements)} examples: at most"
            f" {float(found.expected):.3g} wrong certificates are expected."
        )
    else:
        certificates = "Proofs: rounding is bounded, and nothing is left to chance."
    if line.interval is None:
        return f"{certificates} The whole test set of {origin.total:,} was evaluated."
    low, high = formatting.percent(line.interval.low), formatting.percent(line.interval.high)
    return (
        f"{certificates} {tally.examples:,} of {origin.total:,} test examples were evaluated:"
        f" {low} to {high} % of all with 95 % confidence (Clopper-Pearson), if they are like"
        " examples drawn at random."
    )


def _published(line: Standing, row: "Reported | None") -> Row:
    assert row is not None
    told = row.extra_data
    extra: Extra = "unknown" if not told else "none" if told == "none" else "some"
    facts = [
        ("How certified", row.approach or "not recorded here"),
        ("How sure", "A number from a paper. certboard has not checked it."),
        ("Authors", ", ".join(row.authors) or "not recorded here"),
        ("Architecture", row.architecture or "not recorded here"),
        ("Examples", "not stated" if row.examples is None else f"{row.examples:,}"),
        ("Not ranked", line.short),
        ("Protocol", row.protocol or "not recorded here"),
        ("Extra data", told or "not stated"),
        ("Note", row.note),
        ("Collected from", row.source),
        ("Read in", row.read_in),
        ("How it was read", RELIABILITY[row.reliability] if row.reliability else ""),
    ]
    return Row(
        line=line,
        extra=extra,
        extra_text=_EXTRA_TEXTS[extra],
        parameters=None,
        seconds=None,
        total=None,
        facts=[fact for fact in facts if fact[1]],
        command="",
        cite=bibtex_reported(row).splitlines(),
        take=None,
        by=signed(row),
    )


@dataclass(frozen=True)
class Best:
    """The first of each tier among the rows of one description; None where there is none.

    `silent` says that there are papers of the kind, none of which tells that it used no extra data.
    """

    title: str
    query: str
    ours: Standing | None
    paper: Standing | None
    silent: bool = False


def leaders(ours: Sequence[Row], paper: Sequence[Row]) -> list[Best]:
    """Who leads, by kind of certificate and extra data; kinds that nobody has are left out."""
    found = []
    for kind, plain in product(("deterministic", "probabilistic"), (True, False)):
        first_ours, first_paper = (
            leader(
                row.line
                for row in tier
                if row.line.kind == kind and (not plain or row.extra == "none")
            )
            for tier in (ours, paper)
        )
        if first_ours or first_paper:
            title = f"{kind}, without extra data" if plain else kind
            query = f"kind={kind}&extra=none" if plain else f"kind={kind}"
            told = {row.extra for row in paper if row.line.kind == kind}
            silent = plain and "unknown" in told
            found.append(Best(title, query, first_ours, first_paper, silent))
    return found
