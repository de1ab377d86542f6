"""What rows of groups of ReLUs are worth to a search, beside splitting.

    python -m tests.benchmarks.group_rows MODEL.onnx DATASET RADIUS INDEX [SECONDS]

Of one example (CERTBOARD_DATA holds its data set) and its least margin, in ℓ∞, printed with the
seconds of one processor's thread that each took:

1. α-CROWN's bound, the linear program's over the triangles, and after each round of rows of pairs
   and triples of ReLUs (`linear_programs/group_rows.py`), without splits;
2. the least bound of all domains while the worst of them are split, without clipping;
3. where the worst of these domains lose it, by layer;
4. of some of the domains that are open then: the ascent's bound, the program's, the program's with
   the rows found without splits, and with further rows found for the domain.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from time import process_time

import torch
from torch import Tensor

import evaluators.linear_programs.group_rows as rows_of_groups
from evaluators.branching.search import Turn, bound, prove, split, start
from evaluators.branching.state import Search, State
from evaluators.linear_programs.group_rows import GroupRows
from evaluators.linear_programs.triangle import TriangleProgram
from evaluators.numerics.deadline import Deadline
from evaluators.unrolled.unrolled_network import Rows
from evaluators.unrolled.unrolled_problem import UnrolledProblem
from tests.fixtures.published import about

STEPS, ROUNDS, GROUPS, DOMAINS = 15, 3, 60, 4
"""Of ascents for bounds of neurons, of rows, groups of each size in a round, domains looked at."""

MORE = 300
"""Further rows of a domain, at most."""


def without_splits(rows: GroupRows, goal: Rows) -> Iterator[str]:
    """Yield the program's bound after each round of rows."""
    started = process_time()
    for turn in range(ROUNDS + 1):
        count, value = len(rows.sides), _value(rows.program, goal)
        yield f"without splits, {count} rows: {value:.3f} after {process_time() - started:.1f} s"
        if turn == ROUNDS or not _extended(rows, goal):
            break


def _extended(rows: GroupRows, goal: Rows) -> bool:
    """Add rows that the program's solution violates; whether there are any."""
    solution = rows.program.minimize(goal.weight[0].numpy())
    if solution is None or solution.point is None:
        return False
    _, coefficients = rows._prove(goal, solution)
    return rows._extend(solution, coefficients)


def worst_first(state: State, seconds: float) -> tuple[State, list[str]]:
    """Split the worst quarter of all domains in every round; the least bound at doubling times."""
    search, started, told, due = state.search, process_time(), list[str](), seconds / 8
    while len(state.open) and due <= seconds:
        open_ = state.open
        order, count = open_.bounds.argsort(), min(max(8, len(open_) // 4), 256)
        turn = Turn(replace(state, open=open_.select(order[count:])), open_.select(order[:count]))
        (turn,) = bound(split([turn]), search.tuning.child)
        turn = prove(turn)
        state, spent = turn.state.with_open(turn.domains), process_time() - started
        if spent >= due and len(state.open):
            told.append(
                f"{state.visited} domains, {len(state.open)} open: "
                f"{float(state.open.bounds.min()):.3f} after {spent:.1f} s"
            )
            due *= 2
    return state, told


def losses(state: State, rows: Tensor, name: str) -> str:
    """What some open domains lose at the lines of each layer's units, at the minimiser; means."""
    domains, layers = state.open.select(rows), state.search.around.unrolled.layers
    least = state.search.batch(domains, state.rounding).minimum()
    choice, a, z = least.choice, least.coefficients, least.z
    at = torch.where(a >= 0, choice.slopes * z, choice.chords * z + choice.offsets)
    lost = a * (torch.maximum(z, least.leak * z) - at)
    inputs = state.search.system.inputs
    spans = [slice(layer.first - inputs, layer.first - inputs + len(layer)) for layer in layers]
    told = [
        [round(float(whole[:, span].double().sum(1).mean()), 3) for span in spans]
        for whole in (lost, domains.signs != 0, domains.free(state.search.lines))
    ]
    bounds = float(domains.bounds.mean())
    return f"{name}: {bounds:.3f}; lost by layer {told[0]}, split {told[1]}, unstable {told[2]}"


def of_domains(state: State, goal: Rows, rows: GroupRows, plain: TriangleProgram) -> Iterator[str]:
    """Yield what bounds some open domains have, the worst of them first."""
    every = state.open
    places = torch.linspace(0, len(every) - 1, DOMAINS).long()
    for place in every.bounds.argsort()[places].tolist():
        found = [float(every.bounds[place])]
        for program in (plain, rows.program):
            program.split(every.signs[place].numpy())
            found.append(_value(program, goal))
        rows_of_groups.MOST = len(rows.sides) + MORE
        _extended(rows, goal)
        found.append(_value(rows.program, goal))
        values = ", ".join(f"{value:.3f}" for value in found)
        yield f"{len(every.paths[place])} splits: {values}"


def _value(program: TriangleProgram, goal: Rows) -> float:
    """The least value of a row; NaN where the solver fails."""
    solution = program.minimize(goal.weight[0].numpy())
    return float("nan") if solution is None else solution.value + float(goal.bias[0])


def main(model: str, dataset: str, radius: str, index: str, seconds: str = "4") -> None:
    """Print all of it."""
    torch.set_num_threads(1)
    problem = about(Path(model), dataset, [int(index)], Fraction(radius))
    deadline = Deadline()
    with torch.no_grad():
        around = UnrolledProblem.of(problem, STEPS, deadline, products=True)
        deadline.halt()
        (state,) = start([Search(around, deadline)])
        row = int(state.roots.argmin())
        goal = around.goals.select(slice(row, row + 1))
        sizes = [len(layer) for layer in around.unrolled.layers]
        print(f"units {sizes}; without splits, α-CROWN: {float(state.roots[row]):.3f}", flush=True)
        rows = GroupRows(around, Deadline(), ROUNDS, GROUPS)
        for line in without_splits(rows, goal):
            print(line, flush=True)
        mine = (state.open.rows == row).nonzero()[:, 0]
        print(losses(state, mine, "without splits"), flush=True)
        state, told = worst_first(replace(state, open=state.open.select(mine)), float(seconds))
        print(*told, sep="\n", flush=True)
        worst = state.open.bounds.argsort()[: max(1, len(state.open) // 10)]
        print(losses(state, worst, "worst tenth of the open domains"), flush=True)
        plain = TriangleProgram(around.unrolled, around.lines)
        for line in of_domains(state, goal, rows, plain):
            print(line, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
