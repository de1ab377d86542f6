"""The answer to one question about one example."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction

from jaxtyping import Float
from torch import Tensor

from evaluators.question.certificate import Certificate


class Status(StrEnum):
    """What is known about one example and one region."""

    CERTIFIED = "certified"
    """Proved for the whole region (for a smoothed network: up to 1 - `confidence`)."""
    FALSIFIED = "falsified"
    """A witness inside the region is not classified as the label."""
    UNKNOWN = "unknown"
    """Neither; the verdict's note says why."""


@dataclass(frozen=True)
class Sampling:
    """What a probabilistic certificate was computed from; enough to recompute its radius.

    `count` of `n` estimation samples, drawn after `n0` selection samples, gave the prediction;
    `p_lower` is the lower confidence bound of its probability, `sigma` the noise's scale.

    Attributes:
        procedure: name of the way in which samples were spent; it says how `p_lower` follows.
        noise: "shared" by the examples of a seed, or each example's "own".
        classes: number of classes; 0 where it was not recorded.
        p_upper: with two sides, the upper confidence bound of any other class's probability.
        runner_up: the largest count of another class, where it was used.
        statistics: what else the bounds and the radius were computed from, by name.
    """

    n0: int
    n: int
    count: int
    p_lower: float
    sigma: Fraction
    seed: int
    procedure: str = "fixed"
    noise: str = "shared"
    classes: int = 0
    p_upper: float | None = None
    runner_up: int | None = None
    statistics: tuple[tuple[str, float], ...] = ()


class Deployment(StrEnum):
    """Which runs of a network a deterministic proof is about."""

    FLOAT32 = "float32"
    """Every run in float32, in whatever order it sums, and real arithmetic."""
    REAL = "real"
    """Real arithmetic alone; the rounding of a float32 run may be larger than the margin."""


@dataclass(frozen=True)
class Verdict:
    """One example's answer.

    Attributes:
        prediction: the class at the example itself; None when it is not known (abstention).
        radius: the largest radius proved, rounded down, in the units of the region's norm; it can
            be positive although `status` is unknown (a smoothed radius below the one asked about).
        confidence: 1 for a proof, else 1 minus the failure probability.
        margin: proved lower bound, over the region, of the label's logit minus the best other.
        witness: an input of the region (shape of the network's input) with another prediction.
        seconds: time spent on this example, by the clock of its budget (`deadline.py`); what is
            done for several at once is shared equally among those that take part in it.
        stage: name of the evaluator that decided, or tried last.
        note: why the status is unknown, else empty.
        sampling: the evidence of a probabilistic certificate.
        certificate: the evidence of a proof, where the problem asked for it and the method can
            write one; no part of the stored rows.
        deployment: of a deterministic proof, which runs of the network it is about.
    """

    status: Status
    prediction: int | None
    radius: Fraction | None = None
    confidence: float = 1.0
    margin: float | None = None
    witness: Float[Tensor, "..."] | None = None
    seconds: float = 0.0
    stage: str = ""
    note: str = ""
    sampling: Sampling | None = None
    certificate: Certificate | None = None
    deployment: Deployment | None = None

    def __repr__(self) -> str:
        """What one wants to know at a glance; a witness or certificate is hundreds of lines."""
        told = [self.status.value, f"prediction={self.prediction}"]
        if self.radius is not None:
            told.append(f"radius={self.radius}")
        if self.margin is not None:
            told.append(f"margin={self.margin:.4g}")
        if self.confidence < 1:
            told.append(f"confidence={self.confidence:.6g}")
        if self.witness is not None:
            told.append("with witness")
        if self.certificate is not None:
            told.append("with certificate")
        told += [f"stage={self.stage!r}", f"seconds={self.seconds:.3g}"]
        return f"Verdict({', '.join(told + [f'note={self.note!r}'] * bool(self.note))})"


def charged(verdicts: Sequence[Verdict], seconds: float) -> list[Verdict]:
    """Charge each verdict with an equal share of the seconds of common work."""
    share = max(seconds, 0.0) / max(len(verdicts), 1)
    return [replace(verdict, seconds=verdict.seconds + share) for verdict in verdicts]


def charged_in_all(verdicts: Sequence[Verdict], seconds: float) -> list[Verdict]:
    """Share out what no verdict is charged with yet of the seconds that all of them took."""
    return charged(verdicts, seconds - sum(verdict.seconds for verdict in verdicts))
