"""Commands about foreign models, run in a process that can do little harm.

A model is data, and none of it is executed as code; but the libraries that parse and run it are
large. So its evaluation gets a process of its own: limits of memory, time, files and processes
from the system (`setrlimit`), and, where the machine offers it, no network, no view of other
processes, a file system that can only be read, nothing of the user and no service that listens on
a socket among the files, from bubblewrap, or the first two from `unshare`. What a machine does not
offer is told (`Walls.missing`).
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from leaderboard.common.errors import InputError
from leaderboard.datasets import files
from leaderboard.submissions import weights

OFF, BEST, REQUIRED = "off", "best", "required"
"""What `--sandbox` may be: no walls, those that there are here, or nothing without all of them."""
_PROBE_SECONDS = 10
_TRIES = 3
"""Times that walls are built: a socket that is to be covered may vanish meanwhile."""
_LONGEST_STATUS = 10_000
_KILLED = (signal.SIGKILL, signal.SIGXCPU, signal.SIGXFSZ)


@dataclass(frozen=True)
class Limits:
    """What a confined process may use.

    Attributes:
        megabytes: of memory.
        seconds: of the clock; of processor time as much on every core.
        file_megabytes: of the largest file it writes.
        processes: and threads, beside those that its user has.
    """

    megabytes: int = 16_000
    seconds: float = 6 * 3600
    file_megabytes: int = 1_000
    processes: int = 1_000


@dataclass(frozen=True)
class Walls:
    """What keeps a process from the rest of the machine: a command's prefix, and what is missing.

    `prefix` is without the folder that may be written to, which `command` adds.
    """

    name: str
    missing: tuple[str, ...]

    def command(self, inner: Sequence[str], writable: Path) -> list[str]:
        """Return the command that runs `inner` behind these walls."""
        if self.name == "bubblewrap":
            place = str(writable.resolve())
            return [
                *("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
                *_covered(),
                *("--bind", place, place),
                *("--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
                *("--die-with-parent", "--new-session", "--", *inner),
            ]
        if self.name == "unshare":
            alone = ("--map-root-user", "--net", "--pid", "--ipc", "--fork", "--kill-child")
            return ["unshare", *alone, "--", *inner]
        return list(inner)


_ALL = ("the network", "other processes", "files that it may write")
_CANDIDATES = (Walls("bubblewrap", ()), Walls("unshare", _ALL[2:]))
_OPEN = Walls("limits only", _ALL)


_FOLDERS = files.VARIABLE, weights.VARIABLE
_OF_SERVICES = Path("/run"), Path("/var/run"), Path("/var/tmp")
"""Where sockets lie. To connect to one nothing is written: Docker's makes its user root."""
_SOCKETS = Path("/proc/net/unix")


def _covered() -> tuple[str, ...]:
    """Cover the folders of temporary files, services and the user, but for what is needed of them.

    Needed are the checkout, the interpreter, what is installed, the data and the models. A user's
    folder holds keys and passwords, which a parser that is taken over could write into its rows.
    """
    own = Path(tempfile.gettempdir()), Path.home()
    folders = {one.resolve() for one in (*own, *_OF_SERVICES) if one.is_dir()}
    hidden = sorted(folders - {Path("/")})
    needed = [str(Path.cwd()), str(Path(__file__).parents[2]), sys.prefix, sys.base_prefix]
    needed += [*sys.path, str(files.cache_folder())]
    needed += [folder for name in _FOLDERS if (folder := os.environ.get(name))]
    places = {Path(one).resolve() for one in needed if one}
    below = sorted(one for one in places if one.exists() and _is_below(one, hidden))
    # What is covered needs no cover of its own.
    sockets = [one for one in _sockets() if _is_below(one, below) or not _is_below(one, hidden)]
    return (
        *(part for folder in hidden for part in ("--tmpfs", str(folder))),
        *(part for one in below for part in ("--ro-bind", str(one), str(one))),
        *(part for one in sockets for part in ("--ro-bind", "/dev/null", str(one))),
    )


def _is_below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _sockets() -> list[Path]:
    """List the sockets among the files that something listens on now.

    One that was bound by a relative path is looked for where its processes are now.
    """
    try:
        lines = _SOCKETS.read_text("utf-8", "surrogateescape").splitlines()[1:]
    except OSError:
        return []
    named = {tuple(fields[6:]) for line in lines if len(fields := line.split(maxsplit=7)) == 8}
    found = {Path(name) for _, name in named if name.startswith("/")}
    # Names that begin with an @ are of no file.
    relative = {f"socket:[{inode}]": name for inode, name in named if name[0] not in "/@"}
    found |= {folder / relative[inode] for inode, folder in _holders(relative)}
    return sorted(one for one in found if _is_socket(one))


def _holders(sockets: Collection[str]) -> Iterator[tuple[str, Path]]:
    """Yield the working folders of the processes that hold some sockets, as far as we may know."""
    held = Path("/proc").glob("[0-9]*/fd/*") if sockets else ()
    for one in held:
        # Processes come and go meanwhile.
        with suppress(OSError):
            if (inode := str(one.readlink())) in sockets:
                yield inode, (one.parents[1] / "cwd").readlink()


