"""1-Lipschitz networks of orthogonal matrices and reshaped kernels."""

from evaluators.learning.margins import LargeMargins


class OrthogonalTraining(LargeMargins):
    """Train layers whose matrices are orthonormal, and kernels so reshaped (Serrurier et al. 2021).

    Kernels are divided by their side, which makes them stretch nothing, and images fade more than
    with `aol`; the loss is the same.
    """

    title = "Orthogonal layers"
    paper = "Serrurier et al. 2021, arXiv 2006.06520"
    rescaling = "orthogonal"
