"""1-Lipschitz networks of orthogonal convolutions."""

from dataclasses import dataclass

from evaluators.learning.margins import LargeMargins


@dataclass(frozen=True)
class BCOPTraining(LargeMargins):
    """Train convolutions that keep the norm of every signal, by projections (Li et al. 2019).

    Only for `--architecture orthogonal-cnn`, which is its default. The layers are those of
    `learning/isometric.py`; between them stand absolute values of half the channels, which take
    the place of the paper's GroupSort, and the loss is that of `aol` with a smaller offset: margins
    of 0.4 are asked for, radii of 0.28.
    """

    offset: float = 0.4
    temperature: float = 0.1

    title = "Block convolution orthogonal parameterization"
    paper = "Li et al. 2019, arXiv 1911.00937"
    architecture = "orthogonal-cnn"
    isometric = True
