"""A process keeps to its memory: it is divided without rest, and a full search sheds, then ends."""

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluators.branching.far_domains import FarDomains, Packed
from evaluators.branching.search import finish
from evaluators.branching.state import Search, State
from evaluators.numerics import memory as numerics
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.memory import (
    available,
    budget,
    chosen,
    divided,
    fitting,
    limit_device,
    memory,
    resident,
)
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from evaluators.unrolled.ascent import Rates
from evaluators.unrolled.domains import Domains
from tests.evaluators.test_search import TUNING, searching, started, true_margin
from tests.fixtures.networks import Graph
from tests.fixtures.searching import no_witness
from tests.fixtures.unrolled import about, around

SIZES = st.integers(10**8, 10**12)


@given(SIZES, st.integers(1, 1024))
def test_workers_together_get_what_the_process_was_given(total: int, processes: int) -> None:
    with memory(total):
        assert processes * divided(processes).total <= total
        assert divided(processes).typed


@given(SIZES, st.lists(st.floats(0.0, 1.0), max_size=8))
def test_shares_are_no_more_than_what_is_divided(total: int, parts: list[float]) -> None:
    with memory(total):
        scale = max(1.0, sum(parts))
        assert sum(budget().share(part / scale) for part in parts) <= budget().share(1.0)
        assert budget().share(1.0) <= max(total - 10**6, total // 8)


@given(SIZES, SIZES, st.integers(1, 2**30), st.integers(1, 2**20))
def test_as_many_pieces_as_fit_and_no_fewer_with_more_memory(
    one: int, other: int, most: int, size: int
) -> None:
    counts = []
    for total in sorted((one, other)):
        with memory(total):
            counts.append(fitting(most, size, 1 / 4))
            assert 1 <= counts[-1] <= most
            assert counts[-1] == 1 or counts[-1] * size <= budget().share(1 / 4)
    # What the process holds by now is not the same to the byte.
    assert counts[0] <= counts[1] + 2**26 // size


@pytest.mark.parametrize(
    ("asked", "free", "reserved", "share"),
    [
        # Somebody asked for it: no more than that, and no more than there is.
        (2 * 10**9, 10**10, 0, 0.2),
        (10**12, 10**10, 0, 1.0),
        # Nobody did: most of what is free beside what this process holds, not what others hold.
        (None, 10**10, 0, 0.8),
        (None, 5 * 10**9, 0, 0.4),
        (None, 5 * 10**9, 3 * 10**9, 0.7),
        (None, 0, 3 * 10**9, 0.3),
    ],
)
def test_a_cuda_device_gives_no_more_than_was_asked_for_or_is_free(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, free: int, reserved: int, share: float
) -> None:
    given_shares = list[float]()
    monkeypatch.setattr(numerics, "_budgets", [])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 10**10))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: reserved)
    monkeypatch.setattr(
        torch.cuda,
        "set_per_process_memory_fraction",
        lambda part, _: given_shares.append(part),
    )
    with memory(asked):
        limit_device(torch.device("cpu"))
        limit_device(torch.device("cuda", 0))
    assert given_shares == [pytest.approx(share)]


def test_a_budget_ends_with_its_context() -> None:
    before = chosen()
    with memory(10**9):
        with memory(2 * 10**9), memory(None):
            assert chosen() == 2 * 10**9
        assert chosen() == 10**9
    assert chosen() == before


@pytest.mark.parametrize("limit", [2**20, 2**28, 2**33])
def test_the_least_of_machine_group_and_process_is_available(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for asked in ("_machine", "_groups", "_limits"):
        told = (lambda: limit) if asked == "_machine" else (lambda: iter([limit]))
        with monkeypatch.context() as patch:
            patch.setattr(numerics, asked, told)
            assert available() <= resident() + limit
            assert available(4) <= available() + 2**24


def along_paths(state: State, count: int) -> Domains:
    """So many open domains with other bounds, and splits, multipliers and slopes of their own."""
    generator = torch.Generator().manual_seed(0)
    domains = state.open.select(torch.zeros(count, dtype=torch.long))
    units = domains.signs.shape[1]
    lengths = torch.randint(0, units + 1, (count,), generator=generator).tolist()
    paths = [
        tuple(
            (unit, 1 - 2 * int(unit % 2))
            for unit in torch.randperm(units, generator=generator)[:length].tolist()
        )
        for length in lengths
    ]
    signs, betas = torch.zeros_like(domains.signs), torch.zeros_like(domains.betas)
    for row, path in enumerate(paths):
        for unit, sign in path:
            signs[row, unit] = sign
            betas[row, unit] = torch.rand((), generator=generator)
    bounds = -torch.rand(count, generator=generator)
    slopes = torch.rand(count, units, generator=generator).half()
    return replace(domains, bounds=bounds, slopes=slopes, betas=betas, signs=signs, paths=paths)


def none_of(domains: Domains) -> Domains:
    return domains.select(torch.zeros(0, dtype=torch.long))


def same(one: Domains, other: Domains, warm: bool = True) -> bool:
    names = ("rows", "bounds", "signs") + (("slopes", "betas") if warm else ())
    return one.paths == other.paths and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in names
    )


def test_packing_loses_nothing_and_a_bare_block_only_what_is_made_again() -> None:
    state = started()
    domains, lines = along_paths(state, 50), state.search.lines
    packed = Packed.of(domains)
    assert same(packed.unpacked(lines), domains)
    bare = packed.bare().unpacked(lines)
    assert same(bare, domains, warm=False)
    assert torch.equal(bare.slopes, lines.start.half().expand(50, -1))
    assert not bool(bare.betas.any())
    assert packed.bare().bytes < packed.bytes


