"""MkDocs' server of pages, whose own script is named in the policy of the pages that it stands on.

The server ends each page with a script that waits for a change and loads the page again. The policy
of a page knows the published scripts alone (`leaderboard/website/policy.py`), and this one is
another in every answer.
"""

from collections.abc import Callable, Iterable
from typing import Any

from mkdocs.livereload import LiveReloadServer

from leaderboard.website.policy import with_last_script

_Application = Callable[..., Iterable[bytes]]
"""As PEP 3333 has it."""


class ReloadingServer(LiveReloadServer):
    """Open pages load again when they have changed."""

    def set_app(self, application: _Application) -> None:  # type: ignore[override]
        """Serve what an application answers, with the last script of each page in its policy."""
        super().set_app(naming(application))


def naming(application: _Application) -> _Application:
    """Wrap an application: the last script of each page that it answers with may run."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        begun: list[tuple[str, list[tuple[str, str]]]] = []
        parts = application(environ, lambda *told: begun.append(told[:2]))
        (status, headers) = begun[-1]
        if not dict(headers).get("Content-Type", "").startswith("text/html"):
            start_response(status, headers)
            return parts
        page = with_last_script(b"".join(parts))
        # An application may ask to be told when its answer has been read (PEP 3333).
        getattr(parts, "close", lambda: None)()
        sizes = {"Content-Length": str(len(page))}
        start_response(status, [*(dict(headers) | sizes).items()])
        return [page]

    return answer
