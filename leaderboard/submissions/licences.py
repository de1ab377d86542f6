"""Under which licence a model is: an SPDX expression, so that nobody has to guess what is meant."""

from typing import Annotated

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from pydantic import AfterValidator

from leaderboard.common.errors import nearest
from leaderboard.common.text import check_line
from leaderboard.submissions.placeholders import is_placeholder

NONE_STATED = "none stated"
"""Of a network whose authors published it without a licence."""

_COMMON = ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC0-1.0", "MIT")


def check_licence(text: str) -> str:
    """Return a licence if it is an SPDX expression as SPDX writes it, or none is stated.

    Raises:
        ValueError: it is neither; the message is the end of a sentence about it.
    """
    # An example that was left as it is has a sentence of its own.
    if text == NONE_STATED or is_placeholder(text):
        return text
    known = f"must be an SPDX expression such as {', '.join(_COMMON)}, or '{NONE_STATED}'"
    try:
        canonical = canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        raise ValueError(f"{known}.{nearest(text, (*_COMMON, NONE_STATED))}") from None
    if canonical != text:
        raise ValueError(f"{known}.{nearest(text, [canonical])}")
    return text


Licence = Annotated[str, AfterValidator(check_line), AfterValidator(check_licence)]
