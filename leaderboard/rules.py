"""The catalogue of rules: why a file is refused, each with a stable name that messages end with.

The rules about networks are `evaluators.onnx_rules`; those here are about folders and texts.
"""

from leaderboard.networks import model_rules


def catalogue() -> dict[str, str]:
    """What every rule asks, by its name."""
    return {**model_rules()}
