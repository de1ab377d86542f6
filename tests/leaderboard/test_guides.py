"""What the guides show is true: commands exist with their options, examples run."""

import ast
import importlib
import importlib.util
import re
import sys
import tomllib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer.core import TyperGroup
from typer.main import get_command

from evaluators.deterministic.ibp import IBP
from evaluators.evaluator import Evaluator
from leaderboard.commands import application
from leaderboard.datasets.catalogue import Dataset
from leaderboard.field import literature, taxonomy
from leaderboard.results.metrics import Metric
from leaderboard.settings import setting
from leaderboard.website.charts import Chart
from tests.evaluators.test_soundness import SLACK, problems
from tests.fixtures.board import MNIST, REST, board, rows, tally
from tests.fixtures.guides import CHECKOUT, PAGES, blocks, commands, pages, titled

Loader = Callable[[str], ModuleType]

PLACEHOLDERS = re.compile(r"…|\.\.\.|^\[|\|")
"""Words that stand for something, as in `certboard list evaluators|settings`."""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loader:
    """Imports an example as if it lay at the path that its title names."""

    def loaded(title: str) -> ModuleType:
        path = tmp_path / Path(title).name
        path.write_text(titled(title), encoding="utf-8")
        name = title.removesuffix(".py").replace("/", ".")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return loaded


def command_line() -> TyperGroup:
    found = get_command(application())
    assert isinstance(found, TyperGroup)
    return found


def named(words: list[str]) -> tuple[str, set[str], list[str]]:
    """The command that the words name, its options, and the words after it."""
    at: Any = command_line()
    while isinstance(at, TyperGroup) and words:
        assert words[0] in at.commands, f"there is no command '{words[0]}'"
        at, words = at.commands[words[0]], words[1:]
    return str(at.name), {name for one in at.params for name in one.opts} | {"--help"}, words


SHOWN = [
    pytest.param(page.stem, words, id=f"{page.stem}: {' '.join(words)[:60]}")
    for page, words in commands()
]


def test_the_guides_show_commands() -> None:
    found = [words for _, words in commands()]
    assert len(found) > 25
    assert {words[0] for words in found} >= {"certify", "check", "new", "run", "recheck", "list"}


@pytest.mark.parametrize(("page", "words"), SHOWN)
def test_a_command_that_is_shown_exists_with_its_options(page: str, words: list[str]) -> None:
    command, known, rest = named(words)
    wanted = [word.partition("=")[0] for word in rest if word.startswith("-")]
    unknown = [word for word in wanted if word not in known and not PLACEHOLDERS.search(word)]
    assert not unknown, f"{page}: {command} has no {unknown}; it has {sorted(known)}"


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    with pytest.raises(AssertionError, match="no command 'certfy'"):
        named(["certfy", "model.onnx"])


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.page.stem)
def test_python_that_is_shown_parses_and_imports_what_there_is(block: object) -> None:
    text = getattr(block, "text", "")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            for one in node.names:
                if not hasattr(module, one.name):
                    importlib.import_module(f"{node.module}.{one.name}")


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.page.stem)
def test_toml_that_is_shown_is_toml(block: object) -> None:
    assert tomllib.loads(getattr(block, "text", ""))


