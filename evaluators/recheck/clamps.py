"""Functions with kinks, as the checker reads them: sums of ReLUs."""

import numpy as np

from evaluators.recheck.claim import Step
from evaluators.recheck.graph import Array, Graph, Node, Value, need

FAR = 2.0**20
UNBOUNDED = float(np.finfo(np.float32).max)


def _bent(graph: Graph, value: Value, leak: float = 0.0) -> Value:
    value = graph.settle(value)
    return graph.add(Step(value.places.size, (value.step,), leak=leak), value.shape)


def relu(graph: Graph, node: Node) -> Value:
    """Relu, LeakyRelu, PRelu and Abs: a slope below zero, one above."""
    value, slope = node.value(), np.zeros(1)
    if node.kind == "LeakyRelu":
        slope = np.full(1, node.attribute("alpha", "FLOAT", float(np.float32(0.01))))
    elif node.kind == "Abs":
        slope = np.full(1, -1.0)
    elif node.kind == "PRelu":
        slope = node.constant(1).astype(np.float64)
        need(np.broadcast_shapes(slope.shape, value.shape) == value.shape, "a slope of its own")
    first = float(slope.reshape(-1)[0])
    if (slope == first).all() and 0 <= first < 1:
        return _bent(graph, value, first)
    # x + (1 - s)·relu(-x) where the slope s is above 1, else s·x + (1 - s)·relu(x).
    steep = slope > 1
    bent = _bent(graph, graph.scaled(value, np.where(steep, -1.0, 1.0)))
    parts = [graph.scaled(value, np.where(steep, 1.0, slope)), graph.scaled(bent, 1 - slope, 1)]
    return graph.total(parts, value.shape)


def cut(graph: Graph, value: Value, limit: Array, sign: float) -> Value:
    """The larger of x and a constant c, or of sign s = -1 the smaller: c + s·relu(s·(x - c))."""
    far = np.abs(limit).min() >= FAR  # it is x + s·relu(s·(c - x)) then
    turn = -sign if far else sign
    kink = graph.scaled(value, turn) if turn < 0 else value
    kink = _bent(graph, graph.shifted(kink, np.asarray(-turn * limit)))
    kink = graph.scaled(kink, sign) if sign < 0 else kink
    return graph.total([value, kink], value.shape) if far else graph.shifted(kink, limit)


def clip(graph: Graph, node: Node) -> Value:
    """The larger of a value and the lower end, then the smaller of that and the upper end."""
    value, ends = node.value(), []
    for place, name, free in ((1, "min", -UNBOUNDED), (2, "max", UNBOUNDED)):
        end = np.full((), free)
        if node.opset < 11:
            end = np.full((), node.attribute(name, "FLOAT", free))
        elif node.take(place) is not None:
            end = node.constant(place).astype(np.float64)
        need(end.ndim == 0, f"{name} of {end.ndim} dimensions")
        ends.append(end)
    need(ends[0] <= ends[1], "a lower end above its upper end")
    for end, sign in zip(ends, (1.0, -1.0), strict=True):
        value = cut(graph, value, end, sign) if abs(end) < UNBOUNDED else value
    return value


def hard_sigmoid(graph: Graph, node: Node) -> Value:
    """A line between zero and one."""
    scale = node.attribute("alpha", "FLOAT", float(np.float32(0.2)))
    value = graph.scaled(node.value(), scale)
    value = graph.shifted(value, np.full((), node.attribute("beta", "FLOAT", 0.5)))
    return cut(graph, cut(graph, value, np.zeros(()), 1.0), np.ones(()), -1.0)
