"""Weights that a submission only gives an address of: fetched with limits, kept by their hash.

Where a file of that size and hash is at hand, in the cache or in a folder that `CERTBOARD_MODELS`
names, nothing is fetched.

The address is a stranger's. No more than the announced size is read, within a time; addresses of
this machine and of private networks are refused, also after redirections; what comes is kept only
if it has the announced hash. A host's name is looked up once: what was found to be public is what
is connected to, whatever the name says a moment later.
"""

import hashlib
import ipaddress
import os
import socket
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from leaderboard.common.errors import InputError
from leaderboard.datasets import files

VARIABLE = "CERTBOARD_MODELS"
SILENCE, LONGEST = 30.0, 1800.0
"""Seconds without an answer, and in all."""

_REDIRECTIONS = 5
_CHUNK = 2**18


def fetch(url: str, sha256: str, size: int) -> Path:
    """Fetch the file at an address, or find it in the cache.

    Args:
        url: an http or https address.
        sha256, size: of its content, in hexadecimal and in bytes.

    Raises:
        InputError: it cannot be had, or is not what was announced; nothing is kept then.
    """
    if (there := at_hand(sha256, size)) is not None:
        return there
    content = _read(url, size)
    if len(content) != size:
        raise InputError(f"{url}: has {len(content):,} bytes, not {size:,}.")
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise InputError(f"{url}: its SHA-256 is {found}, not {sha256}.")
    path = _kept(sha256)
    files.write(path, content)
    return path


def fetch_new(url: str, most: int) -> Path:
    """Fetch a file of which nothing is known yet, and keep it in the cache under its hash.

    Raises:
        InputError: it cannot be had, or has more than `most` bytes; nothing is kept then.
    """
    content = _read(url, most)
    path = _kept(hashlib.sha256(content).hexdigest())
    files.write(path, content)
    return path


def at_hand(sha256: str, size: int) -> Path | None:
    """Find a file by its hash, and its size in bytes, on this machine; None if there is none."""
    there = [_kept(sha256)]
    if folder := os.environ.get(VARIABLE):
        there += sorted(Path(folder).rglob("*.onnx"))
    fitting = (path for path in there if path.is_file() and path.stat().st_size == size)
    return next((path for path in fitting if files.sha256_of(path) == sha256), None)


def _kept(sha256: str) -> Path:
    return files.cache_folder() / "models" / f"{sha256}.onnx"


def _read(url: str, size: int) -> bytes:
    """At most one byte more than `size`, as it is sent, within the time.

    A server may send a byte now and then for years, in what comes before the content, too, where no
    library counts the time of all of it. So it is waited for from outside.
    """
    answer: SimpleQueue[bytes | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answer.put(_content(url, size))
        except Exception as error:
            answer.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        found = answer.get(timeout=LONGEST)
    except Empty:
        raise InputError(f"{url}: took more than {LONGEST:g} seconds.") from None
    if isinstance(found, Exception):
        raise found
    return found


def _content(url: str, size: int) -> bytes:
    started, content = time.monotonic(), bytearray()
    try:
        with _open(url) as reply:
            if reply.status_code != requests.codes.ok:
                raise InputError(f"{url}: the server answered {reply.status_code}.")
            # Not unpacked on the way: a short answer could become an endless one.
            while chunk := reply.raw.read1(min(_CHUNK, size + 1 - len(content))):
                content += chunk
                if len(content) > size:
                    raise InputError(f"{url}: has more than {size:,} bytes.")
                if time.monotonic() - started > LONGEST:
                    raise InputError(f"{url}: took more than {LONGEST:g} seconds.")
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:
        raise InputError(f"{url}: no answer ({type(error).__name__}).") from error
    return bytes(content)


def _open(url: str) -> requests.Response:
    """The answer, after redirections to other public addresses."""
    for _ in range(_REDIRECTIONS + 1):
        reply = _ask(url)
        if not reply.is_redirect:
            return reply
        target = urljoin(url, reply.headers["Location"])
        reply.close()
        if url.startswith("https:") and not target.startswith("https:"):
            raise InputError(f"{url}: leads from https to {target}.")
        url = target
    raise InputError(f"{url}: is behind more than {_REDIRECTIONS} redirections.")


def _ask(url: str) -> requests.Response:
    """The answer of the one public address that the host's name leads to now."""
    # What is checked is the address as the library reads it.
    prepared = requests.Request("GET", url).prepare().url or "" if _is_web(url) else ""
    parts = urlsplit(prepared)
    if not parts.hostname:
        raise InputError(f"{url}: is not a web address.")
    headers = {
        "Accept-Encoding": "identity",
        "User-Agent": "certboard",
        "Host": parts.netloc.rpartition("@")[2],
    }
    with requests.Session() as session:
        # No proxy, which would look the name up again, and no password from this machine's files.
        session.trust_env = False
        adapter = _Pinned(_public_address(url, parts.hostname, parts.port or 443))
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return session.get(
            prepared, stream=True, timeout=SILENCE, allow_redirects=False, headers=headers
        )


def _is_web(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https")


class _Pinned(HTTPAdapter):
    """Connects to one address; the certificate must still be that of the name that was asked."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Connect to another host than the one named, with the same name in TLS."""
        place, how = super().build_connection_pool_key_attributes(request, verify, cert)
        if place["scheme"] == "https":
            how["server_hostname"] = how["assert_hostname"] = place["host"].strip("[]")
        return {**place, "host": self.address}, how


def _public_address(url: str, host: str, port: int) -> str:
    """The first address of a host, all of which are public; looked up once.

    Raises:
        InputError: there is no such host, or one of its addresses is this machine's or of a private
            network.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InputError(f"{url}: there is no host {host}.") from None
    addresses = [str(address[0]) for *_, address in found]
    if not addresses or not all(map(_is_public, addresses)):
        raise InputError(f"{url}: {host} is not a public address.")
    return addresses[0]


_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""IPv4 addresses as networks without IPv4 write them (RFC 6052)."""


def _is_public(text: str) -> bool:
    """Whether an address is reached over the internet, also one that is wrapped in another."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(str(inner))
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast
