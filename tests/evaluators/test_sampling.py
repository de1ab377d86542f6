"""Noise, the fast forward pass and the counting of classes."""

from collections.abc import Callable
from fractions import Fraction
from math import inf, nan, prod

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from evaluators.deterministic.splitting_noise import SplittingNoise
from evaluators.network.ensemble import SmoothedNetwork
from evaluators.network.network import Network
from evaluators.noises.gaussian import GaussianNoise
from evaluators.numerics.deadline import Deadline
from evaluators.probabilistic.smoothing_gaussian import SmoothingGaussian
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.question.verdict import Verdict
from evaluators.sampling import replica as replica_module
from evaluators.sampling.block import OvertimeError, block_size, winners
from evaluators.sampling.cost import Cost, estimate
from evaluators.sampling.counter import Counter
from evaluators.sampling.forward import fast_forward, memory_format, plain_float32
from evaluators.sampling.noise import GRAIN, NoiseStream
from evaluators.sampling.replica import Moments
from evaluators.sampling.votes import NoisyVotes
from tests.fixtures.effort import first_alone
from tests.fixtures.networks import linear, of_every_kind, perceptron, two_convolutions

SHAPE = (3, 8, 8)


def stream(seed: int = 0, name: str = "estimation", shape: tuple[int, ...] = SHAPE) -> NoiseStream:
    return NoiseStream(GaussianNoise(), shape, seed, name)


def count(
    network: SmoothedNetwork,
    x: Tensor,
    noise: NoiseStream,
    samples: int,
    given: Tensor | None = None,
) -> Moments:
    return Counter(network, x).count([(noise, range(len(x)))], 0, samples, given)


def test_a_sample_depends_on_its_number_alone() -> None:
    whole = stream().block(0, 7 * GRAIN)
    for start, samples in ((0, 1), (0, GRAIN + 3), (3 * GRAIN, 2 * GRAIN), (6 * GRAIN, GRAIN)):
        part = stream().block(start, samples)
        assert np.array_equal(part, whole[start : start + samples])


def test_the_number_of_threads_changes_no_bit() -> None:
    threads = torch.get_num_threads()
    blocks = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        blocks.append(stream().block(0, 5 * GRAIN))
    torch.set_num_threads(threads)
    assert np.array_equal(blocks[0], blocks[1])
    assert np.array_equal(blocks[0], blocks[2])


def test_seeds_streams_and_samples_are_all_different() -> None:
    blocks = [
        stream().block(0, 2 * GRAIN),
        stream(seed=1).block(0, 2 * GRAIN),
        stream(name="selection").block(0, 2 * GRAIN),
    ]
    values = np.concatenate([block.ravel() for block in blocks])
    assert len(np.unique(values)) == len(values)


