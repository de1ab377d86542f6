"""Branch and bound over the signs of neurons (β-CROWN, Wang et al. 2021, arXiv 2103.06624).

`advance` is one round: choose domains, split each into two, attack, bound the halves, prove them,
and clip those near a proof. It takes the states of several examples' searches and returns the next
ones; a round that is broken off leaves the states that it was given, with all their domains.

Where several examples take part, their small batches are bounded as one (`batch.py`), and what that
takes is charged to each in equal shares; all else is done, and charged, one by one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from evaluators.branching.babsr import babsr
from evaluators.branching.batch import Joined
from evaluators.branching.fsb import fsb
from evaluators.branching.leaf_lp import solve_leaf
from evaluators.branching.state import SMALLEST_DISTANCE, Search, State
from evaluators.numerics.deadline import Deadline, shared
from evaluators.numerics.memory import fitting
from evaluators.unrolled.ascent import Rates, ascend
from evaluators.unrolled.domains import Domains
from evaluators.unrolled.proof import stored

TURNS = 8
"""Examples that take turns: one domain of each of eight digits takes 12 ms together, 18 ms apart;
more would only hold more matrices at a time."""

ROUND_BYTES = 120
"""Memory of a round for each column of a domain: fifteen tensors in float32 of both its halves."""

Attack = Callable[[Sequence[Search], Sequence[Tensor]], Sequence[Tensor | None]]
"""Looks for each search's witness near points `[points, inputs]` of its region."""


class Turn(NamedTuple):
    """An example's part in a round.

    Attributes:
        state: its state, without the domains at hand.
        domains: those at hand.
        taken: how many domains were chosen for the round.
        started: seconds of its time used before the round.
        points: inputs that may be near a witness, `[points, inputs]` each.
        note: why the search ends with this round unless the attack succeeds.
    """

    state: State
    domains: Domains
    taken: int = 0
    started: float = 0.0
    points: tuple[Tensor, ...] = ()
    note: str = ""


def take_turns(searches: Iterator[Search], attack: Attack, turns: int = TURNS) -> Iterator[State]:
    """Yield the last state of every search; small ones advance together, large ones alone.

    Args:
        searches: with halted deadlines, made when there is room for them.
        attack: looks for witnesses.
        turns: how many searches take turns; each holds its matrices.
    """
    pool, more = list[State](), True
    while more or pool:
        new = list[Search]()
        while more and len(pool) + len(new) < turns:
            search = next(searches, None)
            if search is None:
                more = False
            elif search.small:
                new.append(search)
            else:
                yield finish(search, attack)
        pool += start(new)
        few = list[State]()
        while pool:
            state = pool.pop(0)
            state = _alone(state, attack, state.search.tuning.turns_domains)
            if state.over:
                yield state
            else:
                few.append(state)
            # The next one that goes on alone may need the memory of this one's domains.
            del state
        pool = advance(few, attack)


def finish(search: Search, attack: Attack) -> State:
    """Search, from the start to the end."""
    (state,) = start([search])
    return _alone(state, attack)


def _alone(state: State, attack: Attack, few: int = 0) -> State:
    """Let a search go on by itself until it has few open domains, or is over."""
    while state.left > few and not state.over:
        (state,) = advance([state], attack)
    return state


def start(searches: Sequence[Search]) -> list[State]:
    """Bound and prove every row of the specifications without splits."""
    if not searches:
        return []
    states = [State.of(search) for search in searches]
    turns = [Turn(replace(state, open=_none(state.open)), state.open) for state in states]
    turns = _each(prove, bound(turns, searches[0].tuning.root))
    return [put_back(turn) for turn in turns]


def advance(states: Sequence[State], attack: Attack) -> list[State]:
    """Search one round further; none of the searches is over."""
    if not states:
        return []
    tuning = states[0].search.tuning
    turns = [choose(state) for state in states]  # the domains nearest to a proof, or leaf LPs
    turns = split(turns)  # BaBSR's scores, FSB's choice
    turns = attacked(turns, attack)  # from the minimisers of the relaxations
    turns = bound(turns, tuning.child)  # β-CROWN
    turns = _each(prove, turns)  # in float64; nothing else closes a domain
    turns = clip(turns, tuning.clipped)  # Clip-and-Verify, then bound and prove again
    return [put_back(turn) for turn in turns]


def choose(state: State) -> Turn:
    """Take the domains nearest to a proof, or decide those of them that no split is left for."""
    search, started = state.search, state.search.deadline.spent
    with search.deadline.running():
        best, others = state.open.best(state.batch)
        unstable = best.free(search.lines).any(1)
        if bool(unstable.all()):
            return Turn(replace(state, open=others), best, len(best), started)
        state = replace(state, open=others.join(best.select(unstable.nonzero()[:, 0])))
        return decide_leaves(state, best.select((~unstable).nonzero()[:, 0]))


