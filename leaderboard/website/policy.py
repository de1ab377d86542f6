"""What a page lets a browser do: its Content-Security-Policy, which names every inline script.

The website is files, on a host whose headers are not ours; so the policy is the first element of a
page that means anything. Only the inline scripts of the theme and of `site/theme` may run. They are
rendered apart and hashed, before any text of a submission is on the page: what such text might ever
smuggle onto it, though nothing should, has no hash and does not run.
"""

import base64
import hashlib
import re
from functools import lru_cache

_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)

_SCRIPTS = "script-src 'self'"


@lru_cache(64)
def policy(scripts: str) -> str:
    """The policy of a page whose inline scripts are those in this HTML, `<script>…</script>` each.

    Styles may be inline: Plotly and the theme write them, and nothing that a style can name is
    fetched from another host.
    """
    named = "".join(f" {_source(one)}" for one in _INLINE.findall(scripts))
    return "; ".join(
        [
            "default-src 'none'",
            f"{_SCRIPTS}{named}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "worker-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def with_last_script(page: bytes) -> bytes:
    """Let the last inline script of a page run, too: for a server on this machine that adds one."""
    scripts = _INLINE.findall(page.decode("utf-8", "replace"))
    if not scripts:
        return page
    named = f"{_SCRIPTS} {_source(scripts[-1])}"
    return page.replace(_SCRIPTS.encode(), named.encode(), 1)


def _source(script: str) -> str:
    """How a policy names an inline script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
