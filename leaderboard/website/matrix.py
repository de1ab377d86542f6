"""Evaluators × networks: what `certboard compare` measured, as a table and as a file."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from leaderboard.board.board import Board
from leaderboard.field.taxonomy import TaxonomyNode
from leaderboard.results.cells import Cell
from leaderboard.settings.setting import NORM_SIGNS
from leaderboard.website.downloads import inert

_SIGNS = {str(norm): sign for norm, sign in NORM_SIGNS.items()}


@dataclass(frozen=True)
class MatrixColumn:
    """A network at a radius, and what was asked.

    `bound` is the share of examples that nobody falsified: none certifies more.
    """

    network: str
    question: str
    examples: int
    seconds: float
    bound: float
    source: str


@dataclass(frozen=True)
class MatrixRow:
    """An evaluator, and for each column its cell, or None where it was not asked."""

    evaluator: str
    node: TaxonomyNode
    cells: Sequence[Cell | None]


@dataclass(frozen=True)
class EvaluatorMatrix:
    """All evaluators that were asked about anything, in the order of the taxonomy."""

    columns: Sequence[MatrixColumn]
    rows: Sequence[MatrixRow]


def matrix(board: Board) -> EvaluatorMatrix:
    """Put each cell into its evaluator's row and its question's column."""
    asked: dict[tuple[object, ...], dict[str, Cell]] = {}
    for cell in board.cells:
        key = (cell.sha256, cell.dataset, cell.norm, cell.radius, cell.examples)
        asked.setdefault(key, {})[cell.evaluator] = cell
    groups = sorted(asked.values(), key=lambda group: -len(group))
    rows = [
        MatrixRow(name, node, [group.get(name) for group in groups])
        for node in board.taxonomy.nodes.values()
        for name in node.evaluators
        if any(name in group for group in groups)
    ]
    return EvaluatorMatrix([_column(board, group) for group in groups], rows)


def _column(board: Board, group: Mapping[str, Cell]) -> MatrixColumn:
    one, most = next(iter(group.values())), max(cell.falsified for cell in group.values())
    dataset = board.datasets[one.dataset].title if one.dataset in board.datasets else one.dataset
    return MatrixColumn(
        one.network.removesuffix(".onnx"),
        f"{dataset} · {_SIGNS.get(one.norm, one.norm)} · {one.radius}",
        one.examples,
        one.seconds,
        1 - most / one.examples,
        one.source,
    )


def matrix_file(board: Board) -> bytes:
    """All cells as CSV; no cell runs as a formula."""
    text = io.StringIO()
    lines = csv.DictWriter(text, [field.name for field in fields(Cell)], lineterminator="\n")
    lines.writeheader()
    for cell in board.cells:
        values = asdict(cell).items()
        lines.writerow({k: inert(v) if isinstance(v, str) else v for k, v in values})
    return text.getvalue().encode()
