"""What steers a search: it changes how long a proof takes, never what is true.

Two numbers beside a setting are the domains that positions 2 and 10 of MNIST CNN-A-Adv take with
it: 908 and 1,808 as they are (`tests/benchmarks/test_search_speed.py` has the examples).
"""

from dataclasses import dataclass, field

from evaluators.unrolled.ascent import Rates


@dataclass(frozen=True)
class Tuning:
    """The settings of a search.

    Attributes:
        root, child, clipped: steps of the ascents without splits, after a split (ten instead of six
            take half as long again) and after clipping (1 step: 907 and 1,812; 8: 887 and 1,759).
        batch: fewest and most domains of an example in a round (fewest 4: 904 and 1,799; most 64
            or 2,048: no difference here; a pass over more than 512 is no faster a domain).
        round_share, round_seconds: how long a round should take: a share of the time left, and
            fewest and most seconds. A round is not broken off: a deadline is passed by as much.
        target: margin above which a cut need not hold, as a share of the bound without splits
            (1e-2: 940 and 1,969; 1e-5: 901 and 1,797, but what is proved is worth no more).
        clip_units: neurons of a domain whose bounds clipping narrows (none: 1,671 and 6,081; 20:
            1,079 and 2,530; 200: 880 and 1,740 in twice the time).
        clip_intercept: weight of BaBSR's intercept score, beside the gap's, in choosing them (0:
            904 and 1,803; 1: 907 and 1,824).
        clip_gains, clip_quantile: a domain is clipped where it is no farther from a proof than so
            many times what clipping last gained, at that quantile (the gain of a domain that it
            closed is its distance). Seconds of positions 2, 10, 11 and 17: 11.9 to 12.4 with 8,
            13.4 with 4, 11.6 with 32, 12.4 with the quantile 0.75.
        clip_tried: nearest domains that are clipped in any case, to see what it gains by now (8:
            11.9 to 12.4 s, 16: 11.2 s).
        aim: how far above what rounding took from a failed proof the search aims (1: no difference;
            2: 913 and 1,824).
        memory: part of the process's memory that an example's open domains may take; one with
            1,500 neurons takes 10 kB near a proof, 3 kB away from it, and 0.1 kB at last.
        near: domains near a proof that are kept as they are when others are put away.
        proved_late: open domains up to which all bounds are proved when time runs out: with 1,500
            neurons that takes 0.9 s.
        joined_domains, joined_coefficients: an example's domains, and the coefficients of its
            matrices, up to which they share a batch with other examples': eight domains of each of
            eight digits take 12 ms together and 27 ms apart, of 6x100, with larger matrices, 48 and
            36 ms.
        neuron_rounds: most splits for each bound of a neuron of a deep perceptron, in every pass.
        turns_coefficients: coefficients of the matrices of an example up to which it takes turns:
            16 MB in float32, which every example that takes turns holds.
        turns_domains: open domains from which an example goes on alone: its batches gain nothing
            by joining, and it needs the memory.
    """

    root: Rates = field(default_factory=lambda: Rates(20))
    child: Rates = field(default_factory=lambda: Rates(6, slope=0.2))
    clipped: Rates = field(default_factory=lambda: Rates(4, slope=0.2))
    batch: tuple[int, int] = (16, 512)
    round_share: float = 0.02
    round_seconds: tuple[float, float] = (0.4, 2.0)
    target: float = 1e-3
    clip_units: int = 60
    clip_intercept: float = 0.3
    clip_gains: float = 8.0
    clip_quantile: float = 0.9
    clip_tried: int = 16
    aim: float = 1.1
    memory: float = 1 / 4
    near: int = 1024
    proved_late: int = 4096
    joined_domains: int = 8
    joined_coefficients: int = 2**17
    neuron_rounds: tuple[int, ...] = (16, 64)
    turns_coefficients: int = 2**22
    turns_domains: int = 256
