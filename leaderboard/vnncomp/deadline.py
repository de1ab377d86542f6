"""Answers by a deadline: verification in a process of its own, which is killed when time is up.

Bounds are computed in long calls that nothing can interrupt from inside, and a process that runs
out of memory must not take the others' answers with it.
"""

import multiprocessing
import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Self

from leaderboard.common.errors import BugError, InputError
from leaderboard.common.processes import end_with_parent, interrupts_held_back
from leaderboard.vnncomp.instance import Answer, Instance, Word

REPORTING = 0.2
"""Seconds kept for handing over an answer, where the process keeps to its time by itself."""


DIED = Answer(Word.ERROR, note="the process that verified it was ended, perhaps for want of memory")


class Verifier:
    """A process that answers one instance after the other; started when it is needed."""

    def __init__(self) -> None:
        self._process: SpawnProcess | None = None
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

    def _start(self) -> Connection:
        if self._connection is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
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


def _serve(connection: Connection) -> None:
    """Answer what is asked until the parent has gone."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    from leaderboard.common.memory import keep_freed_memory
    from leaderboard.vnncomp.verify import verify

    keep_freed_memory()
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
