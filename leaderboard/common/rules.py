"""The catalogue of rules: why a file is refused or flagged; messages end with a rule's name.

The rules about networks are `evaluators.onnx.rules`; those here are about folders and texts, and
about what is flagged: shown on a submission's page for a maintainer to decide.
"""

REFUSALS = {
    "folder-name": "A submission's name is lower-case words, digits and single dashes.",
    "folder-confusable": "Its name looks like no other submission's.",
    "folder-files": "The folder holds a manifest, texts and the named networks, as plain files.",
    "folder-size": "There are not too many files, and no text is too long.",
    "folder-text": "README.md and LICENSE are visible UTF-8 text.",
    "file-missing": "Every file that the manifest names exists.",
    "file-size": "A network's file is not too large and has the stated size.",
    "file-hash": "A network's file has the SHA-256 that the manifest states.",
    "toml-syntax": "The manifest exists and is valid TOML in UTF-8.",
    "toml-key": "It has every required key and no unknown one.",
    "toml-type": "Every value has the type that its key requires.",
    "toml-range": "Every number is finite and within its range.",
    "toml-value": "Every value is one of those allowed.",
    "text-length": "No text is empty or too long.",
    "text-invisible": "No text has invisible characters, or ones that change how it is shown.",
    "text-normal": "Every text is in Unicode's composed form (NFC).",
    "text-marks": "No letter carries more marks than any language uses.",
    "text-scripts": "No word mixes letters of scripts that look alike.",
    "text-address": "Every address starts with http:// or https:// and a host, without a password.",
    "text-placeholder": "No text is still an example written by `certboard new`.",
    "title-confusable": "The title looks like no other author's title.",
    "claim-order": "A claimed certified accuracy does not exceed the clean one.",
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
