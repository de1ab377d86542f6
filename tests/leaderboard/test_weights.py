"""Weights from a stranger's address: no byte more than announced, and none of another content."""

import hashlib
import io
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from leaderboard.common.errors import InputError
from leaderboard.datasets import files
from leaderboard.submissions import weights

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    asked: list[str]
    hosts: list[str]
    sent: int
    heard_out = False
    given_up = threading.Event()

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        type(self).hosts.append(self.headers["Host"])
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
        elif self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:100])
        elif self.path == "/pieces":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"a\r\n0123456789\r\nzz\r\n")
        elif self.path.startswith("/slow"):
            if self.path == "/slow":
                self.send_response(200)
                self.end_headers()
            for byte in b"HTTP/1.1 200 " + bytes(1000):
                with suppress(OSError):
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                if type(self).given_up.wait(0.02):
                    break
            else:
                type(self).heard_out = True
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT if self.path == "/model" else CONTENT[::-1])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine, which is let through; the cache is the test's own."""
    Server.asked, Server.hosts, Server.sent, Server.heard_out = [], [], 0, False
    Server.given_up.clear()
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    real, here = weights._is_public, "127.0.0.1"
    monkeypatch.setattr(weights, "_is_public", lambda text: text == here or real(text))
    yield f"http://{here}:{server.server_port}"
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
        ("/model", len(CONTENT) - 1, "more than"),
        ("/model", len(CONTENT) + 1, "bytes, not"),
        ("/endless", 10**6, "more than"),
        ("/missing", 10, "answered 404"),
        ("/cut", len(CONTENT), "no answer"),
        ("/pieces", len(CONTENT), "no answer"),
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


@pytest.mark.parametrize("target", ["http://example.com/model", "ftp://example.com/model"])
def test_no_redirection_leaves_https(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(url: str) -> requests.Response:
        asked.append(url)
        reply = requests.Response()
        reply.raw = io.BytesIO()
        reply.status_code, reply.headers["Location"] = 302, target
        return reply

    monkeypatch.setattr(weights, "_ask", ask)
    with pytest.raises(InputError, match="leads from https to"):
        weights.fetch("https://example.com/start", SHA256, len(CONTENT))
    assert asked == ["https://example.com/start"]


@pytest.mark.parametrize("path", ["/slow", "/slow-head"])
def test_an_answer_that_trickles_is_given_up(
    address: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then is no silence: neither in the content nor in what comes before it."""
    monkeypatch.setattr(weights, "LONGEST", 0.1)
    with pytest.raises(InputError, match="took more than"):
        weights.fetch(address + path, SHA256, len(CONTENT))
    Server.given_up.set()
    assert not Server.heard_out


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "10.0.0.1", "192.168.1.1", "169.254.169.254", "0"]
)
def test_addresses_of_private_networks_are_never_asked(host: str) -> None:
    with pytest.raises(InputError, match="not a public address"):
        weights.fetch(f"http://{host}/model", SHA256, 10)


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.1.1"),
        *("::1", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "ff02::1"),
        *("64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::1", "2001:0:1:2:3:4:5:6"),
    ],
)
def test_no_form_of_a_private_address_is_public(text: str) -> None:
    assert not weights._is_public(text)


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are(text: str) -> None:
    assert weights._is_public(text)


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """What looking a name up answers, in turn; who was asked for."""
    asked: list[str] = []
    told = iter(answers)

    def look_up(host: str, port: int, *_: object, **__: object) -> list[object]:
        # The library asks for the address that it is given, too.
        if host.replace(".", "").isdigit():
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in next(told)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_a_name_is_looked_up_once_and_its_address_is_the_one_connected_to(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that says another address a moment later gains nothing."""
    asked = names(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
    port = address.rpartition(":")[2]
    path = weights.fetch(f"http://rebinding.example:{port}/model", SHA256, len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert asked == ["rebinding.example"]
    assert Server.hosts == [f"rebinding.example:{port}"]


def test_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(InputError, match="not a public address"):
        weights.fetch("https://mixed.example/model", SHA256, 10)


def test_a_redirection_is_looked_up_and_checked_like_the_first(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, ["127.0.0.1"], ["192.168.0.1"])
    port = address.rpartition(":")[2]
    with pytest.raises(InputError, match=r"inner\.example is not a public address"):
        weights.fetch(f"http://outer.example:{port}/to/http://inner.example/", SHA256, 10)


def test_a_proxy_of_this_machine_is_not_asked(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would look the name up again."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert weights.fetch(f"{address}/model", SHA256, len(CONTENT)).is_file()


@pytest.mark.parametrize("name", ["model.example", "other.example"])
def test_the_certificate_is_that_of_the_name_not_of_the_address(
    name: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=model.example", "-addext", "subjectAltName=DNS:model.example"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    names(monkeypatch, ["127.0.0.1"])
    real = requests.Session.__init__

    def trusting(session: requests.Session) -> None:
        real(session)
        session.verify = str(certificate)

    monkeypatch.setattr(requests.Session, "__init__", trusting)
    url = f"https://{name}:{server.server_port}/model"
    try:
        if name == "model.example":
            assert weights.fetch(url, SHA256, len(CONTENT)).read_bytes() == CONTENT
        else:
            with pytest.raises(InputError, match="SSLError"):
                weights.fetch(url, SHA256, len(CONTENT))
    finally:
        server.shutdown()
        server.server_close()
