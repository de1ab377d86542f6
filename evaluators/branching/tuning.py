"""What steers a search: it changes how long a proof takes, never what is true."""

from dataclasses import dataclass, field

from evaluators.unrolled.ascent import Rates


@dataclass(frozen=True)
class Tuning:
    """The settings of a search.

    Attributes:
        root, child, clipped: steps of the ascents without splits, after a split, after clipping.
        batch: fewest and most domains of an example in a round.
        round_share, round_seconds: how long a round should take: the share of the time left, and
            the fewest and most seconds. The batch adapts, so that the deadline can be kept.
        target: margin that clipping leaves out of sight, as a share of the bound without splits.
        clip_units: neurons of a domain whose bounds clipping narrows; 0 is no clipping.
        clip_pays: share of domains that clipping should close. The distance to a proof at which it
            is tried shrinks by `clip_step` where it closes fewer, and grows where it closes more.
        aim: how far above what rounding took from a failed proof the search aims.
        megabytes: memory that an example's open domains may take.
        proved_late: open domains up to which all bounds are proved when time runs out.
        joined_domains, joined_coefficients: an example's domains, and the coefficients of its
            matrices, up to which they share a batch with other examples'.
        turns_coefficients: coefficients of the matrices of an example up to which it takes turns.
        turns_domains: open domains from which an example goes on alone.
    """

    root: Rates = field(default_factory=lambda: Rates(20))
    child: Rates = field(default_factory=lambda: Rates(6, slope=0.2))
    clipped: Rates = field(default_factory=lambda: Rates(4, slope=0.2))
    batch: tuple[int, int] = (16, 512)
    round_share: float = 0.02
    round_seconds: tuple[float, float] = (0.4, 2.0)
    target: float = 1e-3
    clip_units: int = 60
    clip_pays: float = 0.2
    clip_step: float = 0.8
    aim: float = 1.1
    megabytes: int = 2000
    proved_late: int = 4096
    joined_domains: int = 8
    joined_coefficients: int = 2**17
    turns_coefficients: int = 2**22
    turns_domains: int = 256
