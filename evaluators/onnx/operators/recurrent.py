"""Layers with a state, unrolled over their steps: RNN, GRU and LSTM.

Each step is an affine map of its input, of the state before it and of a one, which holds the second
bias, so that a runtime may add their products in any order; then gates, and products with them.
Backward layers take the steps from the last to the first.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from evaluators.network.affine import Dense, Gather
from evaluators.network.elementwise import LeakyReLU, Sigmoid, Tanh
from evaluators.network.network import Product
from evaluators.onnx.operators.builder import (
    Builder,
    Operator,
    OperatorError,
    flat_positions,
    require_size,
    tensor,
)
from evaluators.onnx.operators.contractions import picked
from evaluators.onnx.operators.declaration import (
    VALUE,
    Attribute,
    Declaration,
    Parameter,
    Translated,
    exactly,
    weights,
    whole,
)
from evaluators.onnx.operators.maxima import joined
from evaluators.onnx.operators.unbatched import settle

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DIRECTIONS = ("forward", "reverse", "bidirectional")
ACTIVATIONS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
MAX_STEPS = 2**10
"""Steps of a sequence."""


@dataclass
class RecurrentCell:
    """One direction of a layer: its weights `[gates, hidden, ...]`, and nodes of its state."""

    builder: Builder
    operator: Operator
    inner: Tensor
    outer: Tensor
    biases: Tensor
    state: int
    memory: int | None = None

    def affine(self, parts: list[int], gates: slice, *, inputs: bool = True) -> int:
        """Weigh flat parts: the input, where there is one, and the state, flat by gates."""
        columns = [self.inner[gates]] if inputs else []
        weight = torch.cat([*columns, self.outer[gates]], -1).flatten(0, 1)
        first, second = (bias[gates].reshape(-1) for bias in self.biases)
        weight, shift = torch.cat([weight, second[:, None]], 1), first if inputs else None
        return self._weighed(parts, weight, shift)

    def of_input(self, x: int, gates: slice) -> int:
        """Weigh an input alone."""
        return self._weighed([x], self.inner[gates].flatten(0, 1), self.biases[0][gates].flatten())

    def _weighed(self, parts: list[int], weight: Tensor, shift: Tensor | None) -> int:
        name, before = self.operator.name, [prod(self.builder.nodes[p].shape) for p in parts]
        source = joined(self.builder, parts, self.operator)
        if weight.shape[1] > sum(before):  # a one behind them
            source = _with_one(self.builder, source, name)
        size = self.builder.nodes[source].shape
        return self.builder.affine(Dense(size, (weight.shape[0],), shift, weight), source, name)

    def gate(self, source: int, place: int, function: type[Sigmoid] | type[Tanh]) -> int:
        """Apply a function to one gate of several."""
        size, name = self.outer.shape[1], self.operator.name
        own = torch.arange(place * size, (place + 1) * size)
        part = picked(self.builder, source, own, name)
        return self.builder.add(function(), [part], (size,), self.operator.name)

    def product(self, first: int, second: int) -> int:
        """Multiply two values entry by entry."""
        shape = self.builder.nodes[first].shape
        return self.builder.add(Product(), [first, second], shape, self.operator.name)

    def step(self, x: int) -> None:
        """Take one more input."""
        getattr(self, f"_{self.operator.kind.lower()}")(x)

    def _rnn(self, x: int) -> None:
        source = self.affine([x, self.state], slice(None))
        function = Tanh() if _functions(self.operator)[0] == "Tanh" else LeakyReLU()
        shape = self.builder.nodes[source].shape
        self.state = self.builder.add(function, [source], shape, self.operator.name)

    def _lstm(self, x: int) -> None:
        """Gates in ONNX's order: input, output, forget, cell."""
        assert self.memory is not None
        gates = self.affine([x, self.state], slice(None))
        new, out, kept = (self.gate(gates, place, Sigmoid) for place in range(3))
        parts = [self.product(kept, self.memory), self.product(new, self.gate(gates, 3, Tanh))]
        self.memory = self.builder.total(parts, self.operator.name)
        shape = self.builder.nodes[self.memory].shape
        shown = self.builder.add(Tanh(), [self.memory], shape, self.operator.name)
        self.state = self.product(out, shown)

    def _gru(self, x: int) -> None:
        """Gates in ONNX's order: update, reset, hidden."""
        builder, name = self.builder, self.operator.name
        gates, hidden = self.affine([x, self.state], slice(0, 2)), slice(2, 3)
        update, reset = (self.gate(gates, place, Sigmoid) for place in range(2))
        if self.operator.attributes["linear_before_reset"]:
            own = self.product(reset, self.affine([self.state], hidden, inputs=False))
            source = builder.total([self.of_input(x, hidden), own], name)
        else:
            source = self.affine([x, self.product(reset, self.state)], hidden)
        new = self.gate(source, 0, Tanh)
        one = torch.ones((), dtype=torch.float64)
        other = builder.diagonal(update, name, one, -one)
        parts = [self.product(other, new), self.product(update, self.state)]
        self.state = builder.total(parts, name)


