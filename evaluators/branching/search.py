"""Branch and bound over the signs of units (β-CROWN, Wang et al. 2021, arXiv 2103.06624).

The state of one example's search: its open domains, of all goals, and what was proved. Rounds
(`_rounds.py`) bound the domains, in float32. Those near a proof are clipped (`_clipping.py`). A
domain is closed only by `_proof.py`'s bound.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from evaluators.branching.batch import Batch
from evaluators.branching.clipping import Clipping, UnitPlanes
from evaluators.branching.corners import solve_corner
from evaluators.numerics.deadline import Deadline
from evaluators.question.certificate import LayerBounds
from evaluators.question.region import Region
from evaluators.unrolled.around import Around
from evaluators.unrolled.ascent import Ascent, Rates
from evaluators.unrolled.domains import Domains, Leaf
from evaluators.unrolled.proof import prove, prove_at_once, stored
from evaluators.unrolled.system import System
from evaluators.unrolled.unit_lines import UnitLines
from evaluators.unrolled.unrolled import Rows, Unrolled

ROUND_SHARE, SHORTEST, LONGEST = 0.02, 0.4, 2.0
"""How long a round should take: of the time that is left, and seconds at least and at most. The
batch adapts, so that the deadline can be kept."""

SMALLEST, LARGEST = 16, 512
"""Domains of one round."""

TARGET = 1e-3
"""Share of a goal's bound without splits: where the margin is larger, nobody looks any more."""

SMALLEST_TARGET = 1e-9

AIM = 1.1
"""How far above what rounding took the search aims: domains differ, and a proof that fails costs a
split."""

PAYS, SHORTER = 0.2, 0.8
"""Share of domains that clipping should close; the distance to a proof at which it is tried
shrinks by the second number where it closes fewer, and grows where it closes more."""

MEGABYTES = 2000
"""Memory that open domains may take."""

MOST_PROVED = 4096
"""Open domains whose bounds are proved when time runs out; more would take too long."""

