"""Rounds of branch and bound: of one search, or of several at once.

In a round every search splits its best domains, and the children are bounded by a few steps of
ascent from their parent's slopes and multipliers. Where searches of several examples take part,
their small batches are bounded as one (`_batch.py`), and what that takes is charged to each in
equal shares; all else is done, and charged, one by one.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from evaluators.branching.batch import Joined
from evaluators.branching.branching import losses, splits
from evaluators.branching.search import Search
from evaluators.numerics.deadline import shared
from evaluators.unrolled.ascent import Ascent, Rates, ascend
from evaluators.unrolled.domains import Domains

JOINED, COEFFICIENTS = 8, 2**17
"""Rows of an example, and coefficients of its matrices, up to which they are bounded together with
other examples'. Larger matrices of several would push each other out of the caches."""

TOGETHER = 8
"""Searches that take turns."""

LARGE = 256
"""Open domains from which a search goes on alone: it gains nothing, and needs the memory."""

CLIPPED = Rates(4, slope=0.2)
"""Of the ascent after clipping."""

KINK = 0.3
"""Weight of what a unit's line loses at the kink, beside what it loses at the minimiser."""

Attack = Callable[[Sequence[Search], Sequence[Tensor]], Sequence[Tensor | None]]
"""Looks for each search's witness near points `[points, inputs]` of its region."""

Work = tuple[Search, Domains]
"""Domains of a search."""


def start(searches: Sequence[Search]) -> None:
    """Bound all goals without splits."""
    work = [(search, search.roots()) for search in searches]
    for search, domains in bound(work, searches[0].root) if work else []:
        with search.deadline.running():
            search.open = search.closing(domains)


def finish(search: Search, rates: Rates, attack: Attack) -> None:
    """Search, from the start to the end.

    Args:
        rates: of the ascents at domains.
        attack: on the region.
    """
    start([search])
    while not search.over:
        advance([search], rates, attack)


def take_turns(searches: Iterator[Search], rates: Rates, attack: Attack) -> Iterator[Search]:
    """Every search when it is over; small ones advance together, large ones alone.

    Args:
        searches: with halted deadlines, made when there is room for them.
        rates: of the ascents at domains.
        attack: on the region.
    """
    pool, more = list[Search](), True
    while more or pool:
        new = list[Search]()
        while more and len(pool) + len(new) < TOGETHER:
            search = next(searches, None)
            if search is None:
                more = False
            elif search.small:
                new.append(search)
            else:
                finish(search, rates, attack)
                yield search
        start(new)
        pool += new
        for search in pool:
            while len(search.open) > LARGE and not search.over:
                advance([search], rates, attack)
        yield from (search for search in pool if search.over)
        pool = [search for search in pool if not search.over]
        advance(pool, rates, attack)


def advance(searches: Sequence[Search], rates: Rates, attack: Attack) -> None:
    """One round of searches that are not over."""
    spent = [search.deadline.spent for search in searches]
    taken = []
    for search in searches:
        with search.deadline.running():
            taken.append((search, search.take()))
    children = _children([work for work in taken if len(work[1])])
    _attack(searches, attack)
    near = []
    for search, domains in bound([work for work in children if work[0].witness is None], rates):
        with search.deadline.running():
            near.append((search, search.near(search.closing(domains))))
    _clip(near)
    for (search, domains), before in zip(taken, spent, strict=True):
        if len(domains):
            search.pace(len(domains), search.deadline.spent - before)


def bound(work: Sequence[Work], rates: Rates) -> list[Work]:
    """The domains of each search with slopes and multipliers improved."""
    done = []
    for group in _groups(work):
        with shared([search.deadline for search, _ in group]) as deadline:
            joined = _joined(group)
            rows = joined.batch
            found = ascend(
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
            assert found.betas is not None
            bounds, slopes = joined.own_rows(found.bounds), joined.own_units(found.slopes)
            betas = joined.own_units(found.betas)
            for (search, domains), *parts in zip(group, bounds, slopes, betas, strict=True):
                done.append((search, search.improved(domains, Ascent(*parts))))
    return done


def _children(work: Sequence[Work]) -> list[Work]:
    """Both halves of each domain; the relaxed minimisers become points to attack."""
    done = []
    for group in _groups(work):
        with shared([search.deadline for search, _ in group]):
            joined = _joined(group)
            chosen, points = splits(joined.batch)
            own = zip(group, joined.own_places(chosen), joined.own_rows(points), strict=True)
            for (search, domains), units, its in own:
                search.points.append(its)
                done.append((search, domains.children(units)))
    return done


def _attack(searches: Sequence[Search], attack: Attack) -> None:
    """Look for a witness near the points of each search."""
    asked = [search for search in searches if search.points]
    found = dict[int, Tensor | None]()
    if asked:
        with shared([search.deadline for search in asked]):
            witnesses = attack(asked, [torch.cat(search.points) for search in asked])
        found = {id(search): one for search, one in zip(asked, witnesses, strict=True)}
    for search in searches:
        search.attacked(found.get(id(search)))


def _clip(work: Sequence[Work]) -> None:
    """Narrow bounds of units in domains near a proof, and bound the domains again."""
    clipped = []
    for group in _groups([(search, domains) for search, domains in work if len(domains)]):
        with shared([search.deadline for search, _ in group]):
            joined = _joined(group)
            found = losses(joined.batch)
            scores = joined.own_units((found.gap + KINK * found.kink).nan_to_num(0.0))
        for (search, domains), its in zip(group, scores, strict=True):
            with search.deadline.running():
                clipped.append((search, search.clip(domains, its)))
    left = {id(search): domains for search, domains in bound(clipped, CLIPPED)}
    for search, domains in work:
        with search.deadline.running():
            search.keep(len(domains), search.closing(left.get(id(search), domains)))


def _groups(work: Sequence[Work]) -> list[list[Work]]:
    """Small batches together, large ones alone."""
    small, alone = list[Work](), list[list[Work]]()
    for search, domains in work:
        light = len(domains) <= JOINED and search.system.coefficients <= COEFFICIENTS
        # The lines of curves depend on each example's bounds of its units.
        if light and not search.lines.curves:
            small.append((search, domains))
        else:
            alone.append([(search, domains)])
    return [small, *alone] if small else alone


def _joined(group: Sequence[Work]) -> Joined:
    return Joined.of([search.batch(domains) for search, domains in group])
