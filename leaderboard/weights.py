"""Weights that a submission only gives an address of: fetched with limits, kept by their hash.

The address is a stranger's. No more than the announced size is read, within a time; addresses of
this machine and of private networks are refused, also after redirections; what comes is kept only
if it has the announced hash.
"""

import hashlib
import ipaddress
import socket
import time
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests

from leaderboard import data_files
from leaderboard.errors import InputError

SILENCE, LONGEST = 30.0, 1800.0
"""Seconds without an answer, and in all."""

_REDIRECTIONS = 5
_CHUNK = 2**18


def fetch(url: str, sha256: str, size: int) -> Path:
    """The file at an address, from the cache if it was fetched before.

    Args:
        url: an http or https address.
        sha256, size: of its content, in hexadecimal and in bytes.

    Raises:
        InputError: it cannot be had, or is not what was announced; nothing is kept then.
    """
    path = data_files.cache_folder() / "models" / f"{sha256}.onnx"
    if path.is_file() and data_files.sha256_of(path) == sha256:
        return path
    content = _read(url, size)
    if len(content) != size:
        raise InputError(f"{url}: has {len(content):,} bytes, not {size:,}.")
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise InputError(f"{url}: its SHA-256 is {found}, not {sha256}.")
    data_files.write(path, content)
    return path


def _read(url: str, size: int) -> bytes:
    """At most one byte more than `size`, as it is sent."""
    started, content = time.monotonic(), bytearray()
    try:
        with _open(url) as reply:
            if reply.status_code != requests.codes.ok:
                raise InputError(f"{url}: the server answered {reply.status_code}.")
            # Not unpacked on the way: a short answer could become an endless one.
            while chunk := reply.raw.read(min(_CHUNK, size + 1 - len(content))):
                content += chunk
                if len(content) > size:
                    raise InputError(f"{url}: has more than the announced {size:,} bytes.")
                if time.monotonic() - started > LONGEST:
                    raise InputError(f"{url}: took more than {LONGEST:g} seconds.")
    except (requests.RequestException, OSError, ValueError) as error:
        raise InputError(f"{url}: no answer ({type(error).__name__}).") from error
    return bytes(content)


def _open(url: str) -> requests.Response:
    """The answer, after redirections to other public addresses."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "certboard"}
    for _ in range(_REDIRECTIONS + 1):
        _refuse_private(url)
        reply = requests.get(
            url, stream=True, timeout=SILENCE, allow_redirects=False, headers=headers
        )
        if not reply.is_redirect:
            return reply
        url = urljoin(url, reply.headers["Location"])
        reply.close()
    raise InputError(f"{url}: is behind more than {_REDIRECTIONS} redirections.")


def _refuse_private(url: str) -> None:
    """Refuse what is no web address, or one of this machine or of a private network."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url}: is not a web address.")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError:
        raise InputError(f"{url}: there is no host {parts.hostname}.") from None
    for *_, address in found:
        if not ipaddress.ip_address(address[0]).is_global:
            raise InputError(f"{url}: {parts.hostname} is not a public address.")
