"""Finished shards are gone on with if, and only if, what decides rows is as it was."""

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.evaluation import sources
from leaderboard.evaluation.plan import Request, make_plan
from leaderboard.evaluation.shard import evaluate
from leaderboard.evaluation.sources import code_digest, needed
from leaderboard.results import kept
from leaderboard.settings.question import Shard
from leaderboard.settings.setting import find_setting
from leaderboard.submissions.manifest import load_submission
from tests.fixtures.project import CHECKOUT, LINF, PLAIN, linear, question_about
from tests.leaderboard.conftest import Certboard

ROOTS = {name: CHECKOUT / name for name in ("evaluators", "leaderboard")}
FILES = {
    "__init__.py": '"""The package."""',
    "rows.py": "from pack import method\ndef rows():\n    import pack.late\n    return 1",
    "method.py": "from pack.inner.listing import all\n",
    "late.py": "'''Late.'''\nclass A:\n    '''Says.'''\n    x = 1  # one\n",
    "inner/__init__.py": "",
    "inner/listing.py": "import pkgutil\n",
    "inner/found.py": "y = 2\n",
    "training.py": "z = 3\n",
}


def digests(folder: Path, name: str, text: str) -> tuple[object, object]:
    """What the rows of a small package depend on, before and after a file is another."""
    for path, content in FILES.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(content)
    before = needed({"pack": folder}, ("pack.rows",))
    sources._summary.cache_clear()
    (folder / name).write_text(text)
    after = needed({"pack": folder}, ("pack.rows",))
    sources._summary.cache_clear()
    return before, after


@pytest.mark.parametrize("name", [name for name in FILES if name != "training.py"])
def test_a_change_of_any_file_that_is_imported_counts(tmp_path: Path, name: str) -> None:
    before, after = digests(tmp_path, name, FILES[name] + "\nnew = 1\n")
    assert before != after


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("training.py", "z = 4\n"),
        ("late.py", "'''Later.'''\n\n# One.\nclass A:\n    '''Said.'''\n\n    x = (1)\n"),
        ("__init__.py", ""),
    ],
)
def test_comments_docstrings_and_files_that_no_row_needs_do_not_count(
    tmp_path: Path, name: str, text: str
) -> None:
    before, after = digests(tmp_path, name, text)
    assert before == after


def test_what_writes_rows_counts_and_training_recipes_and_other_methods_do_not() -> None:
    found = needed(ROOTS, ("leaderboard.evaluation.shard", "evaluators.deterministic.ibp"))
    counted = {
        "leaderboard.evaluation.shard",
        "leaderboard.results.store",
        "leaderboard.datasets.cifar10",
        "evaluators.deterministic.ibp",
        "evaluators.deterministic.crown_ibp",  # for what only real arithmetic proves
        "evaluators.noises.gaussian",
        "evaluators.onnx.operators.layers",
        "evaluators.recheck.replay",
    }
    assert counted <= found.keys()
    strange = re.compile(
        r"evaluators\.training\.|evaluators\.deterministic\.milp|.*website|.*train$"
    )
    assert [name for name in found if strange.match(name)] == []


def test_rows_of_other_code_are_refused_in_one_sentence(tmp_path: Path) -> None:
    question = question_about(linear(), tmp_path, "ibp", Fraction(1, 100))
    assert len(evaluate(Shard(replace(question, code=code_digest(question)), (0,)))) == 1
    with pytest.raises(InputError, match="two versions are not mixed") as refused:
        evaluate(Shard(replace(question, code="0" * 64), (0,)))
    assert len(refused.value.problems) == 1


def test_methods_and_libraries_are_part_of_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = question_about(linear(), tmp_path, "ibp", Fraction(1, 100))
    assert code_digest(question) != code_digest(replace(question, evaluator="milp"))
    before = code_digest(question)
    sources._digest_here.cache_clear()
    monkeypatch.setattr(sources, "version", lambda name: "9.9")
    assert code_digest(question) != before
    sources._digest_here.cache_clear()


def test_what_was_parsed_is_kept_until_a_file_or_a_library_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, made, files, libraries = sources._digest_here.__wrapped__, list[int](), ["a"], ["1"]

    def parse(*_: object) -> bytes:
        made.append(1)
        return str(len(made)).encode()

    kept.code()
    monkeypatch.setenv(kept.VARIABLE, str(tmp_path))
    monkeypatch.setattr(sources, "_digest", parse)
    monkeypatch.setattr(kept, "hash_of", lambda root: files[0])
    monkeypatch.setattr(sources, "version", lambda name: libraries[0])
    assert [digest(("one",)) for _ in range(2)] == ["1", "1"]
    files[0] = "b"
    assert digest(("one",)) == "2"
    assert digest(("two",)) == "3"
    libraries[0] = "2"
    assert digest(("one",)) == "4"


def test_shards_of_other_code_are_computed_again_and_it_is_said(
    project: Project, certboard: Certboard
) -> None:
    submission, setting = load_submission(project, PLAIN), find_setting(LINF)
    plan = make_plan(project, submission, setting, Request(examples=20))
    other = plan.parts.with_name(f"{plan.parts.name[:17]}{'0' * 16}")
    other.mkdir(parents=True)
    (other / "00000000-00000019.parquet").touch()
    outcome = certboard("run", PLAIN, "--setting", LINF, "--examples", "20")
    assert outcome.code == 0
    assert "1 finished shard of other code or libraries cannot be mixed" in outcome.err
