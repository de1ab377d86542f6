"""Hostile and broken submissions: each has the outcome that is written beside it, in little memory.

The corpus is made by `tests/fixtures/corpus`; nothing of it is stored.
"""

import json
import re
import resource
from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest

from evaluators.onnx.rules import ModelRule
from leaderboard.board.flags import RULES
from leaderboard.board.own_files import check_board
from leaderboard.common.project import Project
from leaderboard.common.rules import REFUSALS
from leaderboard.intake import check
from tests.fixtures.cases import cases
from tests.fixtures.corpus import bombs, contract, folders, graphs, manifests, masking, numbers
from tests.fixtures.corpus.case import Case
from tests.fixtures.onnx_models import save
from tests.fixtures.project import CHECKOUT, certify
from tests.leaderboard.conftest import Certboard

MEGABYTES = 600

REFUSING = {**REFUSALS, **{str(rule): rule.asks for rule in ModelRule}}

CASES = [
    case
    for module in (bombs, contract, folders, graphs, manifests, numbers)
    for case in module.cases()
]


@pytest.fixture
def another(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Project]:
    """Begins a project without submissions; the working directory becomes its root."""
    # No submission changes the board's own files: they are checked once.
    monkeypatch.setattr(check, "check_board", cache(check_board))

    def begun() -> Project:
        project = Project(tmp_path_factory.mktemp("corpus"))
        (project.site / "templates").mkdir(parents=True)
        project.submissions.mkdir()
        monkeypatch.chdir(project.root)
        return project

    return begun


@pytest.mark.slow
@pytest.mark.parametrize("category", dict.fromkeys(case.category for case in CASES))
def test_a_submission_has_its_outcome(
    category: str, another: Callable[[], Project], certboard: Certboard
) -> None:
    with cases() as case:
        for submission in CASES:
            if submission.category == category:
                with case(submission.name):
                    _has_its_outcome(submission, another(), certboard)


def _has_its_outcome(case: Case, empty: Project, certboard: Certboard) -> None:
    case.make(empty)
    before = _peak()
    outcome = certboard("check")
    # What earlier cases left in the process is not this one's.
    assert _peak() - before < MEGABYTES
    assert outcome.code == (1 if case.rule else 0), outcome
    assert f"(rule {case.flag})" in outcome.out if case.flag else "flag:" not in outcome.out
    assert not case.rule or f"(rule {case.rule})" in outcome.err
    for line in outcome.err.splitlines():
        assert line.startswith("certboard: ")
        assert line.isprintable()
        assert "(rule " in line or " more problems" in line, "a refusal names its rule"


@pytest.mark.parametrize("kind", masking.STEEP)
def test_a_masked_gradient_certifies_nothing(
    kind: str, another: Callable[[], Project], certboard: Certboard
) -> None:
    empty = another()
    save(masking.masked(kind), empty.root / "m.onnx")
    asked = certify("m.onnx", examples="12", seconds="1")
    outcome = certboard(*asked, "--json")
    assert outcome.code == 0, outcome.err
    rows = json.loads(outcome.out)["rows"]
    others = [row for row in rows if row["label"] != masking.FLIPPED_TO]
    assert len(others) > 5
    assert "certified" not in {row["status"] for row in others}


def test_the_corpus_is_wide() -> None:
    assert len(CASES) >= 350
    assert len({case.category for case in CASES}) >= 14
    assert max(Counter(case.id for case in CASES).values()) == 1


def test_every_rule_that_the_corpus_names_is_in_the_catalogue() -> None:
    assert {case.rule for case in CASES if case.rule} <= REFUSING.keys()


def test_the_guide_lists_every_rule_and_no_other() -> None:
    guide = (CHECKOUT / "site" / "pages" / "guides" / "safety.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \|$", guide, re.MULTILINE)
    assert rows == [*REFUSING.items(), *RULES.items()]


def _peak() -> float:
    """The most memory that this process has had, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
