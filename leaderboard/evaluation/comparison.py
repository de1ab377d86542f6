"""`certboard compare`: evaluators × networks × radii on the same examples, a file a cell.

Every cell is an evaluation like those of `certboard run`, planned, resumed and stored by the same
code: `<dataset>-<norm>-<radius>/<network>.<evaluator>.parquet`, with its provenance. The largest
radii, whose search takes time of its own, lie in `max-radius/` beside the verdicts that they begin
with.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import pandas as pd

from leaderboard.common.devices import check_device
from leaderboard.common.errors import BugError, InputError, Problems, problems_of
from leaderboard.common.places import check_writable
from leaderboard.common.progress import RunProgress, tell
from leaderboard.common.project import find_project
from leaderboard.common.text import MODEL_NAME
from leaderboard.datasets.catalogue import load_split
from leaderboard.evaluation.certify_options import CertifyOptions, ModelFiles, question_of
from leaderboard.evaluation.comparison_table import count_cell, read_origins, write_table
from leaderboard.evaluation.evaluator import can_certify, evaluator_entries, evaluator_of
from leaderboard.evaluation.execution import AT_ONCE, Job, begun, compute
from leaderboard.evaluation.plan import ChosenExamples, Plan, plan_of
from leaderboard.evaluation.radius_search import largest_radii
from leaderboard.results.cells import Cell
from leaderboard.results.metrics import proved_radii
from leaderboard.results.store import Provenance, Results, read, write
from leaderboard.settings.question import Question, new_salt
from leaderboard.settings.setting import exact_text, setting_id
from leaderboard.submissions.manifest import load_submission

RADII = "max-radius"
"""The folder of cells whose rows have each example's largest radius."""


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What the command line asks for, as it was typed.

    Attributes:
        models: ONNX files and submissions.
        radii: exact numbers; each model is asked about each.
        evaluators: of the catalogue; empty for all that prove something about a plain network.
        examples: the first so many of the test set.
        seconds: of each example.
        max_radius: whether the largest radius up to the one asked about is sought, too.
        sources: a CSV file that names the origin of networks by `sha256`.
        results: the folder of the cells.
        fresh: whether cells that are there are computed again.
        table: a .parquet or .csv file for the table.
    """

    models: Sequence[str]
    dataset: str
    norm: str
    radii: Sequence[str]
    evaluators: Sequence[str] = ()
    examples: int = 100
    seconds: float = 10.0
    max_radius: bool = False
    sources: Path | None = None
    device: str = "cpu"
    workers: str = "1"
    results: Path = field(default_factory=lambda: Path("comparison"))
    fresh: bool = False
    table: Path | None = None


@dataclass(frozen=True)
class _Asked:
    """A cell to be measured: a question, and the name under which its network was asked for."""

    network: str
    question: Question

    @property
    def setting(self) -> str:
        """The folder of the cell."""
        asked = self.question
        return setting_id(asked.dataset, asked.norm, exact_text(asked.radius))

    @property
    def slug(self) -> str:
        """The network's name and the beginning of its hash, for several may have one name."""
        name = re.sub("[^a-z0-9]+", "-", self.network.removesuffix(".onnx").lower()).strip("-")
        return f"{name}-{self.question.model_sha256[:8]}"

    @property
    def title(self) -> str:
        """For messages."""
        question = self.question
        radius = exact_text(question.radius)
        return f"{self.network} · {question.norm} {radius} · {question.evaluator}"

    def target(self, folder: Path) -> Path:
        """Where the rows lie."""
        return folder / self.setting / f"{self.slug}.{self.question.evaluator}.parquet"


