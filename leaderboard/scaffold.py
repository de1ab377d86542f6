"""The folder that `certboard new` makes for a submission."""

import shutil
from pathlib import Path

from leaderboard.errors import InputError
from leaderboard.project import Project
from leaderboard.submission_files import MANIFEST, check_slug

_MANIFEST = """\
# A submission to certboard. Every key is explained; a line beginning with # is optional.

title = "{title}"
authors = ["First Author", "Second Author"]
licence = "Apache-2.0"
# code = "https://github.com/..."

# [paper]
# title = "..."
# arxiv = "1810.12715"       # or: url = "https://..."
# venue = "ICML 2019"
# date = "2019-06"           # 2019, 2019-06 or 2019-06-01

# The network as ONNX. Input: pixels in [0, 1], [batch, channel, height, width], normalisation
# inside the graph. Output: one logit per class.
[model]
file = "model.onnx"          # in this folder; or: url = "https://..." and size = 123 (bytes)
sha256 = ""                  # what `sha256sum model.onnx` prints
dataset = "mnist"            # `certboard list datasets`

[training]
node = "training/relaxation-based"   # `certboard list taxonomy`
description = "How the network was trained, in a sentence or two."
extra_data = "none"          # data beside the training set

# Only for a randomly smoothed model:
# [smoothing]
# distribution = "gaussian"  # laplace, uniform, …; `certboard check` names all
# sigma = "0.25"             # scale of the noise, exact: a decimal or a fraction

# Only for a smoothed ensemble: a further network, as often as needed, and how they are combined.
# [[member]]
# file = "second.onnx"
# sha256 = ""
# [ensemble]
# rule = "mean-logits"

# Only for a smoothed model with a denoiser before the classifier: images in, images out.
# [denoiser]
# file = "denoiser.onnx"
# sha256 = ""

# What was published, if anything, in percent; `certboard list settings`.
# [[claim]]
# setting = "mnist-linf-0.3"
# clean = 98.0
# certified = 93.1
"""

_README = """\
# {title}

What is special about this model, how it was trained, and how to train it again.
"""


def scaffold(project: Project, slug: str) -> Path:
    """Make `submissions/<slug>/` with a commented submission.toml and a README; returns the folder.

    Raises:
        InputError: the name is not a slug, or is taken.
    """
    check_slug(slug)
    folder = project.submissions / slug
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise InputError(f"There is already a submissions/{slug}: choose another name.") from None
    except OSError as error:
        raise InputError(f"submissions/{slug} cannot be made: {error.strerror}.") from None
    title = slug.replace("-", " ")
    try:
        for name, template in ((MANIFEST, _MANIFEST), ("README.md", _README)):
            (folder / name).write_text(template.format(title=title), encoding="utf-8")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(f"submissions/{slug} cannot be written: {error.strerror}.") from None
    return folder
