"""What may be asked of a smoothed model, by name: known without importing PyTorch.

`leaderboard.evaluation.smoothing` works the same out from the evaluators, and a test compares them.
"""

NOISES: dict[str, tuple[str, ...]] = {
    "exponential-l2": ("l2", "linf", "l1"),
    "exponential-linf": ("linf", "l1", "l2"),
    "gaussian": ("l2", "linf", "l1"),
    "laplace": ("l1", "linf", "l2"),
    "splitting": ("l1", "l2", "linf"),
    "splitting-thirds": ("l1", "l2", "linf"),
    "uniform": ("l1", "linf", "l2"),
    "uniform-ball": ("l2", "linf", "l1"),
}
"""The norms in which each noise certifies, its own first."""

RULES = ("mean-logits", "mean-softmax", "max-margin")
"""The ways to combine the answers of an ensemble, the default first."""
