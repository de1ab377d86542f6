"""A Ray cluster of two nodes on this machine, one of which is lost while shards are computed."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.datasets import catalogue
from leaderboard.datasets.catalogue import lend, load_split
from leaderboard.datasets.files import VARIABLE
from leaderboard.datasets.split import ArraySplit
from leaderboard.evaluation import workers
from leaderboard.evaluation.executors import cluster, node
from leaderboard.evaluation.executors.cluster import gpus_of
from leaderboard.evaluation.workers import run_shards
from leaderboard.results.store import read
from tests.fixtures.project import L2, LINF, NOISY, PLAIN
from tests.fixtures.shards import deadly, labelled, shards_about
from tests.leaderboard.conftest import Certboard

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Two nodes with a core each, to which this process is connected; the second can be lost."""
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # Workers would else wait for everything that runs beside them.
        patch.setenv("RAY_worker_niceness", "0")
        one = {"num_cpus": 1, "include_dashboard": False}
        made = Cluster(initialize_head=True, head_node_args=one)
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        lost = made.add_node(num_cpus=1)
    yield made, lost
    ray.shutdown()
    made.shutdown()


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
class TestCluster:
    @pytest.mark.parametrize(("slug", "setting"), [(PLAIN, LINF), (NOISY, L2)])
    def test_ray_changes_no_row(
        self, nodes: Any, project: Project, certboard: Certboard, slug: str, setting: str
    ) -> None:
        typed = ("run", slug, "--setting", setting, "--examples", "150", "--fresh", "--workers")
        found = []
        for count in ("1", "ray"):
            assert certboard(*typed, count).code == 0
            rows = read(project.results / setting / f"{slug}.parquet").rows
            found.append(rows.drop(columns=["seconds", "margin"]))
        assert found[0].equals(found[1])

    def test_killed_workers_and_a_lost_node_lose_nothing_but_the_shard_that_kills(
        self, nodes: Any, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made, lost = nodes
        monkeypatch.setattr(workers, "evaluate", deadly)
        monkeypatch.setattr(cluster, "TRIES", 3)
        done = list[int]()

        def gather() -> None:
            for shard, _ in run_shards(shards_about(project, 8), "ray"):
                done.extend(shard.examples)
                if len(done) == 4:
                    made.remove_node(lost, allow_graceful=False)

        with pytest.raises(InputError) as told:
            gather()
        assert sorted(done) == [0, 1, 2, *range(4, 8)]
        first, _ = told.value.problems
        assert first.startswith("example 3 of plain/model.onnx: not measured in 3 tries: its Ray")

    def test_data_travel_to_a_node_without_them(
        self, nodes: Any, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As large as MNIST is, and on no machine but in this process."""
        monkeypatch.setattr(workers, "evaluate", labelled)
        made = ArraySplit(np.zeros((10_000, 1, 28, 28), np.uint8), np.arange(10_000) % 7)
        monkeypatch.setattr(catalogue, "_lent", {})
        monkeypatch.setenv(VARIABLE, "nowhere")
        lend("mnist", made)
        node._digest.cache_clear()
        try:
            shards = [
                replace(shard, question=replace(shard.question, dataset="mnist"))
                for shard in shards_about(project, 8)
            ]
            found = {shard.examples: rows for shard, rows in run_shards(shards, "ray")}
            assert {first: rows["label"][0] for (first,), rows in found.items()} == {
                number: number % 7 for number in range(8)
            }
        finally:
            load_split.cache_clear()
            node._digest.cache_clear()


@needs_ray
def test_a_cluster_that_does_not_answer_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"The Ray cluster 127\.0\.0\.1:1 cannot be reached"):
        cluster._reach("127.0.0.1:1")


@pytest.mark.parametrize(
    ("device", "count"), [("cpu", 0), ("cuda", 1), ("cuda:1", 1), ("cuda:0,cuda:1", 2)]
)
def test_a_shard_asks_for_as_many_gpus_as_were_typed(device: str, count: int) -> None:
    assert gpus_of(device) == count


class Asked:
    """What stands for Ray, and for what is run there: it keeps what it is asked for."""

    cloudpickle = type("", (), {"dumps": staticmethod(lambda task: task)})
    put = staticmethod(lambda content: content)

    def __init__(self) -> None:
        self.said: list[Any] = []

    def options(self, **options: Any) -> "Asked":
        self.said.append(options)
        return self

    def remote(self, *given: Any) -> None:
        self.said += given


def test_what_a_shard_asks_ray_for(project: Project) -> None:
    """The devices of a task are numbered by Ray, from 0."""
    asked = Asked()
    (shard,) = shards_about(project, 1, "cuda:1,cuda:3")
    cluster._begin(Asked, asked, shard, deadly, cluster._Stored())
    options, task, _, data = asked.said
    assert data == [load_split("digits")]
    assert options == {"num_cpus": 1, "num_gpus": 2, "max_retries": 0}
    assert task.shard.question.device == "cuda"


def test_the_same_model_in_two_submissions_travels_to_the_place_of_each(project: Project) -> None:
    asked, stored = Asked(), cluster._Stored()
    (one,) = shards_about(project, 1)
    copy = project.submissions / "copy.onnx"
    copy.write_bytes(one.question.model.read_bytes())
    other = replace(one, question=replace(one.question, model=copy))
    for shard in (one, other, one):
        cluster._begin(Asked, asked, shard, deadly, stored)
        assert asked.said[-2] == {shard.question.model: copy.read_bytes()}
    assert (len(stored.models), len(stored.data)) == (2, 1)