def compare_evaluators(typed: CompareOptions) -> list[Cell]:
    """Answer what was typed, all cells in one queue, and write the table that was asked for.

    What cannot be evaluated is told at the end, and the others are evaluated all the same.

    Raises:
        InputError: a value is not allowed, before any work is done; or of what could not be
            evaluated.
        BugError: one evaluator certified what another has a counterexample for.
    """
    asked, sources = cells_asked(typed)
    split = load_split(typed.dataset)
    examples = list(split.examples[: typed.examples])
    whole = len(examples) == len(split.examples)
    selection = ChosenExamples(examples, f"first {len(examples)} of the test set", whole)
    measured: list[tuple[Cell, Results]] = []
    problems = Problems()
    for first in range(0, len(asked), AT_ONCE):
        some = asked[first : first + AT_ONCE]
        for one, found in _measured(typed, some, selection, problems):
            measured.append((count_cell(found, one.network, one.question, sources), found))
            _check_agreement(measured)
    cells = [cell for cell, _ in measured]
    if typed.table is not None and cells:
        write_table(typed.table, cells)
    if not cells:
        problems.refuse()
    for problem in problems:
        tell(problem)
    return cells


def cells_asked(typed: CompareOptions) -> tuple[list[_Asked], Mapping[str, str]]:
    """Return the cells, those of one network together, and the sources by hash.

    Raises:
        InputError: with every value that is not allowed.
    """
    check_device(typed.device)
    problems = Problems()
    if typed.table is not None and typed.table.suffix not in (".parquet", ".csv"):
        problems.append(f"--table is {typed.table}; its name must end in .parquet or .csv.")
    if typed.table is not None and not typed.table.parent.is_dir():
        problems.append(f"--table: there is no folder {typed.table.parent}.")
    for place in (typed.table, typed.results / "rows.parquet"):
        if place is not None and (place is not typed.table or place.parent.is_dir()):
            problems += problems_of(check_writable, place)
    sources: Mapping[str, str] = {}
    asked: list[_Asked] = []
    salt = new_salt()  # one for all, so that a network is read once
    with problems.gathered():
        sources = read_origins(typed.sources)
    for network, options in _options(typed, problems):
        with problems.gathered():
            question = replace(question_of(options), salt=salt)
            evaluator_of(question)
            if typed.max_radius and not can_certify(question):
                said = f"--max-radius needs a proof, but '{question.evaluator}' only refutes."
                raise InputError(said)
            asked.append(_Asked(network, question))
    Problems(dict.fromkeys(problems)).refuse()
    # Twice the same question would be one file.
    return list({one.target(typed.results): one for one in asked}.values()), sources


def _options(typed: CompareOptions, problems: list[str]) -> Iterator[tuple[str, CertifyOptions]]:
    """Each network's name with a cell as `certboard certify` would be asked about it."""
    plain = [one["name"] for one in evaluator_entries() if one["models"] == "plain"]
    proving = [one["name"] for one in evaluator_entries() if one["proves"]]
    evaluators = typed.evaluators or [name for name in plain if name in proving]
    for model in typed.models:
        try:
            path = model_file(model)
        except InputError as error:
            problems += error.problems
            continue
        for radius in typed.radii:
            for evaluator in evaluators:
                options = CertifyOptions(
                    files=ModelFiles(model=path),
                    dataset=typed.dataset,
                    norm=typed.norm,
                    radius=radius,
                    evaluator=evaluator,
                    seconds=typed.seconds,
                    device=typed.device,
                    workers=typed.workers,
                )
                yield path.name if model.endswith(".onnx") else model, options


def model_file(named: str) -> Path:
    """Return the ONNX file that a path or the name of a submission stands for.

    Raises:
        InputError: there is neither, or the submission is no plain network of one file.
    """
    path = Path(named)
    if path.suffix == ".onnx":
        if not re.fullmatch(MODEL_NAME, path.name):
            raise InputError(f"{named}: its name must have no signs but A-Z a-z 0-9 . _ and -.")
        return path
    submission = load_submission(find_project(), named)
    if submission.smoothing is not None or submission.parts(find_project()).composed:
        raise InputError(f"The submission '{named}' is smoothed; compare takes plain networks.")
    return submission.parts(find_project()).main


