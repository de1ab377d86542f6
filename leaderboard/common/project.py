"""Where things lie in a checkout of the project."""

from dataclasses import dataclass
from pathlib import Path

from leaderboard.common.errors import InputError


@dataclass(frozen=True)
class Project:
    """The folders of one checkout (or of a copy made by a test)."""

    root: Path
    results_folder: Path | None = None
    """Where results are kept instead of `site/data/results`; the demo measures into a copy."""

    @property
    def submissions(self) -> Path:
        """Written by others; never executed."""
        return self.root / "submissions"

    @property
    def site(self) -> Path:
        """Hand-written pages, templates and assets."""
        return self.root / "site"

    @property
    def results(self) -> Path:
        """Measured by us: `<setting>/<slug>.parquet`."""
        return self.results_folder or self.site / "data" / "results"

    @property
    def checks(self) -> Path:
        """Worked out by us to recognise networks: `<slug>.json`."""
        return (self.results_folder or self.site / "data") / "checks"

    @property
    def salts(self) -> Path:
        """Drawn by us for the noise of smoothed models; in one place, wherever results are kept."""
        return self.site / "data" / "salts"

    @property
    def comparison(self) -> Path:
        """Measured by us on networks that need not be submitted: what `certboard compare` keeps."""
        return self.site / "data" / "comparison"

    @property
    def pages(self) -> Path:
        """The generated Markdown that MkDocs reads."""
        return self.root / "build" / "pages"

    @property
    def theme(self) -> Path:
        """Templates that MkDocs puts around the pages, and what it prints below their Markdown."""
        return self.root / "build" / "theme"

    @property
    def files(self) -> Path:
        """What is published as it is made: figures, data and documents."""
        return self.root / "build" / "files"

    @property
    def finished(self) -> Path:
        """The pages as MkDocs has made them, until they are published."""
        return self.root / "build" / "finished"

    @property
    def public(self) -> Path:
        """The website."""
        return self.root / "public"


def find_project(start: Path | None = None) -> Project:
    """The checkout around `start` (default: the working directory), else the package's own.

    Raises:
        InputError: there is neither; the package was installed apart from its checkout.
    """
    start = start or Path.cwd()
    for folder in (start, *start.parents, Path(__file__).resolve().parents[2]):
        if (folder / "submissions").is_dir() and (folder / "site" / "templates").is_dir():
            return Project(folder)
    raise InputError(
        f"{start}: is not in a checkout of certboard, a folder with 'submissions' and 'site'."
        " This command needs one."
    )
