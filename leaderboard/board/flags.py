"""Flags: what looks like fraud or a mistake, shown on a submission's page with its evidence.

A flag refuses nothing and changes no row: a certificate is proved whoever sent the model. It asks a
maintainer to look, and the decision is recorded in `site/data/decisions.toml`. Every flag is worked
out from rows, claims and `site/data/checks/<slug>.json`; nothing is run for it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from leaderboard.board import decisions
from leaderboard.board.board import Board
from leaderboard.board.decisions import Decision
from leaderboard.board.fingerprints import Checks, Twin
from leaderboard.common.errors import nearest
from leaderboard.common.strict_toml import shown
from leaderboard.results.claims import judge
from leaderboard.submissions.manifest import Submission

if TYPE_CHECKING:
    from leaderboard.results.store import Results

Rule = Literal[
    "same-model",
    "same-weights",
    "test-lookup",
    "constant-prediction",
    "flat-gradient",
    "claim-contradicted",
    "claim-clean",
    "claim-fraction",
]

RULES: Mapping[Rule, str] = {
    "same-model": "Its answers equal another submission's, up to scale and order.",
    "same-weights": "Many of its hidden units compute the same as those of another submission.",
    "test-lookup": "It is right on test images, but wrong on almost identical ones.",
    "constant-prediction": "It predicts the same class for every example.",
    "flat-gradient": "Its gradient vanishes at most examples, so that attacks find no direction.",
    "claim-contradicted": "A claim exceeds what the examples still unknown could make true.",
    "claim-clean": "The claimed clean accuracy differs from the measured one.",
    "claim-fraction": "A claim of at most 1 % may be a fraction instead of a percentage.",
}

LOST, SLOPELESS = 0.3, 0.5
"""Accuracy that such noise may not cost, and the share of examples without a slope."""
_CLEAN_SLACK = 1.0
"""Percentage points by which a clean accuracy may differ: other software, other rounding."""
_FEW = 20


@dataclass(frozen=True)
class Flag:
    """One suspicion: the rule, a sentence with the numbers, the evidence, and what was decided.

    `other` is the submission that a network is like, where that is the suspicion.
    """

    rule: Rule
    sentence: str
    evidence: tuple[tuple[str, str], ...] = ()
    decision: Decision | None = None
    other: str | None = None


def flags_of(board: Board, slug: str) -> list[Flag]:
    """List the flags of one submission, each with a maintainer's decision if there is one."""
    found = [
        *_of_claims(board, slug),
        *_of_answers(board.results_of.get(slug, ())),
        *(_of_checks(board.checks[slug]) if slug in board.checks else ()),
        *(_of_twin(twin, board.submissions) for twin in board.twins.get(slug, ())),
    ]
    if not found:
        return []
    model = board.submissions[slug].model_hash
    own = [one for one in board.decisions if one.slug == slug]
    return [replace(flag, decision=_decided(flag, model, own)) for flag in found]


def _decided(flag: Flag, model: str, decisions: Sequence[Decision]) -> Decision | None:
    """The last decision about a flag."""
    fitting = (one for one in decisions if one.is_about(model, flag.rule, flag.other))
    return next(reversed([*fitting]), None)


def static_flags(submission: Submission) -> list[Flag]:
    """List the flags that the manifest alone raises."""
    return [
        Flag(
            "claim-fraction",
            f"{claim.setting}: the claimed certified accuracy is {claim.certified} percent;"
            f" was {100 * claim.certified:g} meant?",
        )
        for claim in submission.claims
        if claim.certified is not None and 0 < claim.certified < 1
    ]


def _of_claims(board: Board, slug: str) -> Iterable[Flag]:
    submission = board.submissions[slug]
    yield from static_flags(submission)
    claims = {claim.setting: claim for claim in submission.claims}
    for result in board.results_of.get(slug, ()):
        place = board.settings[result.provenance.setting]
        if place.id not in claims or not result.tally.examples:
            continue
        for one in judge(claims[place.id], result.tally, place.radius, result.provenance.total):
            evidence = (
                ("claimed", f"{one.claimed:.2f} %"),
                ("measured", f"{one.measured:.2f} %"),
                ("whole test set", f"{one.interval.low:.2f} to {one.interval.high:.2f} %"),
            )
            if one.support == "contradicted":
                yield Flag("claim-contradicted", f"{place.title}: {one.sentence}", evidence)
            elif one.what == "clean" and one.claimed < one.interval.low - _CLEAN_SLACK:
                sentence = f"{place.title}: {one.sentence.split(': the claim')[0]}."
                yield Flag("claim-clean", sentence, evidence)


def _of_answers(results: Sequence["Results"]) -> Iterable[Flag]:
    for result in results:
        if len(result.tally.predicted) != 1 or result.tally.labels < 2:
            continue
        ((answer, count),) = result.tally.predicted.items()
        if count >= _FEW:
            yield Flag(
                "constant-prediction",
                f"{result.provenance.setting}: all {count:,} examples get class {answer}.",
                (("examples", f"{count:,}"), ("class", str(answer))),
            )
            return


def _of_checks(checks: Checks) -> Iterable[Flag]:
    look = checks.lookup
    if look is None:
        return
    shares = {"test images": look.clean, "with noise of two grey levels": look.noisy}
    if look.fresh is not None:
        shares["training images"] = look.fresh
    evidence = (
        ("images", f"{look.examples:,}"),
        *((what, f"{100 * share:.1f} % right") for what, share in shares.items()),
    )
    worst = min(shares, key=lambda what: shares[what])
    if look.clean - shares[worst] > LOST:
        yield Flag(
            "test-lookup",
            f"Right on {100 * look.clean:.1f} % of {look.examples:,} test images, but on"
            f" {100 * shares[worst]:.1f} % of {worst}.".replace("of with", "of them with"),
            evidence,
        )
    if look.flat > SLOPELESS:
        share = f"{100 * look.flat:.1f} %"
        sentence = f"The logits have no slope at {share} of {look.examples:,} test images."
        yield Flag("flat-gradient", sentence, (("without slope", share),))


def _of_twin(twin: Twin, submissions: Mapping[str, Submission]) -> Flag:
    title = submissions[twin.other].title
    if twin.answers:
        sentence = f"Its answers are those of '{twin.other}' ({title})."
    else:
        sentence = (
            f"{100 * twin.shared:.0f} % of its hidden units, or of the other's, compute the same as"
            f" those of '{twin.other}' ({title})."
        )
    evidence = (
        ("submission", twin.other),
        ("difference of the scaled logits", f"{twin.distance:.2g}"),
        ("equal hidden units", f"{100 * twin.shared:.0f} %"),
        *(
            [("fresh images with the same answers", f"{100 * twin.agreed:.0f} %")]
            if twin.agreed is not None
            else []
        ),
    )
    rule: Rule = "same-model" if twin.answers else "same-weights"
    return Flag(rule, sentence, evidence, other=twin.other)


def unfounded(board: Board) -> Iterator[str]:
    """Yield a sentence for each decision about something that is not there."""
    for one in board.decisions:
        about = f"{decisions.FILE}: the decision of {one.date} about {shown(one.slug)}"
        if one.slug not in board.submissions:
            yield f"{about} is about no submission.{nearest(one.slug, board.submissions)}"
        elif one.rule is not None and one.rule not in RULES:
            known: Mapping[str, str] = {str(rule): text for rule, text in RULES.items()}
            yield f"{about}: there is no rule of flags {shown(one.rule)}.{nearest(one.rule, known)}"
        elif one.rule is not None:
            if problem := _unfounded(board, one):
                yield f"{about}: {problem}."
        elif one.setting not in board.settings:
            hint = nearest(str(one.setting), board.settings)
            yield f"{about}: there is no setting {shown(one.setting)}.{hint}"
        elif not board.has_row(one.slug, str(one.setting)):
            yield f"{about}: it has no row in '{one.setting}'."


def _unfounded(board: Board, one: Decision) -> str:
    """Why a decision about a flag of a submission decides nothing; empty if it does."""
    model = board.submissions[one.slug].model_hash
    if one.model != model:
        return f"it is about the model {one.model}, but the present one is {model}"
    others = {flag.other for flag in flags_of(board, one.slug) if flag.rule == one.rule}
    if not others:
        return f"it has no flag by the rule '{one.rule}'"
    if one.other not in others:
        return f"its flag by the rule '{one.rule}' is about '{others.pop()}', not '{one.other}'"
    return ""
