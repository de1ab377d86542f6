"""What there is to choose from: evaluators, settings, datasets, the taxonomy, recipes."""

from collections.abc import Callable, Mapping
from typing import Any

from leaderboard.common.memory import uncollected
from leaderboard.datasets.catalogue import load_datasets
from leaderboard.field.taxonomy import load_taxonomy
from leaderboard.settings.setting import load_settings

Choices = list[dict[str, Any]]


def _evaluators() -> Choices:
    # Imports PyTorch, which nothing else here needs.
    with uncollected():
        from leaderboard.evaluation.evaluator import evaluator_entries

    return evaluator_entries()


def _recipes() -> Choices:
    with uncollected():
        from leaderboard.evaluation.train import recipe_entries

    return recipe_entries()


def _settings() -> Choices:
    return [
        {
            "id": setting.id,
            "dataset": setting.dataset,
            "norm": setting.norm,
            "radius": setting.radius_text,
            "examples": setting.examples.label,
            "seconds": setting.seconds,
            "complete": setting.complete,
            "smoothed": setting.smoothing is not None,
        }
        for setting in load_settings().values()
    ]


def _datasets() -> Choices:
    return [
        {
            "name": data.name,
            "title": data.title,
            "shape": "x".join(map(str, data.shape)),
            "classes": len(data.classes),
            "test_size": data.test_size,
            "licence": data.licence,
        }
        for data in load_datasets().values()
    ]


def _taxonomy() -> Choices:
    return [{"node": path, "title": node.title} for path, node in load_taxonomy().nodes.items()]


ENTRIES: Mapping[str, Callable[[], Choices]] = {
    "evaluators": _evaluators,
    "settings": _settings,
    "datasets": _datasets,
    "taxonomy": _taxonomy,
    "recipes": _recipes,
}
"""By the word that `certboard list` takes."""
