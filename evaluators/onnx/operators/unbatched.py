"""Values without a batch dimension, as in files that were made to be verified, not deployed.

In the canonical graph a value's batch dimension, always 1, is left out. A value whose ONNX shape
does not begin with 1 is kept whole and called bare here; as soon as its first dimension is 1, that
becomes the batch dimension. What the file computes is the same: only one input is ever run.
"""

from dataclasses import replace
from math import prod

from evaluators.network.affine import Dense, Reshape
from evaluators.onnx.operators.builder import Builder, Operator, OperatorError, rearrange, tensor
from evaluators.onnx.operators.declaration import Declaration, Translated, Translation
from evaluators.onnx.operators.views import order_of, resolve_shape, shape_of

RESHAPING = frozenset(("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"))
"""Operators that may give or take a batch dimension."""

BEHIND = {
    **dict.fromkeys(("Concat", "Gather", "LogSoftmax", "Softmax", "Split", "TopK"), 0),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), 0),
    **{f"Reduce{kind}": 1 for kind in ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Sum")},
    "ReduceSumSquare": 1,
    "Slice": 3,
}
"""Operators of named dimensions, and which of their inputs names them where no attribute does."""

JOINING = frozenset(("Add", "Div", "MatMul", "Max", "Min", "Mul", "Sub", "Sum"))
"""Operators that repeat what has fewer dimensions, whichever of it has a batch dimension."""


REDUCING = frozenset(kind for kind in BEHIND if kind.startswith("Reduce"))
"""Operators that work on all dimensions where none is named."""

ON_WHOLES = frozenset(
    (
        "ArgMax",
        "ArgMin",
        "CastLike",
        "Einsum",
        "GRU",
        "GatherElements",
        "LSTM",
        "RNN",
        "ScatterElements",
    )
) | {"ScatterND"}
"""Operators that read whole values, whichever of their dimensions is the batch's."""


WEIGHED = frozenset(("Conv", "Gemm"))
"""Operators whose weight or bias may be a value, which has no batch dimension."""


def is_needed(builder: Builder, operator: Operator, *, moves: bool) -> bool:
    """Tell whether an operator's values do not all have their batch dimension first.

    `moves` says whether one that reshapes may put it elsewhere.
    """
    names = [name for name in operator.inputs if name in builder.values]
    if any(map(builder.is_bare, names)) or (operator.kind in RESHAPING and moves):
        return True
    if _over_all(builder, operator) or _over_first(builder, operator):
        return True
    if operator.kind in ("Concat", "Gather"):
        constants = [builder.constants[n] for n in operator.inputs if n in builder.constants]
        beside = operator.kind == "Concat" and any(one.shape[:1] != (1,) for one in constants)
        return beside or operator.attributes["axis"] in (0, -1 - len(builder.shape(names[0])))
    return operator.kind in ("Add", "Div", "Mul", "Sub") and len(_ranks(builder, operator)) > 1


def _over_all(builder: Builder, operator: Operator) -> bool:
    """Whether it is a reduction that names no dimension, and so works on all of them."""
    reduces = operator.kind in REDUCING and not operator.attributes.get("noop_with_empty_axes")
    return reduces and not builder.integers(operator, "axes", BEHIND[operator.kind])


def _over_first(builder: Builder, operator: Operator) -> bool:
    """Whether it is a reduction over the first dimension, of 1, which is no batch's.

    So weights are standardised that exporters leave to be worked out in a run.
    """
    if operator.kind not in REDUCING:
        return False
    return 0 in _axes(builder, operator) and _is_alone(builder, operator.inputs[0])


def _axes(builder: Builder, operator: Operator) -> set[int]:
    """The dimensions of a whole value that a reduction names."""
    rank = len(builder.whole_shape(operator.inputs[0]))
    axes = builder.integers(operator, "axes", BEHIND[operator.kind]) or []
    return {axis + rank if axis < 0 else axis for axis in axes}


def _is_alone(builder: Builder, name: str) -> bool:
    """Whether a value's first dimension is no batch's, of more inputs than one."""
    position = builder.values[name]
    return builder.alone or position in builder.bare or position not in builder.dependent()


def _ranks(builder: Builder, operator: Operator) -> set[int]:
    """Ranks of whole values, and those of constants that are larger than all of them."""
    values = {len(builder.whole_shape(n)) for n in operator.inputs if n in builder.values}
    known = {builder.constants[n].ndim for n in operator.inputs if n in builder.constants}
    return values | {rank for rank in known if rank > max(values)}


