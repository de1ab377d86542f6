"""The catalogue of rules: why a file is refused or flagged; messages end with a rule's name.

The rules about networks are `evaluators.onnx.rules`; those here are about folders and texts, and
about what is flagged: shown on a submission's page for a maintainer to decide.
"""

REFUSALS = {
    "folder-name": "A submission's name is lower-case words, digits and single dashes.",
    "folder-confusable": "Its name cannot be mistaken for another submission's.",
    "folder-files": "The folder has a manifest, texts and the networks it names: plain files only.",
    "folder-size": "Neither the number of files nor a text's length is more than anyone needs.",
    "folder-text": "README.md and LICENSE are visible UTF-8 text.",
    "file-missing": "A file that the manifest names is there.",
    "file-size": "A network's file is not too large, and of the size that is said.",
    "file-hash": "A network's file has the SHA-256 that the manifest says.",
    "toml-syntax": "The manifest is there, UTF-8 and valid TOML.",
    "toml-key": "Its keys are those that there are, and none that is needed is missing.",
    "toml-type": "A value has the type of its key.",
    "toml-range": "A number is finite and within its range.",
    "toml-value": "A value is one of those that are allowed.",
    "text-length": "A text is neither empty nor too long.",
    "text-invisible": "A text has no character that is not seen or that changes what is seen.",
    "text-normal": "A text is in Unicode's composed form (NFC).",
    "text-marks": "A letter has no more marks than any language writes.",
    "text-scripts": "A word does not mix letters of scripts that look alike.",
    "text-address": "An address begins with http:// or https:// and a host, without a password.",
    "text-placeholder": "No text is still an example that `certboard new` wrote.",
    "title-confusable": "The title cannot be mistaken for that of another author's submission.",
    "claim-order": "A claimed certified accuracy is not above the clean one.",
    "claim-unit": "Claims are in percent, not fractions.",
    "smoothing-scale": "The scale of noise is in units of the pixel range [0, 1].",
}

MOST = 40


class RuledError(ValueError):
    """A value breaks a rule; the message is the end of a sentence about it."""

    def __init__(self, rule: str, problem: str) -> None:
        super().__init__(problem)
        self.rule = rule


def told(rule: str, sentence: str) -> str:
    """A sentence about a broken rule, whose end names the rule."""
    assert rule in REFUSALS, rule
    end = "" if sentence.endswith("?") else "."
    return f"{sentence.removesuffix('.')} (rule {rule}){end}"


def first(problems: list[str]) -> list[str]:
    """The first of very many problems, and how many there are besides."""
    if len(problems) <= MOST:
        return problems
    return [*problems[:MOST], f"There are {len(problems) - MOST:,} more problems of this kind."]
