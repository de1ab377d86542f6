"""Results from elsewhere: every change that makes a row claim more, or mislead, is refused."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from leaderboard.common.errors import InputError
from leaderboard.evaluation.shard import fingerprint
from leaderboard.intake.acceptance import accept
from leaderboard.intake.acceptance import known as knowing
from leaderboard.intake.acceptance import origin as checking_origin
from leaderboard.intake.sandbox import Limits
from leaderboard.results.columns import DESCRIBED, PLAIN
from leaderboard.results.columns import plain as plain_text
from leaderboard.results.store import Provenance
from leaderboard.results.witness import SteppedPoint
from leaderboard.submissions.folder import LARGEST_MODEL
from tests.fixtures.effort import first_few
from tests.fixtures.forged import Made, Make, changed, forge, table_of
from tests.fixtures.project import L2, LINF, NOISY
from tests.fixtures.project import PLAIN as SLUG


def test_what_certboard_made_is_accepted(plain: Made, noisy: Made) -> None:
    for one in (plain, noisy):
        found = one.accepted(one.result.path)
        pd.testing.assert_frame_equal(found.rows, one.rows)
        assert found.provenance == one.result.provenance
        assert found.provenance.unchecked == ""


def test_rows_that_claim_more_than_they_carry_are_refused(plain: Made) -> None:
    rows = plain.rows
    right = rows["prediction"] == rows["label"]
    certified, falsified = rows["status"] == "certified", (rows["status"] == "falsified") & right
    open_, wrong = rows["status"] != "certified", ~right
    numbers = np.full(64, 0.5, "<f4")
    steps = SteppedPoint(0.0625, 1, np.ones(64, np.int8)).packed()
    whole = {
        "its radius is not 0.1": changed(rows, open_ & right, status="certified"),
        "its radius is not 0.1 ": changed(rows, certified, radius="0.0999"),
        "its radius is not 0.1  ": changed(rows, certified, radius="9999"),
        "its radius is not 0.1   ": changed(rows, certified, radius="0.10"),
        "has a radius, but is not certified": changed(rows, open_, radius="0.1"),
        "its prediction is wrong": changed(rows, certified, prediction=None),
        "margin is not positive": changed(rows, certified, margin=-1.0),
        "margin is not positive ": changed(rows, certified, margin=0.0),
        "margin is not positive  ": changed(rows, certified, margin=None),
        "its margin is positive": changed(rows, falsified, margin=0.5),
        "confidence is not 1": changed(rows, certified, confidence=1e-9),
        "but is not falsified": changed(rows, certified, witness=numbers.tobytes()),
        "has no witness": changed(rows, falsified, witness=None),
        "outside [0, 1]": changed(rows, falsified, witness=(numbers - 2).tobytes()),
        "outside [0, 1] ": changed(rows, falsified, witness=np.full(64, 1e30, "<f4").tobytes()),
        "outside [0, 1]  ": changed(rows, falsified, witness=np.full(64, np.nan, "<f4").tobytes()),
        "outside [0, 1]   ": changed(rows, falsified, witness=np.full(64, np.inf, "<f4").tobytes()),
        "witness has 0 levels": changed(rows, falsified, witness=b"\0" + steps[1:]),
        "witness has a step of nan": changed(
            rows, falsified, witness=steps[:3] + b"\xff\xff" + steps[5:]
        ),
        "witness has a digit": changed(rows, falsified, witness=steps[:-1] + b"\xff"),
        "its label is no class": changed(rows, open_, label=10),
        "its label is not the one of the data": changed(
            rows, wrong, label=rows["prediction"][wrong].iloc[0]
        ),
        "its prediction is no class": changed(rows, open_, prediction=10),
        "took more than": changed(rows, certified, seconds=1e6),
        "its stage is none of": changed(rows, certified, stage="verified"),
        "its stage cannot certify": changed(rows, certified, stage="pgd"),
        "its stage cannot certify ": changed(rows, certified, stage="prediction"),
        "by its prediction, which is right": changed(rows, falsified, stage="prediction"),
        "not decided by its prediction": changed(rows, wrong, stage="pgd"),
        "has a note": changed(rows, certified, note="verified by hand"),
        "about another submission": changed(rows, certified, submission="other"),
        "about another setting": changed(rows, certified, setting="digits-linf-0.05"),
        "its evaluator is not": changed(rows, certified, evaluator="ibp"),
        "its evaluator_version is not": changed(rows, certified, evaluator_version="ibp-0"),
        "has a n, but": changed(rows, certified, n=100),
        "has a sigma, but": rows.assign(sigma="0.25"),
        "has a procedure, but": changed(rows, certified, procedure="fixed"),
    }
    for told, forged in whole.items():
        assert told.strip() in plain.refusal(forged), told


def test_labels_rewritten_to_equal_the_predictions_are_refused(plain: Made) -> None:
    forged = plain.rows.assign(label=plain.rows["prediction"])
    assert "its label is not the one of the data" in plain.refusal(forged)


@pytest.mark.parametrize(
    "text",
    ["<b>best</b>", "[x](javascript:1)", "a`b", "a|b", "&lt;", "\x1b[2J", "\u202egnp", "a\u200bb",
     "a\nb", "é", "x" * 300, "{{ 1 }}", "$x$", "\\n", '"'],
)  # fmt: skip
@pytest.mark.parametrize(
    "column", first_few(["note", "stage", "evaluator", "submission", "procedure"], 2)
)
def test_texts_that_are_not_read_as_they_are_written_are_refused(
    plain: Made, column: str, text: str
) -> None:
    forged = changed(plain.rows, plain.rows["status"] == "unknown", **{column: text})
    assert f"a {column} " in plain.refusal(forged)


def test_a_note_is_cleaned_where_it_is_made() -> None:
    wild = "failed: Error: shape [1, 3] <b>|`&\x1b[0m \u202e" + "x" * 500
    clean = plain_text(wild)
    assert len(clean) <= 200
    assert clean.startswith("failed: Error: shape ?1, 3? ?b?")
    assert pd.Series([clean]).str.fullmatch(PLAIN).all()


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("margin", float("nan"), "not finite"),
        ("margin", float("inf"), "not finite"),
        ("margin", 1e300, "must lie in"),
        ("seconds", -1.0, "must lie in"),
        ("seconds", float("nan"), "not finite"),
        ("confidence", 1.5, "must lie in"),
        ("confidence", -0.5, "must lie in"),
        ("label", -1, "must lie in"),
        ("prediction", -1, "must lie in"),
        ("example", -1, "must lie in"),
        ("n", -5, "must lie in"),
        ("p_lower", 2.0, "must lie in"),
        ("status", "proved", "cannot be"),
        ("radius", "nan", "cannot be"),
        ("radius", "1e9", "cannot be"),
        ("radius", "-0.1", "cannot be"),
        ("witness", bytes(5), "wrong size"),
        ("statistics", "[" * 3000, "has more than"),
    ],
)
def test_every_value_is_in_the_range_of_its_column(
    plain: Made, column: str, value: object, told: str
) -> None:
    table = table_of(plain.rows)
    field = table.schema.field(column)
    values = table[column].to_pylist()
    # Not by pandas, which takes NaN for null.
    forged = pa.array([value, *values[1:]], field.type)
    table = table.set_column(table.schema.get_field_index(column), field, forged)
    path = forge(plain.project.root / "forged.parquet", table, plain.result.provenance)
    assert told in plain.refused(path)


def test_examples_that_were_not_asked_about_or_are_missing_are_refused(plain: Made) -> None:
    rows = plain.rows
    assert "449 examples were asked about" in plain.refusal(rows.iloc[1:])
    assert "449 examples were asked about" in plain.refusal(rows.iloc[:0])
    assert "449 examples were asked about" in plain.refusal(pd.concat([rows, rows.iloc[-1:]]))
    assert "each once and in order" in plain.refusal(rows.iloc[::-1])
    twice = pd.concat([rows.iloc[:1], rows.iloc[:-1]])
    assert "each once and in order" in plain.refusal(twice)


def test_only_the_certified_rows_are_refused_whatever_is_said_of_the_data(plain: Made) -> None:
    certified = plain.rows[plain.rows["status"] == "certified"]
    told = plain.refusal(certified, data_complete=False, data_note="some of the images")
    assert "449 examples were asked about" in told
    whole = plain.refusal(data_complete=False, data_note="some of the images")
    assert "data_complete is False, not True" in whole
    assert "data_note" in whole


def test_incomplete_data_are_accepted_where_they_are_incomplete_in_the_same_way(
    plain: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leaderboard.datasets.catalogue import load_split
    from leaderboard.datasets.split import ArraySplit

    whole, some = load_split("digits"), tuple(range(0, 449, 3))
    assert isinstance(whole, ArraySplit)
    part = ArraySplit(
        whole.pixels[list(some)], whole.labels[list(some)], whole.scale, "a third", some
    )
    rows = plain.rows[plain.rows["example"].isin(some)]
    known = plain.known()
    print_ = fingerprint(known.question, list(some), part.sha256)
    told = {
        "data_complete": False, "data_note": "a third", "data_sha256": part.sha256,
        "fingerprint": print_,
    }  # fmt: skip
    path = plain.file(rows, **told)
    assert "has 150 rows" in plain.refused(path)
    monkeypatch.setattr(knowing, "load_split", lambda _: part)
    assert len(plain.accepted(path).rows) == 150
    assert "150 examples were asked about" in plain.refusal(rows.iloc[1:], **told)


def without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise InputError("There are no data here.")

    monkeypatch.setattr(knowing, "load_split", missing)


def test_without_the_data_it_is_said_what_was_not_compared(
    plain: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = plain.file(unchecked="nothing")
    assert plain.accepted(path).provenance.unchecked == ""
    without_data(monkeypatch)
    told = plain.accepted(path).provenance.unchecked
    assert "labels and predictions" in told
    assert "the test data are not on the machine" in told


def test_without_the_data_none_may_be_missing(plain: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    certified = plain.rows[plain.rows["status"] == "certified"]
    without_data(monkeypatch)
    assert "449 examples were asked about" in plain.refusal(certified, data_complete=False)
    assert "data_complete is False" in plain.refusal(data_complete=False)


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("submission", "other"),
        ("setting", "digits-linf-0.2"),
        ("evaluator", "crown"),
        ("evaluator_version", "ibp-0"),
        ("model_sha256", "0" * 64),
        ("data_sha256", "0" * 64),
        ("seed", "1"),
        ("seed", None),
        ("total", 10),
        ("examples", "first 10 of all"),
        ("distribution", "gaussian"),
        ("fingerprint", "0" * 64),
        ("fingerprint", ""),
        ("time", "1970-01-01T00:00:00+00:00"),
        ("time", "2999-01-01T00:00:00+00:00"),
        ("time", "2026-01-01"),
        ("time", "yesterday"),
        ("time", (NOW + timedelta(hours=1)).isoformat(timespec="seconds")),
        ("time", (NOW - timedelta(days=1)).isoformat()),
        ("machine", "x\x1b[2J"),
        ("machine", "<script>"),
        ("machine", "\u202e"),
        ("machine", "x" * 2000),
        ("python", "<b>"),
        ("torch", "2.0 [x](y)"),
        ("device", "`cpu`"),
        ("code_version", "0.1.0 (checked by the maintainers)"),
        ("commit", "0" * 40),
        ("commit", "unknown"),
        ("threads", 0),
        ("threads", 10**9),
    ],
    # Not by value: what depends on the clock would be another test in each worker.
    ids=itertools.count(),
)
def test_a_provenance_that_does_not_fit_is_refused(plain: Made, name: str, value: Any) -> None:
    told = plain.refusal(**{"created" if name == "time" else name: value})
    assert f"its {name} " in told


def test_rows_of_another_schema_version_are_refused(plain: Made) -> None:
    told = plain.refusal(schema_version=1)
    assert "has schema version 1; this program reads version 3." in told


@pytest.mark.parametrize(
    "options",
    [
        {"seconds": 100.0},
        {"seconds": 10},
        {"workers": "1; rm"},
        {"workers": 1},
        {"ibp": None},
        {"pgd": {"steps": 1}},
        {"more": "x"},
        {"<b>": 1},
    ],
)
def test_options_are_the_protocols(plain: Made, options: dict[str, Any]) -> None:
    told = plain.result.provenance.options
    assert "option" in plain.refusal(options={**told, **options})


def test_no_option_of_the_protocol_is_left_out(plain: Made) -> None:
    told = plain.result.provenance.options
    assert len(told) > 1
    for name in told:
        assert name in plain.refusal(options={k: v for k, v in told.items() if k != name})


@pytest.mark.parametrize(
    "options",
    [{"failure_probability": 0.5}, {"n": 1000}, {"n0": 1}, {"procedure": "sequential"},
     {"sides": 2}, {"noise": "own"}],
)  # fmt: skip
def test_a_more_generous_protocol_is_refused(noisy: Made, options: dict[str, Any]) -> None:
    told = noisy.result.provenance.options
    assert "its option" in noisy.refusal(options={**told, **options})


def test_samples_are_as_many_as_were_asked_for(noisy: Made) -> None:
    from leaderboard.intake.acceptance.accept import accepted
    from leaderboard.settings.setting import find_setting
    from leaderboard.submissions.manifest import load_submission

    submission = load_submission(noisy.project, NOISY)
    with pytest.raises(InputError, match="its option n is 100, not 10000"):
        accepted(noisy.result.path, noisy.project, submission, find_setting(L2))


def test_a_result_is_not_older_than_its_run(plain: Made) -> None:
    created = datetime.fromisoformat(plain.result.provenance.created)
    plain.accepted(plain.result.path, since=created)
    with pytest.raises(InputError, match="before its evaluation"):
        plain.accepted(plain.result.path, since=created + timedelta(minutes=1))


def test_rows_of_a_smoothed_model_follow_from_their_counts(noisy: Made) -> None:
    rows = noisy.rows
    certified = rows["status"] == "certified"
    open_ = (rows["status"] == "unknown") & rows["radius"].isna()
    statistics = json.loads(rows["statistics"].iloc[0])
    whole = {
        "its count": changed(rows, certified, count=101),
        "counts give": changed(rows, certified, count=60),
        "counts give ": changed(rows, certified, radius="9999"),
        "shortest form": changed(rows, certified, radius="10/40"),
        "not at the setting's radius": changed(rows, certified, radius="0.249"),
        "not at the setting's radius ": changed(rows, open_, status="certified"),
        "but it is not certified": changed(rows, certified, status="unknown"),
        "cannot be falsified": changed(rows, certified, status="falsified", witness=bytes(256)),
        "its sigma is not 0.25": rows.assign(sigma="0.26"),
        "its seed is not": rows.assign(seed="1"),
        "its confidence is not 0.999": changed(rows, certified, confidence=1.0),
        "its confidence is not 0.999 ": changed(rows, certified, confidence=1e-9),
        "its n0 is not 100": changed(rows, certified, n0=1),
        "its n is not in 1 to 100": changed(rows, certified, n=10**11),
        "its procedure is not fixed": changed(rows, certified, procedure="curtailed"),
        "missing against its n": changed(rows, certified, p_lower=None),
        "missing against its n ": changed(rows, certified, n=None),
        "missing against its n  ": changed(rows, certified, p_upper=0.1),
        "statistics are not": changed(rows, certified, statistics='{"a": "b"}'),
        "statistics are not ": changed(
            rows, certified, statistics=json.dumps({**statistics, "classes": 2}, sort_keys=True)
        ),
        "statistics are not  ": changed(
            rows, certified, statistics='{"a": ' * 200 + "1" + "}" * 200
        ),
        "has a margin": changed(rows, certified, margin=1.0),
        "has a note": changed(rows, certified, note="verified by hand"),
        "its stage is none of": changed(rows, certified, stage="prediction"),
    }
    for told, forged in whole.items():
        assert told.strip() in noisy.refusal(forged), told


def test_a_smoothed_model_that_never_abstains_needs_its_counts(noisy: Made) -> None:
    """All of them perfect: of each row the counts would have to follow."""
    forged = noisy.rows.assign(
        status="certified", prediction=noisy.rows["label"], radius="0.5", note=""
    )
    assert "counts" in noisy.refusal(forged)


def test_rows_of_a_plain_model_are_not_those_of_a_smoothed_one(made: Make) -> None:
    plain, noisy = made(SLUG, LINF), made(NOISY, L2)
    assert noisy.refused(plain.result.path)
    assert plain.refused(noisy.result.path)


def test_another_setting_with_the_same_rows_is_refused(plain: Made) -> None:
    """The radius is in the name; a result of the smaller ball is none of the larger."""
    larger = Made(plain.project, plain.result, plain.slug, "digits-linf-0.2")
    told = larger.refused(larger.file(plain.rows.assign(setting="digits-linf-0.2")))
    assert "its setting is" in told
    told = larger.refusal(
        plain.rows.assign(setting="digits-linf-0.2"),
        setting="digits-linf-0.2",
        seed=str(larger.known().question.seed),
    )
    assert "fingerprint" in told


def test_every_field_of_the_provenance_was_thought_of() -> None:
    """A new field is shown on pages; this says that somebody asks whether it is true."""
    compared = {
        *("schema_version", "submission", "setting", "evaluator", "evaluator_version"),
        *("model_sha256", "examples", "total", "seed", "noise_salt", "distribution"),
        *("data_sha256", "data_complete", "data_note"),
    }
    otherwise = {"options", "threads", "fingerprint", "created"}
    by_the_model, by_the_acceptor = {"parameters", "model_note"}, {"unchecked"}
    assert set(Provenance.model_fields) == (
        compared | set(checking_origin.FORMS) | otherwise | by_the_model | by_the_acceptor
    )


def test_every_field_that_follows_from_the_question_is_compared(plain: Made) -> None:
    compared = checking_origin.wanted(plain.known())
    origin = plain.result.provenance
    assert {name: getattr(origin, name) for name in compared} == compared


def test_every_column_has_a_range_or_a_form() -> None:
    for column in DESCRIBED:
        assert column.least < column.most, column.name
        assert column.longest <= 2000, column.name
        for text in ("<", "`", "|", "&", "\x1b", "\u202e", "[x](y)"):
            assert not pd.Series([text]).str.fullmatch(column.form).any(), column.name


def test_a_process_with_a_model_may_write_a_file_as_large() -> None:
    for limits in (Limits(), accept._REPLAY):
        assert limits.file_megabytes * 2**20 > 2 * LARGEST_MODEL
