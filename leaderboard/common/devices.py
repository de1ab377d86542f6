"""What `--device` says: the processor, a CUDA device, or several of one kind of this machine."""

import re
from collections.abc import Sequence

from leaderboard.common.errors import InputError

_ONE = "cpu|cuda(:[0-9]{1,3})?"
_ALLOWED = "cpu, cuda, cuda:0 or cuda:0,cuda:1"


def devices_of(text: str) -> tuple[str, ...]:
    """The devices in order: the first holds the examples, all of them count samples.

    `cuda` alone is the first CUDA device with all others of its kind. Samples are shared out by
    their numbers, so that counts do not depend on how many there are.
    """
    names = text.split(",")
    if names != ["cuda"]:
        return tuple(names)
    kinds = _kinds()
    return tuple(f"cuda:{place}" for place, kind in enumerate(kinds) if kind == kinds[0])


def kind_of(text: str) -> str:
    """Read the kind of device, cpu or cuda, off what was typed, whatever is on this machine."""
    return text.partition(":")[0]


def check_device(text: str, *, elsewhere: bool = False) -> None:
    """Refuse devices that are not there, or not of one kind.

    `elsewhere` is for a cluster, on which nothing can be said of devices from here.

    Raises:
        InputError: they are refused.
    """
    names = text.split(",")
    if not all(re.fullmatch(_ONE, name) for name in names):
        raise InputError(f"--device is '{text}'; it must be {_ALLOWED}.")
    if set(names) == {"cpu"}:
        return
    if "cpu" in names or (len(names) > 1 and "cuda" in names):
        raise InputError(f"--device is '{text}'; a list has CUDA devices with their numbers only.")
    if not elsewhere:
        _check_cuda(text, [int(name.partition(":")[2] or 0) for name in names])


def _check_cuda(text: str, numbers: Sequence[int]) -> None:
    import torch

    if not torch.cuda.is_available():
        raise InputError(f"--device is {text}, but PyTorch finds no CUDA device here; use cpu.")
    kinds = _kinds()
    for number in numbers:
        if number >= len(kinds):
            raise InputError(
                f"--device is {text}, but there is no device {number} of {len(kinds)}."
            )
        if numbers.count(number) > 1:
            raise InputError(f"--device is {text}, which names cuda:{number} more than once.")
        if kinds[number] != kinds[numbers[0]]:
            raise InputError(
                f"--device is {text}, but cuda:{numbers[0]} is {kinds[numbers[0]]} and"
                f" cuda:{number} is {kinds[number]}: a base classifier is what one kind computes."
            )


def _kinds() -> list[str]:
    """The names of the CUDA devices that can be seen."""
    import torch

    return [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
