import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.evaluation.plan import Request
from leaderboard.evaluation.run import chosen_pairs
from leaderboard.intake import confinement, sandbox
from leaderboard.intake.sandbox import (
    Limits,
    Outcome,
    Walls,
    require_walls,
    run_confined,
    walls,
)
from leaderboard.results.store import read, results_path
from tests.fixtures.effort import first_alone
from tests.fixtures.project import CHECKOUT, LINF, PLAIN, digest
from tests.leaderboard.conftest import Certboard

needs_walls = pytest.mark.skipif(
    walls().name == "limits only", reason="this machine has neither bubblewrap nor unshare"
)
needs_files = pytest.mark.skipif(
    bool(walls().missing), reason="this machine has no bubblewrap, which keeps files from change"
)


def inside(
    code: str, writable: Path, limits: Limits | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python behind the walls, and within limits if some are given."""
    told = f"from leaderboard.intake.sandbox import *; confine({limits!r})\n" if limits else ""
    command = [sys.executable, "-c", told + code]
    return subprocess.run(
        walls().command(command, writable),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )


@needs_walls
def test_a_confined_process_reaches_no_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
        found = inside(code, tmp_path)
    assert found.returncode != 0
    assert "Error" in found.stderr


@needs_walls
def test_a_confined_process_sees_no_other(tmp_path: Path) -> None:
    code = "import os; print(os.getpid())"
    assert int(inside(code, tmp_path).stdout) < 100


@needs_files
def test_a_confined_process_writes_to_its_folder_only(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    inside(f"open({str(own / 'x')!r}, 'w').write('x')", own)
    assert (own / "x").exists()
    for target in (other / "x", CHECKOUT / "README.md", Path.home() / "certboard-test"):
        before = target.read_bytes() if target.exists() else None
        inside(f"open({str(target)!r}, 'a').write('x')", own)
        assert (target.read_bytes() if target.exists() else None) == before


@needs_files
def test_a_confined_process_reads_nothing_of_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, own = tmp_path / "home", tmp_path / "own"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "key").write_text("secret")
    own.mkdir()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    code = f"print(open({str(home / '.ssh' / 'key')!r}).read())"
    assert inside(code, own).stdout == "secret\n"
    monkeypatch.setenv("HOME", str(home))
    assert inside(code, own).stdout == ""


@needs_files
def test_a_confined_process_reaches_no_service_by_a_socket_among_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Docker's, which would start a process of root outside of all walls."""
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as service:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # what lies elsewhere is seen
        place = f"{Path(short).resolve()}/service"
        service.bind(place)
        service.listen()
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({place!r})"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
        found = inside(code, tmp_path)
    assert "ConnectionRefusedError" in found.stderr
    command = walls().command([], tmp_path)
    assert command[command.index("/run") - 1] == "--tmpfs"


@needs_files
def test_a_socket_bound_by_a_relative_path_is_covered_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as service:
        service.bind("service")
        service.listen()
        assert tmp_path.resolve() / "service" in sandbox._sockets()


@needs_files
def test_a_socket_that_vanishes_before_it_is_covered_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_with(0, tmp_path, monkeypatch)
    gone = [[Path("/usr/gone")], [], [Path("/usr/gone")], []]
    monkeypatch.setattr(sandbox, "_sockets", lambda: gone.pop(0))
    walls.cache_clear()
    assert walls().name == "bubblewrap"
    assert run_confined([], Limits(), tmp_path) == Outcome(0, "")
    assert gone == []


def ends_with(code: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program in the place of Python that ends at once."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setattr("leaderboard.intake.sandbox.sys.executable", str(program))


@needs_files
def test_a_command_that_fails_behind_its_walls_is_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[list[Path]] = [[], []]
    monkeypatch.setattr(sandbox, "_sockets", lambda: listed.pop())
    ends_with(2, tmp_path, monkeypatch)
    assert run_confined([], Limits(), tmp_path).code == 2
    assert len(listed) == 1


def test_memory_is_limited(tmp_path: Path) -> None:
    code = "x = bytearray(800 * 2**20)"
    assert inside(code, tmp_path).returncode == 0
    found = inside(code, tmp_path, Limits(megabytes=400))
    assert "MemoryError" in found.stderr


def test_files_are_limited_in_size(tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'x')!r}, 'wb').write(bytes(3 * 2**20))"
    assert inside(code, tmp_path, Limits(file_megabytes=1)).returncode != 0
    assert (tmp_path / "x").stat().st_size <= 2**20


def confined(command: str, writable: Path) -> subprocess.CompletedProcess[str]:
    """A confined process whose command line does something else."""
    code = (
        "from leaderboard import __main__, confined\n"
        f"def command(_):\n    {command}\n"
        "__main__._run = command\n"
        "confined.main(['1000', '60', '10', '100'])"
    )
    return inside(code, writable)


