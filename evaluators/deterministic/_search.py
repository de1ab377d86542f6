"""Branch and bound over the signs of units (β-CROWN, Wang et al. 2021, arXiv 2103.06624).

Open domains of all goals of an example are bounded together, by a few steps of ascent from their
parent's slopes and multipliers, in float32. Those near a proof are clipped (`_clipping.py`). A
domain is closed only by `_proof.py`'s bound.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from evaluators.certificate import LayerBounds
from evaluators.deadline import Deadline
from evaluators.deterministic._around import Around
from evaluators.deterministic._ascent import Rates, ascend
from evaluators.deterministic._branching import losses, splits
from evaluators.deterministic._clipping import Clipping, UnitPlanes
from evaluators.deterministic._corners import solve_corner
from evaluators.deterministic._domains import Domains, Leaf
from evaluators.deterministic._proof import prove, prove_at_once, stored
from evaluators.deterministic._system import System, UnitLines
from evaluators.deterministic._unrolled import Rows, Unrolled
from evaluators.problem import Region

ROUND_SECONDS = 0.4
"""How long a round should take: the batch adapts, so that the deadline can be kept."""

SMALLEST, LARGEST = 16, 512
"""Domains of one round."""

CLIPPED = Rates(4, slope=0.2)
"""Of the ascent after clipping."""

KINK = 0.3
"""Weight of what a unit's line loses at the kink, beside what it loses at the minimiser."""

TARGET = 1e-3
"""Share of a goal's bound without splits: where the margin is larger, nobody looks any more."""

SMALLEST_TARGET = 1e-9

PAYS, SHORTER = 0.2, 0.8
"""Share of domains that clipping should close; the distance to a proof at which it is tried
shrinks by the second number where it closes fewer, and grows where it closes more."""

MEGABYTES = 2000
"""Memory that open domains may take."""

MOST_PROVED = 4096
"""Open domains whose bounds are proved when time runs out; more would take too long."""

Falsify = Callable[[Tensor], Tensor | None]
"""Looks for a witness near points of the region `[points, *shape]`."""


