"""A Ray cluster that exists, or one started on this machine.

Code and models travel with the work, and data that are held in memory to nodes without them; images
in files of their own do not, and a node that lacks them is named. Ray places the work, spills and
scales; a shard that ends its worker is begun again here, and counted.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from leaderboard.common.errors import BugError, InputError
from leaderboard.common.memory import chosen
from leaderboard.common.progress import tell
from leaderboard.datasets.catalogue import load_split
from leaderboard.datasets.split import ArraySplit
from leaderboard.evaluation.executors.node import Reply, files_of, keep_evidence, task_of
from leaderboard.evaluation.executors.shared import (
    AT_ONCE,
    RAY,
    TRIES,
    Failures,
    Queue,
    Run,
    Work,
    at,
    engine,
    located,
    name_of,
)
from leaderboard.settings.question import Question, Shard

PATIENCE = 60.0
"""Seconds in which a cluster must answer; its head may be busy."""
_KNOCK = 5.0
"""Seconds in which a connection to it must stand."""


def on_ray(left: Queue, work: Work) -> Run:
    """Compute shards on the cluster that `RAY_ADDRESS` names, else on one of this machine.

    Raises:
        InputError: there is no cluster, a node lacks something, or shards ended their workers
            again and again; everything that was yielded is good.
    """
    ray = engine(RAY, "ray")
    with _connected(ray):
        _tell_missing(ray, left)
        failures = Failures(TRIES, "Perhaps memory ran out on the nodes: see Ray's dashboard.")
        yield from _computed(ray, left, work, failures)
        failures.check()


def _computed(ray: Any, left: Queue, work: Work, failures: Failures) -> Run:
    devices = set[str]()
    waiting: dict[Any, Shard] = {}
    remote, stored = ray.remote(_shipped()), _Stored()
    try:
        while left or waiting:
            while left and len(waiting) < AT_ONCE:
                shard = left.popleft()
                waiting[_begin(ray, remote, shard, work, stored)] = shard
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            shard = waiting.pop(done)
            try:
                answer = _answer(ray, done, shard)
            except _EndedError as ended:
                if failures.again(shard, str(ended)):
                    left.append(shard)
                continue
            devices.add(answer.device)
            if len(devices) > 1:
                raise InputError(
                    f"The cluster computed on {' and on '.join(sorted(devices))}: rows of two kinds"
                    " are not mixed. Use nodes of one kind."
                )
            keep_evidence(shard, answer)
            assert answer.rows is not None
            yield shard, answer.rows
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


class _EndedError(Exception):
    """A worker or its node ended before the shard was done."""


@dataclass(frozen=True)
class _Stored:
    """What Ray holds for the nodes: the files of models, and test splits, each once."""

    models: dict[tuple[Path, ...], Any] = field(default_factory=dict)
    data: dict[str, list[Any]] = field(default_factory=dict)

    def models_of(self, ray: Any, question: Question) -> Any:
        """The files of a model.

        Nodes look them up by their places, of which two submissions of the same model have two.
        """
        key = tuple(files_of(question))
        if key not in self.models:
            self.models[key] = ray.put({path: path.read_bytes() for path in key})
        return self.models[key]

    def data_of(self, ray: Any, question: Question) -> list[Any]:
        """The test split; nothing where that is images in files, which only their folder has.

        In a list, for Ray brings to a node what is no argument itself only when it is asked for.
        """
        name = question.dataset
        if name not in self.data:
            split = load_split(name)
            self.data[name] = [ray.put(split)] if isinstance(split, ArraySplit) else []
        return self.data[name]


def _begin(ray: Any, remote: Any, shard: Shard, work: Work, stored: _Stored) -> Any:
    """Hand a shard to Ray, with what nodes need for it."""
    models, data = stored.models_of(ray, shard.question), stored.data_of(ray, shard.question)
    needed = gpus_of(shard.question.device)
    if needed:  # Ray shows a task its own devices only.
        shard = replace(shard, question=replace(shard.question, device="cuda"))
    options = {"num_cpus": 1, "num_gpus": needed, "max_retries": 0}
    task = ray.cloudpickle.dumps(task_of(work, shard, chosen()))
    return remote.options(**options).remote(task, models, data)


def gpus_of(device: str) -> int:
    """Count the GPUs that one shard needs of a node, by what `--device` says."""
    return 0 if device == "cpu" else len(device.split(","))


def _shipped() -> Any:
    """The function that nodes run; inside another, so that Ray sends it and does not import it."""

    def answer(task: bytes, models: Any, data: Any) -> Any:
        import ray

        node = str(ray.util.get_node_ip_address())
        try:
            from leaderboard.evaluation.executors.node import compute

            sent = (lambda: ray.get(data[0])) if data else None
            return compute(ray.cloudpickle.loads(task), models, node, sent)
        except ImportError as error:
            return f"The node {node} lacks what certboard needs ({error}): install certboard there."

    return answer


def _answer(ray: Any, reference: Any, shard: Shard) -> Reply:
    """What a node answered about a shard, which errors name.

    Raises:
        InputError: it cannot compute anything.
        Exception: what the work itself raised.
        _EndedError: it ended first.
    """
    errors = ray.exceptions
    try:
        answer = ray.get(reference)
    except errors.RuntimeEnvSetupError as error:
        which = f"Ray could not bring certboard to a node for {name_of(shard)}"
        raise InputError(f"{which}: {_first(error)}") from error
    except errors.RayTaskError as error:
        which = f"a Ray task failed at {name_of(shard)}"
        raise BugError(f"{which}: {_first(error.cause)}") from error
    except errors.OutOfMemoryError as error:
        raise _EndedError("its Ray worker was killed, for its node ran out of memory") from error
    except errors.RayError as error:
        raise _EndedError(f"its Ray worker ended ({type(error).__name__})") from error
    if isinstance(answer, str):
        raise InputError(answer, at(shard))
    if answer.error is not None:
        raise located(answer.error, shard)
    assert isinstance(answer, Reply)
    return answer


def _first(error: object) -> str:
    """The last line of a long message: what is above it is where it happened."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


