"""The leaves of a search, and the cuts that they rest on, as the tables of a certificate."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evaluators.question.certificate import Cuts, Leaves
from evaluators.unrolled.domains import Cut, Leaf


def tables(leaves: Sequence[Leaf], others: Sequence[int], units: int) -> dict[str, Any]:
    """The fields `leaves` and `cuts` of a certificate.

    Args:
        leaves: of all goals.
        others: the class that each goal is about.
        units: number of units.
    """
    cuts: dict[Cut, int] = {}
    for leaf in leaves:
        _collect(leaf.cut, cuts)
    clips = [(cut.units, cut.signs, cut.gammas) for cut in cuts]
    joined = [torch.cat([torch.zeros(0), *parts]).numpy() for parts in zip(*clips, strict=True)]
    unit, sign, gamma = joined or [np.zeros(0)] * 3
    return {
        "leaves": Leaves(**_rows(leaves, cuts, others, units)),
        "cuts": Cuts(
            **_rows([cut.leaf for cut in cuts], cuts, others, units),
            target=np.array([cut.target for cut in cuts], dtype=np.float64),
            clip_start=np.cumsum([0] + [len(part) for part, _, _ in clips]),
            clip_unit=unit.astype(np.int64),
            clip_sign=sign.astype(np.int8),
            clip_gamma=gamma.astype(np.float32),
        ),
    }


def _collect(cut: Cut | None, cuts: dict[Cut, int]) -> None:
    """Number a cut after those that it rests on."""
    chain = []
    while cut is not None and cut not in cuts:
        chain.append(cut)
        cut = cut.parent
    for one in reversed(chain):
        cuts[one] = len(cuts)


def _rows(
    leaves: Sequence[Leaf], cuts: dict[Cut, int], others: Sequence[int], units: int
) -> dict[str, NDArray[Any]]:
    steps = [step for leaf in leaves for step in leaf.path]
    slopes = [torch.zeros(0, units).half(), *(leaf.slopes[None] for leaf in leaves)]
    return {
        "goal": np.array([others[leaf.goal] for leaf in leaves], dtype=np.int64),
        "split_start": np.cumsum([0] + [len(leaf.path) for leaf in leaves]),
        "split_unit": np.array([unit for unit, _ in steps], dtype=np.int64),
        "split_sign": np.array([sign for _, sign in steps], dtype=np.int8),
        "split_beta": torch.cat([torch.zeros(0), *(leaf.betas for leaf in leaves)]).numpy(),
        "slopes": torch.cat(slopes).numpy(),
        "cut": np.array([-1 if x.cut is None else cuts[x.cut] for x in leaves], dtype=np.int64),
    }