def _measured(
    typed: CompareOptions, asked: Sequence[_Asked], selection: ChosenExamples, problems: Problems
) -> list[tuple[_Asked, Results]]:
    """The rows of cells: those that are there if they answer exactly this, else new ones.

    New ones are made in one queue; `problems` takes a sentence for each that cannot be made.
    """
    with ExitStack() as stack:
        plans: dict[_Asked, Plan] = {}
        for one in asked:
            with problems.gathered(f"{one.title}: "):
                plans[one] = _plan(typed, one, selection)
        title = asked[0].title if len(asked) == 1 else f"{len(asked)} evaluations"
        examples = len(selection.examples) * len(asked)
        progress = stack.enter_context(RunProgress(title, examples))
        jobs: dict[_Asked, Job] = {}
        for one, plan in plans.items():
            if plan.stored is not None:
                progress.advance(plan.stored.rows, True)
                plan.clear()
                continue
            with problems.gathered(f"{one.title}: "):
                beginning = begun(plan, typed.workers, typed.fresh, progress.advance)
                jobs[one] = stack.enter_context(beginning)
        compute([*jobs.values()], typed.workers)
        found: list[tuple[_Asked, Results]] = []
        for one, plan in plans.items():
            if plan.stored is None and one not in jobs:
                continue
            with problems.gathered(f"{one.title}: "):
                results = plan.stored or jobs[one].answer()
                if typed.max_radius:
                    results = _with_radii(typed, one, plan, results, progress)
                found.append((one, results))
        return found


def _plan(typed: CompareOptions, one: _Asked, selection: ChosenExamples) -> Plan:
    """How a cell is made."""
    return plan_of(
        one.question,
        selection,
        submission=one.slug,
        setting=one.setting,
        target=one.target(typed.results),
        fresh=typed.fresh,
    )


def _with_radii(
    typed: CompareOptions, one: _Asked, plan: Plan, results: Results, progress: RunProgress
) -> Results:
    """The same rows with each example's largest radius, and the seconds that all of it took."""
    target = one.target(typed.results / RADII)
    if target.exists() and not typed.fresh:
        before = read(target)
        # The rows that it begins with are still the same.
        same = before.provenance == _searched(results)
        if same and _alike(before.rows, results.rows, plan.question.radius):
            return before
    rows = largest_radii(plan.question, results.rows, typed.workers, progress)
    found = Results(target, rows, _searched(results))
    write(target, rows, found.provenance)
    return found


def _alike(searched: pd.DataFrame, rows: pd.DataFrame, radius: Fraction) -> bool:
    """Whether these rows can be the others after a search, which finds radii and counterexamples.

    It certifies nothing more at the radius asked about, and nothing beyond it.
    """
    told = ["example", "label", "prediction"]
    certified = [(one["status"] == "certified").to_numpy(bool) for one in (searched, rows)]
    if not searched[told].equals(rows[told]) or (certified[0] != certified[1]).any():
        return False
    try:
        return all(one is None or one <= radius for one in proved_radii(searched))
    except ValueError:
        return False


def _searched(results: Results) -> Provenance:
    """The provenance of rows with a search on top."""
    options = {**results.provenance.options, "max_radius": True}
    return results.provenance.model_copy(update={"options": options})


def _check_agreement(measured: Sequence[tuple[Cell, Results]]) -> None:
    """Compare the newest cell with the others about the same network and radius.

    Raises:
        BugError: an example is certified by one and falsified by another.
    """
    newest, results = measured[-1]
    rows = results.rows.set_index("example")["status"]
    for cell, other in measured[:-1]:
        same = ("sha256", "dataset", "norm", "radius")
        if any(getattr(cell, name) != getattr(newest, name) for name in same):
            continue
        pair = {"certified", "falsified"}
        others = other.rows.set_index("example")["status"]
        for example in rows.index.intersection(others.index):
            if {rows[example], others[example]} == pair:
                raise BugError(
                    f"{newest.network}, example {example}, {newest.norm} {newest.radius}:"
                    f" '{newest.evaluator}' says {rows[example]}, '{cell.evaluator}' says"
                    f" {others[example]}."
                )
