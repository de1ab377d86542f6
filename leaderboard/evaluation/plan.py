"""One submission in one setting: what is asked, what is there already, what is missing."""

import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Self

import pandas as pd

from leaderboard.board.noise_salts import salt_of
from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import find_dataset, load_split
from leaderboard.datasets.split import Split, present
from leaderboard.evaluation.evaluator import check_samples
from leaderboard.evaluation.evidence import beside
from leaderboard.evaluation.forecast import cut, cut_cheap, cut_open, in_halves
from leaderboard.evaluation.parts import folder_of
from leaderboard.evaluation.resumed import misfit
from leaderboard.evaluation.shard import SPENT, fingerprint
from leaderboard.evaluation.shares import Share
from leaderboard.evaluation.sources import code_digest
from leaderboard.results.store import Results, read, read_provenance, results_path
from leaderboard.settings.question import Open, Question, Shard, new_salt
from leaderboard.settings.setting import Setting, SmoothingProtocol
from leaderboard.submissions.manifest import Submission


@dataclass(frozen=True)
class FinishedShard:
    """A finished shard: its name, the rows that it decided, and what it left open."""

    name: str
    rows: pd.DataFrame
    opened: tuple[Open, ...] = ()

    @property
    def stages(self) -> str:
        """Those that were asked, as in `Shard.stages`."""
        return self.name.partition(".")[2] or "all"

    @classmethod
    def of(cls, name: str, rows: pd.DataFrame) -> Self:
        """Return what the rows of a shard of this name decide."""
        if not name.endswith(".cheap"):
            return cls(name, rows)
        undecided = (rows["status"] == "unknown") & (rows["note"] != SPENT)
        columns = rows.loc[undecided, ["example", "seconds", "margin"]].astype(object)
        opened = columns.where(columns.notna(), None).itertuples(index=False, name=None)
        return cls(name, rows[~undecided], tuple(Open(*one) for one in opened))


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """An evaluation that is to be made.

    Attributes:
        setting: its id, or what stands for it: dataset, norm and radius.
        target: the result file.
        parts: the folder of finished shards, named by all that they depend on, code and libraries
            included.
        selection: in words, which examples.
        whole: whether these are all examples of the setting.
        share: the one of them that is computed here; None for all.
        stored: the result that already answers exactly this question, if it need not be repeated.
    """

    submission: str
    setting: str
    question: Question
    target: Path
    parts: Path
    fingerprint: str
    examples: list[int]
    selection: str
    whole: bool
    share: Share | None
    stored: Results | None

    @property
    def asked(self) -> Sequence[int]:
        """The examples that are computed here."""
        return self.examples if self.share is None else self.share.of(self.examples)

    @property
    def lock(self) -> Path:
        """What is locked while they are."""
        return self.target if self.share is None else self.share.lock(self.target)

    def part(self, shard: Shard) -> Path:
        """Return where a shard's rows are kept until the evaluation is complete."""
        return self.parts / f"{shard.name}.parquet"

    def finished(
        self,
        say: Callable[[str], None] | None = None,
        folders: Sequence[Path] = (),
        reader: Callable[[Path], Results] = read,
    ) -> Iterator[FinishedShard]:
        """Yield the shards that are there, whole, and of this evaluation; no row twice.

        Where evidence is wanted, a shard is whole with its evidence only. What is not is told to
        `say`. They are looked for in `folders`, else where this evaluation writes its own. Who
        reads them by another `reader` judges their rows.
        """
        taken, opened = set[int](), set[int]()
        paths = [one for each in folders or [self.parts] for one in each.glob("*.parquet")]
        for path in sorted(paths, key=lambda path: path.name):
            rows = self._rows_of(path, reader)
            if rows is None:
                if say is not None:
                    say(f"{path}: is damaged, or not of this evaluation")
                continue
            kept = FinishedShard.of(path.stem, rows)
            others = taken if kept.stages == "complete" else taken | opened
            if others.isdisjoint(rows["example"]):
                taken.update(kept.rows["example"])
                opened.update(one.example for one in kept.opened)
                yield kept

    def _rows_of(self, path: Path, reader: Callable[[Path], Results]) -> pd.DataFrame | None:
        if self.question.evidence is not None and not beside(path).exists():
            return None
        try:
            part = reader(path)
        except InputError:
            return None
        same = part.provenance.fingerprint == self.fingerprint
        if not (same and named_by(path, self.examples, part.rows)):
            return None
        place = (self.submission, self.setting)
        strange = reader is read and misfit(part.rows, self.question, place)
        return None if strange else part.rows

    def missing(self, done: Collection[int] = (), opened: Iterable[Open] = ()) -> list[Shard]:
        """List the shards still to be computed, in order.

        Args:
            done: examples that have their rows.
            opened: those that cheap methods have left open.
        """
        asked = set(self.asked)
        left = [one for one in opened if one.example in asked and one.example not in done]
        known = {*done, *(one.example for one in left)}
        waiting = [example for example in self.asked if example not in known]
        make = cut_cheap if in_halves(self.question, waiting) else cut
        stretches = groupby(self.asked, key=lambda example: example in known)
        return [
            shard
            for there, examples in stretches
            if not there
            for shard in make(self.question, [*examples])
        ] + cut_open(self.question, sorted(left, key=lambda one: one.example))

    def of_other_code(self) -> int:
        """Count the finished shards of this very evaluation that other code or libraries made."""
        alike = self.parts.parent.glob(f"{self.parts.name.partition('-')[0]}-*/*.parquet")
        return sum(path.parent != self.parts for path in alike)

    def waiting(self, fresh: bool) -> list[int]:
        """List the examples that have no rows yet; all where it begins afresh."""
        done = set() if fresh else {e for kept in self.finished() for e in kept.rows["example"]}
        return [example for example in self.asked if example not in done]

    def forget(self) -> None:
        """Remove the finished shards of this evaluation."""
        # Renamed first: shards beside a complete result mean that `--fresh` was interrupted.
        removed = self.parts.with_suffix(".removed")
        with suppress(OSError):
            self.parts.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)

    def clear(self) -> None:
        """Remove all that the result file replaces, and what killed runs left half-written."""
        self.forget()
        # Not after a run on a few examples: an evaluation of all may be under way.
        if self.whole:
            shutil.rmtree(self.parts.parent, ignore_errors=True)
        with suppress(OSError):
            self.parts.parent.rmdir()
        for stale in self.target.parent.glob(f".{self.target.name}.*.tmp"):
            stale.unlink(missing_ok=True)


