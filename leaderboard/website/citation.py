"""BibTeX for what the website shows: a submission, a published row, and the board itself.

Every text is escaped for LaTeX and every brace has its partner, so that an entry stays one entry
whatever a title holds.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from leaderboard.common.errors import InputError
from leaderboard.common.formatting import safe_url
from leaderboard.field.literature import Reported
from leaderboard.submissions.manifest import Submission
from leaderboard.website.publishing.places import site_url
from leaderboard.website.publishing.tex import one_line, tex

if TYPE_CHECKING:
    from leaderboard.results.store import Results

FILE = Path(__file__).parents[2] / "CITATION.cff"

_LONGEST_KEY = 60
_ARXIV = re.compile(r"https?://arxiv\.org/(?:abs|pdf)/([0-9]{4}\.[0-9]{4,5})(?:v[0-9]+)?(?:\.pdf)?")


class Author(BaseModel):
    """A person or a group in CITATION.cff, whose other keys are not needed here."""

    model_config = ConfigDict(frozen=True)

    name: str = ""
    family: str = Field(default="", alias="family-names")
    given: str = Field(default="", alias="given-names")

    @property
    def full_name(self) -> str:
        """The name as one reads it."""
        return self.name or f"{self.given} {self.family}".strip()

    @property
    def schema_org(self) -> str:
        """What the name is to schema.org."""
        return "Organization" if self.name else "Person"

    @property
    def bibtex(self) -> str:
        """A group's name is one word to BibTeX; a person has a family name first."""
        if self.name:
            return f"{{{tex(self.name)}}}"
        return f"{tex(self.family)}, {tex(self.given)}" if self.given else f"{{{tex(self.family)}}}"


class Citation(BaseModel):
    """What CITATION.cff says of the project."""

    model_config = ConfigDict(frozen=True)

    version_of_format: str = Field(alias="cff-version", pattern=r"^1\.2\.")
    message: str
    title: str
    authors: tuple[Author, ...] = Field(min_length=1)
    version: str
    licence: str = Field(alias="license")
    url: str = ""
    date: str = Field(default="", alias="date-released")