def test_the_noise_is_standard_normal_in_double_precision() -> None:
    noise = stream(seed=5).block(0, 1024).ravel()
    assert kstest(noise, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.01
    assert np.any(noise.astype(np.float32) != noise)


def test_a_block_starts_at_a_grain() -> None:
    with pytest.raises(ValueError, match="starts at a multiple"):
        stream().block(1, GRAIN)


@pytest.mark.parametrize(
    "make",
    [of_every_kind, lambda: perceptron(SHAPE), lambda: two_convolutions(SHAPE)],
    ids=["every kind", "perceptron", "two convolutions"],
)
def test_the_fast_forward_pass_is_the_network(make: Callable[[], Network]) -> None:
    network = make()
    x = torch.randn(32, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = network(x)
    before = x.clone()
    with torch.inference_mode():
        logits = fast_forward(network)(x.contiguous(memory_format=memory_format(network)))
    assert torch.allclose(logits, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("logits", "winner"),
    [
        ([1.0, 3.0, 2.0], 1),
        ([-1.0, -3.0, -2.0], 0),
        ([0.0, 0.0, -0.1], None),
        ([0.0, 0.0, 0.1], 2),
        ([0.0, -0.0, -1.0], None),
        ([1.0, inf, 2.0], None),
        ([1.0, -inf, 2.0], None),
        ([nan, 1.0, 2.0], None),
        ([1.0, 2.0, nan], None),
        ([nan, nan, nan], None),
        ([3e38, 2e38, 3.1e38], 2),
    ],
)
def test_only_the_one_largest_of_finite_logits_wins(
    logits: list[float], winner: int | None
) -> None:
    expected = [winner == position for position in range(3)]
    assert winners(torch.tensor([logits])).tolist() == [expected]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The inputs on which the base network is run."""
    inputs: list[Tensor] = []

    def spying(network: Network) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            inputs.append(x.clone())
            return network(x)

        return forward

    monkeypatch.setattr(replica_module, "fast_forward", spying)
    return inputs


def test_inputs_are_rounded_once_from_double_precision(seen: list[Tensor]) -> None:
    network = SmoothedNetwork(of_every_kind(), "gaussian", Fraction(1, 3))
    x = torch.rand(2, *SHAPE)
    count(network, x, stream(), 40)
    noise = stream().block(0, 40)
    for example, inputs in zip(x, seen, strict=True):
        expected = (example.double().numpy() + noise * (1 / 3)).astype(np.float32)
        assert np.array_equal(inputs.numpy(), expected)


def test_every_forward_pass_is_on_one_example_in_blocks_of_one_size(seen: list[Tensor]) -> None:
    network = SmoothedNetwork(of_every_kind(), "gaussian", Fraction(1, 4))
    size = block_size(network.base, torch.device("cpu"))
    count(network, torch.rand(3, *SHAPE), stream(), 2 * size + 8)
    assert [len(inputs) for inputs in seen] == [size] * 6 + [8] * 3


def test_votes_are_the_winners_of_plain_forward_passes() -> None:
    network = SmoothedNetwork(
        linear([[1.0, 2.0], [2.0, -1.0], [0.5, 0.5]], [0, 0, 1]), "", Fraction(1)
    )
    x = torch.tensor([[0.0, 0.0], [0.3, -2.0]])
    noise = stream(shape=(2,))
    votes = count(network, x, noise, 3000).votes
    for example, row in zip(x, votes, strict=True):
        noisy = example.double() + torch.from_numpy(noise.block(0, 3000))
        answers = network.base(noisy).argmax(1)
        assert row.tolist() == torch.bincount(answers, minlength=3).tolist()


def test_samples_without_a_winner_are_no_votes() -> None:
    always_tied = SmoothedNetwork(linear([[1.0], [1.0]], [0, 0]), "", Fraction(1))
    overflowing = SmoothedNetwork(linear([[3e38], [0.0]], [0, 0]), "", Fraction(100))
    for network, most in ((always_tied, 0), (overflowing, 20)):
        votes = count(network, torch.zeros(1, 1), stream(shape=(1,)), 1000).votes
        assert int(votes.sum()) <= most


def test_nothing_is_counted_after_the_deadline() -> None:
    network = SmoothedNetwork(linear([[1.0], [0.0]], [0, 0]), "", Fraction(1))
    with pytest.raises(OvertimeError):
        Counter(network, torch.zeros(1, 1), deadline=Deadline(0.0)).count(
            [(stream(shape=(1,)), [0])], 0, 10
        )


def test_a_network_can_still_be_differentiated_after_it_was_sampled() -> None:
    network = SmoothedNetwork(two_convolutions(SHAPE), "gaussian", Fraction(1, 4))
    count(network, torch.rand(1, *SHAPE), stream(), 16)
    x = torch.rand(1, *SHAPE, requires_grad=True)
    total = network.base.to(torch.float32)(x).sum()
    assert torch.autograd.grad(total, x)[0].any()


def test_blocks_are_powers_of_two_that_fit_the_cache() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert block_size(two_convolutions(), cpu) == 256
    assert block_size(perceptron(), cpu) == 1024
    assert block_size(perceptron((3, 224, 224), 10), cpu) == GRAIN
    assert block_size(perceptron((3, 224, 224), 10), cuda) == 256


def smoothed() -> SmoothedNetwork:
    return SmoothedNetwork(two_convolutions(SHAPE), "gaussian", Fraction(1))


def ask(examples: tuple[int, ...], seed: int = 0) -> Problem:
    """About examples of a dataset, each a function of its index."""
    x = torch.stack(
        [torch.rand(SHAPE, generator=torch.Generator().manual_seed(e)) for e in examples]
    )
    labels = torch.zeros(len(examples), dtype=torch.int64)
    return Problem(smoothed(), x, labels, Ball(Norm.L2, Fraction(1, 10)), 60.0, examples, seed)


def evidence(verdicts: list[Verdict]) -> list[tuple[object, ...]]:
    return [(v.status, v.prediction, v.radius, v.note, v.sampling) for v in verdicts]


@pytest.mark.parametrize("noise", first_alone(["shared", "own"]))
@pytest.mark.parametrize("procedure", ["fixed", "curtailed", "sequential", "input-specific"])
def test_batches_order_and_resuming_change_nothing(procedure: str, noise: str) -> None:
    evaluator = SmoothingGaussian(n0=50, n=2000, procedure=procedure, noise=noise)
    examples = (3, 14, 15, 92, 65)
    whole = evidence(evaluator(ask(examples)))
    assert evidence(evaluator(ask(examples[::-1]))) == whole[::-1]
    parts = [*evaluator(ask(examples[:2])), *evaluator(ask(examples[2:]))]
    assert evidence(parts) == whole
    assert [evidence(evaluator(ask((e,))))[0] for e in examples] == whole
    assert evidence(evaluator(ask(examples, seed=1))) != whole


def test_own_noise_belongs_to_the_index_and_shared_noise_does_not() -> None:
    one, same = ask((7,)), ask((7,))
    other = Problem(one.network, one.x, one.labels, one.region, 60.0, (8,))
    for own, equal in ((True, False), (False, True)):
        counts = [
            NoisyVotes(problem, GaussianNoise(), own, Deadline()).count("estimation", [0], 0, 3000)
            for problem in (one, same, other)
        ]
        assert torch.equal(counts[0], counts[1])
        assert torch.equal(counts[0], counts[2]) == equal


def test_the_noise_of_an_evaluation_is_recorded() -> None:
    for noise in ("shared", "own"):
        (verdict,) = SmoothingGaussian(n=200, noise=noise)(ask((1,)))
        assert verdict.sampling is not None
        assert (verdict.sampling.noise, verdict.sampling.procedure) == (noise, "fixed")
        assert verdict.sampling.classes == 10


@pytest.mark.parametrize("options", [{"noise": "none"}, {"procedure": "lucky"}, {"sides": 3}])
def test_unknown_ways_to_sample_certify_nothing(options: dict[str, str]) -> None:
    (verdict,) = SmoothingGaussian(n=200, **options)(ask((1,)))  # type: ignore[arg-type]
    assert verdict.note.startswith("failed: ValueError")


def test_counting_in_steps_is_counting_at_once(seen: list[Tensor]) -> None:
    counter = Counter(smoothed(), torch.rand(3, *SHAPE))
    streams = [(stream(), [0, 2])]
    block, samples = counter.block, 3 * counter.block + 7
    whole = counter.count(streams, 0, samples).votes
    at_once = [x.clone() for x in seen]
    seen.clear()
    first = counter.count(streams, 0, block).votes
    second = counter.count(streams, block, samples - block).votes
    assert torch.equal(whole, first + second)
    assert not whole[1].any()
    assert all(torch.equal(a, b) for a, b in zip(at_once, seen, strict=True))


@pytest.mark.parametrize("number", first_alone([2, 3]))
@pytest.mark.parametrize(
    "streams", first_alone([[("a", [0]), ("b", [2]), ("c", [1])], [("a", [0, 2])]])
)
def test_several_devices_share_the_blocks_and_count_the_same(
    seen: list[Tensor], number: int, streams: list[tuple[str, list[int]]]
) -> None:
    x, others = torch.rand(3, *SHAPE), [torch.device("cpu")] * (number - 1)
    asked = [(stream(name=name), rows) for name, rows in streams]
    alone, shared = Counter(smoothed(), x), Counter(smoothed(), x, devices=others)
    assert alone.block == shared.block
    for start, samples in ((0, 5 * alone.block + 7), (2 * alone.block, 1), (0, alone.block)):
        seen.clear()
        expected = alone.count(asked, start, samples).votes
        passes = len(seen)
        assert torch.equal(shared.count(asked, start, samples).votes, expected)
        assert len(seen) == 2 * passes
    given = torch.tensor([0, 3, 5])
    sums = [one.count(asked, 0, 3 * alone.block, given).sums for one in (alone, shared)]
    assert torch.equal(*sums)


def test_devices_of_several_kinds_count_nothing_together() -> None:
    with pytest.raises(ValueError, match="of one kind"):
        Counter(smoothed(), torch.rand(1, *SHAPE), devices=[torch.device("meta")])


def test_time_that_runs_out_on_one_of_several_devices_is_told() -> None:
    counter = Counter(smoothed(), torch.rand(1, *SHAPE), Deadline(0.0), [torch.device("cpu")])
    with pytest.raises(OvertimeError):
        counter.count([(stream(), [0])], 0, 4 * counter.block)


def test_noise_that_is_drawn_ahead_is_the_same_noise() -> None:
    counter = Counter(smoothed(), torch.rand(2, *SHAPE))
    plan = [(stream(), [0]), (stream(name="x"), [1, 0])]
    drawn = [
        [(work, work.noise.block(work.start, work.size)) for work in counter._plan(plan, 0, 2000)],
        list(replica_module._drawn_ahead(counter._plan(plan, 0, 2000))),
    ]
    assert len(drawn[0]) >= 4
    for (one, first), (other, second) in zip(*drawn, strict=True):
        assert one == other
        assert np.array_equal(first, second)


def test_noise_is_sent_to_a_device_without_waiting_but_for_the_block_before_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The order of calls on CUDA, with stand-ins for what only a device can do."""
    done: list[str] = []

    class Event:
        def __init__(self) -> None:
            self.number = sum(call.startswith("record") for call in done)

        def record(self, stream: object) -> None:
            done.append(f"record {self.number}")

        def synchronize(self) -> None:
            done.append(f"wait {self.number}")

    def pinned(noise: Tensor) -> Tensor:
        done.append("pin")
        return noise.clone()

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(Tensor, "pin_memory", pinned)
    counter = Counter(smoothed(), torch.rand(2, *SHAPE))
    (replica,) = counter._replicas
    replica._device = torch.device("cuda:1")
    plan = list(counter._plan([(stream(), [0, 1])], 0, 4 * counter.block + 5))
    sent = list(replica._arriving(plan))
    assert [work for work, _ in sent] == plan
    for work, noise in sent:
        assert np.array_equal(noise.numpy(), work.noise.block(work.start, work.size))
    assert done == [
        "pin", "record 0", "pin", "record 1", "wait 0", "pin", "record 2",
        "wait 1", "pin", "record 3", "wait 2", "pin", "record 4",
    ]  # fmt: skip


def test_a_block_that_does_not_fit_is_halved_until_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = torch.rand(2, *SHAPE)
    expected = count(smoothed(), x, stream(), 1500).votes
    sizes = []

    def scarce(network: Network) -> Callable[[Tensor], Tensor]:
        def forward(rows: Tensor) -> Tensor:
            sizes.append(len(rows))
            if len(rows) > 100:
                raise RuntimeError("DefaultCPUAllocator: not enough memory")
            return network(rows)

        return forward

    monkeypatch.setattr(replica_module, "fast_forward", scarce)
    votes = count(smoothed(), x, stream(), 1500).votes
    assert torch.equal(votes, expected)
    assert sum(size > 100 for size in sizes) < 6

    def broken(network: Network) -> Callable[[Tensor], Tensor]:
        def forward(rows: Tensor) -> Tensor:
            raise RuntimeError("not enough memory")

        return forward

    monkeypatch.setattr(replica_module, "fast_forward", broken)
    with pytest.raises(RuntimeError, match="not enough memory"):
        count(smoothed(), x, stream(), 1500)


def test_moments_are_sums_of_noise_where_the_given_class_wins() -> None:
    network, samples = smoothed(), 700
    x, given = torch.rand(3, *SHAPE), torch.tensor([0, 3, 5])
    moments = count(network, x, stream(), samples, given)
    votes = count(network, x, stream(), samples).votes
    assert torch.equal(moments.votes, votes)
    noise = torch.from_numpy(stream().block(0, samples))
    for row, example in enumerate(x):
        noisy = (example.double() + noise).float()
        won = network.base.to(torch.float32)(noisy).argmax(1) == given[row]
        for half in (0, 1):
            kept = noise[half::2][won[half::2]]
            expected = kept.sum(0).flatten()
            assert torch.allclose(moments.sums[half, row], expected, rtol=1e-9, atol=1e-9)
    assert moments.sums.shape == (2, 3, prod(SHAPE))
    assert moments.sums.dtype is torch.float64


def test_the_cost_is_estimated_without_sampling_much() -> None:
    problem = ask((1, 2, 3))
    cost = estimate(problem, SmoothingGaussian(n0=10, n=990))
    assert cost is not None
    assert cost.samples == 3000
    assert cost.per_second > 100
    assert Cost(3000, 1500.0).seconds == 2
    assert estimate(problem, SplittingNoise()) is None


def test_float32_is_not_rounded_further_while_sampling() -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = True
    with plain_float32():
        assert not cudnn.allow_tf32
        assert not matmul.allow_tf32
        assert cudnn.deterministic
    assert cudnn.allow_tf32
    cudnn.allow_tf32, matmul.allow_tf32 = before
