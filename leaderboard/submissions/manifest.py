"""Submissions: what `submissions/<slug>/submission.toml` says about a model, strictly read.

A submission is data that others wrote. Nothing in it is executed, and what is wrong with it is
told all at once, a sentence each.
"""

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from leaderboard.common.errors import InputError, nearest
from leaderboard.common.project import Project
from leaderboard.common.rules import RuledError, told
from leaderboard.common.strict_toml import Entries, Strict, parse, read_toml
from leaderboard.common.text import Account, Arxiv, Date, OneLine, Paragraph, Url
from leaderboard.field.taxonomy import load_taxonomy
from leaderboard.settings.question import Part, Role
from leaderboard.settings.setting import ExactText, Setting, exact_fraction, load_settings
from leaderboard.submissions.folder import (
    MANIFEST,
    confusable,
    examples_left,
    find_folder,
    folder_problems,
    slugs,
    spare_files,
)
from leaderboard.submissions.identity import ModelParts
from leaderboard.submissions.licences import Licence
from leaderboard.submissions.models import (
    MOST_MEMBERS,
    EnsembleTable,
    Model,
    ModelFile,
    path_of,
    problems_of_files,
)
from leaderboard.submissions.noises import NOISES
from leaderboard.submissions.placeholders import placeholders_in
from leaderboard.submissions.published import Adapter, Published, adapted, adapted_path, is_adapted
from leaderboard.submissions.weights import at_hand


def _known_noise(name: str) -> str:
    if name not in NOISES:
        raise ValueError(f"must be one of {', '.join(NOISES)}.{nearest(name, NOISES)}")
    return name


def _known_setting(id: str) -> str:
    if id not in load_settings():
        raise ValueError(f"there is no such setting.{nearest(id, load_settings())}")
    return id


def _training_node(path: str) -> str:
    nodes = [node for node in load_taxonomy().nodes if node.startswith("training/")]
    if path not in nodes:
        raise ValueError(f"must be one of {', '.join(nodes)}.{nearest(path, nodes)}")
    return path


class Paper(Strict):
    """Where the model was published; `authors` where they are others than the model's."""

    title: OneLine
    authors: Entries[OneLine] = Field(default=(), max_length=100)
    url: Url | None = None
    arxiv: Arxiv = ""
    venue: OneLine = ""
    date: Date = ""

    @property
    def link(self) -> str:
        """The paper's address: its URL, else its arXiv page, else empty."""
        return self.url or (f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else "")


_NOTHING = ("", "no", "none", "nothing", "nil", "null", "false", "n/a", "na", "0", "no extra data")


def _none_or_told(text: str) -> str:
    """Of a model without other data exactly `none`, which is what readers choose it by."""
    if text != "none" and text.casefold().strip(" .!-\u2013\u2014") in _NOTHING:
        raise ValueError(
            "must be 'none' if no data beyond the training set were used, else say which"
        )
    return text


class Training(Strict):
    """How the model was trained: a leaf of the taxonomy, and data beside the training set.

    What was used beside it has no default: nobody has said `none` who says nothing.
    """

    node: Annotated[str, AfterValidator(_training_node)]
    description: Paragraph = ""
    extra_data: Annotated[OneLine, AfterValidator(_none_or_told)]


LARGEST_SCALE = 20
"""Of noise, in units of the pixel range; published models stay below 5."""


def _in_pixels(sigma: str) -> str:
    if exact_fraction(sigma) > LARGEST_SCALE:
        problem = f"must be at most {LARGEST_SCALE}, in units of the pixel range [0, 1]"
        raise RuledError("smoothing-scale", f"{problem}: divide by 255?")
    return sigma


class Smoothing(Strict):
    """The noise of a smoothed model; `sigma` is its scale as written."""

    distribution: Annotated[str, AfterValidator(_known_noise)]
    sigma: Annotated[ExactText, AfterValidator(_in_pixels)]

    @property
    def scale(self) -> Fraction:
        """σ of Gaussian noise, the exact scale of the others, in units of the pixel range."""
        return exact_fraction(self.sigma)


