"""The documents of the programming interface, version 1: what each holds, as strict records.

The JSON Schema files beside the documents are made from these classes. Version 1 only grows: a
field may be added, none is renamed, removed, or changes what it means.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from leaderboard.board.decisions import Decision
from leaderboard.field.literature import Reported
from leaderboard.field.taxonomy import TaxonomyNode
from leaderboard.results.columns import Kind
from leaderboard.results.store import Provenance
from leaderboard.submissions.manifest import Submission


class Record(BaseModel):
    """A frozen part of a document, with exact keys; may be read from an object's attributes."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, from_attributes=True
    )

    @classmethod
    def taken_from(cls, source: object, **others: object) -> Self:
        """The record whose fields are those of `source` by the same names, apart from `others`."""
        same = {name: getattr(source, name) for name in cls.model_fields if name not in others}
        return cls.model_validate({**same, **others})


class Document(Record):
    """One file; `$schema` is the address of its description, relative to the file."""

    described: str = Field(alias="$schema", description="Where this file's JSON Schema is.")


class MetricMeaning(Record):
    """What a number in `metrics` is."""

    name: str
    title: str
    description: str
    better: Literal["higher", "lower"]
    unit: Literal["share", "seconds"] = Field(description="A share is in [0, 1].")


class Listed(Record):
    """A document of the interface, or a family of them."""

    path: str = Field(description="Relative to this file; <…> stands for a name.")
    described: str = Field(description="Its JSON Schema, relative to this file.")
    holds: str


class Counts(Record):
    """How much there is."""

    settings: int
    submissions: int
    results: int
    verdicts: int
    reported: int = Field(description="Published rows.")


class Index(Document):
    """The way in: every document, and what its numbers mean."""

    api: Literal["v1"]
    title: str
    licence: str = Field(description="Of what certboard measured, as an SPDX identifier.")
    newest: str | None = Field(description="When the newest result was made (ISO 8601).")
    counts: Counts
    metrics: tuple[MetricMeaning, ...]
    documents: tuple[Listed, ...]


class SettingBrief(Record):
    """A setting in the list of settings."""

    id: str
    title: str
    dataset: str
    norm: str
    radius: str = Field(description="An exact fraction of the pixel range [0, 1].")
    re_evaluated: int = Field(description="How many models certboard measured here.")
    reported: int = Field(description="How many published rows are about it.")


class Settings(Document):
    """All settings, by dataset, norm and radius."""

    settings: tuple[SettingBrief, ...]


class Bounds(Record):
    """A two-sided confidence interval."""

    low: float
    high: float


Shares = dict[str, float | None]
"""By a metric's name; null where the rows cannot tell."""


class Line(Record):
    """A model that certboard measured, in a setting's table."""

    rank: int | None = Field(description="Among ranked lines of the same tier and kind.")
    submission: str
    title: str
    kind: str = Field(description="deterministic or probabilistic.")
    certified_by: str = Field(description="What proved the certificates, most productive first.")
    metrics: Shares
    certified_interval: Bounds | None = Field(
        description="95 % Clopper-Pearson interval where a subset was evaluated; else null."
    )
    examples: int
    test_set: int = Field(description="Examples in the whole test set.")
    training: str = Field(description="Node of the taxonomy.")
    extra_data: str = Field(description="Data beside the training set; empty for none.")
    measured: str = Field(description="When (ISO 8601).")
    result: str = Field(description="The result's document, relative to this file.")
    disputed: Decision | None = Field(
        description="What maintainers hold against this row, which then has no rank; else null."
    )
    short: str = Field(
        description="Why it has no rank, where it was measured on too few examples; else empty."
    )


class ReportedLine(Record):
    """A number from a paper, which certboard has not checked; shares are in [0, 1]."""

    rank: int | None = Field(description="Among ranked lines of the same tier and kind.")
    title: str
    approach: str
    kind: str
    certified: float | None
    clean: float | None
    attack: float | None
    date: str
    url: str
    extra_data: str
    examples: int | None = Field(description="How many were measured; null where nobody said.")
    architecture: str
    authors: tuple[str, ...]
    year: str
    short: str = Field(
        description="Why it has no rank, where it was measured on too few examples; else empty."
    )


class AllRowsFile(Record):
    """The rows of every submission of a setting in one Parquet file."""

    path: str = Field(description="Relative to the website's root.")
    rows: int
    bytes: int
    sha256: str


