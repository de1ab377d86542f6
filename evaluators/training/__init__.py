"""Training recipes: they use the evaluators' own bounds, and what they train is evaluated anew.

A recipe is a file of this folder without an underscore.
"""

from evaluators.training._architectures import residual_cnn, small_cnn
from evaluators.training._augmentation import Augmentation
from evaluators.training._loop import Schedule, fit
from evaluators.training._recipe import Recipe, recipes

__all__ = [
    "Augmentation",
    "Recipe",
    "Schedule",
    "fit",
    "recipes",
    "residual_cnn",
    "small_cnn",
]