@cache
def load_citation(path: Path = FILE) -> Citation:
    """How the project asks to be cited.

    Raises:
        InputError: CITATION.cff is missing, is not YAML, or lacks what the format requires.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        dated = {name: _texts(value) for name, value in found.items()}
        return Citation.model_validate(dated)
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InputError(f"{path.name}: '{where}' {error.errors()[0]['msg'].lower()}.") from None
    except (yaml.YAMLError, AttributeError):
        raise InputError(f"{path.name} is not a table in YAML.") from None


def _texts(value: object) -> object:
    """YAML reads a date as a date and a version `1.0` as a number; both are texts here."""
    return value if isinstance(value, (list, dict)) else str(value)


def bibtex(submission: Submission, results: Iterable["Results"] = ()) -> str:
    """The entry of a submission: its paper where it has one, else the submission itself.

    The key is `certboard:` and the slug, so that it is no paper's. The note says which entry of the
    board is meant. Without a paper, the year is that of the newest of its `results`, and the
    address its page on this site where that is known, else its code.
    """
    measured = "" if submission.paper else _newest(results)
    return _own_entry(submission, measured, site_url())


def own_key(slug: str) -> str:
    """The key of a submission's entry. A paper's has no colon, and so cannot be taken by a slug."""
    return f"certboard:{slug}"


def _newest(results: Iterable["Results"]) -> str:
    return max((result.provenance.created[:10] for result in results), default="")


# Every table and list that a submission is in asks for it.
@lru_cache(maxsize=1 << 14)
def _own_entry(submission: Submission, measured: str, home: str) -> str:
    paper = submission.paper
    title, venue = (paper.title, paper.venue) if paper else (submission.title, "")
    page = f"{home}submissions/{submission.slug}/" if home else ""
    source = submission.published.source if submission.published else ""
    link = (paper.link if paper else "") or page or submission.code or source
    how = "Network published by its authors" if source else "Model submitted to certboard"
    arxiv = (paper.arxiv if paper else "") or _arxiv_of(link)
    meant = f"{'Re-evaluated by' if measured else 'Submitted to'} certboard as {submission.slug}"
    return _entry(
        own_key(submission.slug),
        {
            "author": _authors((paper.authors if paper else ()) or submission.authors),
            "title": _protected(title),
            "howpublished": tex(venue) if paper else how,
            **_when(paper.date if paper else measured),
            **_eprint(arxiv),
            "url": _url(link),
            "note": tex(meant if paper else f"{meant}, SHA-256 {submission.model.sha256}"),
        },
    )


def bibtex_reported(row: Reported) -> str:
    """The entry of the paper that published a row, with its authors where they are recorded.

    Rows of one paper have the same key, made of its title and year.
    """
    year = row.year
    return _entry(
        f"{_key(row.title)}-{year}" if year else _key(row.title),
        {
            "author": _authors(row.authors),
            "title": _protected(row.title),
            "howpublished": tex(row.venue),
            # A month of the preprint says nothing of a venue of another year.
            **_when(row.date if row.date.startswith(year) else year),
            **_eprint(_arxiv_of(row.url)),
            "url": _url(row.url),
        },
    )


def bibtex_board(citation: Citation | None = None) -> str:
    """The entry of certboard itself, as CITATION.cff has it."""
    told = citation or load_citation()
    return _entry(
        "certboard",
        {
            "author": " and ".join(author.bibtex for author in told.authors),
            "title": _protected(told.title),
            "howpublished": "Software and data",
            **_when(told.date),
            "url": _url(told.url),
            "note": tex(f"Version {told.version}"),
        },
    )


def _entry(key: str, fields: Mapping[str, str]) -> str:
    # `misc` is the one type that every style prints from whatever is there.
    lines = [
        # A month is one of BibTeX's own words, which every style spells in its language.
        f"  {name} = {value}," if name == "month" else f"  {name} = {{{value}}},"
        for name, value in fields.items()
        if value
    ]
    return "\n".join([f"@misc{{{key},", *lines, "}"]) + "\n"


def _protected(title: str) -> str:
    """In further braces, so that no style changes its capitals."""
    return f"{{{tex(title)}}}"


def _authors(names: Iterable[str]) -> str:
    return " and ".join(_author(one_line(name)) for name in names)


def _author(name: str) -> str:
    """One name; braces keep together what BibTeX would take apart or take for several names."""
    several = re.search(r"\band\b|^others$", name, re.IGNORECASE)
    group = name.lower().startswith("the ") or name.count(",") > 1 or name.strip(", ") == ""
    # A comma first or last leaves a part of the name empty, which BibTeX complains about.
    odd = name.startswith(",") or name.endswith(",")
    return f"{{{tex(name)}}}" if several or group or odd else tex(name)


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def _when(date: str) -> dict[str, str]:
    year, _, rest = date.partition("-")
    month = {"month": _MONTHS[int(rest[:2]) - 1]} if rest else {}
    return {"year": year, **month} if year else {}


def _eprint(arxiv: str) -> dict[str, str]:
    return {"eprint": arxiv, "archiveprefix": "arXiv"} if arxiv else {}


def _arxiv_of(url: str) -> str:
    found = _ARXIV.fullmatch(url)
    return found[1] if found else ""


def _url(url: str) -> str:
    """The address with nothing in it that ends a brace or begins a command."""
    return quote(safe_url(url), safe="/:?&=#%+,;@!()$'*-._~")


def _key(title: str) -> str:
    """Words of the title in small ASCII letters, as many as stay readable."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    key = "-".join(re.findall("[a-z0-9]+", plain.lower()))
    if len(key) > _LONGEST_KEY:
        key = key[: _LONGEST_KEY + 1].rpartition("-")[0] or key[:_LONGEST_KEY]
    return key or "paper"
