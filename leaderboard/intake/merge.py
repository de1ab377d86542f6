"""`certboard merge`: the finished shards of all shares of a run, joined into its result files.

Every one must be whole, of the question that is asked here and made by the code that is here;
nothing is written where one is not, or where one is missing. They are from other machines: each is
read as a stranger's file, and all that follows from the question and the data must be so in every
row. What remains is what only the model, run again, could tell: the result says so (`UNASKED`)
until `certboard intake accept` has asked it.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from math import prod
from pathlib import Path

from leaderboard.board.noise_salts import require_salt
from leaderboard.common.errors import InputError
from leaderboard.common.formatting import plural
from leaderboard.common.places import alone, check_writable
from leaderboard.common.project import Project
from leaderboard.datasets.catalogue import find_dataset
from leaderboard.evaluation.execution import joined
from leaderboard.evaluation.parts import KEY, folder_of, result_of
from leaderboard.evaluation.plan import Request, counted_in, make_plan
from leaderboard.evaluation.provenance import SHARD, describe
from leaderboard.evaluation.shared_witness import share_witnesses
from leaderboard.evaluation.shares import Share
from leaderboard.intake.acceptance.foreign_file import read_foreign
from leaderboard.intake.acceptance.known import Known, known
from leaderboard.intake.acceptance.origin import of_machine
from leaderboard.intake.acceptance.rows import of_radii, of_rows
from leaderboard.results.store import COLUMNS, Provenance, Results, evaluator_named, write
from leaderboard.settings.setting import Setting, find_setting
from leaderboard.submissions.manifest import load_submission

UNASKED = "what the model says of these rows, which are from other machines: it was not run again"
"""What readers are told of merged shares."""
_LONGEST = 200
"""Letters of the machines that a record names."""


def merge(project: Project, folders: Sequence[Path]) -> list[Results]:
    """Join the finished shards in folders of results into the result files of a project.

    All evaluations of which there are some, or none of them.

    Raises:
        InputError: a folder is not there; something is damaged, missing, or not of one question,
            code and kind of device; every reason, a sentence each.
    """
    absent = (one for one in folders if one != project.results and not one.is_dir())
    problems = [f"There is no folder {one}." for one in absent]
    merged: list[_Merged] = []
    for target, places in _found(project, folders):
        try:
            merged.append(_Merged(project, target, places))
        except InputError as error:
            title = f"{target.stem} · {target.parent.name}"
            problems += [f"{title}: {problem}" for problem in error.problems]
    if not merged and not problems:
        problems.append(f"There are no finished shards in {', '.join(map(str, folders))}.")
    if problems:
        raise InputError(*problems)
    return [one.store() for one in merged]


def _found(project: Project, folders: Sequence[Path]) -> Iterator[tuple[Path, list[Path]]]:
    """Yield each result file with the folders of its finished shards."""
    found = [
        (project.results / one.parents[1].name / result_of(one.parent).name, one)
        for folder in folders
        for one in sorted(folder.glob(f"*/{folder_of(Path('*'))}/*"))
        if KEY.fullmatch(one.name) and one.is_dir()
    ]
    for target, group in groupby(sorted(found), key=lambda one: one[0]):
        yield target, [place for _, place in group]


class _Merged:
    """One evaluation, whose rows are all there."""

    def __init__(self, project: Project, target: Path, places: Sequence[Path]) -> None:
        setting = find_setting(target.parent.name)
        paths = [path for one in places for path in sorted(one.glob("*.parquet"))]
        if not paths:
            raise InputError("there are no finished shards.")
        found = {path: _read(path, setting) for path in paths}
        files = {path: one for path, one in found.items() if one is not None}
        damaged = [
            f"{path}: is damaged, or not of this evaluation" for path in found.keys() - files
        ]
        _refuse(damaged)
        self._told = told = [one.provenance for one in files.values()]
        submission = load_submission(project, target.name.split(".")[0])
        if project.results_folder is None:
            require_salt(project, submission)
        request = _request(target, told[0])
        self._plan = make_plan(project, submission, setting, request)
        self._check_keys(places)
        kept = [*self._plan.finished(damaged.append, places, files.__getitem__)]
        _refuse(damaged)
        self._rows = joined(self._plan.examples, [one.rows for one in kept])
        self._check_complete()
        self._check_rows(known(project, submission, setting, request))

    def _check_keys(self, places: Sequence[Path]) -> None:
        """Refuse shards of several questions, of several versions, or of none that is here."""
        asked, code = self._plan.parts.name.split("-")
        for place in places:
            question, _, made_by = place.name.partition("-")
            if question != asked:
                raise InputError(
                    f"{place}: is of another model, other data, examples, budgets or options than"
                    " the other shares, or than are here; they are not mixed."
                )
            if made_by != code:
                raise InputError(
                    f"{place}: was made by other code or libraries than are here; rows of two"
                    " versions are not mixed. Merge with the version that made it."
                )
        if len(devices := sorted({one.device for one in self._told})) > 1:
            raise InputError(
                f"the shares were computed on {' and on '.join(devices)}: rows of two kinds are not"
                " mixed."
            )

    def _check_complete(self) -> None:
        examples = self._plan.examples
        missing = set(examples).difference(self._rows["example"])
        if not missing:
            return
        typed = {str(one.options[SHARD]) for one in self._told if SHARD in one.options}
        counts = {Share.parse(one).count for one in typed}
        count = counts.pop() if len(counts) == 1 else 1
        shares = [Share(number, count) for number in range(1, count + 1)]
        late = [str(share) for share in shares if missing.intersection(share.of(examples))]
        raise InputError(
            f"{len(missing):,} of {plural(len(examples), 'example')} are missing"
            + (f": run --shard {' and '.join(late)} again, to its end." if count > 1 else ".")
        )

    def _check_rows(self, here: Known) -> None:
        """Refuse rows that do not follow from the question, the data and themselves."""
        problems = [one for told in self._told for one in of_machine(told)]
        found = Results(self._plan.target, self._rows, self._provenance())
        problems = list(dict.fromkeys(problems)) or [*of_rows(found, here)]
        if here.smoothed and not problems:
            problems, _ = of_radii(found)
        if problems:
            raise InputError(*problems)

    def store(self) -> Results:
        """Write the result file."""
        target, provenance = self._plan.target, self._provenance()
        check_writable(target)
        with alone(target):
            rows = share_witnesses(self._plan.question, self._rows)
            write(target, rows, provenance)
            self._plan.clear()
        return Results(target, rows[list(COLUMNS)], provenance)

    def _provenance(self) -> Provenance:
        """What follows from the question, and from the shares what only they know."""
        plan, first = self._plan, self._told[0]
        here = describe(
            plan.question,
            submission=plan.submission,
            setting=plan.setting,
            selection=plan.selection,
            fingerprint=plan.fingerprint,
            workers=str(first.options.get("workers", 1)),
        )
        machines = list(dict.fromkeys(one.machine for one in self._told))
        named = ", ".join(machines)
        if len(named) > _LONGEST:
            named = f"{len(machines)} machines, such as {machines[0]}"[:_LONGEST]
        known = {
            "machine": named,
            "created": max(one.created for one in self._told),
            "unchecked": UNASKED,
        }
        same = ("device", "threads", "commit", "code_version", "python", "salt")
        return here.model_copy(update={name: getattr(first, name) for name in same} | known)


def _refuse(damaged: Iterable[str]) -> None:
    if problems := [f"{one}; remove it, and make it again." for one in sorted(damaged)]:
        raise InputError(*problems)


def _read(path: Path, setting: Setting) -> Results | None:
    """A finished shard, which may have any of the setting's examples; None if it is none."""
    data = find_dataset(setting.dataset)
    try:
        return read_foreign(path, data.test_size, prod(data.shape), fewer=True)
    except InputError:
        return None


def _request(target: Path, told: Provenance) -> Request:
    """How an evaluation was asked for that a finished shard says it is part of."""
    seconds, samples = told.options.get("seconds"), told.options.get("n")
    return Request(
        evaluator=evaluator_named(target),
        examples=counted_in(told.examples),
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        samples=int(samples) if told.distribution and isinstance(samples, int) else None,
        device="cpu" if told.device == "cpu" else "cuda",
    )