def test_the_statistics_that_are_shown_print_what_they_say(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = [block.text for block in blocks("python") if block.page.stem == "statistics"]
    assert len(shown) == 2
    for text in shown:
        exec(compile(text, "statistics.md", "exec"), {})
        said = re.search(r"# (.*)", text)
        assert said is not None
        assert capsys.readouterr().out.strip() == said[1].strip()


def test_the_evaluator_is_sound_and_sees_more_than_interval_bounds(load: Loader) -> None:
    module = load("evaluators/deterministic/halved_ibp.py")
    evaluator: Evaluator = module.HalvedIBP()
    assert evaluator.name() == "halved-ibp"
    better = 0
    for family in ("relu 2-4-4-3", "convolutional"):
        for problem, least in problems(family, "linf"):
            halved, whole = evaluator(problem), IBP()(problem)
            for margin, ours, theirs in zip(least, halved, whole, strict=True):
                if ours.margin is None or theirs.margin is None:
                    continue
                assert ours.margin <= margin + SLACK * max(1.0, abs(margin))
                assert ours.margin >= theirs.margin - SLACK * max(1.0, abs(theirs.margin))
                better += ours.margin > theirs.margin
    assert better
    for promise in ("Guarantee", "Trusted", "Cost", "arXiv"):
        assert promise in (module.HalvedIBP.__doc__ or "")


def test_the_setting_is_one_more_setting(tmp_path: Path) -> None:
    title = "leaderboard/settings/mnist-linf-0.2.toml"
    for path in setting.FOLDER.glob("*.toml"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / Path(title).name).write_text(titled(title), encoding="utf-8")
    read = setting.read_settings(tmp_path)
    assert set(read) - set(setting.read_settings(setting.FOLDER)) == {Path(title).stem}


def test_the_dataset_has_images_that_fit_it(load: Loader) -> None:
    dataset: Dataset = load("leaderboard/datasets/bars.py").DATASET
    split = dataset.load("test")
    images = split.images(range(len(split)))
    assert len(split) == dataset.test_size
    assert images.shape[1:] == dataset.shape
    assert (images.min(), images.max()) == (0, 1)
    assert set(np.unique(split.labels)) == set(range(len(dataset.classes)))


def test_the_chart_is_drawn(load: Loader, tmp_path: Path) -> None:
    chart: Chart = load("leaderboard/website/charts/left_open.py").CHART
    drawing = chart.draw(board(tmp_path), "mnist-linf-0.1")
    assert drawing is not None
    assert drawing.table == [
        ["MNIST CNN by interval training", "10.00"],
        ["MNIST CNN, plainly trained", "53.80"],
    ]
    assert "bar" in drawing.json()


def test_the_metric_is_computed() -> None:
    tree = ast.parse(titled("leaderboard/results/metrics.py"))
    namespace = vars(importlib.import_module("leaderboard.results.metrics")).copy()
    *definitions, entry = tree.body
    exec(compile(ast.Module(definitions, []), "add-metric.md", "exec"), namespace)
    assert isinstance(entry, ast.Expr)
    metric = eval(compile(ast.Expression(entry.value), "", "eval"), namespace)
    assert isinstance(metric, Metric)
    counted = tally(rows("a", "mnist-linf-0.1", {**MNIST, **REST}))
    assert metric.value(counted, Fraction("0.1")) == pytest.approx(400 / 490)


def test_the_node_joins_the_tree(tmp_path: Path) -> None:
    path = tmp_path / "taxonomy.toml"
    text = taxonomy.FILE.read_text(encoding="utf-8")
    path.write_text(f"{text}\n{titled('leaderboard/field/taxonomy.toml')}", encoding="utf-8")
    read = taxonomy.read_taxonomy(path)
    (new,) = set(read.nodes) - set(taxonomy.read_taxonomy(taxonomy.FILE).nodes)
    assert new.endswith("/taylor")


def test_the_published_number_joins_the_literature(tmp_path: Path) -> None:
    path = tmp_path / "literature.csv"
    text = literature.FILE.read_text(encoding="utf-8")
    path.write_text(text + titled("leaderboard/field/literature.csv"), encoding="utf-8")
    *before, added = literature.read_literature(path)
    assert before == literature.read_literature(literature.FILE)
    assert (added.certified, added.clean, added.attack) == (93.1, 98.5, None)


def test_every_column_of_the_literature_is_explained() -> None:
    text = (PAGES / "guides" / "add-published-number.md").read_text(encoding="utf-8")
    header = literature.FILE.read_text(encoding="utf-8").splitlines()[0].split(",")
    first = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    explained = set(re.findall("`([a-z_]+)`", " ".join(first)))
    assert explained == set(header)


NAMED = re.compile(r"`((?:evaluators|leaderboard|tests|site)/[^`\s]*)`")
"""A path in backticks; those of fenced blocks are none that exist."""

NOT_YET = {"site/data/decisions.toml"}
"""Files that a maintainer makes on the first occasion."""


def paths_named(page: Path) -> set[str]:
    """The paths of this project that a page names, without those that stand for something."""
    text = page.read_text(encoding="utf-8")
    return {path for path in NAMED.findall(text) if not re.search("[<*…]|ID/SLUG", path)} - NOT_YET


def test_every_path_that_a_page_names_exists() -> None:
    texts = [*pages(), *(CHECKOUT / name for name in ("PERFORMANCE.md", ".github/SECURITY.md"))]
    named = {page.name: paths_named(page) for page in texts}
    assert sum(map(len, named.values())) > 25
    missing = [
        f"{page}: {path}"
        for page, paths in named.items()
        for path in sorted(paths)
        if not (CHECKOUT / path).exists()
    ]
    assert missing == []


def test_every_kind_of_addition_has_its_page() -> None:
    table = (PAGES / "guides" / "extend.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"^\| \[[^\]]+\]\(([a-z-]+)\.md\)", table, re.MULTILINE))
    there = {path.stem for path in (PAGES / "guides").glob("add-*.md")}
    assert linked == there | {"submit"}