def translate(builder: Builder, operator: Operator, declared: Declaration) -> Translated:
    """Translate an operator that reshapes, or that reads a bare value."""
    weighed = operator.kind in WEIGHED and any(n in builder.values for n in operator.inputs[1:])
    if (weighed or operator.kind in ON_WHOLES) and declared.translate is not None:
        return declared.translate(builder, operator)
    first = operator.inputs[0] in builder.values and _over_first(builder, operator)
    first = first and not builder.is_bare(operator.inputs[0])
    if first and declared.translate is not None:
        if len(_axes(builder, operator)) == len(builder.whole_shape(operator.inputs[0])):
            return _reduced(builder, operator, declared.translate)
        return _of_wholes(builder, operator, declared.translate)
    if operator.kind in ("Concat", "Gather") and declared.translate is not None:
        return _of_wholes(builder, operator, declared.translate)
    if operator.kind in RESHAPING:
        return _reshape(builder, operator)
    if operator.kind == "Shape":
        return shape_of(builder, operator)
    if _over_all(builder, operator) and declared.translate is not None:
        return _reduced(builder, operator, declared.translate)
    behind = operator.kind in BEHIND
    if behind and any(builder.values.get(name) in builder.scalars for name in operator.inputs):
        raise OperatorError("it reads one number without dimensions")
    if declared.translate is None or not (declared.bare or behind):
        raise OperatorError("it is only supported behind a batch dimension of 1")
    if not all(builder.is_bare(name) for name in operator.inputs if name in builder.values):
        return _joined(builder, operator, declared.translate)
    sums = operator.kind in JOINING and operator.kind != "MatMul"
    if sums and len(_ranks(builder, operator)) > 1:
        return _joined(builder, operator, declared.translate)
    if behind:
        return _behind(builder, operator, declared.translate)
    return _keep(builder, operator, declared.translate)


def _joined(builder: Builder, operator: Operator, translation: Translation) -> int:
    """An operator of values with and without a batch dimension, read as one of whole values.

    As ONNX repeats them, those of fewer dimensions have more of size 1 before their own.
    """
    before = {name: builder.values[name] for name in operator.inputs if name in builder.values}
    wholes = {name: builder.whole_shape(name) for name in before}
    ranks = set(map(len, wholes.values()))
    rank = max(ranks if operator.kind == "MatMul" else _ranks(builder, operator))
    vectors = operator.kind == "MatMul" and min(map(len, wholes.values())) < 2
    if operator.kind not in JOINING or vectors:
        raise OperatorError("it joins values with and without a batch dimension")
    for name, source in before.items():
        row, whole = builder.nodes[source].shape, (1,) * (rank - len(wholes[name])) + wholes[name]
        builder.values[name] = builder.affine(Reshape(row, whole, None), source, operator.name)
        builder.bare.add(builder.values[name])
    try:
        position = _keep(builder, operator, translation)
    finally:
        builder.values.update(before)
    kept = (n for n in before if not builder.is_bare(n))
    if any(len(wholes[name]) < rank for name in kept):  # a batch may meet another dimension
        builder.moved.add(position)
    return position


def _reduced(builder: Builder, operator: Operator, translation: Translation) -> int:
    """A reduction of all entries, the batch's among them: right where that is one input's."""
    name, (source, shape) = operator.inputs[0], builder.source(operator)
    if not _is_alone(builder, name):
        raise OperatorError(
            "it names no axes, and so mixes the inputs of a batch: name all but the first, or"
            " export the model with a fixed batch of 1"
        )
    whole = builder.whole_shape(name)
    row = builder.affine(Reshape(shape, (prod(shape),), None), source, operator.name)
    given = {**operator.attributes, "axes": [1], "keepdims": 0}
    builder.values[name] = row
    try:
        made = translation(builder, replace(operator, attributes=given))
    finally:
        builder.values[name] = source
    assert isinstance(made, int)
    kept = operator.attributes["keepdims"]
    return settle(builder, operator, made, (1,) * len(whole) if kept else ())


def _of_wholes(builder: Builder, operator: Operator, translation: Translation) -> Translated:
    """Concat of whole values and constants along any dimension, and what reads any of them."""
    names = dict.fromkeys(operator.inputs)
    values = {name: builder.values[name] for name in names if name in builder.values}
    constants = {name: builder.constants[name] for name in names if name in builder.constants}
    constants = constants if operator.kind == "Concat" else {}
    for name, source in values.items():
        row, whole = builder.nodes[source].shape, builder.whole_shape(name)
        builder.values[name] = builder.affine(Reshape(row, whole, None), source, operator.name)
    builder.constants.update({name: array[None] for name, array in constants.items()})
    try:
        return _behind(builder, operator, translation)
    finally:
        builder.values.update(values)
        builder.constants.update(constants)


