"""1-Lipschitz networks with residual layers."""

from evaluators.learning.margins import LargeMargins


class SLLTraining(LargeMargins):
    """Add three residual layers to an almost orthogonal network (Araujo et al. 2023).

    They follow the hidden layer; the other layers are those of `aol`.
    """

    title = "SDP-based Lipschitz layers"
    paper = "Araujo et al. 2023, arXiv 2303.03169"
    residual = 3