class Claim(Strict):
    """What was published for a setting, in percent; None where it was not given.

    `note` says what it was published of: by which method, on which examples.
    """

    setting: Annotated[str, AfterValidator(_known_setting)]
    clean: float | None = Field(default=None, ge=0, le=100)
    certified: float | None = Field(default=None, ge=0, le=100)
    note: OneLine = ""

    @model_validator(mode="after")
    def _in_percent_and_order(self) -> Self:
        if self.clean is None and self.certified is None:
            raise RuledError("toml-key", "must have one of the keys clean and certified")
        if self.clean is not None and 0 < self.clean <= 1:
            problem = f"has a clean accuracy of {self.clean}: write percent, such as 98.0"
            raise RuledError("claim-unit", problem)
        if self.clean is not None and (self.certified or 0) > self.clean:
            above = f"above the clean one of {self.clean}"
            problem = f"has a certified accuracy of {self.certified} {above}"
            raise RuledError("claim-order", problem)
        return self


class Submission(Strict):
    """One submitted model; `smoothing` is None for a network that is not smoothed.

    The base classifier of a smoothed one may be an ensemble, of the model and further `members`,
    and may have a denoiser before it. One that is `published` is a network of others, named by its
    authors' own file, before which an `adapter` may be put. One that its authors took back is
    `withdrawn`, with the reason; one that they replaced is `superseded_by` another submission.
    `owners` are the accounts that may change it (see `ownership`); without any, only maintainers
    may.
    """

    slug: str
    title: OneLine
    authors: Entries[OneLine] = Field(min_length=1, max_length=100)
    owners: Entries[Account] = Field(default=(), max_length=20)
    licence: Licence
    code: Url | None = None
    paper: Paper | None = None
    model: Model
    training: Training
    smoothing: Smoothing | None = None
    members: Entries[ModelFile] = Field(default=(), alias="member", max_length=MOST_MEMBERS)
    ensemble: EnsembleTable | None = None
    denoiser: ModelFile | None = None
    published: Published | None = None
    adapter: Adapter | None = None
    claims: Entries[Claim] = Field(default=(), alias="claim")
    withdrawn: OneLine | None = None
    superseded_by: str | None = None

    @property
    def retired(self) -> bool:
        """Whether it has left the tables; its page and its rows stay."""
        return self.withdrawn is not None or self.superseded_by is not None

    @property
    def composed(self) -> bool:
        """Whether the base classifier is made of several files."""
        return bool(self.members) or self.denoiser is not None

    @property
    def files(self) -> set[str]:
        """The networks that lie in the folder."""
        parts = (self.model, *self.members, *([self.denoiser] if self.denoiser else []))
        return {part.file for part in parts if part.file}

    @property
    def model_hash(self) -> str:
        """The hash that rows of the present model carry, whether its files are here or not."""
        return self._made_of(lambda _: Path()).sha256

    @property
    def at_hand(self) -> bool:
        """Whether nothing must be downloaded to read the model."""
        if self.adapter is not None and is_adapted(*self._adapting(self.adapter)):
            return True
        named = [file for _, file in self._parts() if file.url is not None]
        return all(at_hand(file.sha256, file.size or 0) is not None for file in named)

    def parts(self, project: Project) -> ModelParts:
        """Find the base classifier's files; download those that have an address into the cache.

        Raises:
            InputError: one cannot be downloaded, or its content is not the announced one.
        """
        return self._made_of(lambda file: self._path_of(project, file))

    def _path_of(self, project: Project, file: ModelFile) -> Path:
        if self.adapter is None:
            return path_of(project, self.slug, file)
        made = self._adapting(self.adapter)
        if is_adapted(*made):
            return adapted_path(*made)
        return adapted(path_of(project, self.slug, file), *made)

    def _adapting(self, adapter: Adapter) -> tuple[Adapter, str, str]:
        """What the file with an adapter is made from: the authors' file and the images."""
        return adapter, self.model.sha256, self.model.dataset

    def _made_of(self, path: Callable[[ModelFile], Path]) -> ModelParts:
        # What stands before a published network is part of what is measured.
        own = self.adapter.sha256 if self.adapter else None
        files = tuple(Part(role, path(file), own or file.sha256) for role, file in self._parts())
        return ModelParts(files, self.ensemble.rule if self.ensemble else "")

    def _parts(self) -> Iterator[tuple[Role, ModelFile]]:
        if self.denoiser is not None:
            yield "denoiser", self.denoiser
        for member in (self.model, *self.members):
            yield "member", member

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.composed and self.smoothing is None:
            raise ValueError("has a [[member]] or a [denoiser], which need a [smoothing]")
        if bool(self.members) != (self.ensemble is not None):
            raise ValueError("must have an [ensemble] with a rule and a [[member]], or neither")
        hashes = [one.sha256 for one in (self.model, *self.members)]
        if len(set(hashes)) < len(hashes):
            raise ValueError("has the same network twice among [model] and [[member]]")
        return self

    @model_validator(mode="after")
    def _is_their_own_file(self) -> Self:
        if self.published is not None and (self.files or self.composed or self.smoothing):
            raise ValueError("is [published]: its [model] must be one file that has a url")
        if self.adapter is not None and self.published is None:
            problem = "has an [adapter], which only a [published] network may have"
            raise ValueError(f"{problem}: put it inside the graph")
        return self

    @model_validator(mode="after")
    def _claims_fit(self) -> Self:
        if not self.claims:
            return self
        claimed = [claim.setting for claim in self.claims]
        allowed = [setting.id for setting in settings_for(self, load_settings())]
        for setting in claimed:
            if claimed.count(setting) > 1:
                raise ValueError(f"there is more than one [[claim]] for the setting '{setting}'")
            if setting not in allowed:
                raise ValueError(
                    f"a [[claim]] is for '{setting}', but the settings of this model are"
                    f" {', '.join(allowed) or 'none'}"
                )
        return self


