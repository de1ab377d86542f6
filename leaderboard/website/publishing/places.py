"""Where each file that readers take home lies, relative to the website's root.

These addresses are in papers, scripts and feeds: they stay. A place may be added, never moved.
"""

import os
from urllib.parse import urlsplit

from leaderboard.common.errors import InputError
from leaderboard.common.formatting import safe_url

API = "api/v1"
FEED = "feed.xml"
ROBOTS = "robots.txt"
CITATION = "CITATION.cff"
CROISSANT = "data/croissant.json"
CHECKSUMS = "data/SHA256SUMS"
BOARD_BIB = "data/certboard.bib"
AUTHORS_CURVES = "data/authors-curves.csv"


def api(name: str) -> str:
    """A document of the programming interface: `api("settings/mnist-linf-0.1")`."""
    return f"{API}/{name}.json"


def schema_of(kind: str) -> str:
    """The JSON Schema of a kind of document, relative to the interface.

    `schema/results.json` describes a list, `schema/result.json` one of its members.
    """
    stem, _, member = kind.partition("/")
    return f"schema/{stem.removesuffix('s') if member else stem}.json"


def schema_from(kind: str) -> str:
    """The same, relative to the document itself."""
    return "../" * kind.count("/") + schema_of(kind)


def all_rows(setting: str) -> str:
    """The rows of every submission of a setting in one Parquet file."""
    return f"data/{setting}.parquet"


def latex_table(setting: str) -> str:
    """The setting's table for a paper."""
    return f"data/{setting}/{setting}.tex"


def references(setting: str) -> str:
    """BibTeX of everything in the setting's table."""
    return f"data/{setting}/{setting}.bib"


def standings_csv(setting: str) -> str:
    """The setting's table for a spreadsheet."""
    return f"data/{setting}/{setting}-standings.csv"


def site_url() -> str:
    """Where the website will be, with a slash at its end; empty where nobody has said.

    The variable `SITE_URL` says it, to MkDocs too (mkdocs.yml). Without it all links are relative.

    Raises:
        InputError: it is no web address.
    """
    told = os.environ.get("SITE_URL", "").strip()
    if not told:
        return ""
    checked, parts = safe_url(told), urlsplit(told)
    if not checked or parts.query or parts.fragment:
        raise InputError(f"SITE_URL is {told!r}, but must be a web address such as https://x.org/.")
    return checked if checked.endswith("/") else f"{checked}/"


def repository_url() -> str:
    """Where the project's repository is; empty where nobody has said.

    The variable `REPOSITORY_URL` says it; GitHub's runners say it in variables of their own.

    Raises:
        InputError: it is no web address.
    """
    told = os.environ.get("REPOSITORY_URL", "").strip()
    if not told and os.environ.get("GITHUB_REPOSITORY"):
        host = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
        told = f"{host}/{os.environ['GITHUB_REPOSITORY']}"
    if told and not safe_url(told):
        raise InputError(
            f"REPOSITORY_URL is {told!r}, but must be a web address such as https://x.org/y."
        )
    return told.rstrip("/")


def absolute(place: str) -> str:
    """The whole address of a place where the website's own is known, else `place` as it is."""
    return site_url() + place
