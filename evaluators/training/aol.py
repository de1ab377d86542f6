"""1-Lipschitz networks of almost orthogonal layers."""

from evaluators.learning.margins import LargeMargins


class AOLTraining(LargeMargins):
    """Train layers that are rescaled so that none stretches ℓ2 distances (Prach and Lampert 2022).

    The layers are those of `learning/lipschitz.py`, and `lipschitz-margin` certifies the network.
    """

    title = "Almost orthogonal Lipschitz layers"
    paper = "Prach and Lampert 2022, arXiv 2208.03160"
