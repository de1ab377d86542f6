"""The folder that `certboard new` makes for a submission."""

import json
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.datasets.files import sha256_of
from leaderboard.settings.setting import find_setting
from leaderboard.submissions import weights
from leaderboard.submissions.folder import LARGEST_MODEL, MANIFEST, check_slug
from leaderboard.submissions.placeholders import EXAMPLES

_MANIFEST = """\
# A submission to certboard. Comments explain the keys; a key behind a # is optional.

title = {title}
authors = [{authors}]
owners = [{owner}]   # your GitHub account: who may change this entry
licence = {licence}
# code = {code}

# [paper]
# title = {paper}
# arxiv = {arxiv}       # as in 1810.12715; or: url = {url}
# venue = {venue}
# date = "2019-06"           # 2019, 2019-06 or 2019-06-01

# The network as ONNX. Input: pixels in [0, 1], [batch, channel, height, width], normalisation
# inside the graph. Output: one logit per class.
[model]
{file}
dataset = {dataset}            # `certboard list datasets`

[training]
node = {node}   # one of `certboard list taxonomy`, such as training/adversarial
description = {description}
extra_data = "none"          # which data beyond the training set were used

# Only for a randomly smoothed model:
{smoothing}

# Only for a smoothed ensemble: each further network, and how their outputs are combined.
# [[member]]
# file = "second.onnx"
# sha256 = ""
# [ensemble]
# rule = "mean-logits"

# Only for a smoothed model with a denoiser in front of the classifier: images in, images out.
# [denoiser]
# file = "denoiser.onnx"
# sha256 = ""

# Only for a network that others published; [model] above then has its url:
# [published]
# architecture = {architecture}
# source = {source}      # describes its training and its input
# Only if its input is not as above: how pixels are prepared, in this order:
# [adapter]
# mean = [0.1307]            # for each channel
# deviation = [0.3081]
# channels_last = true
# shape = [784, 1]           # of its input, without the batch dimension
# sha256 = ""                # of the file with this in front; `certboard check` prints it

# The accuracies that you claim, in percent; `certboard list settings`.
{claims}
"""

_README = """\
# {title}

{readme}
"""


@dataclass(frozen=True)
class Answers:
    """What is known about a submission when its folder is made; None and () where nothing is."""

    model: Path | None = None
    url: str | None = None
    dataset: str | None = None
    title: str | None = None
    authors: tuple[str, ...] = ()
    licence: str | None = None
    node: str | None = None
    sigma: str | None = None
    noise: str | None = None
    claims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scaffold:
    """A new folder, and what is to be done there next."""

    folder: Path
    next: str


_NOTHING = Answers()


def scaffold(project: Project, slug: str, answers: Answers = _NOTHING) -> Scaffold:
    """Make `submissions/<slug>/` with a commented submission.toml and a README.

    What the answers give is filled in, and the model copied; the rest is an example with a comment.
    A model that only has an address is fetched, measured and hashed.

    Raises:
        InputError: the name is not a slug, or is taken; the model is not there; a claim cannot be
            read. Nothing is made then.
    """
    check_slug(slug)
    if answers.url is not None and not answers.url.startswith("https://"):
        raise InputError(f"{answers.url}: a model's address must begin with https://.")
    if answers.url is not None and answers.model is None:
        answers = replace(answers, model=weights.fetch_new(answers.url, LARGEST_MODEL))
    text = _manifest(slug, answers)
    folder = project.submissions / slug
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise InputError(f"There is already a submissions/{slug}: choose another name.") from None
    except OSError as error:
        raise InputError(f"submissions/{slug} cannot be made: {error.strerror}.") from None
    title = answers.title or slug.replace("-", " ")
    try:
        (folder / MANIFEST).write_text(text, encoding="utf-8")
        (folder / "README.md").write_text(
            _README.format(title=title, readme=EXAMPLES["readme"]), encoding="utf-8"
        )
        if answers.model is not None and answers.url is None:
            shutil.copyfile(answers.model, folder / "model.onnx")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(f"submissions/{slug} cannot be written: {error.strerror}.") from None
    missing = ["fill in submission.toml and README.md"]
    if answers.model is None:
        missing.append("add model.onnx")
    return Scaffold(folder, ", ".join([*missing, f"then: certboard check {slug}"]))


def _manifest(slug: str, answers: Answers) -> str:
    """The commented submission.toml, with the answers in the places of its examples."""
    where = ("architecture", "source", "url", "venue")
    examples = ("owner", "code", "paper", "arxiv", "description", *where)
    authors = answers.authors or (EXAMPLES["first author"], EXAMPLES["second author"])
    filled = {
        **{name: _text(EXAMPLES[name]) for name in examples},
        "title": _text(answers.title or slug.replace("-", " ")),
        "authors": ", ".join(map(_text, authors)),
        "licence": _text(answers.licence or EXAMPLES["licence"]),
        "dataset": _text(answers.dataset or "mnist"),
        "node": _text(answers.node or EXAMPLES["node"]),
        "file": _file(answers),
        "smoothing": _smoothing(answers),
        "claims": _claims(answers.claims),
    }
    return _MANIFEST.format(**filled)


def _text(value: str) -> str:
    """A TOML string; JSON's escapes are TOML's."""
    return json.dumps(value, ensure_ascii=False)


def _file(answers: Answers) -> str:
    sha256 = "" if answers.model is None else sha256_of(answers.model)
    if answers.url is None:
        hint = 'in this folder; or: url = "https://..." and size = 123 (bytes)'
        lines = f'file = "model.onnx"          # {hint}\n'
    else:
        assert answers.model is not None
        size = answers.model.stat().st_size
        lines = f"url = {_text(answers.url)}\nsize = {size}                   # bytes\n"
    return f'{lines}sha256 = "{sha256}"  # what `sha256sum model.onnx` prints'


def _smoothing(answers: Answers) -> str:
    mark = "" if answers.sigma or answers.noise else "# "
    return (
        f"{mark}[smoothing]\n"
        f"{mark}distribution = {_text(answers.noise or 'gaussian')}"
        "  # or laplace, uniform, …; `certboard check` lists all\n"
        f"{mark}sigma = {_text(answers.sigma or '0.25')}"
        "  # scale of the noise, exact: a decimal or a fraction"
    )


def _claims(claims: tuple[str, ...]) -> str:
    if not claims:
        return '# [[claim]]\n# setting = "mnist-linf-0.3"\n# clean = 0.0\n# certified = 0.0'
    return "\n\n".join(map(_claim, claims))


def _claim(text: str) -> str:
    told = re.fullmatch(r"([^=]+)=([0-9.]+)(?:/([0-9.]+))?", text)
    try:
        certified, clean = (float(part) if part else None for part in told.groups()[1:])  # type: ignore[union-attr]
    except (AttributeError, ValueError):
        raise InputError(
            f"--claim is '{text}'; it must be SETTING=CERTIFIED or SETTING=CERTIFIED/CLEAN in"
            " percent, such as mnist-linf-0.3=93.1/98.0."
        ) from None
    assert told is not None
    lines = [f"[[claim]]\nsetting = {_text(find_setting(told[1].strip()).id)}"]
    lines += [f"clean = {clean}"] if clean is not None else []
    return "\n".join([*lines, f"certified = {certified}"])
