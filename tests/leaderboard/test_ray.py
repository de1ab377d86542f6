"""A Ray cluster of two nodes on this machine, one of which is lost while shards are computed."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.evaluation import workers
from leaderboard.evaluation.executors import cluster
from leaderboard.evaluation.executors.cluster import gpus_of
from leaderboard.evaluation.workers import run_shards
from leaderboard.results.store import read
from tests.fixtures.project import L2, LINF, NOISY, PLAIN
from tests.fixtures.shards import deadly, shards_about
from tests.leaderboard.conftest import Certboard

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Two nodes with a core each, to which this process is connected; the second can be lost."""
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    lost = made.add_node(num_cpus=1)
    yield made, lost
    ray.shutdown()
    made.shutdown()  # type: ignore[no-untyped-call]


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

    def test_a_node_without_the_data_is_named(
        self, nodes: Any, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(workers, "evaluate", deadly)
        (shard,) = shards_about(project, 1)
        shard = replace(shard, question=replace(shard.question, dataset="imagenet"))
        with pytest.raises(InputError, match=r"The node [0-9.]+: There is no .*imagenet") as told:
            list(run_shards([shard], "ray"))
        assert told.value.problems[-1] == "That was at example 0 of plain/model.onnx."


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
    put = staticmethod(lambda models: models)

    def __init__(self) -> None:
        self.said: list[Any] = []

    def options(self, **options: Any) -> "Asked":
        self.said.append(options)
        return self

    def remote(self, task: Any, models: Any) -> None:
        self.said += [task, models]


def test_what_a_shard_asks_ray_for(project: Project) -> None:
    """The devices of a task are numbered by Ray, from 0."""
    asked = Asked()
    (shard,) = shards_about(project, 1, "cuda:1,cuda:3")
    cluster._begin(Asked, asked, shard, deadly, {})
    options, task, _ = asked.said
    assert options == {"num_cpus": 1, "num_gpus": 2, "max_retries": 0}
    assert task.shard.question.device == "cuda"


def test_the_same_model_in_two_submissions_travels_to_the_place_of_each(project: Project) -> None:
    asked, models = Asked(), dict[Any, Any]()
    (one,) = shards_about(project, 1)
    copy = project.submissions / "copy.onnx"
    copy.write_bytes(one.question.model.read_bytes())
    other = replace(one, question=replace(one.question, model=copy))
    for shard in (one, other, one):
        cluster._begin(Asked, asked, shard, deadly, models)
        assert asked.said[-1] == {shard.question.model: copy.read_bytes()}
    assert len(models) == 2
