"""Bounds of an unrolled network's rows that know the ball that each layer's units share.

As in `proof.py`, a layer's units are replaced by lines, from the last layer to the first; but both
lines' slopes are a choice of each row, and what all of a layer's lines are lowered by together is
`propagation/coupling.py`'s. An ascent in float32 chooses slopes and multipliers; what counts is
computed with them in float64.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from evaluators.lipschitz.lengths import PAD, length
from evaluators.lipschitz.spectral import matrix_bound
from evaluators.numerics.deadline import Deadline
from evaluators.numerics.rounding import float_above, gamma
from evaluators.numerics.single import for_search
from evaluators.propagation.coupling import Coupling, NodeBall, Terms, least_together
from evaluators.propagation.dense_rows import DenseRows
from evaluators.propagation.intervals import Interval
from evaluators.propagation.linear_bounds import Balls
from evaluators.propagation.rounding_charge import layered, settle
from evaluators.question.norm import Norm
from evaluators.question.region import Ball
from evaluators.unrolled.proof import InputPlanes, least
from evaluators.unrolled.unrolled_network import Layer
from evaluators.unrolled.unrolled_problem import UnrolledProblem

GRAM = 6
"""Gram iterations for the norms of units' matrices: they leave at most 1 % for each factor 2 of a
rank."""

LEAST = 1e-20
"""Least λ of the ascent, in float32."""

FIRST = 4
"""Steps towards the best λ before the ascent, each step of which makes another."""

RATE, DECAY = 0.1, 0.95
"""Of the ascent: the first step's size, and what is left of it after each."""


def local_balls(around: UnrolledProblem, wide: list[NodeBall]) -> list[NodeBall]:
    """Balls of the layers' units, smaller than those of whole nodes.

    Between two inputs of the region a unit's output moves by s times what its pre-activation moves
    by, s in [leak, 1]; that is (1 + leak)/2 times it, up to (1 - leak)/2 times its size. So a
    layer's pre-activations move by E·Δx, up to a vector of length r:

        E_k = W_k,x + Σ_j m·W_kj·E_j,   r_k = Σ_j ‖W_kj‖·(m·r_j + h·ρ_j),   ρ_k = ‖E_k‖·ε + r_k

    over the earlier layers j, m = (1 + leak)/2 and h = (1 - leak)/2; what is lost counts twice.
    """
    region, n, found = around.region, around.unrolled.inputs, list[NodeBall]()
    assert isinstance(region, Ball)
    moves: list[tuple[Layer, Tensor, float, float, float]] = []
    for layer, ball in zip(around.unrolled.layers, wide, strict=True):
        weight = layer.rows.weight
        move, apart = weight[:, :n].clone(), 2 * float(length(layer.rows.lost[None], Norm.L2))
        rounded = 0.0
        for before, its, size, far, wrong in moves:
            leak = before.function.leak
            block = weight[:, before.first : before.first + len(before)]
            norm, middle = matrix_bound(block, GRAM), (1 + leak) / 2
            move += block @ its * middle
            apart += norm * (middle * far + (1 - leak) / 2 * size) * PAD
            lost = float(
                length(block.flatten()[None], Norm.L2) * length(its.flatten()[None], Norm.L2)
            )
            rounded += (norm * wrong + lost * 2 * gamma(len(before) + 8)) * PAD
        rounded += float(length(move.flatten()[None], Norm.L2)) * 2 * gamma(len(moves) + 8)
        reach = (matrix_bound(move, GRAM) + rounded) * float_above(region.radius)
        flat = ball.middle.flatten()[layer.entries][None]
        radius = torch.minimum(ball.radius, (reach + apart + ball.off) * PAD)
        found.append(NodeBall(flat, radius, ball.off))
        moves.append((layer, move, float(radius + ball.off) * PAD, apart, rounded))
    return found


@dataclass(frozen=True)
class Chosen:
    """What an ascent chooses for rows.

    Attributes:
        below, above: slopes of the lines of positive and negative coefficients, `[rows, units]`.
        weights: λ of each layer, `[rows]` each, in the layers' order.
    """

    below: Tensor
    above: Tensor
    weights: tuple[Tensor, ...]