@dataclass
class Search:
    """The search for a proof that all goals are positive in a region.

    Attributes:
        unrolled, lines: the network around the example.
        x, region: float64 example `[1, *shape]` and its region.
        goals: rows that must be positive.
        root: rates of the ascent without splits.
        deadline: of everything.
        evidence: whether leaves are kept.
        layers: what proved the bounds of units.
        leaves: what was closed, for the certificate.
        note: why the search ended without an answer.
        visited: number of domains bounded.
    """

    unrolled: Unrolled
    lines: UnitLines
    x: Tensor
    region: Region
    goals: Rows
    root: Rates
    deadline: Deadline
    evidence: bool
    layers: dict[int, LayerBounds]
    leaves: list[Leaf] = field(default_factory=list)
    note: str = ""
    visited: int = 0
    open: Domains = field(init=False)
    _batch: int = SMALLEST

    def __post_init__(self) -> None:
        self.system = System.of(self.unrolled, self.x, self.region)
        weight, bias = self.goals.weight.float(), self.goals.bias.float()
        self._goals32 = Rows(weight, bias, self.goals.lost)
        self._roots = torch.full_like(self.goals.bias, -torch.inf)
        self._closed = torch.full_like(self.goals.bias, torch.inf)
        self._reach = torch.inf

    @classmethod
    def of(cls, around: Around, root: Rates, deadline: Deadline) -> "Search":
        """The search for a proof of all margins of an example."""
        return cls(
            around.unrolled,
            around.lines,
            around.x,
            around.region,
            around.goals,
            root,
            deadline,
            around.problem.evidence,
            around.layers,
        )

    def __call__(self, rates: Rates, falsify: Falsify) -> Tensor | None:
        """Search; a witness if one was found. The proof is complete if nothing is left open.

        Args:
            rates: of the ascents at domains.
            falsify: the attack.
        """
        self.start()
        while len(self.open) and not self.note:
            if self.deadline.passed:
                self.note = "timeout"
            elif self.open.megabytes > MEGABYTES:
                self.note = "out of memory for domains"
            else:
                witness = self._round(rates, falsify)
                if witness is not None:
                    return witness
        return None

    def start(self) -> None:
        """Bound all goals without splits."""
        rows, units = len(self.goals), self.system.units
        domains = Domains(
            torch.arange(rows),
            torch.full((rows,), -torch.inf),
            self.lines.start.half().expand(rows, -1),
            torch.zeros(rows, units),
            torch.zeros(rows, units, dtype=torch.int8),
            [()] * rows,
            [None] * rows,
        )
        self.open = self._closing(self._bound(domains, self.root))

    def proof(self) -> list[Leaf]:
        """The leaves, once `lower_bounds` are positive: of domains still open, too."""
        return self.leaves + self.open.leaves() if self.evidence else []

    def lower_bounds(self) -> Tensor:
        """Proved lower bounds of every goal over the whole region, float64 `[goals]`."""
        bounds = self._closed.clone()
        if len(self.open) > MOST_PROVED:
            bounds[self.open.goals] = -torch.inf
        elif len(self.open):
            proved = torch.minimum(self._prove(self.open), self.open.targets)
            bounds.scatter_reduce_(0, self.open.goals, proved, "amin")
        return torch.maximum(bounds, self._roots)

    def _bound(self, domains: Domains, rates: Rates) -> Domains:
        """The domains with slopes and multipliers improved, as they are stored."""
        found = ascend(
            self.system,
            self.lines,
            self._goals32.weight[domains.goals],
            self._goals32.bias[domains.goals],
            domains.slopes.float(),
            rates,
            self.deadline,
            domains.signs,
            domains.betas,
            domains.within(self.lines),
        )
        assert found.betas is not None
        slopes = stored(found.slopes, self.lines)
        # A child is nowhere below its parent, whatever the ascent did.
        bounds = torch.maximum(found.bounds, domains.bounds)
        return replace(domains, bounds=bounds, slopes=slopes, betas=found.betas)

    def _prove(self, domains: Domains) -> Tensor:
        return prove(
            self.unrolled,
            self.lines,
            self.goals.select(domains.goals),
            self.x,
            self.region,
            domains.slopes,
            domains.signs,
            domains.betas,
            domains.within(self.lines),
        )

    def _closing(self, domains: Domains) -> Domains:
        """Close what can be proved; the rest."""
        self.visited += len(domains)
        # Without splits all are proved: their bounds are what is reported when time runs out.
        at_root = self.visited == len(self.goals)
        hopeful = (domains.bounds > 0).nonzero()[:, 0]
        hopeful = torch.arange(len(domains)) if at_root else hopeful
        if not len(hopeful):
            return domains
        bounds = self._prove(domains.select(hopeful))
        # Cuts only say what holds where the margin is at most their target.
        bounds = torch.minimum(bounds, domains.select(hopeful).targets)
        if at_root:
            if not (self.evidence and bool(self.lines.optimizable.all())):
                # A certificate has no place for it.
                bounds = torch.maximum(bounds, prove_at_once(self.unrolled, self.goals))
            self._roots = bounds.nan_to_num(-torch.inf)
        done = hopeful[bounds > 0]
        self._closed.scatter_reduce_(0, domains.goals[done], bounds[bounds > 0], "amin")
        if self.evidence:
            self.leaves += domains.select(done).leaves()
        left = torch.ones(len(domains), dtype=torch.bool)
        left[done] = False
        return domains.select(left.nonzero()[:, 0])

    def _round(self, rates: Rates, falsify: Falsify) -> Tensor | None:
        """Split the best domains and bound their children."""
        started = time.perf_counter()
        batch, self.open = self.open.best(self._batch)
        free = batch.free(self.lines).any(1)
        if not bool(free.all()):
            return self._corners(batch, free, falsify)
        units, points = splits(self.system, self.lines, self._goals32, batch)
        witness = falsify(points.reshape(-1, *self.x.shape[1:]))
        if witness is None:
            children = self._closing(self._bound(batch.children(units), rates))
            self.open = self.open.join(self._clip_near(children))
            spent = max(time.perf_counter() - started, 1e-6) * self._batch / len(batch)
            room = int(self._batch * ROUND_SECONDS / spent)
            self._batch = max(SMALLEST, min(LARGEST, room, 2 * self._batch))
        return witness

    @cached_property
    def clipping(self) -> Clipping | None:
        """What narrows bounds; None where a network is too large, or smooth."""
        if not bool(self.lines.optimizable.all()):
            return None
        planes = UnitPlanes.of(self.unrolled, self.layers)
        sizes = self._roots.abs().nan_to_num(1.0, posinf=1.0)
        targets = (TARGET * sizes).clamp(min=SMALLEST_TARGET)
        network = self.unrolled, self.system, self.lines, self.goals
        if planes is None:
            return None
        return Clipping(*network, targets, self.x, self.region, planes)

    def _clip_near(self, domains: Domains) -> Domains:
        """Clip the domains that are near enough to a proof for it to pay."""
        if self.clipping is None:
            return domains
        near = domains.bounds > -self._reach
        far, clipped = (domains.select(where.nonzero()[:, 0]) for where in (~near, near))
        left = self._clipped(clipped) if len(clipped) else clipped
        if len(clipped) and len(left) > len(clipped) * (1 - PAYS):
            farthest = max(-float(clipped.bounds.min()), SMALLEST_TARGET)
            self._reach = SHORTER * min(self._reach, farthest)
        else:
            self._reach /= SHORTER
        return far.join(left)

    def _clipped(self, domains: Domains) -> Domains:
        """Narrow the bounds of units by each domain's own plane, and bound the domains again."""
        assert self.clipping is not None
        _, (gap, kink), _ = losses(self.system, self.lines, self._goals32, domains)
        scores = (gap + KINK * kink).nan_to_num(0.0)
        return self._closing(self._bound(self.clipping(domains, scores), CLIPPED))

    def _corners(self, batch: Domains, free: Tensor, falsify: Falsify) -> Tensor | None:
        """Decide domains that have no unit left to split, each by a linear program."""
        self.open = self.open.join(batch.select(free.nonzero()[:, 0]))
        corners = batch.select((~free).nonzero()[:, 0])
        if any(corners.cuts):
            self.open = self.open.join(corners.uncut())
            return None
        if not bool(self.lines.optimizable.all()):
            self.open, self.note = self.open.join(corners), "bound too loose"
            return None
        for row in range(len(corners)):
            corner = corners.select(torch.tensor([row]))
            found = solve_corner(self.unrolled, self.goals, self.lines, corner)
            if found.betas is not None:
                corner = replace(
                    corner, betas=found.betas[None], bounds=torch.ones_like(corner.bounds)
                )
                corner = self._closing(corner)
            if len(corner):
                self.open = self.open.join(corner)
                if found.point is not None:
                    witness = falsify(found.point.reshape(1, *self.x.shape[1:]).float())
                    if witness is not None:
                        return witness
                self.note = "numerically undecided"
        return None