def leaning(leak: float) -> Search:
    """Margin 1024·f(x) + 1024·leak - 1/100, f a leaky ReLU: -1/100 at -1, the end of [-1, 1/2]."""
    graph = Graph((1,))
    graph.dense(1, torch.ones(1, 1).double(), torch.zeros(1).double())
    graph.relu(leak)
    shift = torch.tensor([1024 * leak - 0.01, 0.0]).double()
    graph.dense(2, torch.tensor([[1024.0], [0.0]]).double(), shift)
    region = Ball(Norm.LINF, Fraction(3, 4), -9.0, 9.0)
    problem = about(graph.network(), region, torch.tensor([-0.25]))
    return Search(around(problem), Deadline(20.0), TUNING)


@pytest.mark.parametrize("leak", [0.1, 0.2, 1 / 3])
def test_domains_that_begin_again_are_proved_with_lines_below_a_leaky_unit(leak: float) -> None:
    """The float16 next to a leak may lie below it: with its line the margin would be positive."""
    state = State.of(leaning(leak))
    bare = replace(state, open=none_of(state.open), far=FarDomains().push(state.open).lighter(0))
    assert float(bare.lower_bounds()) < 0


def test_far_domains_are_all_there_and_no_nearer_than_near_ones() -> None:
    state = started(replace(TUNING, near=16, batch=(4, 8)))
    domains = along_paths(state, 200)
    settled = replace(state, open=domains, batch=8).settled()
    assert len(settled.open) == 16
    assert settled.left == 200
    everything = [path for part in settled.every() for path in part.paths]
    assert sorted(everything) == sorted(domains.paths)
    assert float(settled.open.bounds.min()) >= float(settled.far.blocks[-1].bounds.max())
    # Once the near ones are fewer than a round takes, the others come back.
    back = replace(settled, open=none_of(domains)).settled()
    assert back.left == len(back.open) == 184


def test_what_is_farthest_is_shed_first_and_no_more_than_needed() -> None:
    far = FarDomains()
    for _ in range(3):
        far = far.push(along_paths(started(), 100))
    lighter = far.lighter(far.bytes - 1)
    assert [block.is_bare for block in lighter.blocks] == [True, False, False]
    assert far.lighter(far.bytes).bytes == far.bytes
    assert far.lighter(0).is_bare
    assert len(far.lighter(0)) == 300


def test_a_full_search_sheds_what_it_can_make_again_before_it_ends() -> None:
    """It goes on while what cannot be shed fits, in the smallest rounds, and then says so."""
    state = started(replace(TUNING, near=16, batch=(4, 8)))
    many = replace(state, open=along_paths(state, 20_000), batch=8).settled()
    whole, least = many.far.bytes, many.far.lighter(0).bytes
    with memory(2**40):
        spare = budget().share(1.0)

        def ended(size: float) -> State:
            tuning = replace(many.search.tuning, memory=size / spare)
            return replace(many, search=replace(many.search, tuning=tuning)).ended()

        roomy, tight, full = ended(2 * whole), ended(least + many.open.bytes + 64), ended(least / 2)
    assert (roomy.note, roomy.far.is_bare, roomy.batch) == ("", False, 8)
    assert (tight.note, tight.far.is_bare, tight.batch) == ("", True, 4)
    assert full.note == "out of memory for domains"
    assert tight.left == full.left == many.left


def test_a_search_that_puts_domains_away_finds_the_same() -> None:
    """With rounds of two domains and none near but one, they go to and fro."""
    weak = replace(TUNING, root=Rates(0), child=Rates(0), clip_units=0, batch=(1, 2))
    kept, away = (
        finish(searching("read twice", Fraction(1, 4), seed=2, tuning=tuning), no_witness)
        for tuning in (weak, replace(weak, near=1))
    )
    assert kept.visited > 20
    assert away.visited > 20
    assert not kept.left
    assert not away.left
    assert 0 < float(away.lower_bounds().min()) <= true_margin("read twice", Fraction(1, 4), 2)


SEARCH = """
import resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
import torch
from fractions import Fraction
from evaluators.deterministic.branch_and_bound import BranchAndBound
from evaluators.question.norm import Norm
from evaluators.question.problem import Problem
from evaluators.question.region import Ball
from evaluators.network.elementwise import LeakyReLU
from tests.fixtures.tiny import chain
torch.set_num_threads(1)
network = chain(784, *5 * [100], 10, function=LeakyReLU(), seed=0)
x = torch.rand(2, 784, generator=torch.Generator().manual_seed(1))
labels = network(x.double()).argmax(1)
problem = Problem(network, x, labels, Ball(Norm.LINF, Fraction(sys.argv[2])), seconds=1.5)
for verdict in BranchAndBound()(problem):
    print(verdict.status.value, verdict.note)
"""


@pytest.mark.slow
@pytest.mark.parametrize("limit", [2**30, 2 * 2**30])
def test_a_process_of_one_or_two_gigabytes_searches_a_dense_network_to_the_end(limit: int) -> None:
    """It says unknown where it has no answer: it neither fails nor is killed."""
    command = [sys.executable, "-c", SEARCH, str(limit), "1/100"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    verdicts = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert len(verdicts) == 2
    assert {status for status, _ in verdicts} <= {"certified", "unknown", "falsified"}
    assert {note.strip() for _, note in verdicts} <= {"", "timeout", "out of memory for domains"}
    assert "timeout" in done.stdout, "no search took its time"
