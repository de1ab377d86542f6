"""The columns of result files: what the files hold, and what the website says of it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "fraction", "integer", "number", "bytes"]
"""A fraction is a text that writes a number exactly, such as 8/255 or 0.3."""


@dataclass(frozen=True)
class Column:
    """A column: the kind of its values, what they mean, and when one is null.

    `since` is the schema version in which it came; it is null in older files.
    """

    name: str
    kind: Kind
    meaning: str
    null: str = ""
    since: int = 1


_PLAIN = "the model is not smoothed"

DESCRIBED = (
    Column("submission", "text", "The submission's slug."),
    Column("setting", "text", "The setting's id: dataset, norm and radius."),
    Column("evaluator", "text", "The evaluator that was asked, or cascade."),
    Column("evaluator_version", "text", "Versions of all evaluators that took part."),
    Column("example", "integer", "Official index in the dataset's test set, from 0."),
    Column("label", "integer", "The right class."),
    Column("prediction", "integer", "Class at the example itself.", "a smoothed model abstains"),
    Column(
        "status",
        "text",
        "certified: proved for the whole ball; falsified: a counterexample was checked; "
        "unknown: neither.",
    ),
    Column(
        "radius",
        "fraction",
        "Largest radius proved, an exact fraction such as 8/255 or 0.3, rounded down.",
        "nothing was proved",
    ),
    Column("confidence", "number", "1, or 1 minus the failure probability of the verdict."),
    Column(
        "margin",
        "number",
        "Proved lower bound, over the ball, of the label's logit minus the best other.",
        "there is none",
    ),
    Column("seconds", "number", "Time spent on the example, in seconds."),
    Column("stage", "text", "The evaluator that decided, or prediction."),
    Column("note", "text", "Why an example is unknown, or what else is to be known."),
    Column("n0", "integer", "Samples drawn to select the class.", _PLAIN),
    Column("n", "integer", "Samples drawn to estimate its probability.", _PLAIN),
    Column("count", "integer", "How many of the n samples gave the class.", _PLAIN),
    Column("p_lower", "number", "Lower confidence bound of its probability.", _PLAIN),
    Column(
        "sigma",
        "fraction",
        "Scale of the noise, an exact fraction of the pixel range.",
        _PLAIN,
    ),
    Column("seed", "text", "Key of the random streams.", _PLAIN),
    Column("procedure", "text", "How the samples were drawn.", _PLAIN, 2),
    Column(
        "p_upper",
        "number",
        "Upper bound of any other class's probability.",
        "the estimate is one-sided",
        2,
    ),
    Column("runner_up", "integer", "Largest count of another class.", "they were not counted", 2),
    Column(
        "statistics",
        "text",
        "A JSON object with all else that the radius was computed from.",
        "there is nothing else",
        2,
    ),
    Column(
        "witness",
        "bytes",
        "The input that refutes the example: its pixels as little-endian float32.",
        "there is none",
    ),
)
"""Every column, in order; what a file holds and what the website says of it."""
