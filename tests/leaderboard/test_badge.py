"""The badge: a file of its own that says what was measured."""

from xml.etree import ElementTree

import pytest

from leaderboard.board.board import Board, assemble
from leaderboard.website import badge as badges
from leaderboard.website.badge import badge, badge_text
from leaderboard.website.pages.submission import SubmissionPages, history
from tests.fixtures.board import HOSTILE, board
from tests.fixtures.website import text_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return board(tmp_path_factory.mktemp("rows"))


def made(example: Board, slug: str) -> tuple[str, str]:
    result = example.results_of[slug][0]
    setting = example.settings[result.provenance.setting]
    line = example.line_of(result)
    return badge(setting, line, result), badge_text(setting, line, result)


def test_it_tells_accuracy_setting_and_how_many_were_evaluated(example: Board) -> None:
    assert made(example, "mnist-ibp")[1] == "80.00 % of 500 certified · MNIST ℓ∞ 0.1"
    assert "of" not in made(example, "digits-noise")[1]


@pytest.mark.parametrize("slug", ["mnist-ibp", "digits-noise"])
def test_it_is_one_file_that_fetches_nothing_and_reads_aloud(example: Board, slug: str) -> None:
    svg, text = made(example, slug)
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert text in (root.get("aria-label") or "")
    assert text in [one.text for one in root.iter(f"{SVG}text")]
    addresses = [value for one in root.iter() for value in one.attrib.values() if ":" in value]
    assert addresses == [root.get("aria-label")]
    assert not list(root.iter(f"{SVG}script"))


def test_the_text_fits_its_half(example: Board) -> None:
    root = ElementTree.fromstring(made(example, "mnist-ibp")[0])
    halves = [one for one in root.iter(f"{SVG}rect") if one.get("fill")]
    for half, text in zip(halves, root.iter(f"{SVG}text"), strict=True):
        start = float(half.get("x", "0"))
        end = start + float(half.get("width", "0"))
        assert start < float(text.get("x", "0"))
        assert float(text.get("x", "0")) + float(text.get("textLength", "0")) < end


def test_foreign_text_stays_text() -> None:
    root = ElementTree.fromstring(badges._svg(HOSTILE, HOSTILE))
    assert root.get("aria-label") == HOSTILE
    assert len(list(root.iter())) == len(list(ElementTree.fromstring(badges._svg("a", "b")).iter()))


def test_each_result_has_its_badge_at_an_address_that_stays(example: Board) -> None:
    files = dict(SubmissionPages(example).plan("mnist-ibp").files())
    badges = {path for path in files if path.endswith(".svg") and not path.startswith("charts/")}
    assert badges == {
        "submissions/mnist-ibp/mnist-linf-0.1.svg",
        "submissions/mnist-ibp/mnist-linf-0.3.svg",
    }


@pytest.mark.parametrize(
    ("key", "word"), [("withdrawn", "withdrawn"), ("superseded_by", "superseded")]
)
def test_a_retired_submission_boasts_no_number(example: Board, key: str, word: str) -> None:
    submissions = dict(example.submissions)
    submissions["mnist-ibp"] = submissions["mnist-ibp"].model_copy(update={key: "mnist-plain"})
    rest = example.results, example.literature, example.taxonomy
    changed = assemble(example.settings, example.datasets, submissions, *rest)
    files = dict(SubmissionPages(changed).plan("mnist-ibp").files())
    svg = files["submissions/mnist-ibp/mnist-linf-0.1.svg"].decode()
    assert f">{word} · MNIST ℓ∞ 0.1<" in svg
    assert "certified" not in svg


def test_the_rows_of_an_earlier_model_are_in_the_history_alone(example: Board) -> None:
    submissions = dict(example.submissions)
    model = submissions["mnist-ibp"].model.model_copy(update={"sha256": "f" * 64})
    submissions["mnist-ibp"] = submissions["mnist-ibp"].model_copy(update={"model": model})
    rest = example.results, example.literature, example.taxonomy
    changed = assemble(example.settings, example.datasets, submissions, *rest)
    notes = [line["note"] for line in history(changed, "mnist-ibp")]
    assert notes == ["of an earlier model, not counted"] * 2
    view = SubmissionPages(changed).plan("mnist-ibp").view
    assert view["entries"] == []


def test_a_submission_with_rows_of_one_evaluator_alone_is_said_to_be_unranked_not_unevaluated(
    example: Board,
) -> None:
    rest = (example.literature, example.taxonomy)
    named = list(example.results_of["mnist-ibp"])
    others = [result for result in example.results if result not in named]
    parts = (example.settings, example.datasets, example.submissions, others, *rest)
    page = SubmissionPages(assemble(*parts, named=named)).plan("mnist-ibp")
    assert page.view["alone"]
    assert page.view["entries"] == []
    text = text_of(page)
    assert "Not ranked yet." in text
    assert "Not evaluated yet." not in text
    assert "Re-evaluated by certboard" not in text
    assert "Submitted to certboard" in text
    for line, result in zip(history(example, "mnist-ibp"), named, strict=True):
        radius = example.settings[result.provenance.setting].radius
        assert line["certified"] == result.tally.certified(radius) / result.tally.examples