class Standings(Document):
    """One setting: its question and its two tables, which are never ranked together."""

    id: str
    title: str
    dataset: str
    norm: str
    radius: str = Field(description="An exact fraction of the pixel range [0, 1].")
    examples: str = Field(description="Which test examples are measured: all, first 500, …")
    seconds: float = Field(description="Budget for one example; processor time on a CPU.")
    complete: bool = Field(description="Whether a complete method may use the budget up.")
    re_evaluated: tuple[Line, ...]
    reported: tuple[ReportedLine, ...]
    disputed: tuple[Line, ...] = Field(
        description="Measured, but taken out of the ranking by maintainers, who say why."
    )
    all_rows: AllRowsFile | None


class SubmissionBrief(Record):
    """A submission in the list of submissions."""

    slug: str
    title: str
    dataset: str
    kind: str
    training: str
    retired: bool = Field(description="Withdrawn, or superseded by another submission.")
    settings: tuple[str, ...] = Field(description="Settings that have a result of it.")


class Submissions(Document):
    """All submissions, by slug."""

    submissions: tuple[SubmissionBrief, ...]


class Place(Record):
    """Where a submission stands in one setting."""

    setting: str
    rank: int | None = Field(description="Among ranked lines of the same tier and kind.")
    of: int = Field(description="How many lines of the same tier and kind have a rank.")
    metrics: Shares
    result: str = Field(description="The result's document, relative to this file.")
    disputed: Decision | None = Field(
        description="What maintainers hold against this row, which then has no rank; else null."
    )


class OtherPlace(Record):
    """A result that is in no table."""

    setting: str
    evaluator: str
    metrics: Shares
    result: str = Field(description="The result's document, relative to this file.")


class SubmissionDetail(Document):
    """One submission as it was handed in, and where it stands."""

    submission: Submission
    bibtex: str
    results: tuple[Place, ...]
    named: tuple[OtherPlace, ...] = Field(description="By evaluators that were named.")
    former: tuple[OtherPlace, ...] = Field(description="Of a model that was replaced.")


class Decided(Record):
    """How many examples one evaluator decided in one way."""

    status: str
    stage: str
    examples: int


class File(Record):
    """A file of rows; its path is relative to the website's root."""

    path: str
    format: Literal["parquet", "csv"]
    rows: int
    bytes: int | None = Field(description="Null for files made from the Parquet.")
    sha256: str | None = Field(description="Null for files made from the Parquet.")


class ResultSummary(Document):
    """One evaluation: counts, metrics, where it comes from, how to run it again, its rows."""

    setting: str
    submission: str
    evaluator: str = Field(description="cascade, or the one that was asked.")
    rank: int | None = Field(description="Among ranked lines of the same tier and kind.")
    unranked: str = Field(description="Why it is in no table; empty where it is in one.")
    disputed: Decision | None = Field(
        description="What maintainers hold against this row, which then has no rank; else null."
    )
    of: int = Field(description="How many lines of the same tier and kind have a rank.")
    short: str = Field(
        description="Why it has no rank, where it was measured on too few examples; else empty."
    )
    kind: str
    examples: int
    test_set: int
    statuses: dict[str, int]
    decided: tuple[Decided, ...]
    metrics: Shares
    certified_interval: Bounds | None
    command: str = Field(description="Measures the rows again.")
    provenance: Provenance
    files: tuple[File, ...]


class Literature(Document):
    """What papers reported, as published: accuracies in percent, none of them checked here."""

    reported: tuple[Reported, ...]


class TaxonomyTree(Document):
    """The nodes of the taxonomy, parents before their children; a node's path names its parent."""

    nodes: tuple[TaxonomyNode, ...]


class EvaluatorEntry(Record):
    """A method that certboard implements."""

    name: str
    title: str
    version: str
    models: str = Field(description="plain or smoothed.")
    proves: bool = Field(description="False for an attack, which only refutes.")
    cascade: int | None = Field(description="Its place in the default cascade, from 1.")
    taxonomy: str | None = Field(description="Node of the taxonomy.")


class Evaluators(Document):
    """All evaluators, by name."""

    evaluators: tuple[EvaluatorEntry, ...]


class ColumnMeaning(Record):
    """A column of the Parquet files."""

    name: str
    kind: Kind = Field(description="A fraction is text that writes a number, such as 8/255.")
    meaning: str
    null: str = Field(description="When the value is null; empty where it never is.")


class Columns(Document):
    """What the columns of the Parquet files mean, in their order."""

    columns: tuple[ColumnMeaning, ...]
