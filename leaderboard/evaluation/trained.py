"""The submission that a training leaves: the network, what it is, and the command that made it."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.datasets.files import sha256_of
from leaderboard.evaluation.train import Trained, TrainingRequest, write_model
from leaderboard.submissions.folder import MANIFEST, check_slug
from leaderboard.submissions.placeholders import EXAMPLES

_MANIFEST = """\
title = {title}
authors = [{authors}]
licence = "Apache-2.0"

[model]
file = "model.onnx"
sha256 = "{sha256}"
dataset = {dataset}

[training]
node = {node}
description = {description}
extra_data = "none"
"""

_README = """\
# {title}

A network of {parameters:,} weights (`{architecture}`), trained by the project's recipe `{recipe}` ({paper}).
It is a demonstration of a published method, on a network and a training far smaller than those of the papers.

It was trained with

```
{command}
```

in {minutes:.0f} minutes of processor time: {epochs} epochs of {optimizer}, batches of {batch}, learning rate {rate:g} falling to zero in the last 40 %{varied}{averaged}, seed {seed}; {options}.
{begun}{data}
The same machine with the same number of threads gives the same file; another gives a model as good.
"""  # noqa: E501


def check_new(project: Project, slug: str) -> None:
    """Refuse a name that no new submission can have.

    Raises:
        InputError: it is no slug, or taken.
    """
    check_slug(slug)
    if (project.submissions / slug).exists():
        raise InputError(f"There is already a submissions/{slug}: choose another name.")


def write_submission(
    project: Project,
    slug: str,
    trained: Trained,
    request: TrainingRequest,
    command: str,
    authors: Sequence[str] = (),
) -> Path:
    """Write `submissions/<slug>/`: network, manifest and a README with the exact command.

    Raises:
        InputError: the name cannot be had, or the folder cannot be written.
    """
    check_new(project, slug)
    folder = project.submissions / slug
    try:
        folder.mkdir(parents=True)
        write_model(trained.network, folder / "model.onnx", trained.views, half=request.half)
        text = _manifest(trained, request, sha256_of(folder / "model.onnx"), authors)
        (folder / MANIFEST).write_text(text, encoding="utf-8")
        (folder / "README.md").write_text(_readme(trained, request, command), encoding="utf-8")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(f"submissions/{slug} cannot be written: {error.strerror}.") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _manifest(
    trained: Trained, request: TrainingRequest, sha256: str, authors: Sequence[str]
) -> str:
    recipe, title = trained.recipe, _title(trained, request)
    text = _MANIFEST.format(
        title=_quoted(title),
        authors=", ".join(map(_quoted, authors or [EXAMPLES["first author"]])),
        sha256=sha256,
        dataset=_quoted(trained.data.name),
        node=_quoted(recipe.node),
        description=_quoted(f"{recipe.title} ({recipe.paper}), {_learned_from(trained)}"),
    )
    if not recipe.noise:
        return text
    scale = request.options.get("sigma") or str(getattr(recipe, "sigma", ""))
    noise = f'distribution = {_quoted(recipe.noise)}\nsigma = "{scale}"\n'
    return f"{text}\n[smoothing]\n{noise}"


def _readme(trained: Trained, request: TrainingRequest, command: str) -> str:
    recipe, schedule = trained.recipe, trained.schedule
    augmentation = schedule.augmentation
    varied = ", images mirrored at random" if augmentation.mirror else ""
    if augmentation.shift:
        varied += f" and shifted by up to {augmentation.shift} pixels along each axis"
    options = ", ".join(f"{name} {value:g}" for name, value in asdict(recipe).items())
    kept = schedule.average
    averaged = f", the average of the weights of all steps (decay {kept:g})" if kept else ""
    number = len(trained.views)
    averaged_views = (
        f"It answers by the mean of the logits of {number} views of an image, moved by"
        f" {request.views} pixel{'s' * (request.views > 1)} at most along one axis"
        f"{', and mirrored' * augmentation.mirror}.\n"
        if number
        else ""
    )
    rounded = "Its matrices and kernels are rounded to float16.\n" if request.half else ""
    begun = f"It began with the weights of `{request.begin}`.\n" if request.begin else ""
    return _README.format(
        title=_title(trained, request),
        parameters=trained.network.parameters,
        architecture=trained.architecture,
        recipe=recipe.name(),
        paper=recipe.paper,
        command=command,
        minutes=trained.seconds / 60,
        epochs=schedule.epochs,
        batch=schedule.batch,
        rate=schedule.learning_rate,
        optimizer=schedule.optimizer_title,
        varied=varied,
        averaged=averaged,
        begun=begun + averaged_views + rounded,
        seed=request.seed,
        options=options or "no options",
        data=f"It learned {_learned_from(trained)}",
    )


def _title(trained: Trained, request: TrainingRequest) -> str:
    recipe, options = trained.recipe, request.options
    scales = [f"{name} {options[name]}" for name in ("radius", "sigma") if name in options]
    # What tells one network of a recipe from another in a table: its layers, and the draw.
    drawn = [f"seed {request.seed}"] if request.seed else []
    views = [f"{len(trained.views)} views"] if trained.views else []
    parts = [trained.data.title, recipe.title, *scales, trained.architecture, *views, *drawn]
    return ", ".join(parts)


def _learned_from(trained: Trained) -> str:
    split = trained.split
    if split.note:
        return f"from {split.note} (SHA-256 {split.sha256})."
    return f"from all {len(split):,} training images."


def _quoted(text: str) -> str:
    """A TOML string; JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)