SMALL = 2**22
"""Coefficients of an example's matrices up to which it takes turns with others, which all hold
theirs at the same time."""


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
        open: the domains left.
        away: those that a round has taken and not brought back yet.
        points: some of the region that may be near a witness, `[points, inputs]`.
        witness: a checked one, if it was found.
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
    away: Domains | None = None
    points: list[Tensor] = field(default_factory=list)
    witness: Tensor | None = None
    _batch: int = SMALLEST

    def __post_init__(self) -> None:
        self.system = System.of(self.unrolled, self.x, self.region)
        # What rounding takes from a proof, as far as it is known: the search aims above that.
        self._taken = torch.zeros_like(self.goals.bias)
        self._roots = torch.full_like(self.goals.bias, -torch.inf)
        self._closed = torch.full_like(self.goals.bias, torch.inf)
        self._reach = self._farthest = torch.inf
        self._cornered = False

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

    @cached_property
    def _weight32(self) -> Tensor:
        return self.goals.weight.float()

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do; the proof is complete if nothing is open."""
        if self.witness is not None or self.note or not len(self.open):
            return True
        if self.deadline.passed:
            self.note = "timeout"
        elif self.open.megabytes > MEGABYTES:
            self.note = "out of memory for domains"
        return bool(self.note)

    @property
    def small(self) -> bool:
        """Whether it can take turns with other examples' searches."""
        return self.system.coefficients <= SMALL and bool(self.lines.optimizable.all())

    def roots(self) -> Domains:
        """All goals without splits."""
        rows, units = len(self.goals), self.system.units
        return Domains(
            torch.arange(rows),
            torch.full((rows,), -torch.inf),
            self.lines.start.half().expand(rows, -1),
            torch.zeros(rows, units),
            torch.zeros(rows, units, dtype=torch.int8),
            [()] * rows,
            [None] * rows,
        )

    def proof(self) -> list[Leaf]:
        """The leaves, once `lower_bounds` are positive: of domains still open, too."""
        return self.leaves + self._left().leaves() if self.evidence else []

    def lower_bounds(self) -> Tensor:
        """Proved lower bounds of every goal over the whole region, float64 `[goals]`."""
        bounds, left = self._closed.clone(), self._left()
        if len(left) > MOST_PROVED:
            bounds[left.goals] = -torch.inf
        elif len(left):
            proved = torch.minimum(self._prove(left), left.targets)
            bounds.scatter_reduce_(0, left.goals, proved, "amin")
        return torch.maximum(bounds, self._roots)

    def _left(self) -> Domains:
        """What is not closed, wherever it is: a round that is broken off loses nothing."""
        return self.open if self.away is None else self.open.join(self.away)

    def batch(self, domains: Domains) -> Batch:
        """The domains as rows."""
        bias = (self.goals.bias - self._taken).float()
        goals = Rows(self._weight32, bias, self.goals.lost)
        return Batch.of(self.system, self.lines, goals, domains)

    def improved(self, domains: Domains, found: Ascent) -> Domains:
        """The domains with the slopes and multipliers that an ascent found, as they are stored."""
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

    def closing(self, domains: Domains) -> Domains:
        """Close what can be proved; the rest."""
        self.visited += len(domains)
        # Without splits all are proved: their bounds are what is reported when time runs out.
        at_root = self.visited == len(self.goals)
        hopeful = (domains.bounds > 0).nonzero()[:, 0]
        hopeful = torch.arange(len(domains)) if at_root else hopeful
        if not len(hopeful):
            return domains
        bounds = self._prove(domains.select(hopeful))
        domains = self._lowered(domains, hopeful, bounds)
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

    def _lowered(self, domains: Domains, rows: Tensor, proved: Tensor) -> Domains:
        """Learn from proofs of some domains what rounding takes, and lower what it thought."""
        thought, goals = domains.bounds[rows].double(), domains.goals[rows]
        missing = (thought - proved).nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
        # A bound that is larger than was thought is no measure of rounding, nor one far below 0.
        failed = (thought > 0) & (proved <= 0) | (self.visited == len(self.goals))
        short = torch.where(failed, missing, 0.0) * AIM
        self._taken = self._taken + torch.zeros_like(self._taken).scatter_reduce_(
            0, goals, short, "amax"
        )
        bounds = domains.bounds.clone()
        bounds[rows] = bounds[rows] - short.to(bounds)
        return replace(domains, bounds=bounds)

    def take(self) -> Domains:
        """The domains to split next; none where some had no unit to split and were decided."""
        batch, self.open = self.open.best(self._batch)
        free = batch.free(self.lines).any(1)
        if bool(free.all()):
            self.away = batch
            return batch
        self._corners(batch, free)
        return batch.select(torch.zeros(0, dtype=torch.long))

    def pace(self, taken: int, seconds: float) -> None:
        """Adapt the next batch to what it took to split so many."""
        wanted = min(max(ROUND_SHARE * self.deadline.left, SHORTEST), LONGEST)
        room = int(taken * wanted / max(seconds, 1e-6))
        self._batch = max(SMALLEST, min(LARGEST, room, 2 * self._batch))

    def attacked(self, witness: Tensor | None) -> None:
        """What an attack near `points` found."""
        self.points, self.witness = [], witness
        if self._cornered and witness is None:
            self.note = "numerically undecided"

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

    def near(self, domains: Domains) -> Domains:
        """Those near enough to a proof for clipping to pay; the others are left open."""
        if self.clipping is None:
            self.open = self.open.join(domains)
            return domains.select(torch.zeros(0, dtype=torch.long))
        near = domains.bounds > -self._reach
        self.open = self.open.join(domains.select((~near).nonzero()[:, 0]))
        return domains.select(near.nonzero()[:, 0])

    def clip(self, domains: Domains, scores: Tensor) -> Domains:
        """Narrow the bounds of units by each domain's own plane.

        Args:
            scores: how much each unit's bounds matter, `[domains, units]`.
        """
        assert self.clipping is not None
        self._farthest = max(-float(domains.bounds.min()), SMALLEST_TARGET)
        return self.clipping(domains, scores)

    def keep(self, clipped: int, left: Domains) -> None:
        """Leave open what clipping so many domains left, and learn whether it paid."""
        self.open, self.away = self.open.join(left), None
        if clipped and len(left) > clipped * (1 - PAYS):
            self._reach = SHORTER * min(self._reach, self._farthest)
        else:
            self._reach /= SHORTER

    def _corners(self, batch: Domains, free: Tensor) -> None:
        """Decide domains that have no unit left to split, each by a linear program."""
        self.open = self.open.join(batch.select(free.nonzero()[:, 0]))
        corners = batch.select((~free).nonzero()[:, 0])
        if any(corners.cuts):
            self.open = self.open.join(corners.uncut())
            return
        if not bool(self.lines.optimizable.all()):
            self.open, self.note = self.open.join(corners), "bound too loose"
            return
        for row in range(len(corners)):
            corner = corners.select(torch.tensor([row]))
            found = solve_corner(self.unrolled, self.goals, self.lines, corner)
            if found.betas is not None:
                positive = torch.ones_like(corner.bounds)
                corner = self.closing(replace(corner, betas=found.betas[None], bounds=positive))
            if len(corner):
                self.open, self._cornered = self.open.join(corner), True
                if found.point is not None:
                    self.points.append(found.point[None].float())
