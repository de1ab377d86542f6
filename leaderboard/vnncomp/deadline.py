"""Answers by a deadline: verification in a process of its own, which is killed when time is up.

Bounds are computed in long calls that nothing can interrupt from inside, and a process that runs
out of memory must not take the others' answers with it.
"""

import multiprocessing
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

from leaderboard.common.errors import BugError, InputError
from leaderboard.common.memory import Budget, chosen, use
from leaderboard.common.processes import end_with_parent, interrupts_held_back
from leaderboard.vnncomp.instance import Answer, Instance, Word

REPORTING = 0.2
"""Seconds kept for handing over an answer, where the process keeps to its time by itself."""

IMPORTED = ["torch", "onnxruntime", "onnx", "scipy.sparse", "scipy.special", "scipy.optimize"]
"""What takes long to import: nearly all of the time that the process takes to start."""

DIED = Answer(Word.ERROR, note="the process that verified it was ended, perhaps for want of memory")


class Verifier:
    """A process that answers one instance after the other; started when it is needed.

    Args:
        restarts: whether it will be started more than once: it is then forked from another, which
            has imported `IMPORTED` and waits, so that it is there again at once when it was ended.
    """

    def __init__(self, restarts: bool = False) -> None:
        self._forks = restarts and "forkserver" in multiprocessing.get_all_start_methods()
        self._starting = False
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def ask(self, instance: Instance, deadline: float) -> Answer:
        """The answer to an instance, if it comes before `deadline`.

        A deadline is a time on the monotonic clock, which all processes share.

        Raises:
            InputError: the files cannot be used.
            BugError: two evaluators contradict each other, or something nobody foresaw.
        """
        connection = self._start()
        try:
            if self._starting:
                if not connection.poll(max(0.0, deadline - time.monotonic())):
                    self.stop()
                    return Answer(Word.TIMEOUT)
                self.ready()
            connection.send((instance, deadline - REPORTING))
            if not connection.poll(max(0.0, deadline - time.monotonic())):
                self.stop()
                return Answer(Word.TIMEOUT)
            answer = connection.recv()
        except (EOFError, OSError):
            self.stop()
            return DIED
        if isinstance(answer, Exception):
            raise answer
        result: Answer = answer
        return result

    def ready(self) -> None:
        """Wait until the process can be asked: its start is no instance's time."""
        connection = self._start()
        if self._starting:
            # One that has ended instead says so when it is asked.
            with suppress(EOFError, OSError):
                connection.recv()
            self._starting = False

    def _start(self) -> Connection:
        if self._connection is None:
            forking = multiprocessing.get_context("forkserver")
            forking.set_forkserver_preload(IMPORTED)
            context = forking if self._forks else multiprocessing.get_context("spawn")
            self._starting = True
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs, chosen()), daemon=True)
            with interrupts_held_back():
                self._process.start()
            theirs.close()
        return self._connection

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None and self._connection is not None:
            self._connection.close()
            self._process.kill()
            self._process.join()
        self._process = self._connection = None


def _serve(connection: Connection, total: int | None) -> None:
    """Answer what is asked until the parent has gone."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    from leaderboard.common.memory import keep_freed_memory, uncollected

    with uncollected():
        from leaderboard.vnncomp.verify import verify

    keep_freed_memory()
    if total is not None:
        use(Budget(total))
    connection.send(None)
    while True:
        try:
            instance, deadline = connection.recv()
        except EOFError:
            return
        answer: object
        try:
            answer = verify(instance, deadline)
        except (InputError, BugError) as error:
            answer = error
        except MemoryError:
            answer = DIED
        except Exception as error:
            answer = BugError(f"{type(error).__name__}: {error}")
        connection.send(answer)
