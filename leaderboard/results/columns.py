"""The columns of result files: what the files hold, and what the website says of it."""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "fraction", "integer", "number", "bytes"]
"""A fraction is a text that writes a number exactly, such as 8/255 or 0.3."""

LONGEST = 200
"""Characters of a text that has no other bound."""

_SIGNS = "A-Za-z0-9 .,:;()/+=*%_?!'·-"
NAME = "[a-z0-9]+(-[a-z0-9]+)*"
"""Of a submission, an evaluator, a procedure."""
PLAIN = f"[{_SIGNS}]*"
"""A text that means the same wherever it is shown: no markup, nothing that nobody sees."""


def plain(text: str) -> str:
    """One line with a question mark for every sign that `PLAIN` does not have, cut to `LONGEST`."""
    return re.sub(f"[^{_SIGNS}]", "?", " ".join(text.split()))[:LONGEST]


@dataclass(frozen=True)
class Column:
    """A column: the kind of its values, what they mean, and when one is null.

    What a value may be is bounded by `least` and `most` for a number, which is finite, and for a
    text by the pattern `form` and `longest`, in characters.
    """

    name: str
    kind: Kind
    meaning: str
    null: str = ""
    least: float = 0
    most: float = 1e12
    form: str = PLAIN
    longest: int = LONGEST


FLOAT32, REAL = "float32", "real"
"""What a deterministic proof is about, as of the evaluators' `Deployment`."""
_CLASS, _SHARE, EXACT = 1e6, 1, "[0-9]+([.][0-9]+|/[0-9]+)?"
_PLAIN = "the model is not smoothed"

DESCRIBED = (
    Column("submission", "text", "The submission's slug.", form=NAME),
    Column(
        "setting",
        "text",
        "The setting's id: dataset, norm and radius.",
        form="[a-z0-9]+-[a-z0-9]+-[0-9._]+",
    ),
    Column("evaluator", "text", "The evaluator that was run, or cascade.", form=NAME),
    Column(
        "evaluator_version",
        "text",
        "Versions of all evaluators that took part.",
        form="[a-z0-9.+-]+",
    ),
    Column("example", "integer", "Official index in the dataset's test set, from 0."),
    Column("label", "integer", "The correct class.", most=_CLASS),
    Column(
        "prediction",
        "integer",
        "The predicted class of the example itself.",
        "a smoothed model abstains",
        most=_CLASS,
    ),
    Column(
        "status",
        "text",
        "certified: proved for the whole ball; falsified: a counterexample is known; "
        "unknown: neither.",
        form="certified|falsified|unknown",
    ),
    Column(
        "radius",
        "fraction",
        "The largest proved radius, an exact fraction such as 8/255 or 0.3, rounded down.",
        "nothing was proved",
        form=EXACT,
    ),
    Column(
        "confidence", "number", "1, or 1 minus the failure probability of the verdict.", most=_SHARE
    ),
    Column(
        "margin",
        "number",
        "Proved lower bound, over the ball, on the label's logit minus the largest other.",
        "there is none",
        least=-1e30,
        most=1e30,
    ),
    Column(
        "deployment",
        "text",
        "What the proof is about: float32, every float32 run of the network and real arithmetic; "
        "real, real arithmetic alone, which does not count as certified.",
        "nothing deterministic was proved",
        form=f"{FLOAT32}|{REAL}",
    ),
    Column(
        "seconds",
        "number",
        "What the example cost, in seconds: on the CPU processor time of the thread that computes, "
        "elsewhere the wall clock's; work for several is shared equally among those it is for.",
    ),
    Column("stage", "text", "The evaluator that decided the example, or prediction.", form=NAME),
    Column("note", "text", "Why an example is unknown, or another remark."),
    Column("n0", "integer", "Samples drawn to select the class.", _PLAIN),
    Column("n", "integer", "Samples drawn to estimate its probability.", _PLAIN),
    Column("count", "integer", "How many of the n samples voted for the class.", _PLAIN),
    Column("p_lower", "number", "Lower confidence bound on its probability.", _PLAIN, most=_SHARE),
    Column(
        "sigma",
        "fraction",
        "Scale of the noise, an exact fraction of the pixel range.",
        _PLAIN,
        form=EXACT,
    ),
    Column("seed", "text", "Key of the random streams.", _PLAIN, form="[0-9]+"),
    Column("procedure", "text", "How the samples were drawn.", _PLAIN, form=NAME),
    Column(
        "p_upper",
        "number",
        "Upper confidence bound on the probability of any other class.",
        "the estimate is one-sided",
        most=_SHARE,
    ),
    Column("runner_up", "integer", "Largest count of another class.", "they were not counted"),
    Column(
        "statistics",
        "text",
        "A JSON object with everything else that the radius was computed from.",
        "there is nothing else",
        form='[{}"a-z0-9_:,. +-]*',
        longest=2000,
    ),
    Column(
        "witness",
        "bytes",
        "The counterexample of the example. With 4 bytes a pixel: its pixels as little-endian "
        "float32. With fewer: in steps from the example x, namely a byte L, a step s as "
        "little-endian float32, and a whole number k from -L to L for each pixel, modulo 2L+1, as "
        "many digits of that base a byte as fit, the first one the lowest. Its pixels are "
        "clip(x + s k, 0, 1) in float64, rounded to float32 towards x.",
        "there is none, or it is the example itself, falsified by a prediction that is not the "
        "label",
    ),
)
"""Every column, in order; what a file holds and what the website says of it."""
