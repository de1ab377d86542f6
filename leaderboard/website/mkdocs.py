"""From generated Markdown to the website: MkDocs, run apart so that nothing of it leaks in here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.website.publishing.places import repository_url

BELOW = "<!-- below -->\n"
"""In a rendered page: what follows is HTML that is printed as it is.

Markdown and the search read every element of a page in Python, a tenth of a second for each
thousand table cells. What follows the mark, they never see; so what a reader may search for stands
above it.
"""


def start_pages(project: Project) -> None:
    """Empty the folders of generated files, and put the hand-written ones there."""
    copied = (
        ("pages", project.pages),
        ("assets", project.pages / "assets"),
        ("theme", project.theme),
    )
    for folder in (project.pages, project.theme, project.files):
        shutil.rmtree(folder, ignore_errors=True)
    for source, target in copied:
        folder = project.site / source
        if not folder.is_dir():
            raise InputError(f"The folder {folder} is missing; the website is made from it.")
        shutil.copytree(folder, target, dirs_exist_ok=True)
    _join_styles(project.pages / "assets")


def _join_styles(assets: Path) -> None:
    """Append the style sheets of the single pages to the common one.

    A browser paints nothing until it has every style sheet, and each one is a journey of its own.
    """
    rooms = assets / "css"
    if not rooms.is_dir():
        return
    with (assets / "certboard.css").open("ab") as common:
        for sheet in sorted(rooms.glob("*.css")):
            common.write(sheet.read_bytes())
    shutil.rmtree(rooms)


def write_page(project: Project, path: str, text: str) -> None:
    """Put a rendered page at its place; what follows `BELOW` where the theme will find it."""
    top, mark, below = text.partition(BELOW)
    if mark:
        start, body = top.split("---\n", 1)
        top = f"{start}---\nbelow: below/{path}.html\n{body}"
        # The theme's templates must not read it as a template.
        if "endraw" in below:
            below = below.replace("{%", "&#123;%")
        write_file(
            project.theme, f"below/{path}.html", f"{{% raw %}}{below}{{% endraw %}}".encode()
        )
    write_file(project.pages, f"{path}.md", top.encode())


def write_file(root: Path, path: str, content: bytes) -> None:
    """Write a file below a folder of generated ones."""
    target = root / path
    try:
        target.write_bytes(content)
    except FileNotFoundError:
        # Of the tens of thousands, few are the first of their folder.
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def run_mkdocs(project: Project, newest: int, folder: Path | None = None) -> None:
    """Build the website into `folder`, by default `project.public`.

    `newest` is the time of the newest result (seconds since 1970): stamped on the pages instead
    of the hour of building, so that the same rows give the same files.

    Raises:
        InputError: MkDocs refused; its own words are in the message.
    """
    # Not --quiet: MkDocs would then not even count warnings, and strict would mean nothing.
    command = [sys.executable, "-P", "-m", "leaderboard.website.finished", "build", "--strict"]
    command += ["--site-dir", str(folder or project.public)]
    done = subprocess.run(
        command,
        cwd=_with_configuration(project),
        env=_environment(newest),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        told = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
        words = " ".join(" ".join(told).split()) or f"exit code {done.returncode}"
        raise InputError(f"MkDocs could not build the website: {words}")


def serve_mkdocs(project: Project, port: int, newest: int) -> None:
    """Serve the generated pages on this machine only, until interrupted."""
    command = [sys.executable, "-P", "-m", "leaderboard.website.finished", "serve", "--quiet"]
    command += ["-a", f"127.0.0.1:{port}"]
    subprocess.run(command, cwd=_with_configuration(project), env=_environment(newest), check=False)


def _with_configuration(project: Project) -> Path:
    if not (project.root / "mkdocs.yml").is_file():
        raise InputError(f"There is no mkdocs.yml in {project.root}; run this in a checkout.")
    return project.root


def _environment(newest: int) -> dict[str, str]:
    # The theme's yearly notice about MkDocs' future goes to the error stream; it is no failure.
    defaults = {"SOURCE_DATE_EPOCH": str(newest), "NO_MKDOCS_2_WARNING": "1"}
    # The same code as here, wherever the pages lie.
    places = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    return {
        **defaults,
        **os.environ,
        "REPOSITORY_URL": repository_url(),
        "PYTHONPATH": places.rstrip(os.pathsep),
    }
