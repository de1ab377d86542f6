"""What an answer in a table is about: not names, whose files may hold something else tomorrow."""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from leaderboard.common.errors import InputError
from leaderboard.datasets.files import sha256_of
from leaderboard.results.kept import hash_of
from leaderboard.vnncomp.instance import Instance


def subject_of(instance: Instance) -> str:
    """Hash all that the answer to an instance follows from: both files, the method, the code.

    A file that cannot be read counts as one that is not there. Time counts for nothing: a row of a
    table that ran out of it is not asked about again.
    """
    files = [_content(path) for path in (instance.model, instance.specification)]
    told = "\n".join([*files, instance.evaluator or "", _code()])
    return hashlib.sha256(told.encode()).hexdigest()


def _content(path: Path) -> str:
    packed = path.with_name(f"{path.name}.gz")
    try:
        return sha256_of(packed if packed.exists() and not path.exists() else path)
    except InputError:
        return "none"


@cache
def _code() -> str:
    """A hash of both packages, found without importing what computes."""
    specs = [find_spec(name) for name in ("evaluators", "leaderboard")]
    return "\n".join(hash_of(Path(str(spec.origin)).parent) for spec in specs if spec)