def _is_socket(path: Path) -> bool:
    try:
        return path.is_socket()
    except OSError:
        return False


@cache
def walls() -> Walls:
    """Find the strongest walls that work on this machine; they are tried once."""
    for candidate in _CANDIDATES:
        if any(_works(candidate) for _ in range(_TRIES)):
            return candidate
    return _OPEN


def _works(candidate: Walls) -> bool:
    command = candidate.command([sys.executable, "-c", ""], Path(tempfile.gettempdir()))
    if shutil.which(command[0]) is None:
        return False
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@dataclass(frozen=True)
class Outcome:
    """How a confined command ended.

    Attributes:
        code: its exit code; None where it was ended.
        problem: why it was ended, in a few words; empty where it was not.
    """

    code: int | None
    problem: str


def run_confined(arguments: Sequence[str], limits: Limits, writable: Path) -> Outcome:
    """Run `certboard` with these arguments behind the walls, within the limits.

    Args:
        arguments: of the command line.
        limits: beyond which the process is ended.
        writable: the only folder that it may change, where the walls hold that.
    """
    told = [str(limits.megabytes), str(limits.seconds), str(limits.file_megabytes)]
    told.append(str(limits.processes))
    inner = [sys.executable, "-m", "leaderboard.confined", *told, *arguments]
    for _ in range(_TRIES):
        outcome, began = _tried(inner, limits.seconds, writable)
        if began:
            break
    return outcome


def _tried(inner: Sequence[str], seconds: float, writable: Path) -> tuple[Outcome, bool]:
    """How a command ended behind the walls, and whether it began: whether they could be built."""
    status, telling = os.pipe()
    command = walls().command(inner, writable)
    bubblewrap = walls().name == "bubblewrap"
    if bubblewrap:
        # Where the code of `inner` is told if its walls were built.
        command[1:1] = ["--json-status-fd", str(telling)]
    try:
        process = subprocess.Popen(
            command,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(telling,) if bubblewrap else (),
        )
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return Outcome(None, f"it took more than {seconds:g} seconds"), True
        except BaseException:
            _end(process)
            raise
        os.set_blocking(status, False)
        with suppress(BlockingIOError):
            bubblewrap &= b'"exit-code"' not in os.read(status, _LONGEST_STATUS)
        return _outcome(process.returncode), not bubblewrap
    finally:
        os.close(status)
        os.close(telling)


_KEPT = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "TERM", "COLUMNS", "NO_COLOR", "VIRTUAL_ENV")
_KEPT_STARTS = ("CERTBOARD_", "PYTHON", "LC_", "OMP_", "MKL_", "CUDA_", "NVIDIA_", "RAY_", "XDG_")


def environment() -> dict[str, str]:
    """Return the variables that a confined process sees: what it needs, and nobody's token."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(_KEPT_STARTS)
    }


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _outcome(code: int) -> Outcome:
    # A shell and the walls report a signal as 128 more than its number.
    number = -code if code < 0 else code - 128
    if number in {int(one) for one in signal.Signals}:
        name = signal.Signals(number).name
        why = "a limit of the sandbox" if number in _KILLED else "a crash"
        return Outcome(None, f"it was ended by {name}: {why}")
    return Outcome(code, "")


def confine(limits: Limits) -> None:
    """Put the limits on this process and all that it will start."""
    bounds = {
        # Not the address space: libraries map far more than they use.
        resource.RLIMIT_DATA: limits.megabytes * 2**20,
        resource.RLIMIT_CPU: int(limits.seconds * (os.cpu_count() or 1)) + 1,
        resource.RLIMIT_FSIZE: limits.file_megabytes * 2**20,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 1024,
        resource.RLIMIT_NPROC: limits.processes + _threads_of_user(),
    }
    for kind, bound in bounds.items():
        _, hard = resource.getrlimit(kind)
        most = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (most, most))


def _threads_of_user() -> int:
    """Threads that this user has now: the system counts them all against the limit."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid == os.getuid():
                total += len(list((folder / "task").iterdir()))
        except OSError:
            continue
    return total


def require_walls(wanted: str) -> Walls:
    """Find the walls for the option `--sandbox`.

    Raises:
        InputError: `wanted` is `required`, and this machine has only some of them.
    """
    found = walls()
    if wanted == REQUIRED and found.missing:
        raise InputError(
            f"--sandbox required: this machine has {found.name}, which does not protect"
            f" {', '.join(found.missing)}. Install bubblewrap, or use --sandbox best."
        )
    return found


def check_sandbox(choice: str) -> None:
    """Refuse a word that `--sandbox` does not know.

    Raises:
        InputError: it is refused.
    """
    if choice not in (OFF, BEST, REQUIRED):
        raise InputError(f"--sandbox is '{choice}'; it must be {OFF}, {BEST}, {REQUIRED}.")