def named_by(part: Path, examples: list[int], rows: pd.DataFrame) -> bool:
    """Say whether rows are those that a finished shard's name says.

    All between the first and the last one, but some where only complete methods were asked.
    """
    found = re.fullmatch(r"([0-9]{8})-([0-9]{8})([.]cheap|[.]complete)?[.]parquet", part.name)
    if not found:
        return False
    first, last = int(found[1]), int(found[2])
    span = [example for example in examples if first <= example <= last]
    there = rows["example"].tolist()
    if found[3] != ".complete":
        return bool(span) and there == span
    ends = there[:1] + there[-1:]
    return ends == [first, last] and there == [one for one in span if one in set(there)]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line may ask of an evaluation besides submission and setting."""

    evaluator: str | None = None
    examples: int | None = None
    seconds: float | None = None
    device: str = "cpu"
    fresh: bool = False
    samples: int | None = None
    """Of a smoothed model, at most; None for the setting's number."""
    evidence: bool = False
    """Whether a plain network's evidence is kept, too."""
    share: Share | None = None
    """That this machine computes; None for all of it."""
    salt: str = field(default_factory=new_salt)
    """Of every question asked for it, so that a model is read once for all of its settings."""


def make_plan(project: Project, submission: Submission, setting: Setting, request: Request) -> Plan:
    """Work out what is to be computed.

    The setting's examples are chosen by official index; those that the data here lack are left
    out, and count neither way.

    Raises:
        InputError: the model, the data or the request cannot be used.
    """
    question = make_question(project, submission, setting, request)
    if request.samples is not None:
        check_samples(question)
    split = load_split(setting.dataset)
    examples, selection, whole = chosen(submission, setting, request, split)
    return plan_of(
        question,
        ChosenExamples(examples, selection, whole),
        submission=submission.slug,
        setting=setting.id,
        target=results_path(project, setting.id, submission.slug, request.evaluator),
        fresh=request.fresh,
        evidence=request.evidence,
        share=request.share,
    )


@dataclass(frozen=True)
class ChosenExamples:
    """The examples that are asked about, which they are in words, and whether that is all."""

    examples: list[int]
    words: str
    whole: bool