def decide_leaves(state: State, leaves: Domains) -> Turn:
    """Decide domains without unstable neurons, each by a linear program."""
    search, none = state.search, _none(leaves)
    if any(leaves.cuts):
        return Turn(state.with_open(leaves.uncut()), none)
    if not search.piecewise_linear:
        return Turn(replace(state.with_open(leaves), note="bound too loose"), none)
    points, note = list[Tensor](), ""
    for row in range(len(leaves)):
        leaf = leaves.select(torch.tensor([row]))
        solution = solve_leaf(search.around.unrolled, search.specification, search.lines, leaf)
        if solution.betas is not None:
            positive = torch.ones_like(leaf.bounds)
            state, leaf = state.close(replace(leaf, betas=solution.betas[None], bounds=positive))
        if len(leaf):
            state, note = state.with_open(leaf), "numerically undecided"
            if solution.point is not None:
                points.append(solution.point[None].float())
    return Turn(state, none, points=tuple(points), note=note)


def split(turns: Sequence[Turn]) -> list[Turn]:
    """Split each domain at the neuron that FSB chooses; the minimisers are points to attack."""
    done = list(turns)
    for places, joined, _ in _batches(turns):
        least = joined.batch.minimum()
        bounds = partial(joined.batch.child_bounds, least.choice)
        units = fsb(babsr(least), least.choice.free > 0, bounds)
        for place, own, x in zip(
            places, joined.own_places(units), joined.own_rows(least.x), strict=True
        ):
            children = turns[place].domains.children(own)
            done[place] = turns[place]._replace(domains=children, points=(x,))
    return done


def attacked(turns: Sequence[Turn], attack: Attack) -> list[Turn]:
    """Look for a witness near each example's points; one that is found ends its search."""
    done, witnesses = list[Turn](), dict[Search, Tensor | None]()
    points = {turn.state.search: torch.cat(turn.points) for turn in turns if turn.points}
    if points:
        with shared([search.deadline for search in points]):
            found = attack(list(points), list(points.values()))
        witnesses = dict(zip(points, found, strict=True))
    for turn in turns:
        witness = witnesses.get(turn.state.search)
        if witness is not None:
            state = replace(turn.state.with_open(turn.domains), witness=witness)
            turn = Turn(state, _none(turn.domains))
        elif turn.note:
            turn = turn._replace(state=replace(turn.state, note=turn.note))
        done.append(turn)
    return done


def bound(turns: Sequence[Turn], rates: Rates) -> list[Turn]:
    """Bound domains by an ascent from the slopes and β multipliers of their parents."""
    done = list(turns)
    for places, joined, deadline in _batches(turns):
        rows = joined.batch
        best = ascend(
            rows.system,
            rows.lines,
            rows.columns,
            rows.constant,
            rows.slopes,
            rates,
            deadline,
            rows.signs,
            rows.betas,
            rows.within,
        )
        assert best.betas is not None
        bounds, betas = joined.own_rows(best.bounds), joined.own_units(best.betas)
        slopes = joined.own_units(best.slopes)
        for place, *own in zip(places, bounds, slopes, betas, strict=True):
            done[place] = _improved(turns[place], *own)
    return done


def _improved(turn: Turn, bounds: Tensor, slopes: Tensor, betas: Tensor) -> Turn:
    # A child is nowhere below its parent, whatever the ascent did.
    bounds = torch.maximum(bounds, turn.domains.bounds)
    slopes = stored(slopes, turn.state.search.lines)
    return turn._replace(domains=replace(turn.domains, bounds=bounds, slopes=slopes, betas=betas))


def prove(turn: Turn) -> Turn:
    """Close the domains at hand that are proved; the others stay at hand."""
    state, left = turn.state.close(turn.domains)
    return turn._replace(state=state, domains=left)


def clip(turns: Sequence[Turn], rates: Rates) -> list[Turn]:
    """Clip domains near a proof, and bound and prove them again (Clip-and-Verify)."""
    near = _each(leave_far, turns)
    scores = dict[int, Tensor]()
    for places, joined, _ in _batches(near):
        gap, intercept = babsr(joined.batch.minimum())
        weight = turns[places[0]].state.search.tuning.clip_intercept
        own = joined.own_units((gap + weight * intercept).nan_to_num(0.0))
        scores |= dict(zip(places, own, strict=True))
    clipped = list(near)
    for place, its in scores.items():
        with near[place].state.search.deadline.running():
            clipped[place] = narrowed(near[place], its)
    left = _each(prove, bound(clipped, rates))
    return [_learned(*triple) for triple in zip(near, clipped, left, strict=True)]