Contest = tuple[Submission, Setting]
"""A submission and a setting that it competes in."""


def settings_for(submission: Submission, settings: Mapping[str, Setting]) -> list[Setting]:
    """List the settings that a submission competes in.

    A plain model: all of its dataset. A smoothed one: those with a sampling protocol, in a norm
    in which its noise certifies.
    """
    of_dataset = [one for one in settings.values() if one.dataset == submission.model.dataset]
    if submission.smoothing is None:
        return of_dataset
    norms = NOISES[submission.smoothing.distribution]
    return [setting for setting in of_dataset if setting.smoothing and setting.norm in norms]


def load_submission(project: Project, slug: str) -> Submission:
    """Load the submission in `submissions/<slug>/`, and check everything but the network.

    Raises:
        InputError: every problem of the file and the folder, a sentence each.
    """
    find_folder(project.submissions, slug)
    if lookalikes := confusable(slug, slugs(project.submissions)):
        raise InputError(*lookalikes)
    return read_submission(project, slug)


def read_submission(project: Project, slug: str) -> Submission:
    """Read the submission in `submissions/<slug>/`, whatever the others are called.

    Raises:
        InputError: every problem of the file and the folder, a sentence each.
    """
    folder = find_folder(project.submissions, slug)
    try:
        return _load(folder, f"submissions/{slug}", slug)
    except OSError as error:
        raise InputError(f"submissions/{slug} cannot be read: {error.strerror}.") from error


def _load(folder: Path, where: str, slug: str) -> Submission:
    if unfit := folder_problems(folder, where):
        raise InputError(*unfit)
    try:
        table = read_toml(folder / MANIFEST, f"{where}/{MANIFEST}")
    except InputError as error:
        raise InputError(*(told("toml-syntax", one) for one in error.problems)) from None
    problems = problems_of_files(folder, where, table)
    problems += [*placeholders_in(table, f"{where}/{MANIFEST}"), *examples_left(folder, where)]
    try:
        submission = parse(Submission, table, f"{where}/{MANIFEST}", named=True, slug=slug)
    except InputError as error:
        raise InputError(*error.problems, *problems) from None
    problems = problems or spare_files(folder, where, submission.files)
    if problems:
        raise InputError(*problems)
    return submission


def model_path(project: Project, submission: Submission) -> Path:
    """Return the submission's ONNX file, which is downloaded into the cache if it has an address.

    Raises:
        InputError: it cannot be downloaded, or its content is not the announced one.
    """
    return submission.parts(project).main
