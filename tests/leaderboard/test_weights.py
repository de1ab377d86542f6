"""Weights from a stranger's address: no byte more than announced, and none of another content."""

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from leaderboard import data_files, weights
from leaderboard.errors import InputError

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    asked: list[str]
    sent: int

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path == "/missing":
            self.send_error(404)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            for _ in range(2000):
                self.wfile.write(bytes(2**16))
                type(self).sent += 2**16
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            for byte in CONTENT[:50]:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.02)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT if self.path == "/model" else CONTENT[::-1])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine, which is let through; the cache is the test's own."""
    Server.asked, Server.sent = [], 0
    monkeypatch.setattr(data_files, "cache_folder", lambda: tmp_path / "cache")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    real = weights._refuse_private
    here = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(
        weights, "_refuse_private", lambda url: None if url.startswith(here) else real(url)
    )
    yield here
    server.shutdown()
    server.server_close()


def kept(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_the_right_file_is_fetched_once(address: str, tmp_path: Path) -> None:
    for _ in range(2):
        path = weights.fetch(f"{address}/model", SHA256, len(CONTENT))
        assert path.read_bytes() == CONTENT
    assert Server.asked == ["/model"]
    assert kept(tmp_path) == [f"{SHA256}.onnx"]


@pytest.mark.parametrize(
    ("path", "size", "told"),
    [
        ("/other", len(CONTENT), "its SHA-256 is"),
        ("/model", len(CONTENT) - 1, "more than the announced"),
        ("/model", len(CONTENT) + 1, "bytes, not"),
        ("/endless", 10**6, "more than the announced"),
        ("/missing", 10, "answered 404"),
        ("/to/file:///etc/passwd", 10, "is not a web address"),
        ("/to/http://169.254.169.254/latest", 10, "is not a public address"),
        ("/to//to//to//to//to//to//to//to//model", 10, "redirections"),
    ],
)
def test_what_is_not_as_announced_is_refused_and_not_kept(
    address: str, tmp_path: Path, path: str, size: int, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        weights.fetch(address + path, SHA256, size)
    assert kept(tmp_path) == []
    assert Server.sent < 50 * 2**20


def test_a_redirection_is_followed(address: str) -> None:
    path = weights.fetch(f"{address}/to//model", SHA256, len(CONTENT))
    assert path.read_bytes() == CONTENT


def test_an_answer_that_trickles_is_given_up(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "LONGEST", 0.1)
    monkeypatch.setattr(weights, "_CHUNK", 1)
    with pytest.raises(InputError, match="took more than"):
        weights.fetch(f"{address}/slow", SHA256, len(CONTENT))


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "10.0.0.1", "192.168.1.1", "169.254.169.254", "0"]
)
def test_addresses_of_private_networks_are_never_asked(host: str) -> None:
    with pytest.raises(InputError, match="not a public address"):
        weights.fetch(f"http://{host}/model", SHA256, 10)