class Coupled:
    """The rows that are asked about one example, over layers of (leaky) ReLUs.

    Args:
        around: the example's network.
        balls: of every layer's pre-activations.
    """

    def __init__(self, around: UnrolledProblem, balls: Balls) -> None:
        self.around, self.unrolled = around, around.unrolled
        self.layers = around.unrolled.layers
        nodes = self.unrolled.network.nodes
        wide = [balls[nodes[layer.position].parents[0]] for layer in self.layers]
        self.couplings = [
            Coupling.of(ball, Interval(layer.lower[None], layer.upper[None]))
            for layer, ball in zip(self.layers, local_balls(around, wide), strict=True)
        ]
        self.carrier = DenseRows(self.unrolled.network, torch.zeros(1, dtype=torch.long))

    def start(self) -> Chosen:
        """CROWN's slopes."""
        lines, count = self.around.lines.lines, len(self.around.goals)
        slopes = (lines.lower_slope, lines.upper_slope)
        below, above = (slope.float().expand(count, -1).clone() for slope in slopes)
        zero = torch.zeros(count)
        return Chosen(below, above, tuple(zero for _ in self.layers))

    def prove(self, chosen: Chosen) -> Tensor:
        """Lower bounds `[rows]`, in float64 and lowered by all rounding errors.

        The derivation is that of `rounding_charge.layered`: |value| is a layer's share of S in
        place of Σ|a||offset|, and its own slack is lost besides.
        """
        rows, n = self.around.goals, self.unrolled.inputs
        columns, constant, lost = rows.weight.clone(), rows.bias, rows.lost.clone()
        magnitudes = self.unrolled.magnitudes()
        total, largest = columns.abs() @ magnitudes + constant.abs(), magnitudes.max()
        terms = 8
        for layer, coupling, weight in self._backward(chosen.weights):
            a, line = self._lines(layer, columns, chosen)
            through, reach = a * line, (a * line).abs()
            value, slack = self._lowered(layer, coupling, a, line, weight.double())
            size = layer.sizes(magnitudes)
            total = total + reach @ size + value.abs()
            lost = lost + reach @ layer.rows.lost + slack
            constant = constant + through @ layer.rows.bias + value
            columns[:, : layer.first].addmm_(through, layer.rows.weight)
            largest = torch.maximum(largest, size.max())
            terms += len(layer) + 16
        slack = lost + layered(total, terms + n, largest)
        planes = InputPlanes(columns[:, :n], settle(constant, slack))
        return least(self.unrolled, planes, self.around.x, self.around.region)

    def _lowered(
        self, layer: Layer, coupling: Coupling, a: Tensor, line: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The better of the ball's and the box's."""
        leak = layer.function.leak
        both = [
            least_together(self.carrier, a[None], line[None], leak, coupling, layer.position, w)
            for w in (weight[None], torch.zeros_like(weight[None]))
        ]
        (value, slack), (other, its) = ((v[0], s[0]) for v, s in both)
        better = value - slack > other - its
        return torch.where(better, value, other), torch.where(better, slack, its)

    def _lines(self, layer: Layer, columns: Tensor, chosen: Chosen) -> tuple[Tensor, Tensor]:
        """A layer's coefficients and the slopes that they take, both `[rows, units]`."""
        span = slice(layer.first, layer.first + len(layer))
        here = slice(span.start - self.unrolled.inputs, span.stop - self.unrolled.inputs)
        a = columns[:, span]
        below, above = (slopes[:, here].to(a.dtype) for slopes in (chosen.below, chosen.above))
        return a, torch.where(a >= 0, below, above)

    def _backward(self, weights: tuple[Tensor, ...]) -> list[tuple[Layer, Coupling, Tensor]]:
        return list(zip(self.layers, self.couplings, weights, strict=True))[::-1]

    def ascend(self, steps: int, deadline: Deadline) -> Chosen:
        """Slopes and multipliers for every row, by projected gradient ascent from CROWN's."""
        current, leak = self.start(), self.around.lines.leak.float()
        known, best = torch.full((len(self.around.goals),), -torch.inf), current
        momenta = [torch.zeros_like(part) for part in (current.below, current.above)] * 2
        for step in range(steps + 1):
            bounds, gradients, followed = self._bound(current)
            known, best = _better(known, best, bounds, current)
            if step == steps or deadline.passed:
                break
            moved = []
            for place, gradient in enumerate(gradients):
                first, second = momenta[place::2]
                momenta[place] = first = first * 0.9 + gradient * 0.1
                momenta[place + 2] = second = second * 0.99 + gradient.square() * 0.01
                scale = (second / (1 - 0.99 ** (step + 1))).sqrt() * (1 - 0.9 ** (step + 1))
                slopes = (current.below, current.above)[place]
                slopes = slopes + RATE * DECAY**step * first / (scale + 1e-12)
                moved.append(torch.maximum(slopes.clamp(max=1), leak))
            current = Chosen(moved[0], moved[1], followed)
        return best

    def _bound(self, chosen: Chosen) -> tuple[Tensor, list[Tensor], tuple[Tensor, ...]]:
        """Bounds `[rows]` in float32, their gradients by both slopes, and the next multipliers.

        A minimum's derivative is that of the function at the place where it is taken: with it at
        the input, the gradients follow from one walk from the input to the last layer.
        """
        rows = self.around.goals
        columns, constant = for_search(rows.weight), for_search(rows.bias)
        steps = []
        for layer, coupling, weight in self._backward(chosen.weights):
            a, line = self._lines(layer, columns, chosen)
            through = a * line
            value, point, weight = _minimum(layer, coupling, a, through, weight)
            steps.append((layer, a, line, point, weight))
            constant = constant + through @ layer.rows.bias.float() + value
            columns = columns[:, : layer.first] + through @ layer.weight32
        least, place = self._over_the_region(columns)
        gradients = [torch.zeros_like(part) for part in (chosen.below, chosen.above)]
        for layer, a, line, point, _ in reversed(steps):
            span = slice(place.shape[1] - self.unrolled.inputs, None)
            apart = place @ layer.weight32.T + layer.rows.bias.float() - point
            here = slice(span.start, span.start + len(layer))
            for gradient, part in zip(gradients, (a.clamp(min=0), a.clamp(max=0)), strict=True):
                gradient[:, here] = part * apart
            output = torch.maximum(point, layer.function.leak * point)
            place = torch.cat((place, line * apart + output), 1)
        return constant + least, gradients, tuple(weight for *_, weight in reversed(steps))

    def _over_the_region(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """The least values `[rows]` over the region, and where, `[rows, inputs]`."""
        region, x = self.around.region, self.around.x.flatten().float()
        assert isinstance(region, Ball)
        low, high = (bound.flatten().float() for bound in self.unrolled.bounds[0])
        stuck = ((x <= region.low) & (columns > 0)) | ((x >= region.high) & (columns < 0))
        pulled = columns.masked_fill(stuck, 0.0)
        if region.norm is Norm.L1:
            largest = pulled.abs().argmax(1, keepdim=True)
            move = torch.zeros_like(pulled).scatter_(1, largest, pulled.sign().gather(1, largest))
        else:
            move = torch.nn.functional.normalize(pulled, dim=1, eps=1e-30)
        ball = x - float_above(region.radius) * move
        box = torch.where(columns > 0, low, high)
        values = (columns * ball).sum(1), (columns * box).sum(1)
        better = values[0] > values[1]
        return torch.maximum(*values), torch.where(better[:, None], ball, box)


def _minimum(
    layer: Layer, coupling: Coupling, a: Tensor, through: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What a layer's lines are lowered by, `[rows]`, where, and the next multipliers."""
    ball = coupling.ball
    middle, low, high = (p[0].float() for p in (ball.middle, coupling.low, coupling.high))
    up, down = a - through, layer.function.leak * a - through
    terms = Terms(up, down, middle, low, high, ball.radius.float())
    if not bool(weight.any()):
        weight = terms.start(1)
        for _ in range(FIRST):
            weight = terms.follow(weight.clamp(min=LEAST))
    at = terms.at(weight.clamp(min=LEAST))
    point = torch.where(at.rises, at.above, at.below)
    return at.value, point, weight.clamp(min=LEAST) * (at.apart / ball.radius.float())


def _better(known: Tensor, best: Chosen, bounds: Tensor, now: Chosen) -> tuple[Tensor, Chosen]:
    """For each row the better of two choices, and its bound."""
    better = bounds > known
    whole = better[:, None]
    return torch.where(better, bounds, known), Chosen(
        torch.where(whole, now.below, best.below),
        torch.where(whole, now.above, best.above),
        tuple(
            torch.where(better, new, old)
            for new, old in zip(now.weights, best.weights, strict=True)
        ),
    )
