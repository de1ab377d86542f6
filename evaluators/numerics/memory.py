"""The memory that a process may use, and the shares of it that caches, batches and searches get.

A budget is about the whole process: what Python and PyTorch take by themselves counts, and so does
freed memory that the allocator keeps. Shares are parts of what is left of it when the first one is
asked for, so that they stay the same from then on; `exhausted` looks at what is used now.
"""

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

KEPT = 0.8
"""Share of the memory that is available which is used: the rest is for what grows between checks,
and for others."""

MOST = 8 * 2**30
"""Bytes that are taken unless more are asked for: every share is then as large as it is useful."""

_UNLIMITED = 2**60
_CGROUPS = Path("/sys/fs/cgroup")


class Budget:
    """A number of bytes for the whole process.

    Args:
        total: the bytes.
        typed: whether somebody asked for it.
    """

    def __init__(self, total: int, typed: bool = True) -> None:
        self.total, self.typed = total, typed

    @cached_property
    def _spare(self) -> int:
        """Bytes that are divided: what was left at first, and a little where nothing was."""
        return max(self.total - resident(), self.total // 8)

    def share(self, part: float) -> int:
        """Bytes of a part of what is divided."""
        return int(self._spare * part)

    @property
    def exhausted(self) -> bool:
        """Whether the process uses more than it may, though all that is free was given back."""
        if resident() <= self.total:
            return False
        give_back()
        return resident() > self.total


_budgets: list[Budget] = []


@contextmanager
def memory(total: int | None) -> Iterator[None]:
    """Within this context the process has a budget of so many bytes; None changes nothing."""
    if total is None:
        yield
        return
    use(Budget(total))
    try:
        yield
    finally:
        _budgets.pop()


def use(own: Budget) -> None:
    """Let the process have this budget from now on."""
    _budgets.append(own)


def chosen() -> int | None:
    """Return the bytes that somebody asked for; None where the machine decides."""
    return _budgets[-1].total if _budgets and _budgets[-1].typed else None


def budget() -> Budget:
    """Return the budget of this process: the one that was set, or what the machine has."""
    if not _budgets:
        use(divided(1))
    return _budgets[-1]


def divided(processes: int) -> Budget:
    """Return the budget of each of so many processes, which share what this one was given."""
    total = chosen()
    if total is None:
        return Budget(available(processes), typed=False)
    return Budget(total // processes)


def limit_device(device: "torch.device") -> None:
    """Let PyTorch take no more of a CUDA device than what was asked for, or is available there.

    Available is what this process holds already, and most of what is free. What does not fit is
    then out of memory, which makes batches smaller, and leaves the device to others who use it.
    """
    if device.type != "cuda":
        return
    import torch

    free, whole = torch.cuda.mem_get_info(device)
    most = torch.cuda.memory_reserved(device) + int(KEPT * free)
    share = min(chosen() or most, whole) / whole
    torch.cuda.set_per_process_memory_fraction(share, device)


def fitting(most: int, size: int, part: float) -> int:
    """How many pieces of `size` bytes fit into a part of the budget: at most `most`, at least 1."""
    return max(1, min(most, budget().share(part) // size))


def exhausted() -> bool:
    """Whether this process uses more memory than it may."""
    return budget().exhausted


def available(processes: int = 1) -> int:
    """Bytes that each of so many processes may use here.

    The machine's available memory, and what its control group has left, are divided among them;
    the limits of a process (`ulimit`) hold for each. At most `MOST`.
    """
    common = min(_machine(), *_groups()) // processes
    return min(MOST, resident() + int(KEPT * max(0, min(common, *_limits()))))


def resident() -> int:
    """Bytes of memory that this process holds, with those that its allocator keeps."""
    held = _status().get("VmRSS")
    if held is None and resource is not None:
        # The most that it has held: elsewhere than on Linux a program is told no more.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        held = peak if sys.platform == "darwin" else peak * 1024
    return held or 0


def give_back() -> None:
    """Let the allocator give back to the system what is free."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _status() -> dict[str, int]:
    """Bytes by name, as Linux tells them of this process; empty elsewhere."""
    return _kilobytes("/proc/self/status")


def _kilobytes(path: str) -> dict[str, int]:
    with suppress(OSError):
        lines = re.findall(r"^(\w+):\s+(\d+) kB$", Path(path).read_text(), re.MULTILINE)
        return {name: int(count) * 1024 for name, count in lines}
    return {}


def _machine() -> int:
    """Bytes that are available on this machine; half of all where it says no more."""
    told = _kilobytes("/proc/meminfo").get("MemAvailable")
    if told is not None:
        return told
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return _UNLIMITED


def _limits() -> Iterator[int]:
    """Bytes that each limit of this process (`ulimit -v`, `ulimit -d`) leaves."""
    yield _UNLIMITED
    if resource is not None:
        used = _status()
        kinds = (resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")
        for kind, name in kinds:
            limit = resource.getrlimit(kind)[0]
            if limit != resource.RLIM_INFINITY:
                yield limit - used.get(name, 0)


def _groups() -> Iterator[int]:
    """Bytes that each control group of this process has left (cgroups 2 and 1)."""
    yield _UNLIMITED
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            root, names = _CGROUPS, ("memory.max", "memory.current")
            if kinds:
                root, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
            if not kinds or "memory" in kinds.split(","):
                folder = root / path.lstrip("/")
                for group in (folder, *folder.parents):
                    if group.is_relative_to(root):
                        yield _left_of(*(group / name for name in names))


def _left_of(limit: Path, used: Path) -> int:
    with suppress(OSError, ValueError):
        return int(limit.read_text()) - int(used.read_text())
    return _UNLIMITED