def _behind(builder: Builder, operator: Operator, translation: Translation) -> Translated:
    """An operator of named dimensions, read as if one more stood before all of them."""
    given, attributes = operator.attributes, dict(operator.attributes)
    if "axis" in given:
        attributes["axis"] = given["axis"] + (given["axis"] >= 0)
    else:
        axes = builder.integers(operator, "axes", BEHIND[operator.kind])
        if axes is None and operator.kind == "Slice":
            axes = list(range(len(builder.integers(operator, "starts", 1) or [])))
        attributes["axes"] = [axis + (axis >= 0) for axis in axes or []]
    made = translation(builder, replace(operator, attributes=attributes))
    builder.moved.update([made] if isinstance(made, int) else made)
    if isinstance(made, int):
        number = operator.kind == "Gather" and _takes_one(builder, operator)
        return settle(builder, operator, made, () if number else builder.nodes[made].shape)
    return [settle(builder, operator, part, builder.nodes[part].shape) for part in made]


def _takes_one(builder: Builder, operator: Operator) -> bool:
    """Whether a Gather takes an entry of a vector, without dimensions."""
    value, index = operator.inputs
    return len(builder.shape(value)) == 1 and not builder.constants[index].ndim


def _reshape(builder: Builder, operator: Operator) -> int:
    name = operator.inputs[0]
    source, shape = builder.source(operator)
    whole = builder.whole_shape(name)
    if operator.kind == "Transpose":
        order = order_of(operator, len(whole))
        positions = builder.positions(whole).permute(order)
        moved = rearrange(shape, positions.reshape(-1))
        source, target = builder.affine(moved, source, operator.name), tuple(positions.shape)
        if order[0] != 0:
            builder.moved.add(source)
    else:
        target = resolve_shape(builder, operator, whole)
    return settle(builder, operator, source, target)


def _keep(builder: Builder, operator: Operator, translation: Translation) -> int:
    """An operator that works alike with and without a batch dimension."""
    names = [name for name in operator.inputs if name in builder.constants]
    rank = max(len(builder.shape(n)) for n in operator.inputs if n in builder.values)
    if operator.kind == "MatMul" and names == [operator.inputs[0]] and rank == 1:
        position: Translated = _matrix_times_vector(builder, operator)
    else:
        position = translation(builder, operator)
    assert isinstance(position, int)
    if position in builder.settled:
        return position
    shape = builder.nodes[position].shape
    given = [builder.values[n] for n in operator.inputs if n in builder.values]
    if builder.scalars.issuperset(given) and not any(builder.constants[n].ndim for n in names):
        return settle(builder, operator, position, ())
    # A constant of a higher rank gives the result its leading 1.
    grown = operator.kind != "MatMul" and any(builder.constants[n].ndim > rank for n in names)
    if grown or (len(shape) > 1 and shape[0] == 1):
        return settle(builder, operator, position, (1, *shape) if grown else shape)
    builder.bare.add(position)
    return position


def _matrix_times_vector(builder: Builder, operator: Operator) -> int:
    source, shape = builder.source(operator, 1)
    weight = tensor(builder.constants[operator.inputs[0]])
    if weight.ndim not in (1, 2) or weight.shape[-1] != shape[0]:
        raise OperatorError(f"its matrix has shape {tuple(weight.shape)}, its input {shape}")
    rows = weight.reshape(-1, shape[0])
    made = builder.affine(Dense(shape, (len(rows),), None, rows), source, operator.name)
    return made if weight.ndim == 2 else settle(builder, operator, made, ())


def settle(builder: Builder, operator: Operator, source: int, whole: tuple[int, ...]) -> int:
    """Give a result its whole ONNX shape: behind a batch dimension if that begins with 1.

    One number without dimensions is kept as a bare row of one entry, and told from it.
    """
    batched = len(whole) > 1 and whole[0] == 1
    row = whole[1:] if batched else whole
    shape = builder.nodes[source].shape
    # A node of its own: whether a position is bare must not depend on who reads it.
    position = builder.affine(Reshape(shape, row, None), source, operator.name)
    if not whole:
        builder.scalars.add(position)
    builder.settled.add(position)
    if source in builder.truths:
        builder.truths.add(position)
    if source in builder.hidden:
        builder.hidden[position] = builder.hidden[source].reshape(row)
    if not batched:
        builder.bare.add(position)
    return position
