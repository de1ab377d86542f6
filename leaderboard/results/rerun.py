"""The commands that measure a stored evaluation again, and that check its proofs again."""

import re
import shlex
from fractions import Fraction
from typing import TYPE_CHECKING

from leaderboard.results.store import evaluator_named
from leaderboard.settings.setting import load_settings

if TYPE_CHECKING:
    from leaderboard.results.store import Provenance, Results

_FIRST = re.compile(r"first ([0-9]+) of .+")
"""How a run on a few examples of the setting's own calls them (`leaderboard.evaluation.plan`)."""


_COMMIT = re.compile("[0-9a-f]{7,40}")
"""One that can be checked out."""


def command(result: "Results") -> str:
    """`certboard run SLUG --setting ID … --fresh`, safe to paste into a shell.

    It asks what the stored evaluation asked: its evaluator where that is not the setting's own
    protocol, its examples and its time where they differ from the setting's, its kind of device.
    Workers are left out, since rows do not depend on them. All other options are the evaluator's
    own at the recorded commit, or the setting's.
    """
    origin = result.provenance
    words = ["certboard", "run", origin.submission, "--setting", origin.setting]
    words += _evaluator(result) + _examples(origin) + _seconds(origin) + _device(origin)
    return shlex.join([*words, "--fresh"])


def from_nothing(result: "Results", repository: str, dataset: str) -> str:
    """Every command up to the same rows, on a machine with Python and git alone.

    `repository` is the address to clone, empty where it is not known; `dataset` names the one to
    download, empty where none has to be.
    """
    origin = result.provenance
    lines = [f"git clone {shlex.quote(repository)} certboard && cd certboard"] if repository else []
    if _COMMIT.fullmatch(origin.commit):
        lines.append(f"git checkout {origin.commit}")
    lines.append("make .venv/.installed && . .venv/bin/activate")
    if dataset:
        lines.append(shlex.join(["certboard", "data", "fetch", dataset]))
    return "\n".join([*lines, command(result), recheck(result)])


def recheck(result: "Results") -> str:
    """`certboard recheck FILE` for the stored file, safe to paste into a shell."""
    file = f"site/data/results/{result.provenance.setting}/{result.path.name}"
    return shlex.join(["certboard", "recheck", file])


def _evaluator(result: "Results") -> list[str]:
    # A smoothed model's protocol records the same evaluator as one that was named.
    name = evaluator_named(result.path)
    return [] if name is None else ["--evaluator", name]


def _examples(origin: "Provenance") -> list[str]:
    match = _FIRST.fullmatch(origin.examples)
    return ["--examples", match[1]] if match else []


def _seconds(origin: "Provenance") -> list[str]:
    setting = load_settings().get(origin.setting)
    told = origin.options.get("seconds")
    if told is None or setting is None or Fraction(told) == Fraction(setting.seconds):
        return []
    return ["--seconds", repr(told)]


def _device(origin: "Provenance") -> list[str]:
    """Rows name the device itself, such as `NVIDIA A100`; the command names its kind."""
    return [] if origin.device == "cpu" else ["--device", "cuda"]
