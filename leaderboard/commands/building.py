"""Commands that make the website: build, serve, demo."""

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from leaderboard.commands import app
from leaderboard.common.errors import InputError
from leaderboard.common.progress import tell
from leaderboard.common.project import find_project

DEMO_DATASET = "digits"


@app.command()
def build() -> None:
    """Generate the pages and build the website into public/."""
    from leaderboard.website import build as pages

    report = pages.build(find_project())
    for warning in report.warnings:
        tell(f"warning: {warning}")
    print(f"{report.pages} pages in {report.seconds:.1f} s: {report.public}/index.html")


@app.command()
def serve(port: Annotated[int, typer.Option(help="Of the address on this machine")] = 8000) -> None:
    """Build the website, show it on this machine, and rebuild it when a page changes."""
    from leaderboard.website import build as pages

    print(f"http://127.0.0.1:{port}/ (Ctrl-C stops)")
    pages.serve(find_project(), port)


@app.command()
def demo() -> None:
    """Re-evaluate the embedded submissions on embedded data and build the website.

    The rows go to build/demo/, beside copies of the stored ones; the stored ones do not change,
    and every verdict is compared with them.
    """
    from leaderboard.commands.running import run_all
    from leaderboard.evaluation.plan import Request
    from leaderboard.settings.setting import load_settings
    from leaderboard.submissions.catalogue import load_submissions
    from leaderboard.submissions.manifest import settings_for
    from leaderboard.website import build as pages

    started = time.perf_counter()
    stored = find_project()
    folder = stored.root / "build" / "demo"
    try:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(stored.results, folder, ignore=shutil.ignore_patterns("*.parts", ".*"))
        if stored.checks.is_dir():
            shutil.copytree(stored.checks, folder / "checks")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}).") from error
    project = replace(stored, results_folder=folder)
    settings = {id: s for id, s in load_settings().items() if s.dataset == DEMO_DATASET}
    pairs = [
        (submission, setting)
        for submission in load_submissions(project).values()
        if submission.model.dataset == DEMO_DATASET
        for setting in settings_for(submission, settings)
    ]
    if not pairs:
        raise InputError(f"There is no submission for the dataset '{DEMO_DATASET}'.")
    tables = run_all(project, pairs, Request(fresh=True), "1")
    report = pages.build(project)
    for warning in report.warnings:
        tell(f"warning: {warning}")
    print(f"{sum(map(len, tables)):,} verdicts of {len(pairs)} evaluations in {folder}")
    print(_comparison(stored.results, [(s.slug, t.id) for s, t in pairs], tables))
    print(f"{report.pages} pages: open {report.public}/index.html, or: certboard serve")
    print(f"done in {time.perf_counter() - started:.0f} s")


def _comparison(stored: Path, pairs: list[tuple[str, str]], tables: list[pd.DataFrame]) -> str:
    """How many of the verdicts are the stored ones."""
    from leaderboard.results.store import read

    same = total = 0
    for (slug, setting), rows in zip(pairs, tables, strict=True):
        path = stored / setting / f"{slug}.parquet"
        if not path.exists():
            continue
        before = read(path).rows.set_index("example")["status"]
        now = rows.set_index("example")["status"]
        total += len(now)
        same += int((before.reindex(now.index) == now).sum())
    if total == 0:
        return "no stored verdicts to compare with"
    return f"{same:,} of {total:,} verdicts are those stored in site/data/results"
