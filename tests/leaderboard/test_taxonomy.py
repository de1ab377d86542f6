from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from evaluators.listing import catalogue as evaluators
from leaderboard.common.errors import InputError
from leaderboard.field.formula import mathml, with_formulas
from leaderboard.field.literature import load_literature
from leaderboard.field.methods import methods
from leaderboard.field.pictures import catalogue
from leaderboard.field.taxonomy import TaxonomyNode, key_of, load_taxonomy, read_taxonomy

POLYHEDRA = "verification/deterministic/incomplete/linear-relaxation/linear-inequality/polyhedra"


def paths_in(tree: dict[str, Any], above: str = "") -> list[str]:
    found = []
    for name, below in tree.items():
        found.append(above + name)
        if isinstance(below, dict):
            found += paths_in(below, f"{above}{name}/")
    return found


def test_every_node_of_the_published_tree_is_there(shared: Path) -> None:
    published = yaml.safe_load((shared / "literature" / "taxonomy.yaml").read_text("utf-8"))
    assert set(paths_in(published)) - set(load_taxonomy().nodes) == set()


def test_children_and_parents_walk_the_tree() -> None:
    taxonomy = load_taxonomy()
    assert [node.path for node in taxonomy.children()] == [
        "verification",
        "training",
        "falsification",
    ]
    assert [node.name for node in taxonomy.children("training")][:3] == [
        "regularization-based",
        "relaxation-based",
        "augmentation-based",
    ]
    assert [node.name for node in taxonomy.parents(POLYHEDRA)] == [
        "verification",
        "deterministic",
        "incomplete",
        "linear-relaxation",
        "linear-inequality",
    ]


def test_an_evaluator_is_found_at_its_node() -> None:
    node = load_taxonomy().of_evaluator("crown")
    assert node is not None
    assert node.path == POLYHEDRA
    assert load_taxonomy().of_evaluator("no-such") is None


@pytest.mark.parametrize("node", load_taxonomy().nodes.values(), ids=lambda node: node.path)
def test_every_node_says_in_sentences_what_it_is(node: TaxonomyNode) -> None:
    sentences = node.summary.splitlines()
    assert 2 <= len(sentences) <= 4
    assert all(sentence.endswith(".") and sentence[0].isupper() for sentence in sentences)


@pytest.mark.parametrize("node", load_taxonomy().nodes.values(), ids=lambda node: node.path)
def test_no_node_is_a_stub(node: TaxonomyNode) -> None:
    assert node.where
    assert node.references
    assert node.picture in catalogue()
    assert 2 <= len(node.strengths) <= 4
    assert 2 <= len(node.limits) <= 4
    assert all(text.endswith(".") for text in (*node.strengths, *node.limits, node.where))
    assert node.formulas
    assert [part for item in node.formulas for part in item.parts if not mathml(part)] == []
    assert with_formulas(node.where)


def test_each_node_has_a_picture_of_its_own() -> None:
    named = [node.picture for node in load_taxonomy().nodes.values()]
    assert sorted(named) == sorted(catalogue())


def test_every_reference_is_an_arxiv_identifier_an_address_or_a_venue() -> None:
    for node in load_taxonomy().nodes.values():
        for reference in node.references:
            assert reference.address or reference.venue
            assert not (reference.arxiv and reference.url)
            year, month = int(reference.arxiv[:2] or 17), int(reference.arxiv[2:4] or 1)
            assert 12 <= year <= 26
            assert 1 <= month <= 12


def test_every_evaluator_is_under_the_one_node_that_it_names() -> None:
    taxonomy = load_taxonomy()
    for name, evaluator in evaluators().items():
        node = taxonomy.of_evaluator(name)
        assert node is not None, name
        assert f"/{node.path}".endswith(f"/{evaluator.node}"), name
    named = [name for node in taxonomy.nodes.values() for name in node.evaluators]
    assert sorted(named) == sorted(evaluators())


def test_every_approach_is_in_the_literature() -> None:
    rows = load_literature()
    known = {key_of(text) for row in rows for text in (row.approach, row.title) if text}
    taxonomy = load_taxonomy()
    named = [text for node in taxonomy.nodes.values() for text in node.approaches]
    assert [text for text in (*named, *taxonomy.outside) if key_of(text) not in known] == []


def test_every_published_row_was_certified_or_attacked_somewhere_in_the_tree() -> None:
    taxonomy = load_taxonomy()
    outside = {key_of(title) for title in taxonomy.outside}
    lost = {
        row.title
        for row in load_literature()
        if key_of(row.title) not in outside
        and not any(
            path.startswith(("verification", "falsification"))
            for path in taxonomy.places(row.approach, row.title, empirical=row.kind == "empirical")
        )
    }
    assert lost == set()


def test_probabilistic_rows_stand_under_probabilistic_nodes_and_no_others() -> None:
    taxonomy = load_taxonomy()
    for row in load_literature():
        for path in taxonomy.places(row.approach, row.title, empirical=row.kind == "empirical"):
            if path.startswith("verification/"):
                assert path.split("/")[1] == row.kind, row.title
            assert path.startswith("falsification") <= (row.kind == "empirical")


def test_an_approach_goes_before_a_title() -> None:
    places = load_taxonomy().places
    paper = (
        "Enhancing Certified Robustness via Block Reflector Orthogonal Layers and Logit Annealing "
        "Loss"
    )
    assert places("BRONet", paper, empirical=False)[0].endswith("smooth-layers")
    assert places("LiResNet", paper, empirical=False)[0].endswith("general-lipschitz")
    assert places("", "A title that nobody has", empirical=False) == ()


def test_an_unknown_node_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'training/relaxation-based'"):
        load_taxonomy().find("training/relaxation")


NODE = '[[node]]\npath = "{}"\ntitle = "A"\nsummary = "B."\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (NODE.format("a") + NODE.format("a"), "'a' stands there twice"),
        (NODE.format("a/b"), "'a/b' has no node 'a' before it"),
        (NODE.format("A"), "node #1.path"),
        (NODE.format("a") + 'sumary = "x"\n', "Did you mean 'summary'?"),
        (NODE.format("a") + 'references = [{ label = "x", arxiv = "1" }]\n', "arXiv identifier"),
        (NODE.format("a") + 'evaluators = ["ibp"]\n', "evaluators"),
        (
            NODE.format("a")
            + NODE.format("a/b")
            + 'approaches = ["One, two"]\n'
            + NODE.format("a/c")
            + 'approaches = ["one two"]\n',
            "'one two' is in 'a/b' and 'a/c'",
        ),
        (
            NODE.format("a") + 'references = [{ label = "x", url = "javascript:x" }]\n',
            "web address",
        ),
    ],
)
def test_a_wrong_tree_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "taxonomy.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_taxonomy(path)
    (problem,) = raised.value.problems
    assert told in problem


@pytest.mark.parametrize(
    ("end", "told"),
    [("c", "0 paths"), ("b", "2 paths")],
)
def test_an_evaluator_that_names_no_node_or_two_is_refused(
    tmp_path: Path, end: str, told: str
) -> None:
    path = tmp_path / "taxonomy.toml"
    paths = ("a", "a/b", "b", "b/d")
    path.write_text("".join(NODE.format(one) for one in paths), encoding="utf-8")
    crown = methods()["crown"]
    assert read_taxonomy(path, [replace(crown, node="d")]).nodes["b/d"].evaluators == ("crown",)
    with pytest.raises(InputError, match=f"crown.py: its node '{end}' is the end of {told}"):
        read_taxonomy(path, [replace(crown, node=end)])
