"""What another machine computes with: the data of the one that asks, or none."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.datasets import catalogue
from leaderboard.datasets.catalogue import load_split
from leaderboard.datasets.split import ArraySplit, Split
from leaderboard.evaluation.executors import node
from leaderboard.evaluation.executors.node import Reply, compute, task_of
from tests.fixtures.shards import labelled, shards_about

Has = Callable[[Split | None], None]


@pytest.fixture
def has(monkeypatch: pytest.MonkeyPatch) -> Iterator[Has]:
    """Say what test data of digits lie on this machine from now on."""
    caches = load_split, node._digest
    monkeypatch.setattr(catalogue, "_lent", {})

    def lies(split: Split | None) -> None:
        for cache in caches:
            cache.cache_clear()

        def find(_: str) -> object:
            if split is None:
                raise InputError("There is no digits.csv in /data: get it.")
            return type("", (), {"load": staticmethod(lambda _: split)})

        monkeypatch.setattr(catalogue, "find_dataset", find)

    yield lies
    for cache in caches:
        cache.cache_clear()


def other(split: ArraySplit) -> ArraySplit:
    """The same images with other labels."""
    return replace(split, labels=np.roll(split.labels, 1))


def asked(project: Project, whole: ArraySplit, sent: ArraySplit | None, has: Has) -> Reply:
    """What a machine that has `whole` is answered by this one, which has none."""
    (shard,) = shards_about(project, 1)
    task = task_of(labelled, shard, None)
    assert task.data == whole.sha256
    has(None)
    return compute(task, {}, "n1", None if sent is None else lambda: sent)


@pytest.fixture
def whole() -> ArraySplit:
    split = load_split("digits")
    assert isinstance(split, ArraySplit)
    return split


def test_a_node_without_data_computes_on_those_that_were_sent(
    project: Project, whole: ArraySplit, has: Has
) -> None:
    reply = asked(project, whole, whole, has)
    assert reply.error is None
    assert reply.rows is not None
    assert reply.rows["label"].tolist() == whole.labels[:1].tolist()


@pytest.mark.parametrize("damaged", [False, True])
def test_a_node_that_lacks_data_or_gets_damaged_ones_is_named(
    project: Project, whole: ArraySplit, has: Has, damaged: bool
) -> None:
    reply = asked(project, whole, other(whole) if damaged else None, has)
    assert str(reply.error) == (
        "The node n1: the test data of digits were damaged on their way."
        if damaged
        else "The node n1: There is no digits.csv in /data: get it."
    )


@pytest.mark.parametrize("sent", [False, True])
def test_a_node_with_other_data_computes_nothing_on_them(
    project: Project, whole: ArraySplit, has: Has, sent: bool
) -> None:
    (shard,) = shards_about(project, 1)
    task = task_of(labelled, shard, None)
    has(other(whole))
    reply = compute(task, {}, "n1", (lambda: whole) if sent else None)
    if sent:
        assert reply.rows is not None
        assert reply.rows["label"].tolist() == whole.labels[:1].tolist()
    else:
        assert (
            str(reply.error) == "The node n1: it has other test data of digits than this machine."
        )