def plan_of(
    question: Question,
    selection: ChosenExamples,
    *,
    submission: str,
    setting: str,
    target: Path,
    fresh: bool = False,
    evidence: bool = False,
    share: Share | None = None,
) -> Plan:
    """Work out what is missing of the answer to a question that is to lie in `target`.

    Raises:
        InputError: the data are not here, or what lies there has more examples than are asked for.
    """
    examples = selection.examples
    digest = fingerprint(question, examples, load_split(question.dataset).sha256)
    question = replace(question, code=code_digest(question))
    parts = folder_of(target) / f"{digest[:16]}-{question.code[:16]}"
    if evidence and question.sigma is None:
        question = replace(question, evidence=parts)
    if not fresh:
        question = replace(question, salt=_salt_of(parts) or question.salt)
    before = None if fresh or not target.exists() else _stored(target)
    if before is not None and before.provenance.fingerprint != digest:
        _refuse_fewer(before, question, len(examples))
        before = None
    elif before is not None:
        _check_stored(before, question, examples, (submission, setting))
    return Plan(
        submission=submission,
        setting=setting,
        question=question,
        target=target,
        parts=parts,
        fingerprint=digest,
        examples=examples,
        selection=selection.words,
        whole=selection.whole,
        share=share,
        stored=None if parts.exists() else before,
    )


def chosen(
    submission: Submission, setting: Setting, request: Request, split: Split | None
) -> tuple[list[int], str, bool]:
    """Choose the examples; say in words which they are, and whether they are all of the setting's.

    `split` None stands for a whole one that is not at hand.
    """
    wanted = setting.selection(submission.smoothing is not None)
    total = find_dataset(setting.dataset).test_size
    examples = wanted.indices(total)
    examples = examples if split is None else present(examples, split)
    if request.examples is None or request.examples >= len(examples):
        return examples, wanted.label, True
    count = request.examples
    return examples[:count], f"first {count} of {wanted.label}", False


def counted_in(words: str) -> int | None:
    """How many examples a selection in words has, if they are fewer than the setting's."""
    told = re.match(r"first ([0-9]+) of ", words)
    return int(told[1]) if told else None


def _salt_of(parts: Path) -> str | None:
    """The salt of the shards that are there already: an evaluation has one."""
    for path in sorted(parts.glob("*.parquet")):
        with suppress(InputError):
            return read_provenance(path).salt
    return None


def _stored(target: Path) -> Results:
    try:
        return read(target)
    except InputError as error:
        raise InputError(*error.problems, "To measure it again, add --fresh.") from error


def _check_stored(
    before: Results, question: Question, examples: Sequence[int], place: tuple[str, str]
) -> None:
    """Refuse rows that say they are the answer, and cannot be."""
    reason = misfit(before.rows, question, place)
    if not reason and before.rows["example"].tolist() != list(examples):
        reason = "its examples are others"
    if reason:
        raise InputError(f"{before.path}: {reason}.", "To measure it again, add --fresh.")


def _refuse_fewer(before: Results, question: Question, count: int) -> None:
    """A quick look at a few examples must not replace hours of work on all of them."""
    if before.provenance.model_sha256 == question.model_sha256 and len(before.rows) > count:
        raise InputError(
            f"{before.path}: has {len(before.rows):,} examples, and this run on {count:,} would"
            " replace them. To do that, add --fresh; to only look, use `certboard certify`."
        )


def make_question(
    project: Project, submission: Submission, setting: Setting, request: Request
) -> Question:
    """Return what is asked about a submission in a setting.

    Raises:
        InputError: its model cannot be had, its salt is damaged, or it does not compete there.
    """
    parts = submission.parts(project)
    smoothing, protocol = submission.smoothing, setting.smoothing
    if smoothing is not None and protocol is None:
        raise InputError(
            f"Smoothed models such as '{submission.slug}' are not part of {setting.id}."
        )
    return Question(
        dataset=setting.dataset,
        norm=setting.norm,
        radius=setting.radius,
        seconds=request.seconds or setting.seconds,
        evaluator=request.evaluator,
        complete=setting.complete,
        options=_options(protocol, request),
        distribution=smoothing.distribution if smoothing else None,
        sigma=smoothing.scale if smoothing else None,
        model=parts.main,
        model_sha256=parts.sha256,
        device=request.device,
        parts=parts.several,
        rule=parts.rule,
        salt=request.salt,
        noise_salt=salt_of(project, submission),
    )


def _options(
    protocol: SmoothingProtocol | None, request: Request
) -> tuple[tuple[str, int | float | str], ...]:
    """What a smoothed model's evaluator is told."""
    if protocol is None:
        return ()
    told = protocol.options
    if request.samples is not None:
        told["n"] = min(protocol.n, request.samples)
    return tuple(sorted(told.items()))