def leave_far(turn: Turn) -> Turn:
    """Keep those domains at hand that are near enough to a proof for clipping to pay.

    The nearest ones are always tried, to see whether it does by now.
    """
    state, domains = turn.state, turn.domains
    if not len(domains):
        return turn
    near = domains.bounds > -state.reach
    near[domains.bounds.topk(min(state.search.tuning.clip_tried, len(domains))).indices] = True
    if state.clipping is None:
        near = torch.zeros_like(near)
    state = state.with_open(domains.select((~near).nonzero()[:, 0]))
    return turn._replace(state=state, domains=domains.select(near.nonzero()[:, 0]))


def narrowed(turn: Turn, scores: Tensor) -> Turn:
    """Clip the domains at hand; those whose bounds of neurons stay are not bounded again."""
    clipping, before = turn.state.clipping, turn.domains
    assert clipping is not None
    after = clipping(before, scores)
    same = torch.tensor([cut is None or not len(cut.units) for cut in after.cuts])
    state = turn.state.with_open(before.select(same.nonzero()[:, 0]))
    return turn._replace(state=state, domains=after.select((~same).nonzero()[:, 0]))


def _learned(before: Turn, clipped: Turn, after: Turn) -> Turn:
    """The turn after clipping, with the reach that clipping should have: did it pay?

    A domain is clipped where a few times what clipping gains would prove it; a domain that it
    closed gained its distance.
    """
    state, tuning = after.state, after.state.search.tuning
    if not (before.taken and len(before.domains)):
        return after
    # Every domain that was clipped has a cut of its own.
    left = dict(zip(map(id, after.domains.cuts), after.domains.bounds.tolist(), strict=True))
    gains = torch.zeros(len(before.domains))
    pairs = zip(clipped.domains.cuts, clipped.domains.bounds.tolist(), strict=True)
    for place, (cut, bound) in enumerate(pairs):
        gains[place] = left.get(id(cut), 0.0) - bound
    reach = tuning.clip_gains * float(gains.quantile(tuning.clip_quantile))
    return after._replace(state=replace(state, reach=max(reach, SMALLEST_DISTANCE)))


def put_back(turn: Turn) -> State:
    """The state after the round: what is at hand stays open, and the next batch fits the time."""
    state, tuning = turn.state, turn.state.search.tuning
    batch, deadline = state.batch, state.search.deadline
    if turn.taken:
        fewest, most = tuning.batch
        system = state.search.system
        columns = system.inputs + (system.outputs or 0) + system.units
        most = fitting(most, ROUND_BYTES * columns, 1 / 4)
        shortest, longest = tuning.round_seconds
        wanted = min(max(tuning.round_share * deadline.left, shortest), longest)
        timely = int(turn.taken * wanted / max(deadline.spent - turn.started, 1e-6))
        batch = max(min(fewest, most), min(most, timely, 2 * batch))
    return replace(state.with_open(turn.domains), batch=batch).ended()


def _none(domains: Domains) -> Domains:
    return domains.select(torch.zeros(0, dtype=torch.long))


def _each(step: Callable[[Turn], Turn], turns: Sequence[Turn]) -> list[Turn]:
    """Take a step with each turn, in the example's own time."""
    done = []
    for turn in turns:
        with turn.state.search.deadline.running():
            done.append(step(turn))
    return done


def _batches(turns: Sequence[Turn]) -> Iterator[tuple[list[int], Joined, Deadline]]:
    """The domains at hand in batches, small ones of several examples in one, large ones alone.

    Yields:
        the places of the turns in a batch, the batch, and the deadline that its work is charged to.
    """
    small, alone = list[int](), list[list[int]]()
    for place, turn in enumerate(turns):
        if len(turn.domains):
            if _joins(turn):
                small.append(place)
            else:
                alone.append([place])
    for places in [small, *alone] if small else alone:
        some = [turns[place] for place in places]
        with shared([turn.state.search.deadline for turn in some]) as deadline:
            batches = [t.state.search.batch(t.domains, t.state.rounding) for t in some]
            yield places, Joined.of(batches), deadline


def _joins(turn: Turn) -> bool:
    """Whether the domains at hand share a batch with other examples'.

    Larger matrices of several would push each other out of the caches, and the lines of curves
    depend on each example's bounds of its neurons.
    """
    search = turn.state.search
    few = len(turn.domains) <= search.tuning.joined_domains
    small = search.system.coefficients <= search.tuning.joined_coefficients
    return few and small and not search.lines.curves
