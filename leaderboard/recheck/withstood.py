"""How many of a plain model's open examples the attack of the cascade may break after all.

The cascade attacks before it searches, and every example has its own stream of random numbers:
whatever is left open withstood that very attack. Another machine rounds otherwise, so a few may
fall on it (of 4,448 open examples of 29 networks, on other processors, none did). Many fall where
counterexamples were left out, which would make attacks look weaker than they are.
"""

from leaderboard.evaluation.evaluator import attack_of_cascade

ATTACK = attack_of_cascade()
"""The cascade's attack."""
_FEW, _SHARE = 3, 0.02
"""That many, and this part of those that were looked at."""


def hides(fallen: int, looked: int) -> str:
    """Say what so many fallen examples of those looked at mean; empty if no more fell than may."""
    if fallen <= _FEW + _SHARE * looked:
        return ""
    return (
        f"{fallen} of {looked} unknown examples are broken by '{ATTACK}', which is part of the"
        " cascade: counterexamples were left out"
    )
