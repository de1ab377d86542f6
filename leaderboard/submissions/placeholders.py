"""The texts that `certboard new` writes as examples, and that a submission must not keep.

One list serves both: the scaffold is filled from it, and `certboard check` refuses what is on it.
"""

from collections.abc import Iterator

from leaderboard.common.lookalikes import skeleton
from leaderboard.common.rules import told
from leaderboard.common.strict_toml import shown

EXAMPLES = {
    "first author": "First Author",
    "second author": "Second Author",
    "owner": "your-github-account",
    "licence": "The licence's SPDX identifier, such as Apache-2.0",
    "node": "training/how-it-was-trained",
    "description": "How the network was trained, in a sentence or two.",
    "code": "https://github.com/your-account/your-code",
    "paper": "The paper's title",
    "arxiv": "0000.00000",
    "url": "https://example.org/your-paper",
    "venue": "Where it was published, and the year",
    "architecture": "Its layers, such as 2 convolutions, 2 dense layers",
    "source": "https://example.org/their-code",
    "readme": "What is special about this model, how it was trained, and how to train it again.",
}
"""By what each stands for."""

_BONES = {skeleton(text) for text in EXAMPLES.values()}


def is_placeholder(text: str) -> bool:
    """Say whether a text is an example of the scaffold's, however it is spaced or capitalised."""
    return skeleton(text) in _BONES


def placeholders_in(table: object, where: str, key: str = "") -> Iterator[str]:
    """Yield a sentence for each text in a manifest that is still an example."""
    if isinstance(table, dict):
        for name, value in table.items():
            yield from placeholders_in(value, where, f"{key}.{name}" if key else str(name))
    elif isinstance(table, list):
        for number, value in enumerate(table, start=1):
            yield from placeholders_in(value, where, f"{key} #{number}")
    elif isinstance(table, str) and is_placeholder(table):
        sentence = f"{where}: {shown(key)} is still the example {shown(table)}: fill it in."
        yield told("text-placeholder", sentence)