def _with_one(builder: Builder, source: int, name: str) -> int:
    (size,) = builder.nodes[source].shape
    index = torch.cat([torch.arange(size), torch.tensor([-1])])
    one = torch.zeros(size + 1, dtype=torch.float64)
    one[-1] = 1
    return builder.affine(Gather((size,), (size + 1,), one, index), source, name)


def _functions(operator: Operator) -> list[str]:
    given = operator.attributes["activations"]
    count = 2 if operator.attributes["direction"] == "bidirectional" else 1
    usual = ACTIVATIONS[operator.kind]
    found = [name.decode() for name in given or []] or usual * count
    found = found[:count] if found == ["Tanh", "Tanh"] and operator.kind == "RNN" else found
    allowed = [usual] if operator.kind != "RNN" else [["Tanh"], ["Relu"]]
    if found not in [one * count for one in allowed]:
        raise OperatorError(f"its activations are {found[:6]}")
    return found


def recurrent(builder: Builder, operator: Operator) -> Translated:
    """RNN, GRU and LSTM: all states, the last states, and an LSTM's last memory."""
    source, x = operator.inputs[0], builder.whole_shape(operator.inputs[0])
    inner, outer = (tensor(builder.constant(operator, at, "weight")) for at in (1, 2))
    backward = operator.attributes["direction"]
    count, size = 1 + (backward == "bidirectional"), operator.attributes["hidden_size"]
    gates = GATES[operator.kind]
    _functions(operator)
    if len(x) != 3 or x[1] != 1 or x[0] > MAX_STEPS:
        raise OperatorError(f"its input has shape {x}, not [steps, 1, entries]")
    shapes = [tuple(inner.shape), tuple(outer.shape)]
    if size is None or shapes != [(count, gates * size, x[2]), (count, gates * size, size)]:
        raise OperatorError(f"its weights have shapes {shapes}, for {count} of {size}")
    biases = _given(builder, operator, 3, (count, 2 * gates * size))
    lengths = builder.optional(operator, 4)
    if lengths is not None and lengths.tolist() != [x[0]]:
        raise OperatorError("its sequences are shorter than its input")
    if any(operator.inputs[7:]):
        raise OperatorError("it has peepholes")
    require_size(x[0] * count * gates * size * (x[2] + size + 1))
    places, name = flat_positions(x).reshape(x[0], x[2]), operator.name
    steps = [picked(builder, builder.values[source], row, name) for row in places]
    cells, rows = [], list[list[int]]()
    for way in range(count):
        cell = RecurrentCell(
            builder,
            operator,
            inner[way].reshape(gates, size, -1),
            outer[way].reshape(gates, size, -1),
            biases[way].reshape(2, gates, size),
            _state(builder, operator, 5, way, (count, 1, size)),
        )
        if operator.kind == "LSTM":
            cell.memory = _state(builder, operator, 6, way, (count, 1, size))
        turned = way == 1 or backward == "reverse"
        shown = []
        for step in reversed(steps) if turned else steps:
            cell.step(step)
            shown.append(cell.state)
        rows.append(shown[::-1] if turned else shown)
        cells.append(cell)
    return _results(builder, operator, cells, rows)