@contextmanager
def _connected(ray: Any) -> Iterator[None]:
    """Be connected to Ray within this context."""
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        options["address"] = "local"  # Ray would else join a cluster that runs here, without code.
    else:
        _reach(address)
        packages = [str(_folder_of(name)) for name in ("evaluators", "leaderboard")]
        options["runtime_env"] = {"py_modules": packages}
    try:
        ray.init(**options)
    except (ConnectionError, TimeoutError, RuntimeError) as error:
        raise _unreachable(address or "of this machine", _first(error)) from error
    try:
        yield
    finally:
        ray.shutdown()


def _folder_of(package: str) -> Path:
    found = find_spec(package)
    assert found is not None
    return Path(next(iter(found.submodule_search_locations or ())))


def _reach(address: str) -> None:
    """Refuse an address at which no Ray answers, for which Ray itself would wait many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return  # `auto` and `local`, which Ray finds by itself
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from None
    if address.startswith("ray://"):
        return
    asked = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        subprocess.run(asked, timeout=PATIENCE, check=True, capture_output=True)
    except subprocess.TimeoutExpired:
        raise _unreachable(address, f"no answer in {PATIENCE:.0f} s") from None
    except subprocess.CalledProcessError:
        raise _unreachable(address, "what answers there is no Ray of this version") from None


def _unreachable(address: str, reason: str) -> InputError:
    return InputError(
        f"The Ray cluster {address} cannot be reached ({reason})."
        " RAY_ADDRESS names it; without it, Ray is started on this machine."
    )


def _tell_missing(ray: Any, shards: Sequence[Shard]) -> None:
    """Say what Ray waits for, if the cluster has no such thing now; it may be scaled up."""
    needed = max(gpus_of(shard.question.device) for shard in shards)
    most = max(node["Resources"].get("GPU", 0) for node in ray.nodes() if node["Alive"])
    if most < needed:
        tell(f"No node of the Ray cluster has {needed} GPUs now: waiting for one that has.")
