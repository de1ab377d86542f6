"""Where the search around one example stands: which domains are open, and what was proved.

A state never changes: a step of the search returns the next one. Only `State.close` closes a
domain, by a bound in float64 (`unrolled/proof.py`); all else runs in float32 and may be wrong.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from evaluators.branching.batch import Batch
from evaluators.branching.clip_and_verify import Clipping, UnitPlanes
from evaluators.branching.far_domains import FarDomains
from evaluators.branching.tuning import Tuning
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.memory import budget, exhausted, fitting
from evaluators.numerics.single import for_search
from evaluators.unrolled.domains import Domains, Leaf
from evaluators.unrolled.proof import prove, prove_at_once
from evaluators.unrolled.system import System
from evaluators.unrolled.unit_lines import UnitLines
from evaluators.unrolled.unrolled_network import Rows
from evaluators.unrolled.unrolled_problem import UnrolledProblem

TURN_BYTES = 320
"""Memory of a coefficient of the matrices of eight searches: as they are, in float32, padded, and
the planes of the units twice."""

SMALLEST_DISTANCE = 1e-9
"""Least target of clipping, and least distance to a proof: a zero would never grow again."""


TIMEOUT = "timeout"
"""The note of a search whose time is up."""


@dataclass(frozen=True, eq=False)
class Search:
    """What is to be proved: that a specification's rows are positive around an example.

    Attributes:
        around: the network unrolled around the example, and the specification.
        deadline: of everything.
        tuning: what steers the search.
        known: margins proved before, float64 `[rows]`; rows with positive ones are not searched.
    """

    around: UnrolledProblem
    deadline: Deadline
    tuning: Tuning = field(default_factory=Tuning)
    known: Tensor | None = None

    @property
    def lines(self) -> UnitLines:
        """The lines of its neurons."""
        return self.around.lines

    @property
    def specification(self) -> Rows:
        """The rows that must be positive."""
        return self.around.goals

    @cached_property
    def system(self) -> System:
        """The matrices in float32."""
        return System.of(self.around.unrolled, self.around.x, self.around.region)

    @cached_property
    def piecewise_linear(self) -> bool:
        """Whether every neuron can be split."""
        return bool(self.lines.optimizable.all())

    @cached_property
    def planes(self) -> UnitPlanes | None:
        """What clipping combines; None where there is no clipping."""
        if not (self.piecewise_linear and self.tuning.clip_units):
            return None
        around = self.around
        return UnitPlanes.of(around.unrolled, around.layers, not around.problem.evidence)

    @property
    def small(self) -> bool:
        """Whether it can take turns with other examples' searches."""
        most = fitting(self.tuning.turns_coefficients, TURN_BYTES, 1 / 4)
        return self.system.coefficients <= most and self.piecewise_linear

    def roots(self) -> Domains:
        """The whole region as a domain of each row of the specification."""
        rows, units = len(self.specification), self.system.units
        return Domains(
            torch.arange(rows),
            torch.full((rows,), -torch.inf),
            self.lines.start.half().expand(rows, -1),
            torch.zeros(rows, units),
            torch.zeros(rows, units, dtype=torch.int8),
            [()] * rows,
            [None] * rows,
        )

    def prove(self, domains: Domains) -> Tensor:
        """Prove lower bounds of domains, float64 `[domains]`: of margins below their targets."""
        return prove(
            self.around.unrolled,
            self.lines,
            self.specification.select(domains.rows),
            self.around.x,
            self.around.region,
            domains.slopes,
            domains.signs,
            domains.betas,
            domains.within(self.lines),
        )

    def prove_at_once(self) -> Tensor:
        """Prove the specification by the range of each neuron alone, where no evidence is asked."""
        if self.around.problem.evidence and self.piecewise_linear:
            # A certificate has no place for it.
            return torch.full_like(self.specification.bias, -torch.inf)
        return prove_at_once(self.around.unrolled, self.specification)

    @cached_property
    def _weight32(self) -> Tensor:
        return for_search(self.specification.weight)

    def batch(self, domains: Domains, margin: Tensor) -> Batch:
        """The domains as rows in float32, less a margin for each row of the specification."""
        return Batch(
            self.system,
            self.lines,
            self._weight32[domains.rows],
            (self.specification.bias - margin).float()[domains.rows],
            domains.slopes.float(),
            domains.betas.float(),
            domains.signs,
            domains.within(self.lines),
        )