@pytest.mark.parametrize(
    "command",
    first_alone(["bytearray(2**31)", "import torch; torch.empty(2**29)"]),
    ids=["Python", "PyTorch"],
)
def test_too_much_memory_is_told_as_such(tmp_path: Path, command: str) -> None:
    found = confined(command, tmp_path)
    assert found.returncode == 1
    assert found.stderr.endswith(
        "certboard: there is not enough memory for this; what was finished is kept.\n"
    )


def test_a_contradiction_behind_the_walls_has_its_own_exit_code(tmp_path: Path) -> None:
    command = (
        "from leaderboard.common.errors import BugError; raise BugError('one says yes, one no')"
    )
    found = confined(command, tmp_path)
    assert found.returncode == 3
    assert "contradiction: one says yes, one no" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_confined_process_sees_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "seen"
    for name in ("GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("CERTBOARD_DATA", "/data")
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nenv > {seen}\n")
    program.chmod(0o755)
    monkeypatch.setattr("leaderboard.intake.sandbox.sys.executable", str(program))
    monkeypatch.setattr(sandbox, "walls", lambda: Walls("limits only", ()))
    assert run_confined(["list"], Limits(), tmp_path).code == 0
    told = seen.read_text()
    assert "secret" not in told
    assert "CERTBOARD_DATA=/data" in told


def test_too_much_time_ends_it_and_is_told(tmp_path: Path) -> None:
    outcome = run_confined(["list", "settings"], Limits(seconds=0.05), tmp_path)
    assert outcome.code is None
    assert "more than 0.05 seconds" in outcome.problem


@pytest.mark.parametrize("code", [-signal.SIGSEGV, 128 + signal.SIGSEGV])
def test_a_crash_is_told_as_such(code: int) -> None:
    outcome = sandbox._outcome(code)
    assert outcome.code is None
    assert "SIGSEGV: a crash" in outcome.problem


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_exit_codes_of_the_command_are_no_crash(code: int) -> None:
    assert sandbox._outcome(code) == sandbox.Outcome(code, "")


def test_required_walls_that_are_missing_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    weak = Walls("unshare", ("files that it may write",))
    monkeypatch.setattr(sandbox, "walls", lambda: weak)
    assert require_walls("best") is weak
    with pytest.raises(InputError, match="does not protect files that it may write"):
        require_walls("required")


@pytest.mark.slow
def test_a_confined_run_stores_what_an_open_one_does(
    project: Project, certboard: Certboard
) -> None:
    path = results_path(project, LINF, PLAIN)
    typed = ("run", PLAIN, "--setting", LINF, "--examples", "5")
    assert certboard(*typed).code == 0
    plain = read(path).rows.drop(columns="seconds")
    path.unlink()
    assert certboard(*typed, "--sandbox", "best").code == 0
    assert read(path).rows.drop(columns="seconds").equals(plain)
    again = certboard(*typed, "--sandbox", "best")
    assert again.code == 0
    assert "5 verdicts" in again.out


@pytest.mark.slow
def test_a_model_that_cannot_be_read_costs_its_own_rows_only(
    project: Project, certboard: Certboard
) -> None:
    folder = project.submissions / "broken"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"\x08\x09broken")
    manifest = (project.submissions / PLAIN / "submission.toml").read_text()
    old, new = digest(project.submissions / PLAIN / "model.onnx"), digest(folder / "model.onnx")
    (folder / "submission.toml").write_text(manifest.replace(old, new))
    typed = ("run", "broken", PLAIN, "--setting", LINF, "--examples", "3", "--sandbox", "best")
    outcome = certboard(*typed)
    assert outcome.code == 1
    assert "broken: the evaluation was refused" in outcome.err
    assert len(read(results_path(project, LINF, PLAIN)).rows) == 3
    assert not results_path(project, LINF, "broken").exists()


def test_check_takes_the_same_walls(project: Project, certboard: Certboard) -> None:
    assert certboard("check", PLAIN, "--sandbox", "best").code == 0
    assert certboard("check", PLAIN, "--sandbox", "bets").code == 1


def test_a_run_that_leaves_results_out_is_one_sentence(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = Walls("none", ())
    monkeypatch.setattr(confinement, "require_walls", lambda _: bare)
    monkeypatch.setattr(confinement, "run_confined", lambda *_, **__: Outcome(0, ""))
    pairs = chosen_pairs(project, [PLAIN], [])
    with pytest.raises(InputError, match=rf"{PLAIN}: 0 of {len(pairs)} results came back"):
        confinement.run_all_confined(project, pairs, Request(), workers="1", sandbox="best")