def _results(
    builder: Builder, operator: Operator, cells: list[RecurrentCell], rows: list[list[int]]
) -> Translated:
    shape = (len(cells), 1, cells[0].outer.shape[1])
    every = [state for step in zip(*rows, strict=True) for state in step]
    made = [(every, (len(rows[0]), *shape)), ([cell.state for cell in cells], shape)]
    if operator.kind == "LSTM":
        made.append(([cell.memory for cell in cells if cell.memory is not None], shape))
    found = []
    for states, whole_result in made[: len(operator.outputs)]:
        position = joined(builder, states, operator)
        found.append(settle(builder, operator, position, whole_result))
    builder.moved.update(found)
    return found


def _given(builder: Builder, operator: Operator, place: int, shape: tuple[int, ...]) -> Tensor:
    array = builder.optional(operator, place)
    if array is None:
        return torch.zeros(shape, dtype=torch.float64)
    if array.shape != shape:
        raise OperatorError(f"its input {place} has shape {array.shape}, not {shape}")
    return tensor(array)


def _state(
    builder: Builder, operator: Operator, place: int, way: int, shape: tuple[int, ...]
) -> int:
    """A state to begin with: a value, a constant, or zeros."""
    name, size = operator.name, shape[-1]
    given = operator.inputs[place] if place < len(operator.inputs) else ""
    if given in builder.values:
        if builder.whole_shape(given) != shape:
            raise OperatorError(f"its input {place} has shape {builder.whole_shape(given)}")
        own = flat_positions(shape)[way].reshape(-1)
        return picked(builder, builder.values[given], own, name)
    known = _given(builder, operator, place, shape)[way].reshape(-1)
    nothing = torch.full((size,), -1)
    source, shape = builder.source(operator)  # of which it takes nothing
    return builder.affine(Gather(shape, (size,), known, nothing), source, name)


def _layer(kind: str, versions: tuple[int, ...]) -> Declaration:
    states = [Parameter("first state", data=True)] * (2 if kind == "LSTM" else 1)
    more = {
        "RNN": {},
        "GRU": {"linear_before_reset": Attribute(exactly(0, 1), default=0)},
        "LSTM": {"input_forget": Attribute(exactly(0), default=0)},
    }[kind]
    default = [b"Tanh"] * 2 if kind == "RNN" else None
    functions = Attribute(exactly(*_known(kind)), default=default)
    return Declaration(
        versions,
        inputs=(
            VALUE,
            weights("weight", 3),
            weights("weight of the state", 3),
            weights("bias", 2),
            Parameter("lengths", ("int32",), (1,)),
            *states,
            *([weights("peepholes", 2)] if kind == "LSTM" else []),
        ),
        attributes={
            "activations": functions,
            "direction": Attribute(exactly(*DIRECTIONS), default="forward"),
            "hidden_size": Attribute(whole(1)),
            "layout": Attribute(exactly(0), default=0, since=14),
            **more,
        },
        translate=recurrent,
        bare=True,
        outputs=3 if kind == "LSTM" else 2,
    )


def _known(kind: str) -> list[list[bytes]]:
    usual = [["Tanh"], ["Relu"]] if kind == "RNN" else [ACTIVATIONS[kind]]
    both = [names * count for names in usual for count in (1, 2)]
    return [[name.encode() for name in names] for names in both]


OPERATORS: dict[str, Declaration] = {
    "RNN": _layer("RNN", (7, 14, 22)),
    "GRU": _layer("GRU", (7, 14, 22)),
    "LSTM": _layer("LSTM", (7, 14, 22)),
}