@dataclass(frozen=True, eq=False)
class State:
    """How far a search has come.

    Attributes:
        search: what is to be proved.
        open: the domains left, or the nearest of them to a proof.
        roots: proved bounds without splits, float64 `[rows]`.
        closed: least proved bound of a closed domain, `[rows]`; infinite where there is none.
        rounding: what rounding takes from a proof as far as is known; the search aims above it.
        leaves: the closed domains, for the certificate.
        visited: number of domains bounded.
        batch: domains of the next round.
        reach: distance to a proof up to which a domain is clipped.
        note: why the search ended without an answer.
        witness: a checked counterexample.
        far: the other domains left, where they are many.
    """

    search: Search
    open: Domains
    roots: Tensor
    closed: Tensor
    rounding: Tensor
    leaves: tuple[Leaf, ...] = ()
    visited: int = 0
    batch: int = 0
    reach: float = torch.inf
    note: str = ""
    witness: Tensor | None = None
    far: FarDomains = field(default_factory=FarDomains)

    @classmethod
    def of(cls, search: Search) -> "State":
        """The state in which nothing is bounded yet."""
        zero = torch.zeros_like(search.specification.bias)
        endless = torch.full_like(zero, torch.inf)
        return cls(search, search.roots(), -endless, endless, zero, batch=search.tuning.batch[0])

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do; the proof is complete if nothing is open."""
        return self.witness is not None or bool(self.note) or not self.left

    @property
    def left(self) -> int:
        """Number of domains left."""
        return len(self.open) + len(self.far)

    @property
    def clipping(self) -> Clipping | None:
        """What clips domains; None where a network is too large, or smooth."""
        search = self.search
        if search.planes is None:
            return None
        sizes = self.roots.abs().nan_to_num(1.0, posinf=1.0)
        targets = (search.tuning.target * sizes).clamp(min=SMALLEST_DISTANCE)
        units = search.tuning.clip_units
        return Clipping(search.around, search.system, targets, search.planes, units)

    def with_open(self, domains: Domains) -> "State":
        """The state with more domains open."""
        return replace(self, open=self.open.join(domains))

    def ended(self) -> "State":
        """The state with a note if time or memory is used up."""
        if self.over:
            return self
        if self.search.deadline.passed:
            return replace(self, note=TIMEOUT)
        return self.settled()._modest()

    def settled(self) -> "State":
        """The state with as many near domains as rounds need, and the others put away."""
        near, few, far = self.search.tuning.near, self.open, self.far
        if len(few) > 3 * near:
            few, others = few.best(near)
            far = far.push(others)
        while len(few) < self.batch and len(far):
            block, far = far.pop(self.search.lines)
            few = few.join(block)
        return replace(self, open=few, far=far)

    def _modest(self) -> "State":
        """The state with less to begin again from where memory runs out; at last with a note.

        Once nothing more can be left out, rounds are small: the search goes on depth first.
        """
        search, own, full = self.search, self.open.bytes, exhausted()
        most = budget().share(search.tuning.memory)
        if own + self.far.bytes <= most and not full:
            return self
        state = replace(self, far=self.far.lighter(0 if full else most // 2 - own))
        if state.far.is_bare:
            state = replace(state, batch=min(state.batch, search.tuning.batch[0]))
        if own + state.far.bytes > most or exhausted():
            return replace(state, note="out of memory for domains")
        return state

    def every(self) -> Iterator[Domains]:
        """Yield the domains left in parts."""
        yield self.open
        for block in self.far.blocks:
            yield block.unpacked(self.search.lines)

    def proof(self) -> list[Leaf]:
        """The leaves, once `lower_bounds` are positive: of domains still open, too."""
        if not self.search.around.problem.evidence:
            return []
        return [*self.leaves, *(leaf for part in self.every() for leaf in part.leaves())]

    def lower_bounds(self) -> Tensor:
        """Prove lower bounds of every row over the whole region, float64 `[rows]`."""
        bounds = self.closed.clone()
        if self.left > self.search.tuning.proved_late:
            for rows in (self.open.rows, *(block.rows for block in self.far.blocks)):
                bounds[rows] = -torch.inf
            return torch.maximum(bounds, self.roots)
        for part in self.every():
            if len(part):
                proved = torch.minimum(self.search.prove(part), part.targets)
                bounds.scatter_reduce_(0, part.rows, proved, "amin")
        return torch.maximum(bounds, self.roots)

    def close(self, domains: Domains) -> tuple["State", Domains]:
        """Prove what can be proved; return the next state and the domains left open."""
        at_root = not self.visited
        state = replace(self, visited=self.visited + len(domains))
        # Without splits all are proved: their bounds are what is reported when time runs out.
        hopeful = torch.arange(len(domains)) if at_root else (domains.bounds > 0).nonzero()[:, 0]
        if not len(hopeful):
            return state, domains
        tried = domains.select(hopeful)
        proved = self.search.prove(tried)
        short = self._short(tried, proved, at_root)
        domains = replace(domains, bounds=domains.bounds.index_add(0, hopeful, -short.float()))
        more = torch.zeros_like(self.rounding).scatter_reduce_(0, tried.rows, short, "amax")
        # Cuts only say what holds where the margin is at most their target.
        proved = torch.minimum(proved, tried.targets)
        if at_root:
            proved = torch.maximum(proved, self.search.prove_at_once())
            if self.search.known is not None:
                proved = torch.fmax(proved, self.search.known)
            state = replace(state, roots=proved.nan_to_num(-torch.inf))
        won = proved > 0
        closed = self.closed.scatter_reduce(0, tried.rows[won], proved[won], "amin")
        leaves = self.leaves
        if self.search.around.problem.evidence:
            leaves = (*leaves, *tried.select(won.nonzero()[:, 0]).leaves())
        state = replace(state, closed=closed, rounding=self.rounding + more, leaves=leaves)
        left = torch.ones(len(domains), dtype=torch.bool).index_fill(0, hopeful[won], False)
        return state, domains.select(left.nonzero()[:, 0])

    def _short(self, tried: Domains, proved: Tensor, at_root: bool) -> Tensor:
        """How much too large the search's bounds of domains were, with room, `[domains]`.

        A bound that is larger than was thought is no measure of rounding, nor one far below 0.
        """
        thought = tried.bounds.double()
        missing = (thought - proved).nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
        failed = (thought > 0) & (proved <= 0) | at_root
        return torch.where(failed, missing, 0.0) * self.search.tuning.aim
