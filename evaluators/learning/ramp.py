"""How a quantity grows in the course of a training."""


def grown(progress: float, start: float, end: float) -> float:
    """Compute its share: 0 until `start`, 1 from `end` on, linear between them.

    All three are shares of the training.
    """
    return 1.0 if progress >= end else max((progress - start) / (end - start), 0.0)
