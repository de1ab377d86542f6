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


@lru_cache(64)
def policy(scripts: str) -> str:
    """The policy of a page whose inline scripts are those in this HTML, `<script>…</script>` each.

    Styles may be inline: Plotly and the theme write them, and nothing that a style can name is
    fetched from another host.
    """
    hashes = [hashlib.sha256(one.encode()).digest() for one in _INLINE.findall(scripts)]
    named = "".join(f" 'sha256-{base64.b64encode(one).decode()}'" for one in hashes)
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self'{named}",
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
