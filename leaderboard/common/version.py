"""Which version of this program runs."""

import subprocess
from importlib.metadata import version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

CODE = ("evaluators", "leaderboard", "pyproject.toml", "requirements.lock")
"""What rows depend on besides the model, which has a hash of its own: not the results themselves,
or only the first of several evaluations would be one of a clean commit."""


def commit_of(folder: Path) -> str:
    """Find the commit of the code in a checkout, marked when that was changed since.

    "unknown" where the folder is none; it may lie within that of something else.
    """
    # Without locks: it must not disturb a commit that is being made.
    git = ["git", "--no-optional-locks", "-C", str(folder)]
    try:
        top, commit, changed = (
            subprocess.run(
                [*git, *what], capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for what in (
                ("rev-parse", "--show-toplevel"),
                ("rev-parse", "HEAD"),
                ("status", "--porcelain", "--", *CODE),
            )
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    if Path(top).resolve() != folder.resolve():
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def version_text() -> str:
    """Say version and commit, as a report of a bug should."""
    return f"certboard {version('certboard')}, commit {commit_of(CHECKOUT)}"
